#!/usr/bin/env bash
# rtamt==0.4.10 (antlr4-python3-runtime==4.7), Python 3.11.
#
# Question: online, after pastify(), what does `historically[0,3] (a >= 0)` ("for the last three steps") contribute
#   when it stands beside a bounded future operator, as in `historically[0,3](a >= 0) and eventually[0,2](b >= 0)`?
# One would guess: the minimum over its window, two steps late, as for `once[0,3]` and `since[0,3]` in its place.
# Seen: nothing but the single sample at the delayed time: the window is dropped without a word, whatever its bounds.
#   The formula gives exactly the values of `... a 2 steps ago ... and eventually[0,2](b >= 0)`, with no past at all.
#   Alone, or with the untimed `historically`, or by evaluate(), the operator is right.
# Consequence: a violation that ended one step ago is not reported; safety held "for the last k steps" always looks met.
# Source: rtamt/pastifier/stl/pastifier.py, visitTimedHistorically: with a delay left it wraps the child, not the
#   historically node that it has just made.
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
    made.declare_var("a", "float")
    made.declare_var("b", "float")
    made.spec = text
    made.parse()
    return made


def offline(text, a, b):
    return [value for _, value in spec(text).evaluate({"time": list(range(len(a))), "a": list(a), "b": list(b)})]


def online(text, a, b):
    made = spec(text)
    made.pastify()
    return [made.update(t, [("a", a[t]), ("b", b[t])]) for t in range(len(a))]


a, b = [5.0, 5, -4, 5, 5, 5, 5, 5, 5], [9.0] * 9
text = "(historically[0,3](a >= 0)) and (eventually[0,2](b >= 0))"
print("a:                              ", a)
print("evaluate, times 0..6:           ", offline(text, a, b)[:7])
print("update, 2 steps later:          ", online(text, a, b)[2:])
once = "(once[0,3](a >= 0)) and (eventually[0,2](b >= 0))"
print("once in its place, evaluate:    ", offline(once, a, b)[:7])
print("once in its place, update:      ", online(once, a, b)[2:])

draw = random.Random(0)
for low, high in ((0, 1), (0, 3), (1, 4), (2, 2)):
    for k in (1, 2, 4):
        a, b = ([draw.uniform(-9, 9) for _ in range(40)] for _ in range(2))
        text = f"(historically[{low},{high}](a >= 0)) and (eventually[0,{k}](b >= 0))"
        right, seen = offline(text, a, b), online(text, a, b)
        for t in range(high + k, 40):
            if seen[t] != min(a[t - k], max(b[t - k : t + 1])):
                raise SystemExit(f"changed: {text} no longer drops the window")
        wrong = sum(seen[t] != right[t - k] for t in range(high + k, 40))
        print(f"{text}: {wrong} of {40 - high - k} values differ from evaluate")
        if not wrong:
            raise SystemExit("changed: no difference left")
        once = text.replace("historically", "once")
        if online(once, a, b)[high + k :] != offline(once, a, b)[high : 40 - k]:
            raise SystemExit("changed: once differs as well")
PY
