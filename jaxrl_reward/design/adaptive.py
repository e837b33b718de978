"""Rewards designed anew for what the learner does now.

ExpAdaRD: Devidze, Kamalaruban and Singla 2024, "Informativeness of Reward Functions in
Reinforcement Learning". The teacher knows the target policy and the learner's; a reward
is informative if one step of a policy gradient on it improves the learner most:

    I(R | L) = sum_{s, a} mu_T(s) mu_L(s) L(a|s)^2 (A(s, a) - A(s, L)) (R(s, a) - R(s, L))

with A the task's advantage under the target policy, mu the shares of time that target and
learner spend in a state, and X(s, L) the mean of X(s, .) over the learner's actions. It is
the paper's criterion at horizon 1, where it is linear in R.
"""

import numpy as np

from jaxrl_reward.design.informative import invariant, solve
from jaxrl_reward.design.targets import Target, on, visits


def gradient(to: Target, learner: np.ndarray) -> np.ndarray:
    """`d I / d R`, `[S, A]`, of a learner's policy `[S, A]`; `I = sum(gradient * R)`."""
    learner = np.asarray(learner, np.float64)
    expert = np.eye(to.size[1])[to.policy]
    better = to.advantage - (learner * to.advantage).sum(1, keepdims=True)
    weight = (visits(to, expert) * visits(to, learner))[:, None] * learner**2 * better
    return weight - learner * weight.sum(1, keepdims=True)


def adapted(
    to: Target,
    learner: np.ndarray,
    *,
    basis: np.ndarray | None = None,
    bound: float | None = None,
) -> np.ndarray:
    """The invariant reward `[S, A]` that is most informative for a learner.

    Args:
      to: the target.
      learner: its policy, probabilities `[S, A]`.
      basis: of the rewards to choose from, `[S A, D]` (`on`); all by default.
      bound: the largest reward, in size; the task's by default.

    Raises:
      UserError: no reward of the basis is invariant.
    """
    basis = on(range(to.size[0]), to) if basis is None else basis
    matrix, vector = invariant(to, basis)
    slope = gradient(to, learner)
    # Only the direction counts.
    slope = slope / (np.abs(slope).max() or 1.0)
    return solve(to, basis, -(slope.reshape(-1) @ basis), matrix, vector, bound)
