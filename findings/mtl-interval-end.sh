#!/usr/bin/env bash
# metric-temporal-logic==0.4.1 (module mtl; discrete-signals==0.8.3), Python 3.11.
#
# Question: on a trace with a value at each whole time, which samples does `F[0,2] p` read ("within the next two time
#   units")? And from when is `G[2,3] p` false if p becomes false at time 4?
# One would guess: the interval is closed, as it is written: times t, t+1, t+2; and false from time 1 on.
# Seen: the upper end is left out: `F[0,2] p` reads t and t+1 only, also with dt=1, while `F[0,2.1] p` reads all three.
#   With a lower bound above zero the changes in the middle are not seen either: `G[2,3] p` stays true until time 2,
#   although p is false from 4 on, which time 1.5 already reaches (1.5 + 3 = 4.5).
# Consequence: on discrete time a deadline of k steps is one of k - 1; `F[0,1] p` is p; a violated window passes.
# Source: mtl/evaluator.py, eval_mtl_g (the pivot t - b - a + dt), with discrete_signals' half-open slices in rolling.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'metric-temporal-logic==0.4.1' 'discrete-signals==0.8.3'
"$dir/venv/bin/python" - <<'PY'
import mtl

event = {"p": [(0, False), (1, False), (2, True), (3, False)]}
spell = {"p": [(0, False), (2, True), (4, False)]}


def at(text, trace, times, **keywords):
    return [mtl.parse(text)(trace, time=t, quantitative=False, **keywords) for t in times]


print("p at times 0..3:         ", at("p", event, range(4)))
for text in ("F[0,1] p", "F[0,2] p", "F[0,2.1] p"):
    print(f"{text:11s} at times 0..3:", at(text, event, range(4)), "with dt=1:", at(text, event, range(4), dt=1))
print("right for [0,2]:          [True, True, True, False]")
window = at("G[2,3] p", spell, (0, 1, 1.5, 2))
print("p true on [2, 4): G[2,3] p at 0, 1, 1.5, 2:", window, "- right: [True, False, False, False]")
half_open = [False, True, True, False]
if at("F[0,2] p", event, range(4)) != half_open or at("F[0,2] p", event, range(4), dt=1) != half_open:
    raise SystemExit("changed: the upper end is read now")
if at("F[0,1] p", event, range(4)) != at("p", event, range(4)) or not at("F[0,2.1] p", event, [0])[0]:
    raise SystemExit("changed: F[0,1] or F[0,2.1] reads other samples")
if window != [True, True, True, False]:
    raise SystemExit("changed: G[2,3] sees the change inside its window")
print("as described")
PY
