"""A reward expression on a finite MDP: its value for every outcome."""

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import RewardTransform, State
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, Transition, UserError


def tabulate(
    reward: RewardTransform,
    mdp: MDP,
    observations: Array | None = None,
    state: State | None = None,
) -> MDP:
    """The MDP that pays `reward` in place of its own.

    Args:
      reward: an expression without a memory; a learned one is read as it is.
      mdp: the MDP.
      observations: what is seen in each state, `[S, ...]`; one-hot by default.
      state: the expression's state; as initialised by default.

    Returns:
      The MDP with rewards `[S, A, K]` (`[S, A, K, m]` of a `stack`).

    Raises:
      UserError: the expression remembers, so one step does not tell its reward.
    """
    needs = remembers(reward)
    if needs is not None:
        raise UserError(f"{needs} depends on more than one step: it has no table")
    if mdp.reward.ndim > 3:
        raise UserError("an expression needs an MDP with one reward, not a vector")
    shape = mdp.probability.shape
    if observations is None:
        observations = jnp.eye(mdp.states, dtype=mdp.reward.dtype)
    before, action, _ = jnp.indices(shape, dtype=jnp.int32)
    column = lambda x: x.reshape(-1, 1, *x.shape[3:])  # noqa: E731, a block [S A K, 1]
    paid = column(mdp.reward)
    no = jnp.zeros(paid.shape, bool)
    block = Transition(
        obs=column(observations[before]),
        action=column(action),
        env_reward=paid,
        reward=paid,
        next_obs=column(observations[mdp.successor]),
        first=no,
        terminated=column(mdp.ends),
        truncated=no,
    )
    if state is None:
        state = reward.init(jax.random.key(0), block)
    table = reward.apply(state, block).reward
    return mdp.replace(reward=table.reshape(*shape, *table.shape[2:]))


def remembers(reward: RewardTransform) -> RewardTransform | None:
    """The first term whose value depends on more than one step, None if none does."""
    if reward.scope in ("causal", "episodic"):
        return reward
    found = map(remembers, reward.children())
    return next((term for term in found if term is not None), None)
