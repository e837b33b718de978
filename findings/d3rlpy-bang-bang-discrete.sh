#!/usr/bin/env bash
# d3rlpy==2.8.1 (torch==2.13.0, numpy==2.3.5, gymnasium==1.4.0, gym==0.26.2), Python 3.11.
#
# Question: MDPDataset takes 1,000 float32 actions of one dimension in [-1, 1]; in the first episode all of them are -1
#   or 1, as of a saturated (bang-bang) policy. What is the action space, and what does SAC learn to give?
# One would guess: a float array is continuous, as d3rlpy's own ActionSpace says; SAC gives one number.
# Seen: the space is DISCRETE with 2 actions, as the first episode's numbers are whole: neither the type nor any other
#   episode is looked at. SAC, which is for continuous actions, is built without an error and gives 2 numbers an
#   observation. With the first two episodes swapped all is right.
# Consequence: whether a data set of a 1-d task (pendulum, mountain car) trains depends on the order of its episodes; the
#   policy has another shape than the environment, and -1 is an index. MDPDataset(action_space=...) avoids it.
# Source: d3rlpy/dataset/utils.py, detect_action_space: np.all(np.array(actions, dtype=np.int32) == actions).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'torch==2.13.0' \
    'numpy==2.3.5' 'gymnasium==1.4.0' 'h5py==3.16.0' 'structlog==26.1.0' 'click==8.5.1' 'tqdm==4.70.1' \
    'dataclasses-json==0.6.7' 'colorama==0.4.6' 'scikit-learn==1.9.1'
"$dir/venv/bin/pip" install --quiet --no-deps 'd3rlpy==2.8.1' 'gym==0.26.2' 'gym-notices==0.1.0'
"$dir/venv/bin/python" - 2>"$dir/warnings" <<'PY'
import contextlib
import io

import numpy as np

with contextlib.redirect_stdout(io.StringIO()):
    import d3rlpy
    from d3rlpy.constants import ActionSpace
    from d3rlpy.dataset import MDPDataset

rng = np.random.default_rng(0)
obs = rng.normal(size=(1000, 3)).astype(np.float32)
action = rng.uniform(-1, 1, (1000, 1)).astype(np.float32)
action[:100] = np.where(action[:100] < 0, -1, 1)
ends = (np.arange(1000) % 100 == 99).astype(np.float32)


def seen(order, **more):
    with contextlib.redirect_stdout(io.StringIO()):
        rows = np.concatenate([np.arange(100 * i, 100 * i + 100) for i in order])
        data = MDPDataset(obs[rows], action[rows], np.ones(1000, np.float32), ends, **more)
        sac = d3rlpy.algos.SACConfig().create()
        sac.build_with_dataset(data)
        return data.dataset_info.action_space.name, data.dataset_info.action_size, sac.predict(obs[:1]).shape[1]


bang, swapped = seen(range(10)), seen([1, 0, *range(2, 10)])
told = seen(range(10), action_space=ActionSpace.CONTINUOUS)
print("space, size, numbers that SAC gives; float32 actions in [-1, 1], one dimension:")
print("  first episode of -1 and 1:", bang)
print("  the first two swapped:    ", swapped)
print("  told that it is CONTINUOUS:", told)
if bang != ("DISCRETE", 2, 2) or swapped != ("CONTINUOUS", 1, 1) or told != swapped:
    raise SystemExit("changed")
print("as described")
PY
