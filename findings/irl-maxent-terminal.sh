#!/usr/bin/env bash
# irl-maxent==0.1.0 (numpy==2.4.6, matplotlib==3.11.2), Python 3.11.
#
# Question: maximum entropy IRL on a fork: action 0 leads to the goal, action 1 into a corridor of m states that ends
#   there. The goal is in `terminal`. How does the reward OF THE GOAL, which every path enters once, change
#   local_action_probabilities, and which corridor reward does irl() find for demonstrations of a known one?
# One would guess: not at all, as a path has the probability exp(sum of its rewards) / Z; and the known one.
# Seen: `terminal` only starts the backward pass; afterwards the goal is a state like any other, in which its own loop
#   goes on for a fixed number of steps and is paid, over all its actions, again and again. A path that arrives m steps
#   earlier gains (actions * exp(goal reward)) ** m: with no reward anywhere the corridor of 3 has 1/2 in place of 8/9,
#   with a goal reward of 1 it has .05, of -1 .95. The forward pass (expected_svf_from_policy) does stop at the goal.
#   Without a loop at the goal all is nan. The reward found by irl() is off by log(actions) + goal reward a step: -.5
#   becomes +.19, for two actions.
# Consequence: recovered rewards have a bonus for time spent that the expert does not have, of the wrong sign for
#   small costs; it depends on the number of actions and on the start value given to the goal's weight.
# Source: irl_maxent/maxent.py, local_action_probabilities (zs[terminal] = 1 stands before the loop only; the paper's
#   algorithm adds the one in every iteration).
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'irl-maxent==0.1.0' 'numpy==2.4.6' 'matplotlib==3.11.2'
"$dir/venv/bin/python" - <<'PY'
import numpy as np
from irl_maxent import maxent, optimizer, trajectory


def fork(m, actions):
    """State 0 forks, 1 to m are the corridor, m + 1 is the goal."""
    table = np.zeros((m + 2, m + 2, actions))
    table[0, m + 1, 0] = 1
    table[0, min(1, m + 1), 1:] = 1
    for s in range(1, m + 1):
        table[s, s + 1, :] = 1
    table[m + 1, m + 1, :] = 1
    return table


def exact(m, actions, corridor):
    """Chance of the corridor: all paths counted, each weighted by exp of its rewards."""
    long = (actions - 1) * actions**m * np.exp(corridor * m)
    return long / (1 + long)


for m in (1, 2, 3):
    for actions in (2, 3):
        for corridor in (0.0, -1.0):
            seen = []
            for goal in (-1.0, 0.0, 1.0):
                reward = np.array([0.0] + [corridor] * m + [goal])
                policy = maxent.local_action_probabilities(fork(m, actions), [m + 1], reward)
                seen.append(policy[0, 1:].sum())
                odds = (actions - 1) * np.exp((corridor - goal) * m)
                if abs(seen[-1] - odds / (1 + odds)) > 1e-6:
                    raise SystemExit("changed: the goal is no longer paid for every step saved")
            right = exact(m, actions, corridor)
            print(f"corridor of {m}, {actions} actions, corridor reward {corridor}: chance of it for goal rewards"
                  f" -1, 0, 1: {np.round(seen, 3)}, right {right:.3f} for all")
            if abs(seen[1] - right) < 0.01:
                raise SystemExit("changed: the chance is right")

m, known, runs = 3, -0.5, 10_000
for actions in (2, 3):
    through = round(runs * exact(m, actions, known))
    short = trajectory.Trajectory([(0, 0, m + 1)])
    long = trajectory.Trajectory([(0, 1, 1)] + [(s, 0, s + 1) for s in range(1, m + 1)])
    features = np.zeros((m + 2, 2))
    features[1 : m + 1, 0] = 1
    features[m + 1, 1] = 1
    for start in (0.0, 0.5):
        paths = [short] * (runs - through) + [long] * through
        ascent, first = optimizer.Sga(lr=0.2), optimizer.Constant(start)
        found = maxent.irl(fork(m, actions), features, [m + 1], paths, ascent, first, eps=1e-7, eps_esvf=1e-9)
        print(f"{actions} actions, goal weight {start} at the start: corridor reward {found[1]:+.3f}, known {known}")
        if abs(found[1] - known - np.log(actions) - start) > 0.01:
            raise SystemExit("changed: the reward found is no longer off by log(actions) + goal reward")
PY
