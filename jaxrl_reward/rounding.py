"""What rounding may have done to numbers, so that it is not taken for a difference."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl_reward.types import Array

ULPS = 4.0  # roundings between numbers that are meant to be equal


def ulps(size: ArrayLike, count: ArrayLike = ULPS) -> Array:
    """So many roundings of numbers of this size, in their own precision."""
    size = jnp.abs(jnp.asarray(size))
    return size * (jnp.asarray(count) * jnp.finfo(size.dtype).eps)


def varies(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Array:
    """Whether numbers differ by more than a few roundings of the largest of them."""
    x = jnp.asarray(x)
    largest, high, low = (f(axis=axis, keepdims=keepdims) for f in (jnp.abs(x).max, x.max, x.min))
    return high - low > ulps(largest)
