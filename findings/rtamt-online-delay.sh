#!/usr/bin/env bash
# rtamt==0.4.10 (antlr4-python3-runtime==4.7), Python 3.11.
#
# Question: the bounded response of the documentation, `(req >= 1) implies eventually[0,2](gnt >= 1)`, online: after
#   parse() and pastify(), is update(t) the robustness at time t - 2, two being the documented, fixed delay?
# One would guess: yes; a request at time 2 is answered by a grant at 2, 3 or 4, as evaluate() says.
# Seen: the predicate is delayed by 2 twice, the window once: the request of time 2 is held against the grants of 4 to
#   6. A request answered after 1 step is reported as violated, one answered after 3 steps passes. So for `and`, `or`,
#   `implies` and every bound k: a predicate that stands beside a bounded future operator is read k steps too early.
#   Written as `not (req < 1)`, or with the variable alone as the left side, the same formula is right.
# Consequence: an online monitor, and a reward from its robustness, pairs requests with the wrong answers; offline and
#   online disagree on the same trace.
# Source: rtamt/pastifier/stl/pastifier.py, visitPredicate: it hands the whole delay to its children, whose variables
#   take it (visitVariable), and then delays the predicate again.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'rtamt==0.4.10' 'antlr4-python3-runtime==4.7'
"$dir/venv/bin/python" - <<'PY'
import random

import rtamt


def spec(text):
    made = rtamt.StlDiscreteTimeSpecification()
    made.declare_var("req", "float")
    made.declare_var("gnt", "float")
    made.spec = text
    made.parse()
    return made


def offline(text, req, gnt):
    data = {"time": list(range(len(req))), "req": list(req), "gnt": list(gnt)}
    return [value for _, value in spec(text).evaluate(data)]


def online(text, req, gnt):
    made = spec(text)
    made.pastify()
    return [made.update(t, [("req", req[t]), ("gnt", gnt[t])]) for t in range(len(req))]


response = "(req >= 1) implies eventually[0,2](gnt >= 1)"
req = [0.0, 0, 2, 0, 0, 0, 0, 0, 0]
for answer in (3, 5):
    gnt = [2.0 if t == answer else 0.0 for t in range(9)]
    right, seen = offline(response, req, gnt)[2:7], online(response, req, gnt)[4:]
    print(f"request at 2, grant at {answer}: times 2..6 by evaluate {right}, by update 2 steps later {seen}")
    if (min(right) < 0) == (min(seen) < 0):
        raise SystemExit("changed: update agrees with evaluate on the bounded response")

draw = random.Random(0)
for text, join in (
    ("(req >= 1) and eventually[0,{k}](gnt >= 1)", min),
    ("(req >= 1) or eventually[0,{k}](gnt >= 1)", max),
    ("(req >= 1) implies eventually[0,{k}](gnt >= 1)", lambda a, b: max(-a, b)),
):
    for k in (1, 2, 3, 5):
        a, b = ([draw.uniform(-9, 9) for _ in range(40)] for _ in range(2))
        formula = text.format(k=k)
        seen = online(formula, a, b)
        for t in range(2 * k, 40):
            ahead = max(b[t - k : t + 1]) - 1
            if abs(seen[t] - join(a[t - 2 * k] - 1, ahead)) > 1e-9:
                raise SystemExit(f"changed: {formula} no longer reads the predicate at t - {2 * k}")
        right = offline(formula, a, b)
        wrong = sum(seen[t] != right[t - k] for t in range(2 * k, 40))
        print(f"{formula}: {wrong} of {40 - 2 * k} values differ from evaluate")
        if not wrong:
            raise SystemExit("changed: no difference left")

other = "not (req < 1) and eventually[0,2](gnt >= 1)"
print("right when written as a negation:", online(other, a, b)[4:] == offline(other, a, b)[2:38])
PY
