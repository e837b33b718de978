"""How the parts of a structured observation lie in one flat vector.

Apart from `spaces`, whose names it has, for those who need not load any environments.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

MASK = "action_mask"  # the part of an observation that says which actions are allowed


class Part(NamedTuple):
    """One array of an observation, and where it lies in the flat vector.

    Attributes:
      name: its keys with dots between, `agent.position`; a tuple's are 0, 1, ...
      shape: of the array as it is given.
      start: of the first of its numbers.
      size: how many numbers it is: of a `Discrete` n, which is one-hot, n.
      values: how many values each number of a whole-numbered part takes; empty for others.
      space: its own.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    size: int
    values: tuple[int, ...]
    space: Any

    @property
    def stop(self) -> int:
        """Where the next part begins."""
        return self.start + self.size


def mask(parts: Sequence[Part]) -> Part | None:
    """The part that says which actions are allowed: the last word of its name is `action_mask`.

    The first of several; None where there is none.
    """
    found = (part for part in parts if part.name.rpartition(".")[2] == MASK)
    return next(found, None)


def take(part: Part, flat: jax.Array) -> jax.Array:
    """A part of flat vectors `[..., D]`: `[..., *shape]`, or one-hot `[..., size]`."""
    found = flat[..., part.start : part.stop]
    return found if part.values else found.reshape(*found.shape[:-1], *part.shape)
