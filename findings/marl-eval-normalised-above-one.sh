#!/usr/bin/env bash
# id-marl-eval==0.0.4 (without its plotting packages: colorama==0.4.6, numpy==2.4.6), Python 3.11.
#
# Question: data_process_pipeline min/max-normalises a metric with the smallest and largest value found in the task. In
#   which range are the results, and do they depend on the order in which runs and steps stand in the file?
# One would guess: from 0 to 1, the best value of all being 1; and no.
# Seen: values above 1. A step whose list holds a new smallest AND a new largest value moves the smallest only; the
#   largest stays what it was, unless a later list beats it without being lower as well. Returns [1, 2], [0, 5], [1, 3]
#   reach 1.67 (5 by a largest value of 3); [0, 5], [1, 2], [1, 3] reach 1. With one value a step it cannot happen.
# Consequence: scores, IQM and optimality gap (1 less the score) of the rliable step are on a scale set by the order of
#   the runs; the same algorithm scores differently when another one stands before it in the file.
# Source: marl_eval/utils/data_processing_utils.py, data_process_pipeline, _compare_values (elif for the maximum).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-deps 'id-marl-eval==0.0.4' 'colorama==0.4.6' 'numpy==2.4.6'
"$dir/venv/bin/python" - <<'PY'
import numpy as np
from marl_eval.utils.data_processing_utils import data_process_pipeline


def normalised(algorithms):
    """algorithms: name -> runs -> steps -> returns of the evaluation episodes."""
    table = {}
    for name, runs in algorithms.items():
        table[name] = {}
        for i, steps in enumerate(runs):
            run = {f"step_{j}": {"step_count": j, "return": list(x)} for j, x in enumerate(steps)}
            table[name][f"seed_{i}"] = run | {"absolute_metrics": {"return": list(steps[-1])}}
    done = data_process_pipeline({"env": {"task": table}}, ["return"])["env"]["task"]
    return {
        name: [
            [run[f"step_{j}"]["norm_return"] for j in range(len(steps))]
            for run, steps in zip(done[name].values(), runs)
        ]
        for name, runs in algorithms.items()
    }


for steps in ([[1, 2], [0, 5], [1, 3]], [[0, 5], [1, 2], [1, 3]], [[1], [2], [0], [5], [3]]):
    found = normalised({"agent": [steps]})["agent"][0]
    print("returns", steps, "normalised", [[round(x, 3) for x in row] for row in found])
first = normalised({"agent": [[[1, 2], [0, 5], [1, 3]]]})["agent"][0]
if abs(first[1][1] - 5 / 3) > 1e-4:
    raise SystemExit("changed: [1, 2], [0, 5], [1, 3] no longer reaches 1.67")

one, two = [[[1, 2]]], [[[0, 5], [1, 3]]]
after = normalised({"one": one, "two": two})["one"][0][0]
before = normalised({"two": two, "one": one})["one"][0][0]
print("the returns 1 and 2 of an algorithm, another one standing after it:", np.round(after, 3))
print("                                                     and before it:", np.round(before, 3))
draw = np.random.default_rng(0)
above = 0
for _ in range(200):
    runs = {name: [[draw.normal(size=8) * (j + 1) for j in range(3)] for _ in range(3)] for name in "ab"}
    above += max(np.max(run) for found in normalised(runs).values() for run in found) > 1.001
print(f"{above} of 200 random tables have values above 1")
if not above or np.allclose(before, after):
    raise SystemExit("changed: within 0 and 1, whatever the order")
PY
