"""What a set function is: a pytree that pays for one element after another.

`F(S)` of a set that grows is never computed anew: a *memory* of fixed shape
holds what the next marginal gain `F(S + v) - F(S)` needs. The arrays of a set
function are leaves, so `vmap` makes one of many maps or weights.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import struct

from jaxrl_reward.types import Array


class SetFunction(struct.PyTreeNode):
    """A function of the elements `0 .. ground - 1` that were chosen; `F` of none is 0.

    Subclasses say what one `gain` costs.

    Attributes:
      repeats: whether choosing an element again may pay: then `F` is a function
        of multisets, of repeated measurements for instance. False: it pays 0.
    """

    repeats: ClassVar[bool] = False

    @property
    def ground(self) -> int:
        """The number of elements, n."""
        raise NotImplementedError

    @property
    def monotone(self) -> bool:
        """Whether no gain is ever negative."""
        return True

    def init(self) -> Any:
        """The memory of the empty set."""
        raise NotImplementedError

    def gain(self, memory: Any, element: Array) -> tuple[Array, Any]:
        """Adds an element.

        Args:
          memory: of the elements so far.
          element: int32 scalar in `[0, ground)`.

        Returns:
          The marginal gain, a scalar, and the memory with the element in it.
        """
        raise NotImplementedError

    def start(self, element: Array) -> Any:
        """The memory of one element."""
        return self.gain(self.init(), element)[1]

    def single(self, element: Array) -> Array:
        """F of one element: what it pays without a history."""
        return self.gain(self.init(), element)[0]

    def value(self, memory: Any) -> Array:
        """F of the elements so far."""
        return memory.total

    def view(self, memory: Any) -> Array:
        """What a policy may see of the memory, `[F]` float32."""
        raise NotImplementedError

    def evaluate(self, elements: Sequence[int]) -> float:
        """F from its definition, in NumPy and double precision; order is free."""
        raise NotImplementedError


# ---- sets of items as bits --------------------------------------------------------


def no_bits(size: int) -> Array:
    """An empty set of `size` items, uint32 words `[ceil(size / 32)]`."""
    return jnp.zeros(-(-size // 32), jnp.uint32)


def add_bits(words: Array, items: Array, where: Array) -> tuple[Array, Array]:
    """The set with distinct `items[k]` in it, and which of them are new, `[k]` bool.

    Items whose `where[k]` is false are left out, and may be any number.
    """
    items = jnp.where(where, items, 0)
    place, bit = items >> 5, jnp.uint32(1) << (items & 31).astype(jnp.uint32)
    new = where & (words[place] & bit == 0)
    # Bits that are new and distinct add up as they would be joined.
    return words.at[place].add(jnp.where(new, bit, jnp.uint32(0))), new


def unpack_bits(words: Array, size: int) -> Array:
    """The set as float32 `[size]` of zeros and ones."""
    bits = words[:, None] >> jnp.arange(32, dtype=jnp.uint32)[None] & jnp.uint32(1)
    return bits.reshape(-1)[:size].astype(jnp.float32)
