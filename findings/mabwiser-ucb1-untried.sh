#!/usr/bin/env bash
# mabwiser==2.7.4 (numpy==2.4.6, pandas==3.1.1, scipy==1.17.1, scikit-learn==1.9.1), Python 3.11.
#
# Question: which arm does LearningPolicy.UCB1 choose where one arm has never been tried?
# One would guess: the untried one. Its bound is infinite; UCB1 plays each arm once first.
# Seen: an arm without data has the bound 0. Where rewards are not negative it is never chosen: in 3,000 rounds the
#   best of three arms (pays .9, the others .2 and .3) is taken 0 times. The same after add_arm. If the other bounds
#   are below 0, it is chosen, so that the sign of the rewards decides whether there is exploration.
# Consequence: UCB1's logarithmic regret turns into linear regret without a word whenever the log that the bandit
#   starts from, or a newly added arm, leaves an arm out.
# Source: mabwiser/ucb.py, _UCB1._fit_arm (no bound is set without counts) and _uptake_new_arm.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'mabwiser==2.7.4' 'numpy==2.4.6' 'pandas==3.1.1' 'scipy==1.17.1' \
    'scikit-learn==1.9.1'
"$dir/venv/bin/python" - <<'PY'
from collections import Counter

import numpy as np
from mabwiser.mab import MAB, LearningPolicy

pays = {"a": 0.2, "b": 0.3, "c": 0.9}


def play(bandit):
    random, counts = np.random.default_rng(0), Counter({arm: 0 for arm in pays})
    for _ in range(3000):
        arm = bandit.predict()
        counts[arm] += 1
        bandit.partial_fit([arm], [int(random.random() < pays[arm])])
    return counts


known = MAB(["a", "b", "c"], LearningPolicy.UCB1(alpha=1), seed=0)
known.fit(["a", "b"], [0, 1])
print("after data of a and b:", known.predict_expectations())
added = MAB(["a", "b"], LearningPolicy.UCB1(alpha=1), seed=0)
added.fit(["a", "b"], [0, 1])
added.add_arm("c")
negative = MAB(["a", "b", "c"], LearningPolicy.UCB1(alpha=1), seed=0)
negative.fit(["a", "b"], [-5, -5])
choices = [play(known), play(added)]
print("choices of 3,000, c there from the start:", dict(choices[0]))
print("choices of 3,000, c added:               ", dict(choices[1]))
print("first choice where a and b paid -5:      ", negative.predict())
if any(counts["c"] for counts in choices) or negative.predict() != "c":
    raise SystemExit("changed: an untried arm has another bound now")
PY
