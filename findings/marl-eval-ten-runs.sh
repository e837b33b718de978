#!/usr/bin/env bash
# id-marl-eval==0.0.4 (without its plotting packages: colorama==0.4.6, numpy==2.4.6), Python 3.11.
#
# Question: how wide is the 95 % interval of get_and_aggregate_data_single_task ("mean and 95% CI over all independent
#   experiment runs", the shaded band of plot_single_task) for n runs?
# One would guess: 1.96 standard deviations of the runs, divided by the root of n.
# Seen: divided by the root of 10, whatever n is. Three runs give a band .55 of that width (and .45 of it with the
#   sample deviation, as np.std divides by n), thirty runs one of 1.73. Only ten runs give the band named.
# Consequence: with 3 or 5 seeds the bands look half as wide as they are and curves seem apart that are not: of 3 normal
#   runs the band holds the true mean in some 50 % of cases; adding seeds beyond ten makes nothing narrower.
# Source: marl_eval/utils/data_processing_utils.py, get_and_aggregate_data_single_task (np.sqrt(10)).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-deps 'id-marl-eval==0.0.4' 'colorama==0.4.6' 'numpy==2.4.6'
"$dir/venv/bin/python" - <<'PY'
import math

import numpy as np
from marl_eval.utils.data_processing_utils import data_process_pipeline, get_and_aggregate_data_single_task


def band(scores):
    runs = {
        f"seed_{i}": {"step_0": {"step_count": 0, "return": [float(x)]}, "absolute_metrics": {"return": [float(x)]}}
        for i, x in enumerate(scores)
    }
    done = data_process_pipeline({"env": {"task": {"agent": runs}}}, [])
    found = get_and_aggregate_data_single_task(done, "return", [], "task", "env")["agent"]
    return found["mean"][0], found["ci"][0]


draw = np.random.default_rng(0)
for n in (2, 3, 5, 10, 30, 100):
    scores = draw.normal(size=n)
    half = band(scores)[1]
    stated = 1.96 * scores.std() / math.sqrt(n)
    print(f"{n:3d} runs: half width {half:.3f}, 1.96 std / sqrt(n) {stated:.3f}, ratio {half / stated:.2f}")
    if abs(half / stated - math.sqrt(n / 10)) > 1e-9:
        raise SystemExit(f"changed: the width no longer is the one for ten runs ({n} runs)")
for n in (3, 5, 10, 30):
    held = 0
    for _ in range(1000):
        mean, half = band(draw.normal(size=n))
        held += abs(mean) <= half
    print(f"{n:3d} normal runs: the band holds the true mean in {held / 10:.1f} % of 1,000 cases")
    if n == 3 and held > 650 or n == 30 and held < 990:
        raise SystemExit("changed: the coverage is another")
PY
