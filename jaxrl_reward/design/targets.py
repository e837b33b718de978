"""What a designed reward must keep: a policy that is optimal, and by how much.

A designed reward `r(s, a)` is *invariant* if every policy that is optimal for it is
optimal for the task. With a target policy pi among the task's optimal ones it is enough
that, for the designed reward, pi loses nothing to any action and at least `gap(s)` is
lost by an action that the task calls worse: all of that is linear in the reward.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.tabular import checks, numerics, planning
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, UserError


class Target(NamedTuple):
    """An optimal policy of a task. All are NumPy arrays.

    Attributes:
      reward: the task's expected reward, `[S, A]`.
      transition: `[S, A, S']`, the rest of the probability ends the episode.
      start: `[S]`.
      gamma: the discount.
      policy: the action of the target policy, the first among equals, `[S]` int.
      optimal: the actions that are optimal for the task, `[S, A]` bool.
      gap: what the best of the other actions loses, `[S]`; 0 where there is none.
      advantage: of the task under the target policy, `[S, A]`, at most 0.
    """

    reward: np.ndarray
    transition: np.ndarray
    start: np.ndarray
    gamma: float
    policy: np.ndarray
    optimal: np.ndarray
    gap: np.ndarray
    advantage: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """`(S, A)`."""
        states, actions = self.reward.shape
        return states, actions

    @property
    def bound(self) -> float:
        """The largest reward that the task pays, in size."""
        return float(np.abs(self.reward).max())


@checks.arguments(vector=False, tolerance=checks.TOLERANCE)
def target(mdp: MDP, gamma: float, tolerance: float = 1e-5) -> Target:
    """The target of a task, by exact planning.

    Args:
      mdp: the task, with one reward.
      gamma: its discount, below 1.
      tolerance: by how much an optimal action may seem worse, as a share of what the
        worst of all actions loses.

    Raises:
      UserError: the discount is not in (0, 1), or the MDP has several rewards.
    """
    if not 0 < gamma < 1:
        raise UserError(f"a design needs a discount above 0 and below 1, not {gamma}")
    reward, transition, start = (
        np.asarray(x, np.float64) for x in (mdp.expected_reward(), mdp.transition(), mdp.start)
    )
    with jax.enable_x64(True):  # the constraints compare small differences
        plan = planning.policy_iteration(numerics.astype(mdp, jnp.float64), gamma)
        optimal = np.asarray(planning.optimal_actions(plan.q, tolerance))
    q = np.asarray(plan.q)
    policy = optimal.argmax(1)
    made = Target(reward, transition, start, gamma, policy, optimal, np.zeros(len(q)), q)
    # Again, as the constraints below see it.
    advantage = -(losses(made) @ reward.reshape(-1)).reshape(q.shape)
    worse = np.where(optimal, np.inf, -advantage).min(1)
    return made._replace(advantage=advantage, gap=np.where(np.isfinite(worse), worse, 0.0))


def losses(to: Target, horizon: int | None = None) -> np.ndarray:
    """`Q(s, pi(s)) - Q(s, a)` of the target policy as a linear map of the reward.

    Args:
      to: the target.
      horizon: Q sums the reward of the action and of the `horizon` steps after it, which
        pi takes; without one, of all steps.

    Returns:
      `[S A, S A]`: from a reward `[S A]` to the losses `[S A]`, state by state.
    """
    states, actions = to.size
    chosen = np.arange(states) * actions + to.policy
    going = to.gamma * to.transition.reshape(states * actions, states)
    own = np.eye(states * actions)
    if horizon is None:
        values = np.linalg.solve(np.eye(states) - going[chosen], own[chosen])
        q = own + going @ values
    else:
        q = own
        for _ in range(horizon):
            q = own + going @ q[chosen]
    return np.repeat(q[chosen], actions, axis=0) - q


def visits(to: Target, policy: np.ndarray) -> np.ndarray:
    """The share of time that a policy `[S, A]` spends in each state, discounted, `[S]`."""
    step = np.einsum("sa,sat->st", policy, to.transition)
    found = np.linalg.solve((np.eye(len(step)) - to.gamma * step).T, to.start)
    return found / found.sum()


def on(states: Sequence[int], to: Target) -> np.ndarray:
    """The basis of the rewards that are 0 but in these states, `[S A, D]`."""
    count, actions = to.size
    columns = [s * actions + a for s in states for a in range(actions)]
    return np.eye(count * actions)[:, columns]


def paying(mdp: MDP, reward: np.ndarray | Array) -> MDP:
    """The MDP that pays `r(s, a)` `[S, A]` (or `[S, A, K]`) in place of its own reward."""
    table = jnp.asarray(reward, mdp.reward.dtype)
    table = table[..., None] if table.ndim == mdp.reward.ndim - 1 else table
    return mdp.replace(reward=jnp.broadcast_to(table, mdp.reward.shape))
