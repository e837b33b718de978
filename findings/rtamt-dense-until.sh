#!/usr/bin/env bash
# rtamt==0.4.10 (antlr4-python3-runtime==4.7), Python 3.11.
#
# Question: what is `(a >= 0) until (b >= 0)` at a time when b already holds and a does not? And the same of `since`?
# One would guess: true, with the robustness of b, in both kinds of monitor: the documentation has one table for both,
#   in which the left side is asked for in [t, t') for until and in (t', t] for since, both empty at t' = t.
# Seen: the discrete-time monitor says so. The dense-time one (offline, and online for since) asks for the left side at
#   the very moment of the right one too: it is false, with the robustness of a, however long b holds. `until[0,k]`,
#   `since[0,k]` and `unless[0,k]` are the same. Formally it is `a until (a and b)`.
# Consequence: "stay out until the gate is open" is violated by a run in which the gate is open from the start; one
#   formula and one run get opposite verdicts from the two classes.
# Source: rtamt/semantics/stl/dense_time/offline/ast_visitor.py, until_operation and since_operation (used by the timed
#   ones as well); dense_time/online/since_operation.py; README, "Specification Language".
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'rtamt==0.4.10' 'antlr4-python3-runtime==4.7'
"$dir/venv/bin/python" - <<'PY'
import random

import rtamt


def spec(kind, text):
    made = kind()
    made.declare_var("a", "float")
    made.declare_var("b", "float")
    made.spec = text
    made.parse()
    return made


def discrete(text, a, b):
    made = spec(rtamt.StlDiscreteTimeSpecification, text)
    return [value for _, value in made.evaluate({"time": list(range(len(a))), "a": list(a), "b": list(b)})]


def dense(text, a, b, online=False):
    made = spec(rtamt.StlDenseTimeSpecification, text)
    signals = [[name, [[float(t), x] for t, x in enumerate(xs + xs[-1:])]] for name, xs in (("a", a), ("b", b))]
    steps = made.update(*signals) if online else made.evaluate(*signals)
    return [[value for at, value in steps if at <= t][-1] for t in range(len(a))]


low, high = [-1.0] * 5, [2.0] * 5
for word in ("until", "since", "until[0,3]", "since[0,3]", "unless[0,3]"):
    text = f"(a >= 0) {word} (b >= 0)"
    seen, other = discrete(text, low, high), dense(text, low, high)
    print(f"a = -1 and b = 2 throughout, {word:11s} discrete {seen}, dense {other}")
    if seen != high or other != low:
        raise SystemExit(f"changed: {word} is no longer +2 in discrete and -1 in dense time")
if dense("(a >= 0) since (b >= 0)", low, high, online=True) != low:
    raise SystemExit("changed: dense online since")

draw = random.Random(0)
for word in ("until", "since"):
    apart = 0
    for _ in range(20):
        a, b = ([draw.uniform(-9, 9) for _ in range(12)] for _ in range(2))
        text = f"(a >= 0) {word} (b >= 0)"
        strict = f"(a >= 0) {word} ((a >= 0) and (b >= 0))"
        seen, other = discrete(text, a, b), dense(text, a, b)
        # on steps, dense time reads the left side at both ends: the discrete monitor's value of the stricter formula
        if any(abs(x - y) > 1e-9 for x, y in zip(other, discrete(strict, a, b))):
            raise SystemExit(f"changed: dense {word} is no longer the formula with the left side in the right one")
        apart += sum((x >= 0) != (y >= 0) for x, y in zip(seen, other))
    print(f"{word}: {apart} of 240 verdicts differ between the two on random steps")
    if not apart:
        raise SystemExit(f"changed: no verdict of {word} differs")
PY
