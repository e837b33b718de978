"""What Jumanji's specs are among our spaces."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import spaces
from jaxrl_reward.types import Array, UserError

JOINT = 2**14  # the most joint choices that are numbered through
ONE_HOT = 40  # whole numbers of more values are quantities, and are shown as they are
CLOCKS = ("step_count", "step")


class Part(NamedTuple):
    """A part of an observation.

    Attributes:
      shape: as Jumanji gives it.
      low: the least value.
      high: the greatest.
      values: how many whole numbers there are from one to the other, if they are one-hot; or 0.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    values: int

    @property
    def space(self) -> Any:
        """Its space: a `Discrete`, or a `Box` with an axis for the values."""
        if not self.values:
            return spaces.Box(self.low, self.high, self.shape)
        shape = (*self.shape, self.values)
        return spaces.Box(0.0, 1.0, shape) if self.shape else spaces.Discrete(self.values)

    def shown(self, value: Array) -> Array:
        """A value of its in its space."""
        if not self.values:
            return value
        above = value - int(self.low)
        return jax.nn.one_hot(above, self.values) if self.shape else above


def parts(spec: Any, before: str = "") -> dict[str, Part]:
    """The parts of an observation by name, those within others with dots."""
    found: dict[str, Part] = {}
    for name, each in spec._specs.items():
        inner = bool(getattr(each, "_specs", None))
        found |= parts(each, f"{before}{name}.") if inner else {before + name: _part(name, each)}
    return found


def _part(name: str, spec: Any) -> Part:
    low, high = getattr(spec, "minimum", -np.inf), getattr(spec, "maximum", np.inf)
    low, high = float(np.min(low)), float(np.max(high))
    if name in CLOCKS:  # which run on
        return Part(spec.shape, low, np.inf, 0)
    known = jnp.issubdtype(spec.dtype, jnp.integer) and np.isfinite(high)
    values = int(high - low) + 1 if known else 0
    return Part(spec.shape, low, high, values if 2 < values <= ONE_HOT else 0)


def actions(name: str, spec: Any, mask: Any) -> tuple[Any, tuple[int, ...]]:
    """The space of the actions, and the shape of a joint one that is numbered through, or ().

    Args:
      name: the environment's, for messages.
      spec: of its actions.
      mask: its mask among the observation's parts, None without one. With a mask over all
        combinations these are numbered; with one of each agent's choices, `[k, n]`, not.

    Raises:
      UserError: there are too many combinations.
    """
    if not jnp.issubdtype(spec.dtype, jnp.integer):
        low, high = (np.broadcast_to(x, spec.shape) for x in (spec.minimum, spec.maximum))
        return spaces.Box(jnp.asarray(low), jnp.asarray(high), spec.shape, spec.dtype), ()
    if not spec.shape:
        return spaces.Discrete(int(spec.num_values)), ()
    each = tuple(int(n) + 1 for n in np.broadcast_to(spec.maximum, spec.shape))
    if mask is not None and mask.shape != each:
        return spaces.MultiDiscrete([mask.shape[-1]] * len(each)), ()
    if (joint := math.prod(each)) > JOINT:
        raise UserError(f"{name} has {joint:,} joint actions, and at most {JOINT:,} are numbered")
    return spaces.Discrete(joint), each
