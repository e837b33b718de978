"""Counts that go on where int32 ends and float32 stands still.

Float32 cannot add 1 to 2**24, and int32 holds 2**31: a day on one accelerator. A count is
therefore two integers, good for 2**61, and is told in float32.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike

from jaxrl_reward.types import Array

_BITS = 30


class Count(struct.PyTreeNode):
    """A number of things, or an array of such numbers: `high * 2**30 + low`.

    Attributes:
      high: int32.
      low: int32, in [0, 2**30).
    """

    high: Array
    low: Array

    @property
    def value(self) -> Array:
        """As float32, exact up to 2**24."""
        return self.high.astype(jnp.float32) * 2.0**_BITS + self.low.astype(jnp.float32)

    def add(self, number: ArrayLike) -> "Count":
        """So many more, each fewer than 2**30."""
        return _carried(self.high, self.low + number)

    def add_at(self, index: Any, number: ArrayLike = 1) -> "Count":
        """So many more at these places, all of them together fewer than 2**30."""
        return _carried(self.high, self.low.at[index].add(number))

    def __int__(self) -> int:
        return (int(self.high) << _BITS) + int(self.low)


def zero(shape: tuple[int, ...] = ()) -> Count:
    """Nothing yet."""
    return Count(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def of(number: Any) -> Count:
    """A count from an integer array; a count as it is."""
    if isinstance(number, Count):
        return number
    number = jnp.asarray(number, jnp.int32)
    return _carried(jnp.zeros_like(number), number)


def add_up(total: Array, rest: Array, value: Array) -> tuple[Array, Array]:
    """Kahan's sum (1965) in float32: `total + rest + value`, and what rounding left out of it."""
    value = value + rest
    new = total + value
    return new, value - (new - total)


def _carried(high: Array, low: Array) -> Count:
    return Count(high + (low >> _BITS), low & (2**_BITS - 1))
