#!/usr/bin/env bash
# rtamt==0.4.10 (antlr4-python3-runtime==4.7), Python 3.11.
#
# Question: `(eventually[0,5] a) and (always[0,5] a)`, a being a variable, offline on a trace of three samples: the
#   window is cut at the end of the trace, so what is the robustness at time 0, and what of a second evaluate()?
# One would guess: the smallest sample, -2, in this or the other order, and the trace left as it was given.
# Seen: a trace no longer than the window is padded IN PLACE with minus infinity (eventually) or infinity (always), and
#   what is evaluated next reads the padding: -inf here, -2 in the other order. The lists that the caller handed in
#   have grown: a later evaluate() of `eventually a` on the same data is inf, of `always a` -inf.
#   A predicate (`a >= 0` for a) makes a list of its own, so it is right.
# Consequence: margins computed beforehand and given as variables get wrong values in formulas with a window longer
#   than the episode; short episodes only, so it shows on some rows of a data set, and depends on the order.
# Source: rtamt/semantics/stl/discrete_time/offline/ast_visitor.py, visitTimedAlways and visitTimedEventually (sample
#   += ...) on the very list that visitVariable returns.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'rtamt==0.4.10' 'antlr4-python3-runtime==4.7'
"$dir/venv/bin/python" - <<'PY'
import random

import rtamt


def first(text, data):
    spec = rtamt.StlDiscreteTimeSpecification()
    spec.declare_var("a", "float")
    spec.spec = text
    spec.parse()
    return spec.evaluate(data)[0][1]


def fresh(values):
    return {"time": list(range(len(values))), "a": list(values)}


margins = [5.0, 1.0, -2.0]
both = ("(eventually[0,5] {x}) and (always[0,5] {x})", "(always[0,5] {x}) and (eventually[0,5] {x})")
for text in both:
    data = fresh(margins)
    print(f"{text.format(x='a')}: {first(text.format(x='a'), data)}, right -2.0; the trace is now {data['a']}")
    print(f"{text.format(x='(a >= 0)')}: {first(text.format(x='(a >= 0)'), fresh(margins))}")
data = fresh(margins)
again = first("eventually a", data), first("always[0,5] a", data), first("eventually a", data)
print("eventually a, before and after always[0,5] a on the same data:", again[0], again[2], "right: 5.0 5.0")

draw = random.Random(0)
for length in (2, 5, 6, 7, 10):
    values = [draw.uniform(-9, 9) for _ in range(length)]
    right = min(values[:6])
    seen = first(both[0].format(x="a"), fresh(values))
    print(f"{length} samples: {seen:.3f}, right {right:.3f}")
    if (seen == right) != (length > 5):
        raise SystemExit("changed: traces no longer than the window are right, or longer ones wrong")
if first(both[0].format(x="a"), fresh(margins)) != float("-inf") or again != (5.0, -2.0, float("inf")):
    raise SystemExit("changed: the padding is no longer read")
PY
