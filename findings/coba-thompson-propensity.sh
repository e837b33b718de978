#!/usr/bin/env bash
# coba==8.1.0 (numpy==2.4.6), Python 3.11.
#
# Question: LinTSLearner (linear Thompson sampling): which probability stands beside a predicted action, and what does
#   score(context, actions, action) return?
# One would guess: the propensity, "P(action|context,actions)" as documented for score; .75 and .25 where one arm is
#   drawn three times as often as the other. A logged environment then has usable propensities.
# Seen: predict draws a weight vector, takes its best action and says probability 1.0 (a rare tie: .5). score draws anew: 1 or 0,
#   another value at the next call with nothing learned between. logged(LinTSLearner()) writes 1.0 in every row.
#   BanditEpsilonLearner and the others, whose distribution does not depend on a draw, are right.
# Consequence: inverse propensity estimates from such logs (eval="ips", ope_rewards("IPS")) are the reward times the
#   share of the action in the log: the worse of two arms, worth .4, comes out as .03; RejectionCB compares with
#   0s and 1s.
# Source: coba/learners/lints.py, LinTSLearner._pmf, handed to coba/learners/utilities.py, PMFPredictor.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'coba==8.1.0' 'numpy==2.4.6'
"$dir/venv/bin/python" - <<'PY'
import random

import numpy as np
from coba.environments import Environments
from coba.evaluators import SequentialCB
from coba.learners import BanditEpsilonLearner, FixedLearner, LinTSLearner
from coba.primitives import SimulatedInteraction

arms, worth = [(1.0, 0.0), (0.0, 1.0)], (0.6, 0.4)
learner = LinTSLearner(features=["a"])
for i in range(40):
    learner.learn(None, arms[i % 2], worth[i % 2], 1.0)
drawn = [learner.predict(None, arms) for _ in range(4000)]
share = np.mean([action == arms[0] for action, _ in drawn])
scores = [learner.score(None, arms, arms[0]) for _ in range(4000)]
print(f"nothing learned between: the better arm is drawn in {share:.2f} of 4,000 predictions, probabilities given "
      f"on average {np.mean([p for _, p in drawn]):.3f}; score of it: {scores[:8]}..., mean {np.mean(scores):.2f}")
coins = np.mean(np.isin(scores, (0.0, 1.0)))
if np.mean([p for _, p in drawn]) < 0.99 or coins < 0.99 or not 0.6 < share < 0.9:
    raise SystemExit("changed: probabilities other than 1, or a score that is not a coin")


class Arms:
    params = {}

    def __init__(self, seed):
        self.seed = seed

    def read(self):
        draw = random.Random(self.seed)
        for _ in range(2000):
            yield SimulatedInteraction(None, arms, [float(draw.random() < w) for w in worth])


def estimates(logger):
    """IPS estimates of always playing the one or the other arm, by coba itself, over ten logs."""
    found = []
    for seed in range(10):
        log = Environments(Arms(seed)).logged(logger)[0]
        rows = list(log.read())
        for i, pmf in enumerate(([1.0, 0.0], [0.0, 1.0])):
            kept = SequentialCB(record=["reward"], learn=None, eval="ips").evaluate(log, FixedLearner(pmf))
            found.append((i, np.mean([row["reward"] for row in kept])))
    stated = [row["probability"] for row in rows]
    print(f"  logged probabilities from {min(stated):.3f} to {max(stated):.3f}")
    return [np.mean([x for i, x in found if i == arm]) for arm in (0, 1)]


print("worth of the arms:", worth)
epsilon = estimates(BanditEpsilonLearner(epsilon=0.2))
print("  IPS from logs of BanditEpsilonLearner(.2):", np.round(epsilon, 3))
thompson = estimates(LinTSLearner(features=["a"]))
print("  IPS from logs of LinTSLearner:            ", np.round(thompson, 3))
if max(abs(np.array(epsilon) - worth)) > 0.05 or thompson[1] > 0.2:
    raise SystemExit("changed: the estimates are another")
PY
