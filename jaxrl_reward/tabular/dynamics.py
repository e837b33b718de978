"""A finite world without rewards, as dense tables: what rewards are compared on.

Rewards are tables `R[s, a, s']` beside it, so that many of them share one world:
`vmap` over rewards leaves the world's own linear systems unbatched. No episode ends
here; `absorbing` turns an end into a state that pays nothing for ever.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular.types import MDP, Dynamics
from jaxrl_reward.types import Array, UserError


class Best(NamedTuple):
    """An optimal policy.

    Attributes:
      actions: one in each state, `[S]` int32.
      values: of each state, `[S]`.
      q: of each action, `[S, A]`.
    """

    actions: Array
    values: Array
    q: Array


@checks.arguments(gamma=checks.FOREVER)
def of(mdp: MDP, gamma: Array | float) -> Dynamics:
    """The dynamics of an MDP in which no episode ends (see `absorbing`).

    Raises:
      UserError: episodes end, or gamma is not below 1.
    """
    known = not any(isinstance(x, Tracer) for x in (mdp.ends, mdp.probability))
    if known and (np.asarray(mdp.ends) & (np.asarray(mdp.probability) > 0)).any():
        raise UserError("dynamics.of needs an MDP without ends: tabular.absorbing(mdp) is one")
    mdp = numerics.same_type(mdp)
    return Dynamics(mdp.transition(), mdp.start, gamma)


def absorbing(mdp: MDP) -> MDP:
    """The same MDP where an end leads to state S, which pays nothing for ever.

    Returns, values and the order of policies stay as they are, for any discount.
    """
    rest = MDP(
        probability=jnp.zeros((1, *mdp.probability.shape[1:]), mdp.probability.dtype)
        .at[..., 0]
        .set(1.0),
        successor=jnp.full((1, *mdp.successor.shape[1:]), mdp.states, mdp.successor.dtype),
        reward=jnp.zeros((1, *mdp.reward.shape[1:]), mdp.reward.dtype),
        ends=jnp.zeros((1, *mdp.ends.shape[1:]), bool),
        start=jnp.zeros(1, mdp.start.dtype),
    )
    moved = mdp.replace(
        successor=jnp.where(mdp.ends, mdp.states, mdp.successor), ends=jnp.zeros_like(mdp.ends)
    )
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), moved, rest)


def reward_table(mdp: MDP) -> Array:
    """`E[R | s, a, s']`, `[S, A, S']`, of an MDP in which no episode ends.

    Where s' cannot follow, the mean of what (s, a) pays: the MDP says nothing of it.
    """
    weight = jax.nn.one_hot(mdp.successor, mdp.states, dtype=mdp.probability.dtype)
    weight = weight * mdp.probability[..., None]
    paid = (weight * mdp.reward[..., None]).sum(2)
    chance = weight.sum(2)
    mean = jnp.broadcast_to(mdp.expected_reward()[..., None], chance.shape)
    return jnp.where(chance > 0, paid / jnp.where(chance > 0, chance, 1.0), mean)


@checks.arguments()
@jax.jit
def values(dynamics: Dynamics, policy: Array, reward: Array) -> Array:
    """The value of each state, `[S]`, of a policy `[S, A]` paid `reward[S, A]`."""
    dynamics, policy, reward = numerics.widest(dynamics, policy, reward)
    return jnp.linalg.solve(_system(dynamics, policy), (policy * reward).sum(-1))


@checks.arguments()
@jax.jit
def occupancy(dynamics: Dynamics, policy: Array) -> Array:
    """The discounted number of visits from `start`, `[S, A]`; it sums to `1 / (1 - gamma)`."""
    dynamics, policy = numerics.widest(dynamics, policy)
    visits = jnp.linalg.solve(_system(dynamics, policy).T, dynamics.start)
    return visits[:, None] * policy


def q_values(dynamics: Dynamics, reward: Array, state_values: Array) -> Array:
    """`[S, A]` from `reward[S, A]` and the values of what follows, `[S]`."""
    return reward + dynamics.gamma * dynamics.expect(state_values)


@checks.arguments(rounds=checks.COUNT)
@jax.jit
def best(
    dynamics: Dynamics, reward: Array, actions: Array | None = None, *, rounds: Array | int = 100
) -> Best:
    """An optimal policy for `reward[S, A]`, by policy iteration (Howard 1960).

    An action is changed only where another is better by more than rounding, so
    that it ends.

    Args:
      dynamics: the world.
      reward: `[S, A]`.
      actions: where it begins, `[S]`; near the end it takes a round or two.
      rounds: the most it takes.
    """
    dynamics, reward = numerics.widest(dynamics, reward)
    size = jnp.finfo(reward.dtype).eps * jnp.abs(reward).max() / (1 - dynamics.gamma)
    begin = jnp.zeros(dynamics.states, jnp.int32) if actions is None else actions

    def improve(carry: tuple[Best, Array, Array]) -> tuple[Best, Array, Array]:
        old, count, _ = carry
        chosen = jax.nn.one_hot(old.actions, dynamics.actions, dtype=reward.dtype)
        value = values(dynamics, chosen, reward)
        q = q_values(dynamics, reward, value)
        kept = jnp.take_along_axis(q, old.actions[:, None], 1)[:, 0]
        better = q.max(-1) > kept + 32 * size
        after = jnp.where(better, q.argmax(-1).astype(jnp.int32), old.actions)
        # When nothing is better, these are the values of the policy that is kept.
        return Best(after, value, q), count + 1, better.any()

    def unfinished(carry: tuple[Best, Array, Array]) -> Array:
        return carry[2] & (carry[1] < rounds)

    zero = jnp.zeros_like(reward)
    start = (Best(begin, zero[:, 0], zero), jnp.int32(0), jnp.bool_(True))
    return jax.lax.while_loop(unfinished, improve, start)[0]


def _system(dynamics: Dynamics, policy: Array) -> Array:
    step = jnp.einsum("sa,sat->st", policy, dynamics.transition)
    return jnp.eye(dynamics.states, dtype=step.dtype) - dynamics.gamma * step
