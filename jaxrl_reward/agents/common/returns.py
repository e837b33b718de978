"""Returns and advantages on blocks `[T, N]`: time, then environments.

Three flags' worth of care: a *terminated* step has no successor value; a
*truncated* one has, that of its true `next_obs`; and after either the next row
belongs to another episode, so nothing may flow back from it. A step that is
both counts as terminated.
"""

import chex
import jax
import jax.numpy as jnp

from jaxrl_reward import rounding
from jaxrl_reward.types import Array


def gae(
    reward: Array,
    value: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    gamma: float | Array,
    lam: float | Array,
) -> tuple[Array, Array]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16).

        delta[t]     = reward[t] + gamma * next_value[t] - value[t]
        advantage[t] = delta[t] + gamma * lam * advantage[t + 1]

    with no `next_value` after termination, and no `advantage[t + 1]` at the end
    of an episode or of the block.

    Args:
      reward: `[T, N]` float32.
      value: V(obs), `[T, N]`.
      next_value: V(true next_obs), `[T, N]`; not `value` moved by one row,
        which at a boundary is the value of another episode.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool.
      gamma: discount, a scalar.
      lam: trace decay, a scalar: 0 is the TD error, 1 the return minus `value`.

    Returns:
      Advantages, and targets for the value (advantage + value), both `[T, N]`.
    """
    _check([reward, value, next_value], [terminated, truncated], [gamma, lam])
    delta = reward + gamma * jnp.where(terminated, 0.0, next_value) - value
    advantage = _backward(delta, terminated | truncated, gamma * lam)
    return advantage, advantage + value


def discounted_returns(
    reward: Array,
    next_value: Array,
    terminated: Array,
    truncated: Array,
    gamma: float | Array,
) -> Array:
    """Discounted return from each step to the end of its episode.

    An episode that is truncated, or runs past the block, is completed with
    `next_value`; zeros give the plain sum of what was observed.

    Args:
      reward: `[T, N]` float32.
      next_value: V(true next_obs), `[T, N]`; read at truncations and on the
        last row only.
      terminated: `[T, N]` bool.
      truncated: `[T, N]` bool.
      gamma: discount, a scalar.

    Returns:
      `[T, N]`.
    """
    _check([reward, next_value], [terminated, truncated], [gamma])
    last_row = jax.lax.broadcasted_iota(jnp.int32, reward.shape, 0) == reward.shape[0] - 1
    bootstrap = ~terminated & (truncated | last_row)
    reward = reward + gamma * jnp.where(bootstrap, next_value, 0.0)
    return _backward(reward, terminated | truncated, gamma)


def _backward(value: Array, last: Array, decay: float | Array) -> Array:
    """`x[t] = value[t] + decay * x[t + 1]`, or `value[t]` alone where `last`."""

    def step(later: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        value, last = now
        # A select: zero times an infinite value of the next episode is not zero.
        total = value + jnp.where(last, 0.0, decay * later)
        return total, total

    start = jnp.zeros_like(value[0])  # not unrolled: on a CPU that was slower
    return jax.lax.scan(step, start, (value, last), reverse=True)[1]


def _check(values: list[Array], flags: list[Array], scalars: list[float | Array]) -> None:
    chex.assert_rank(values, 2)
    chex.assert_equal_shape([*values, *flags])
    chex.assert_type(values, float)
    chex.assert_type(flags, bool)
    chex.assert_rank(scalars, 0)


def explained(target: Array, guess: Array, where: Array | None = None) -> Array:
    """The share of the variance of `target` that `guess` explains; 0 where it has none.

    At most 1, and negative where the mean would be a better guess. The unit of the
    two does not matter. With `where` of what is not 0 there, the first entry among it.
    """
    if where is not None:
        where = where > 0.0
        target, guess = (jnp.where(where, x, x.ravel()[0]) for x in (target, guess))
    some = rounding.varies(target)
    left = jnp.var(target - guess, where=where)
    left = left / jnp.where(some, jnp.var(target, where=where), 1.0)
    return jnp.where(some, 1.0 - left, 0.0)
