#!/usr/bin/env bash
# ReplayTables-andnp==8.0.0 (discrete-dists==1.4.0, numpy==2.4.6, lz4==4.3.3; numba left out), Python 3.11.
#
# Question: ReplayBuffer(lag=3) stores 3-step transitions. What does it hold after an episode of 1 or 2 steps that ends
#   with terminal=True?
# One would guess: as at the end of a longer episode, whose last steps come with shorter sums and gamma 0: one row per
#   step, all terminal.
# Seen: nothing. An episode of fewer steps than the lag is dropped without a word, its reward too; one of exactly the
#   lag's length is complete. So for every lag above 1, and for PrioritizedReplay.
# Consequence: early failures (and early successes) never reach the learner: in a task where a fall at once is possible
#   the worst actions have no data, and the stored returns are those of the longer episodes only.
# Source: ReplayTables/ingress/LagBuffer.py, _build_timesteps: it returns while idx <= lag, at the end as well, and add
#   then flushes.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-deps 'ReplayTables-andnp==8.0.0' 'discrete-dists==1.4.0' 'numpy==2.4.6' \
    'lz4==4.3.3'
"$dir/venv/bin/python" - <<'PY'
import numpy as np
from ReplayTables.interface import Timestep
from ReplayTables.PER import PrioritizedReplay
from ReplayTables.ReplayBuffer import ReplayBuffer


def episode(buffer, steps):
    rows = []
    for t in range(steps + 1):
        end = t == steps
        state = None if end else np.array([float(t)])
        rows += buffer.add_step(Timestep(state, 0, None if t == 0 else 1.0, 0.0 if end else 0.9, end))
    return [(int(row.x[0]), round(float(row.r), 2), bool(row.terminal)) for row in rows]


print("rows (state, n-step reward, terminal) of one episode with reward 1 a step, gamma .9, lag 3:")
for steps in range(1, 6):
    print(f"  {steps} steps:", episode(ReplayBuffer(100, 3, np.random.default_rng(0)), steps))
for kind in (ReplayBuffer, PrioritizedReplay):
    for lag in (1, 2, 3, 5, 10):
        for steps in range(1, 13):
            stored = len(episode(kind(100, lag, np.random.default_rng(0)), steps))
            if stored != (steps if steps >= lag else 0):
                raise SystemExit(f"changed: lag {lag}, {steps} steps: {stored} rows")

draw = np.random.default_rng(0)
for lag in (1, 3, 5):
    buffer, paid, lengths, stored = ReplayBuffer(100_000, lag, np.random.default_rng(0)), 0, [], []
    for _ in range(2000):
        steps = int(draw.geometric(0.3))
        lengths.append(steps)
        stored += [steps] if episode(buffer, steps) else []
    print(f"lag {lag}, 2,000 episodes, a fall with chance .3 a step: mean length {np.mean(lengths):.2f}, of the stored "
          f"ones {np.mean(stored):.2f} ({len(stored)} episodes)")
print("as described")
PY
