#!/usr/bin/env bash
# mabwiser==2.7.4 (numpy==2.4.6, pandas==3.1.1, scipy==1.17.1, scikit-learn==1.9.1), Python 3.11.
#
# Question: how often does LearningPolicy.Softmax(tau=1) choose an arm, and what does predict_expectations return?
# One would guess: with the documented probability exp(mean / tau) / sum, which predict_expectations returns.
# Seen: predict draws a vector from a Dirichlet distribution whose parameters are those probabilities, and takes its
#   largest entry; predict_expectations returns that random vector. The chance that an entry is the largest is not its
#   parameter: likely arms are chosen more often, unlikely ones less: means 0 and 3 give .968 for .953 (the rare arm
#   loses a third of its share); nine arms at 0 and one at 3 give .74 for .69. Popularity does the same.
# Consequence: exploration is less than the temperature says, and off-policy estimates that take the documented
#   propensities, or predict_expectations as propensities, are biased.
# Source: mabwiser/softmax.py, _Softmax.predict_expectations; the same in mabwiser/popularity.py.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'mabwiser==2.7.4' 'numpy==2.4.6' 'pandas==3.1.1' 'scipy==1.17.1' \
    'scikit-learn==1.9.1'
"$dir/venv/bin/python" - <<'PY'
import numpy as np
from mabwiser.mab import MAB, LearningPolicy

draws = 20_000
for means, least in (([0, 3], 0.008), ([0] * 9 + [3], 0.03)):
    arms = list(range(len(means)))
    bandit = MAB(arms, LearningPolicy.Softmax(tau=1), seed=0)
    bandit.fit(arms, means)
    stated = np.exp(means) / np.exp(means).sum()
    chosen = np.mean([bandit.predict() == arms[-1] for _ in range(draws)])
    error = np.sqrt(stated[-1] * (1 - stated[-1]) / draws)
    print(f"means {means}: best arm stated {stated[-1]:.3f}, chosen {chosen:.3f} ({(chosen - stated[-1]) / error:.0f} errors off)")
    if chosen - stated[-1] < least:
        raise SystemExit("changed: Softmax chooses with the stated probability")
first, second = bandit.predict_expectations(), bandit.predict_expectations()
print("two calls of predict_expectations for the best arm:", round(first[9], 3), round(second[9], 3))
if first == second:
    raise SystemExit("changed: predict_expectations no longer draws")
PY
