#!/usr/bin/env bash
# metric-temporal-logic==0.4.1 (module mtl; discrete-signals==0.8.3), Python 3.11.
#
# Question: what does `F[2,2] p` (or `G[2,2] p`), "p holds in exactly two time units", mean?
# One would guess: p, read two time units later.
# Seen: an interval of one point is dropped: `F[k,k] p` and `G[k,k] p` are p itself, NOW, for every k. `F[2,2.5] p`,
#   a hair wider, does look ahead. The timed until `(a U[lo,hi] b)` is
#   built from `G[lo,lo]` (read in the source), so that for lo > 0 it asks for its until now instead of at lo.
# Consequence: deadlines "exactly k steps later" are judged on the present: true and false change places silently.
# Source: mtl/evaluator.py, eval_mtl_g (the branch for b == a does not shift); mtl/sugar.py, timed_until.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'metric-temporal-logic==0.4.1' 'discrete-signals==0.8.3'
"$dir/venv/bin/python" - <<'PY'
import mtl

trace = {"p": [(0, False), (1, False), (2, True), (3, False)]}


def at(text, times=(0, 1, 2, 3)):
    return [mtl.parse(text)(trace, time=t, quantitative=False) for t in times]


now = at("p")
for text in ("p", "F[1,1] p", "F[2,2] p", "G[2,2] p", "F[2,2.5] p"):
    print(f"{text:12s} at times 0..3: {at(text)}")
print("right for [2,2]:            [True, False, False, False]")
if any(at(f"{op}[{k},{k}] p") != now for op in "FG" for k in (1, 2, 3)) or not at("F[2,2.5] p")[0]:
    raise SystemExit("changed: an interval of one point is no longer the present")
print("as described: an interval of one point is read at the present")
PY
