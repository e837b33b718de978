"""Where an environment's actions lie, and the *unit* numbers in which agents choose them.

A bound below is at -1 of the unit numbers, one above at 1. Between two bounds the map
is linear; beyond a single one, and where there are none, it only shifts, so that 1 is
one unit of the action. `scale_action` and `unit_action` are each other's inverse.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl_reward import spaces
from jaxrl_reward.types import Array, UserError

UNBOUNDED = 1e9  # bounds beyond this are those of the number format, not of the task


def limits(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of each number of an action, `[A]` float32 each, infinite where there are none.

    Raises:
      UserError: a bound is not a number, or one below lies above the other.
    """
    low, high = (
        np.broadcast_to(np.asarray(x, np.float32), space.shape).reshape(-1)
        for x in (space.low, space.high)
    )
    if not np.all(low <= high):
        raise UserError(f"actions need bounds with low <= high, not {space}")
    low = np.where(low > -UNBOUNDED, low, np.float32(-np.inf))
    return low, np.where(high < UNBOUNDED, high, np.float32(np.inf))


def scale_action(space: spaces.Box, unit: Array) -> Array:
    """What the environment receives, `[..., *space.shape]`, from unit numbers `[..., A]`.

    Those beyond a bound are taken to it; whole-numbered actions are the nearest.
    """
    known = (*_frame(space), *limits(space), _free(space))
    start, span, low, high, free = (jnp.expand_dims(x, range(unit.ndim - 1)) for x in known)
    # The clip is for rounding too: low + (high - low) may lie beyond high.
    scaled = jnp.clip(start + (unit + 1.0) / 2.0 * span, low, high)
    action = jnp.where(free, unit, scaled)
    if jnp.issubdtype(space.dtype, jnp.integer):
        action = jnp.round(action)
    return action.reshape(*unit.shape[:-1], *space.shape).astype(space.dtype)


def unit_action(space: spaces.Box, action: ArrayLike) -> Array:
    """Actions `[B, A]` in unit numbers. Those of corrupted data may lie beyond the bounds."""
    start, span, free = (x[None] for x in (*_frame(space), _free(space)))
    unit = (action - start) / span * 2.0 - 1.0
    return jnp.where(free, action, unit).astype(jnp.float32)


def random_action(space: Any, key: Array) -> Array:
    """A uniformly random action; as far as -1 and 1 of the unit numbers where it is open."""
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return space.sample(key)
    if np.all(np.isfinite(limits(space))):
        return space.sample(key)
    unit = jax.random.uniform(key, (len(_free(space)),), minval=-1.0, maxval=1.0)
    return scale_action(space, unit)


def _frame(space: spaces.Box) -> tuple[np.ndarray, np.ndarray]:
    """The actions at -1, and how far those at 1 are from them, `[A]` each."""
    low, high = limits(space)
    start = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - 2.0, -1.0))
    span = np.where(np.isfinite(low) & np.isfinite(high), high - low, 2.0)
    return start.astype(np.float32), np.where(span > 0.0, span, 2.0).astype(np.float32)


def _free(space: spaces.Box) -> np.ndarray:
    """Which numbers have no bound at all, `[A]` bool."""
    return np.all(np.isinf(limits(space)), axis=0)
