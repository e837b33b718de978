"""The types of a state that a scan carries, which no step may change."""

from typing import Any

import jax.numpy as jnp

from jaxrl_reward.types import Array


def strong(x: Any) -> Array:
    """An array without JAX's weak type, which a scan's carry must not change."""
    return jnp.asarray(x, jnp.result_type(x))


def keeps(was: Any, now: Any) -> bool:
    """Whether a state of the type `was` can hold values of the type `now`."""
    return _rank(now) <= _rank(was)


def _rank(dtype: Any) -> int:
    """bool, integer, anything wider: a cast downwards would lose values."""
    if jnp.issubdtype(dtype, jnp.bool_):
        return 0
    return 1 if jnp.issubdtype(dtype, jnp.integer) else 2
