"""How steep rewards and critics are: measured along trajectories, and bounds on it.

The reward's slope delta, the dynamics' A (of s' by state and action) and the policy's B
bound the slope of the value of a deterministic policy in a deterministic world. Blonde
et al. 2022 (arXiv:2006.16785) give `delta / sqrt(1 - gamma^2 A^2 max(1, B^2))`, which
squares a sum as if it were one of squares: `published_bound` is here to be logged,
and linear systems exceed it. `bound` holds.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl_reward.types import Array


def slopes(function: Callable[..., Array], *inputs: Array) -> Array:
    """The length of a function's gradient by all of its inputs, at each row, `[B]`.

    Args:
      function: of ONE row of each input, a scalar: a critic, or a discriminator's logit.
      *inputs: `[B, ...]` each, such as observations and actions.
    """
    gradients = jax.vmap(jax.grad(function, argnums=tuple(range(len(inputs)))))(*inputs)
    count = inputs[0].shape[0]
    return jnp.sqrt(sum(jnp.square(g.reshape(count, -1)).sum(-1) for g in gradients))


def local_constants(
    function: Callable[..., Array], key: Array, radius: ArrayLike, *inputs: Array, draws: int = 16
) -> Array:
    """The steepest of some secants from each row to points near it, `[B]`.

    A lower bound of the local Lipschitz constant, of any function: of a reward
    expression too, which lets no gradient through, and of one with jumps.

    Args:
      function: from rows `[B, ...]` of each input to numbers `[B]`.
      key: for the directions.
      radius: how far away the points are.
      *inputs: `[B, ...]` each.
      draws: points for each row.
    """
    here, count = function(*inputs), inputs[0].shape[0]

    def secant(key: Array) -> Array:
        keys = jax.random.split(key, len(inputs))
        steps = [jax.random.normal(k, x.shape) for k, x in zip(keys, inputs, strict=True)]
        length = jnp.sqrt(sum(jnp.square(s.reshape(count, -1)).sum(-1) for s in steps))
        scale = radius / jnp.maximum(length, 1e-12)
        near = [
            x + s * scale.reshape(-1, *(1,) * (x.ndim - 1))
            for x, s in zip(inputs, steps, strict=True)
        ]
        return jnp.abs(function(*near) - here) / radius

    return jax.lax.map(secant, jax.random.split(key, draws)).max(0)


def bound(
    reward: ArrayLike,
    dynamics: ArrayLike,
    policy: ArrayLike,
    gamma: ArrayLike,
    horizon: int | None = None,
) -> Array:
    """A slope that the value `Q(s, a)` never exceeds; infinite if it may grow for ever.

    With `c = gamma A sqrt(1 + B^2)` it is `delta sum_k c^k`: each step back multiplies
    the slope by at most A, and by `sqrt(1 + B^2)` as the action follows the state.

    Args:
      reward: delta, the most that the reward rises per unit of state and action.
      dynamics: A, likewise the next state.
      policy: B, the action per unit of state.
      gamma: discount per step.
      horizon: how many rewards are summed; None for all.
    """
    growth = jnp.asarray(gamma) * dynamics * jnp.sqrt(1.0 + jnp.square(jnp.asarray(policy)))
    return _series(reward, growth, horizon)


def published_bound(
    reward: ArrayLike, dynamics: ArrayLike, policy: ArrayLike, gamma: ArrayLike
) -> Array:
    """`delta / sqrt(1 - gamma^2 C)`, `C = A^2 max(1, B^2)`, which values may exceed.

    Arguments as of `bound`; infinite where `gamma^2 C` is 1 or more.
    """
    spread = jnp.square(jnp.asarray(dynamics)) * jnp.maximum(1.0, jnp.square(jnp.asarray(policy)))
    left = 1.0 - jnp.square(gamma) * spread
    return jnp.where(left > 0, reward / jnp.sqrt(jnp.where(left > 0, left, 1.0)), jnp.inf)


def _series(first: ArrayLike, ratio: Array, count: int | None) -> Array:
    if count is not None:
        return jnp.asarray(first) * jnp.power(ratio, jnp.arange(count)).sum()
    safe = jnp.where(ratio < 1.0, ratio, 0.0)
    return jnp.where(ratio < 1.0, first / (1.0 - safe), jnp.inf)
