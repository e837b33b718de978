#!/usr/bin/env bash
# d3rlpy==2.8.1 (torch==2.13.0, numpy==2.4.6), Python 3.11.
#
# Question: DiscreteBCQ keeps to actions whose imitated probability is at least 0.3 of the likeliest one's
#   (action_flexibility). Data in which one action never occurs, all others alike, every step paying -1: does its greedy
#   policy ever take the action that nobody has taken?
# One would guess: no, that is what the algorithm is for; the imitator learns a probability near 0 for it.
# Seen: yes, in every state. The imitator's loss adds beta * mean(log p ** 2), and beta is 0.5 by default (the paper's
#   program has 0.01, on logits): an action that is never in the data keeps half or more of the probability of those that
#   are, so the threshold of 0.3 excludes nothing, and the value that no step has corrected wins. With beta=0.01 it is
#   excluded.
# Consequence: DiscreteBCQ with its defaults is unconstrained Q-learning where there are few actions, and DiscreteBC's
#   probabilities, of the same loss, are none of the data's.
# Source: d3rlpy/models/torch/imitators.py, compute_discrete_imitation_loss; algos/qlearning/bcq.py, beta: float = 0.5.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'd3rlpy==2.8.1' 'torch==2.13.0' 'numpy==2.4.6'
cd "$dir"
"$dir/venv/bin/python" - 2>/dev/null <<'PY'
import d3rlpy
import numpy as np
import structlog
import torch
from d3rlpy.logging import NoopAdapterFactory

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
torch.set_num_threads(1)
d3rlpy.seed(0)
STATES = np.eye(3, dtype=np.float32)


def fitted(actions, **settings):
    """Greedy actions in three states and the imitator's probabilities; the last action is never in the data."""
    rng = np.random.default_rng(0)
    episodes = []
    for _ in range(300):
        obs, action = STATES[[rng.integers(0, 3)]], np.array([[rng.integers(0, actions - 1)]])
        episodes.append(d3rlpy.dataset.Episode(obs, action, np.array([[-1.0]], np.float32), True))
    data = d3rlpy.dataset.ReplayBuffer(
        d3rlpy.dataset.InfiniteBuffer(), episodes=episodes, action_size=actions,
        action_space=d3rlpy.ActionSpace.DISCRETE,
    )
    config = d3rlpy.algos.DiscreteBCQConfig(learning_rate=3e-3, target_update_interval=100, **settings)
    algo = config.create(device="cpu:0")
    algo.fit(data, 600, 600, show_progress=False, logger_adapter=NoopAdapterFactory(), save_interval=10**9)
    probability = algo.impl.modules.imitator(torch.tensor(STATES)).probs.detach().numpy()
    return algo.predict(STATES), probability.mean(0)


for actions in (2, 4):
    for settings in ({}, {"beta": 0.01}):
        greedy, probability = fitted(actions, **settings)
        words = "beta=0.01" if settings else "defaults"
        print(f"{actions} actions, {words}: greedy {greedy}, imitated {probability.round(3)}")
        unseen = bool((greedy == actions - 1).all())
        if unseen == bool(settings):
            raise SystemExit(f"changed: {actions} actions, {words}: greedy {greedy}")
print("as described")
PY
