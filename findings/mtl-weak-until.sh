#!/usr/bin/env bash
# metric-temporal-logic==0.4.1 (module mtl; discrete-signals==0.8.3), Python 3.11.
#
# Question: what is `(a W b)`, a weak until, where b never comes and a is false?
# One would guess: false. Weak until holds if a holds until b, or a holds for ever.
# Seen: wherever b does not hold from now on, `(a W b)` is true, whatever a is. Against the definition on all
#   traces of four steps it is wrong in 155 of 1,024 places. `(a U b)` has the right truth value, but its robustness
#   (quantitative=True) can be wrong, since it is computed through W, where b's best value ahead enters negated.
# Consequence: a safety property "a until released" never fails as long as the release does not come, and rewards by
#   the robustness of an until rate failing traces too high.
# Source: mtl/evaluator.py, apply_weak_until (the term -max_right).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'metric-temporal-logic==0.4.1' 'discrete-signals==0.8.3'
"$dir/venv/bin/python" - <<'PY'
import itertools

import mtl

weak, until = mtl.parse("(a W b)"), mtl.parse("(a U b)")


def by_definition(a, b, t):
    for left, right in zip(a[t:], b[t:]):
        if right or not left:
            return right
    return True


wrong, places, excused = 0, 0, 0
for flags in itertools.product([False, True], repeat=8):
    a, b = list(flags[:4]), list(flags[4:])
    trace = {"a": list(enumerate(a)), "b": list(enumerate(b))}
    for t in range(4):
        said, right = weak(trace, time=t, quantitative=False), by_definition(a, b, t)
        places += 1
        wrong += said != right
        excused += said != right and said and not any(b[t:])
trace = {"a": [(0, False), (1, False)], "b": [(0, False), (1, False)]}
always_false = weak(trace, time=0, quantitative=False)
print("(a W b) where a and b are always false:", always_false)
print(f"all traces of four steps: wrong in {wrong} of {places} places, {excused} of them true with no b ahead")
trace = {"a": [(0, -6), (1, 1)], "b": [(0, -5), (1, -3)]}
robustness = until(trace, time=0, quantitative=True)
print("robustness of (a U b) for a = -6, 1 and b = -5, -3:", robustness, "- by definition max(-5, min(-3, -6)) = -5")
if not always_false or wrong == 0 or wrong != excused or robustness != -3:
    raise SystemExit("changed: the weak until or the robustness of until is another one now")
PY
