"""Structured observations, each part through an encoder of its own, side by side.

The first encoder of `ENCODERS` that is for a part encodes it:

- `embedding`: 16 numbers for each whole number of a one-hot part;
- `cells`: a grid of whole numbers with at most 64 values, an embedding of 8 numbers for each
  of a cell's, and then what `cnn` has;
- `cnn`: images `[H, W, C]`, the convolution of `nn.images`; those of bytes in [0, 1];
- `mlp`: all others, a hidden layer of 64 units, normalised, so that no part is the loudest.

What says which actions are allowed is left out: the agent reads it. A user's encoders are
asked first, see `register`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.layout import Part, mask, take
from jaxrl_reward.nn import images, networks
from jaxrl_reward.nn.own import Own
from jaxrl_reward.types import Array, UserError

WIDTH, EMBEDDED, CELL = 64, 16, 8  # numbers of a part, of a whole number, of one of a cell's
MOST = 64  # values of a whole number that is a kind of thing rather than an amount

Given = TypeVar("Given")


class Encoder(NamedTuple):
    """A network of one part.

    Attributes:
      fits: whether it is for a part.
      make: from the part to a network of `[B, *shape]`, or one-hot `[B, size]`, to `[B, F]`.
      own: what a user gave, if one did.
    """

    fits: Callable[[Part], bool]
    make: Callable[[Part], networks.Network]
    own: Own | None = None


# ---- the encoders --------------------------------------------------------------------


def _embedding(part: Part) -> networks.Network:
    ends = np.cumsum(part.values)[:-1]

    def init(key: Array, example: Array) -> Array:
        del example
        keys = jax.random.split(key, len(part.values))
        tables = [_table(key, n, EMBEDDED) for key, n in zip(keys, part.values, strict=True)]
        return jnp.concatenate(tables)

    def apply(params: Any, rows: Array) -> Array:
        pairs = zip(jnp.split(rows, ends, axis=-1), jnp.split(params, ends), strict=True)
        return jnp.concatenate([one_hot @ table for one_hot, table in pairs], axis=-1)

    return networks.Network(init, apply)


def _cells(part: Part) -> networks.Network:
    low, count = _values(part.space)
    shape = (*part.shape, 1)[:3]
    image = (*shape[:2], shape[2] * CELL)
    behind = images.convolution() if images.fits(image) else None

    def features(params: Any, rows: Array) -> Array:
        kinds = jnp.round(rows.reshape(-1, *shape)).astype(jnp.int32) - low
        # Products of one-hot rows, whose gradients need no scatter.
        seen = [jax.nn.one_hot(kinds[..., i], count) @ params["cells"][i] for i in range(shape[2])]
        return jnp.concatenate(seen, axis=-1)

    def init(key: Array, example: Array) -> dict[str, Any]:
        keys = jax.random.split(key, shape[2] + 1)
        params = {"cells": jnp.stack([_table(each, count, CELL) for each in keys[1:]])}
        if behind is None:
            return params
        return {**params, "cnn": behind.init(keys[0], jnp.zeros((1, *image)))}

    def apply(params: Any, rows: Array) -> Array:
        seen = features(params, rows)
        if behind is None:
            return seen.reshape(seen.shape[0], math.prod(image))
        return behind.apply(params["cnn"], seen)

    return networks.Network(init, apply)


def _image(part: Part) -> networks.Network:
    behind = images.convolution()
    scale = 1.0 / 255.0 if _is_bytes(part) else 1.0
    return networks.Network(behind.init, lambda params, rows: behind.apply(params, rows * scale))


def _vector(part: Part) -> networks.Network:
    rank = len(part.shape)
    return networks.mlp((WIDTH, WIDTH), "relu", obs_rank=rank, layer_norm=True)


def _table(key: Array, count: int, width: int) -> Array:
    """A row for each value, `[count, width]`."""
    return networks.orthogonal()(key, (count, width))


def _is_cells(part: Part) -> bool:
    if part.values or len(part.shape) not in (2, 3) or not part.size:
        return False
    whole = bool(jnp.issubdtype(part.space.dtype, jnp.integer))
    known = bool(np.all(np.isfinite(part.space.low)) and np.all(np.isfinite(part.space.high)))
    return whole and known and _values(part.space)[1] <= MOST


def _is_bytes(part: Part) -> bool:
    return images.fits(part.shape) and part.space.dtype == jnp.uint8


def _values(space: Any) -> tuple[int, int]:
    """The least value of whole numbers, and how many there are."""
    low, high = int(np.min(space.low)), int(np.max(space.high))
    return low, high - low + 1


ENCODERS: dict[str, Encoder] = {
    "embedding": Encoder(lambda part: bool(part.values), _embedding),
    "cells": Encoder(_is_cells, _cells),
    "cnn": Encoder(lambda part: not part.values and images.fits(part.shape), _image),
    "mlp": Encoder(lambda part: True, _vector),
}


def register(name: str, fits: Callable[[Part], bool]) -> Callable[[Given], Given]:
    """Makes an encoder known to the network `parts`, asked before those that there are.

    Decorates what may be given as a network, see `nn.own`; it sees `[B, *shape]` of a part,
    or `[B, size]` of a one-hot one:

        @parts.register("tower", lambda part: part.name == "board")
        class Tower(flax.linen.Module): ...

    Args:
      name: a Python identifier.
      fits: whether it is for a part.

    Raises:
      UserError: the name is no identifier or belongs to another, or it is no network.
    """
    if not name.isidentifier():
        raise UserError(f"encoder name {name!r} is not an identifier")
    if not callable(fits):
        raise UserError(f"encoder {name!r} needs which parts it is for, a function of a Part")

    def add(given: Given) -> Given:
        own, known = Own(given), ENCODERS.get(name)
        if known is not None and known.own != own:
            raise UserError(f"encoder name {name!r} is taken by {known.own or 'one of parts'}")
        others = {each: ENCODERS[each] for each in ENCODERS if each != name}
        ENCODERS.clear()
        ENCODERS.update({name: Encoder(fits, lambda part: own.front(seen(part)), own)}, **others)
        return given

    return add


# ---- observations --------------------------------------------------------------------


def seen(part: Part) -> tuple[int, ...]:
    """The shape in which an encoder sees a part."""
    return (part.size,) if part.values else part.shape


def encoder(part: Part) -> str:
    """The name of the encoder that is for a part."""
    return next(name for name, each in ENCODERS.items() if each.fits(part))


def encoded(layout: Sequence[Part]) -> list[Part]:
    """The parts that are encoded: all but the mask, and none that is empty."""
    return [part for part in layout if part.size and not mask([part])]


def structured(layout: Sequence[Part]) -> bool:
    """Whether an observation has parts by name."""
    return any(part.name for part in layout)


def helps(layout: Sequence[Part]) -> bool:
    """Whether a structured observation has what dense layers do not see well.

    Of vectors and whole numbers alone they see as much in one flat vector: the first of
    them is an embedding of what is one-hot.
    """
    plain = ("mlp", "embedding")
    return structured(layout) and any(encoder(part) not in plain for part in encoded(layout))


def kept(layout: Sequence[Part]) -> np.ndarray | None:
    """Which flat numbers of a structured observation nobody is to normalise, `[D]` bool.

    The mask, whole numbers, grids of them, and images of bytes; None where there is none.
    """
    if not structured(layout):
        return None
    found = np.zeros(layout[-1].stop, bool)
    for part in layout:
        if part.values or _is_cells(part) or _is_bytes(part) or mask([part]):
            found[part.start : part.stop] = True
    return found if found.any() else None


def check(owner: str, layout: Sequence[Part], whose: str) -> None:
    """Tries the encoders on shapes alone.

    Args:
      owner: the agent, for messages.
      layout: the parts of an observation.
      whose: whose observations these are.

    Raises:
      UserError: there is nothing to encode, or a user's encoder fails.
    """
    if not encoded(layout):
        raise UserError(f"{owner}'s network='parts' has no part of {whose} to see; use 'mlp'")
    for part in encoded(layout):
        own = ENCODERS[encoder(part)].own
        if own is not None:
            own.check(f"{owner}'s {encoder(part)} of {part.name or whose}", seen(part))


def front(layout: Sequence[Part]) -> networks.Network:
    """From flat observations `[B, D]` to the features of all parts, `[B, F]`."""
    each = {
        part.name or "all": (part, ENCODERS[encoder(part)].make(part)) for part in encoded(layout)
    }

    def init(key: Array, example: Array) -> dict[str, Any]:
        del example
        keys = jax.random.split(key, len(each))
        pairs = zip(keys, each.items(), strict=True)
        return {
            name: network.init(key, jnp.zeros((1, *seen(part))))
            for key, (name, (part, network)) in pairs
        }

    def apply(params: Any, rows: Array) -> Array:
        features = [
            network.apply(params[name], take(part, rows)).astype(jnp.float32)
            for name, (part, network) in each.items()
        ]
        return jnp.concatenate(features, axis=-1)

    return networks.Network(init, apply)
