#!/usr/bin/env bash
# mdpsolver==0.10.2 (numpy==2.4.6 for the check), Python 3.11.
#
# Question: solve(criterion="average", algorithm="vi") with update="gs" or "sor", both documented as update methods
#   beside the two criteria: does it find the policy of the largest mean reward, as update="standard" does?
# One would guess: yes; with a discount all three give the same policy and values, and Gauss-Seidel is a way to get
#   there sooner.
# Seen: a worse policy in a quarter of small random problems for gs, in a third for sor, without a word. Within a sweep
#   a value already holds this sweep's reward, so steps to earlier states take no time (sor leaves out the time spent
#   in staying, too): a loop of two steps that pays 1.5 beats staying for 1 a step, .75 against 1. The stopping rule
#   (largest change) cannot be met by values that grow for ever; it ends at 1,000,000 sweeps, which only verbose=True
#   tells, and getValueVector is of the order of a million times the mean reward.
# Consequence: an option chosen for speed takes longer (half a second for two states) and returns a policy that is not
#   optimal, for another problem whose clock depends on the order of the states.
# Source: ModifiedPolicyIteration.cpp, solve (vpOld = vp; the supremum norm in place of the span) and
#   valueIterationSORGenMDP.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3.11 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet 'mdpsolver==0.10.2' 'numpy==2.4.6'
"$dir/venv/bin/python" - <<'PY'
import itertools

import mdpsolver
import numpy as np


def solve(moves, rewards, update, **keywords):
    model = mdpsolver.model()
    model.mdp(discount=0.95, rewards=rewards.tolist(), tranMatWithZeros=moves.tolist())
    model.solve(algorithm="vi", update=update, tolerance=1e-6, parallel=False, **keywords)
    return list(model.getPolicy()), np.array(model.getValueVector())


def gain(moves, rewards, policy):
    """Mean reward a step, from the stationary distribution."""
    rows = np.arange(len(policy))
    chain, paid = moves[rows, policy], rewards[rows, policy]
    system = np.vstack([chain.T - np.eye(len(rows)), np.ones(len(rows))])
    return float(np.linalg.lstsq(system, np.append(np.zeros(len(rows)), 1.0), rcond=None)[0] @ paid)


moves = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]])
rewards = np.array([[1.0, 0.0], [1.5, 1.5]])
print("stay for 1 a step, or go (0) and come back (1.5), so .75 a step:")
for update in ("standard", "gs"):
    policy, values = solve(moves, rewards, update, criterion="average")
    print(f"  {update:8s} chooses {('stay', 'go')[policy[0]]}, values {np.round(values, 2)}")
    if policy[0] != (update == "gs"):
        raise SystemExit(f"changed: {update} chooses otherwise")
    policy, _ = solve(moves, rewards, update, criterion="discounted")
    if policy[0]:
        raise SystemExit("changed: with a discount of .95 going is chosen")

worse = {"standard": 0, "gs": 0, "sor": 0}
for seed in range(20):
    draw = np.random.default_rng(seed)
    moves, rewards = draw.dirichlet(np.ones(4), size=(4, 2)), draw.normal(size=(4, 2))
    best = max(gain(moves, rewards, list(p)) for p in itertools.product(range(2), repeat=4))
    found = {u: gain(moves, rewards, solve(moves, rewards, u, criterion="average")[0]) for u in worse}
    for update, mean in found.items():
        worse[update] += mean < best - 1e-9
    same = [solve(moves, rewards, u, criterion="discounted") for u in worse]
    if any(p != same[0][0] or abs(v - same[0][1]).max() > 1e-3 for p, v in same):
        raise SystemExit("changed: with a discount the three differ")
    if seed < 6:
        print(f"random problem {seed}: best mean reward {best:.3f}, of the policies found "
              + ", ".join(f"{u} {x:.3f}" for u, x in found.items()))
print("worse than the best, of 20 problems:", worse)
if worse["standard"] or not worse["gs"] or not worse["sor"]:
    raise SystemExit("changed: standard is not always right, or gs and sor are")
PY
