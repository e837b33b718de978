"""Spaces of observations and actions, and how structured ones lie in one flat vector.

Imported before anything else of gymnax: what gymnax draws pictures with takes longer to
load than JAX does, and waits here for its first use.
"""

import contextlib
import importlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.layout import MASK, Part, mask, take

__all__ = [
    "MASK",
    "Box",
    "Dict",
    "Discrete",
    "MultiDiscrete",
    "Part",
    "Space",
    "Tuple",
    "deferred",
    "flatten",
    "mask",
    "parts",
    "take",
]


class _Deferred(ModuleType):
    """Stands in for a module, and imports it when something of it is first used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """What is imported meanwhile, and imports these modules, gets them at their first use."""
    absent = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with deferred("matplotlib.pyplot", "seaborn"):
    from gymnax.environments.spaces import Box, Dict, Discrete, Space, Tuple


class MultiDiscrete(Space):
    """Several whole numbers at once, number i of 0 to `nvec[i] - 1`; arrays `[k]` int32."""

    def __init__(self, nvec: Sequence[int]):
        self.nvec = tuple(int(n) for n in nvec)
        self.shape = (len(self.nvec),)
        self.dtype = jnp.dtype(jnp.int32)

    def __repr__(self) -> str:
        return f"MultiDiscrete({list(self.nvec)})"

    def sample(self, key: jax.Array) -> jax.Array:
        return jax.random.randint(key, self.shape, 0, np.asarray(self.nvec), self.dtype)

    def contains(self, x: jax.Array) -> jax.Array:
        return jnp.all((x >= 0) & (x < np.asarray(self.nvec)))


def parts(space: Any) -> tuple[Part, ...]:
    """The parts of a space, sorted by name within a `Dict`; a plain space is one, named "".

    Raises:
      TypeError: a space is none of Box, Discrete, MultiDiscrete, Dict and Tuple.
    """
    found: list[Part] = []
    start = 0
    for name, each in _leaves(space, ""):
        values: tuple[int, ...] = ()
        if isinstance(each, Discrete):
            values = (int(each.n),)
        elif isinstance(each, MultiDiscrete):
            values = each.nvec
        elif not isinstance(each, Box):
            raise TypeError(f"{name or 'the space'} is {type(each).__name__}, no array")
        shape = tuple(int(n) for n in each.shape)
        size = sum(values) if values else math.prod(shape)
        found.append(Part(name, shape, start, size, values, each))
        start += size
    return tuple(found)


def flatten(space: Any, value: Any) -> jax.Array:
    """A structured observation as one vector, float32 `[D]`; whole-numbered parts one-hot.

    Raises:
      TypeError: it has no part that the space has.
    """
    flat = []
    for (_, each), leaf in zip(_leaves(space, ""), _values(space, value), strict=True):
        if isinstance(each, Discrete):
            flat.append(jax.nn.one_hot(leaf, each.n, dtype=jnp.float32))
        elif isinstance(each, MultiDiscrete):
            flat += [
                jax.nn.one_hot(leaf[..., i], n, dtype=jnp.float32) for i, n in enumerate(each.nvec)
            ]
        else:
            flat.append(jnp.asarray(leaf, jnp.float32).reshape(-1))
    return jnp.concatenate(flat)


def vector(space: Any) -> Box:
    """The Box `[D]` in which the vectors of `flatten` lie."""
    ends = []
    for part in parts(space):
        bounds = (0.0, 1.0) if part.values else (part.space.low, part.space.high)
        shape = (part.size,) if part.values else part.shape
        ends.append([np.broadcast_to(np.asarray(x, np.float32), shape).reshape(-1) for x in bounds])
    low, high = (jnp.concatenate(each) for each in zip(*ends, strict=True))
    return Box(low, high, low.shape)


def _children(space: Any) -> list[tuple[str, Any]] | None:
    """The spaces within, in order; None for one that has none."""
    if isinstance(space, Dict):
        return sorted(space.spaces.items())
    if isinstance(space, Tuple):
        return [(str(i), each) for i, each in enumerate(space.spaces)]
    return None


def _leaves(space: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = _children(space)
    if children is None:
        yield name, space
    for key, each in children or ():
        yield from _leaves(each, f"{name}.{key}" if name else str(key))


def _values(space: Any, value: Any) -> Iterator[Any]:
    """The arrays of a structured value: mappings, tuples, or objects with such attributes."""
    children = _children(space)
    if children is None:
        yield value
    for key, each in children or ():
        try:
            if isinstance(space, Tuple):
                inner = value[int(key)]
            else:
                inner = value[key] if isinstance(value, Mapping) else getattr(value, key)
        except (AttributeError, IndexError, KeyError, TypeError):
            kind = type(value).__name__
            raise TypeError(f"an observation has no {key!r}, which its space has: {kind}") from None
        yield from _values(each, inner)
