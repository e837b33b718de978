"""Spaces of observations and actions as text, and their values as rows of one array.

A description is a plain dictionary, `{"kind": "Box", "shape": [3], ...}`, whose text is
part of a data set's provenance: all that a writer needs to make the space again.
Observations with parts become flat vectors as `spaces.flatten` makes them.
"""

import itertools
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxrl_reward.types import UserError

Description = dict[str, Any]
MOST_BYTES = 2**30  # of one-hot numbers
_KINDS = {
    "Box": ("shape", "dtype", "low", "high"),
    "Discrete": ("n", "start"),
    "MultiDiscrete": ("nvec",),
    "MultiBinary": ("shape",),
    "Dict": ("spaces",),
    "Tuple": ("spaces",),
}
_NO_ARRAYS = ("Text", "Sequence", "Graph", "OneOf")


def text(description: Description) -> str:
    """A description as one line of JSON."""
    return json.dumps(description)


def text_of(given: Any) -> str:
    """The text of a space; empty for one that has no description."""
    try:
        return text(of(given))
    except UserError:
        return ""


def read(line: str) -> Description:
    """The description that `text` wrote.

    Raises:
      UserError: it is none.
    """
    try:
        found = json.loads(line)
        _check(found)
    except UserError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{line[:80]!r} describes no space ({error})") from None
    return found


def _check(found: Description) -> None:
    """Raises an error unless it is whole."""
    kind = found["kind"]
    if kind not in _KINDS:
        raise UserError(f"no space is a {kind!r}")
    for name in _KINDS[kind]:
        found[name]
    for _, leaf in leaves(found):
        if leaf is not found:
            _check(leaf)


def box(shape: Any, dtype: Any = "float32", low: Any = -math.inf, high: Any = math.inf) -> Any:
    """The description of a Box; bounds that are one number everywhere are kept as one."""
    return {
        "kind": "Box",
        "shape": [int(n) for n in shape],
        "dtype": np.dtype(dtype).name,
        "low": _bound(low),
        "high": _bound(high),
    }


def of_rows(rows: np.ndarray) -> Description:
    """A Box that holds the rows: what bounds there are is not known, but of whole numbers."""
    if rows.dtype.kind in "iu":
        bounds = np.iinfo(rows.dtype)
        return box(rows.shape[1:], rows.dtype, bounds.min, bounds.max)
    return box(rows.shape[1:])


def of(given: Any, name: str = "the space") -> Description:
    """The description of a space of gymnasium's or of this package's.

    Raises:
      UserError: it holds no arrays of a fixed size, as texts and graphs do not.
    """
    kind = type(given).__name__
    if kind in _NO_ARRAYS:
        raise UserError(f"{name} is {kind}, which is no array of a fixed size; leave it out")
    if kind == "Box":
        return box(given.shape, given.dtype, given.low, given.high)
    if kind == "Discrete":
        return {"kind": kind, "n": int(given.n), "start": int(getattr(given, "start", 0))}
    if kind == "MultiDiscrete":
        numbers = np.asarray(given.nvec)
        found = {"kind": kind, "nvec": numbers.tolist(), "dtype": np.dtype(given.dtype).name}
        start = np.asarray(getattr(given, "start", np.zeros_like(numbers)))
        return {**found, "start": start.tolist()} if start.any() else found
    if kind == "MultiBinary":
        return {"kind": kind, "shape": [int(n) for n in given.shape]}
    if kind == "Dict":
        inner = {str(k): of(each, _within(name, k)) for k, each in sorted(given.spaces.items())}
        return {"kind": kind, "spaces": inner}
    if kind == "Tuple":
        inner = [of(each, _within(name, i)) for i, each in enumerate(given.spaces)]
        return {"kind": kind, "spaces": inner}
    raise UserError(f"{name} is {kind}, which this package knows no arrays of; leave it out")


def to_gymnasium(description: Description) -> Any:
    """The space of gymnasium's (which must be installed) that a description is of."""
    from gymnasium import spaces as theirs

    kind = description["kind"]
    if kind == "Box":
        shape, dtype = tuple(description["shape"]), np.dtype(description["dtype"])
        low, high = (np.broadcast_to(_typed(description[k], dtype), shape) for k in ("low", "high"))
        return theirs.Box(low.copy(), high.copy(), shape, dtype.type)
    if kind == "Discrete":
        return theirs.Discrete(description["n"], start=description["start"])
    if kind == "MultiDiscrete":
        dtype = np.dtype(description.get("dtype", "int64")).type
        more = {"start": description["start"]} if "start" in description else {}
        return theirs.MultiDiscrete(description["nvec"], dtype=dtype, **more)
    if kind == "MultiBinary":
        shape = description["shape"]
        return theirs.MultiBinary(shape[0] if len(shape) == 1 else shape)
    if kind == "Dict":
        return theirs.Dict({k: to_gymnasium(each) for k, each in description["spaces"].items()})
    return theirs.Tuple([to_gymnasium(each) for each in description["spaces"]])


def space(description: Description) -> Any:
    """The space of this package's that a description is of."""
    import jax.numpy as jnp

    from jaxrl_reward import spaces  # which loads gymnax

    kind = description["kind"]
    if kind == "Box":
        low, high = (_plain(description[key]) for key in ("low", "high"))
        dtype = jnp.dtype(description["dtype"]) if description["dtype"] == "uint8" else jnp.float32
        return spaces.Box(low, high, tuple(description["shape"]), dtype)
    if kind == "Discrete":
        return spaces.Discrete(description["n"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.ravel(description["nvec"]).tolist())
    if kind == "MultiBinary":
        return spaces.Box(0.0, 1.0, tuple(description["shape"]), jnp.float32)
    if kind == "Dict":
        return spaces.Dict({k: space(each) for k, each in description["spaces"].items()})
    return spaces.Tuple([space(each) for each in description["spaces"]])


def leaves(description: Description, name: str = "") -> Iterator[tuple[str, Description]]:
    """The spaces without parts and their names, sorted within a Dict."""
    kind, inner = description["kind"], description.get("spaces")
    if inner is None:
        yield name, description
        return
    named = sorted(inner.items()) if kind == "Dict" else [(str(i), x) for i, x in enumerate(inner)]
    for key, each in named:
        yield from leaves(each, f"{name}.{key}" if name else key)


def observations(description: Description, value: Any, what: str, index: bool = False) -> Any:
    """Observations as rows: a Box as it is, whole numbers one-hot, parts as one flat vector.

    Args:
      description: of their space.
      value: an array `[N, ...]`, or mappings and tuples of such.
      what: it is, for messages.
      index: keep a Discrete as one number in place of as many as it has values.

    Raises:
      UserError: they are not of the space, or take more than a gigabyte as one-hot.
    """
    if description["kind"] == "Box":
        return _shaped(np.asarray(value), description, what)
    rows = [_one_hot(each, leaf, what, index) for each, leaf in _pairs(description, value, what)]
    return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1, dtype=np.float32)


def actions(description: Description, value: Any, what: str) -> np.ndarray:
    """Actions as rows: a Discrete is `[N]` from 0 on, what has parts is as of observations.

    Raises:
      UserError: they are not of the space.
    """
    kind = description["kind"]
    if kind in ("Dict", "Tuple"):
        return observations(description, value, what)
    if kind == "Box":
        return _shaped(np.asarray(value), description, what)
    numbers = _numbers(description, np.asarray(value), what)
    return numbers[:, 0] if kind == "Discrete" else numbers


def structured(description: Description, rows: np.ndarray, action: bool = False) -> Any:
    """What `observations` or `actions` made into rows, as gymnasium has it again."""
    kind = description["kind"]
    if kind == "Box":
        return rows.astype(np.dtype(description["dtype"]))
    if kind in ("Dict", "Tuple"):
        flat, parts = rows.reshape(len(rows), -1), description["spaces"]
        named = sorted(parts.items()) if kind == "Dict" else list(enumerate(parts))
        found, start = {}, 0
        for key, each in named:
            size = width(each)
            found[key] = structured(each, _box_shaped(each, flat[:, start : start + size]))
            start += size
        if kind == "Dict":  # in the order of the space
            return {key: found[key] for key in parts}
        return tuple(found[i] for i in range(len(parts)))
    if action:
        numbers = rows.reshape(len(rows), -1)
    else:
        bounds = np.cumsum([0, *_counts(description)])
        cut = [rows[:, a:b] for a, b in itertools.pairwise(bounds)]
        binary = kind == "MultiBinary"
        numbers = rows if binary else np.stack([each.argmax(1) for each in cut], axis=1)
    if kind == "MultiBinary":
        return numbers.reshape(len(rows), *description["shape"]).astype(np.int8)
    numbers = numbers.astype(np.int64) + np.ravel(description.get("start", 0))
    if kind == "Discrete":
        return numbers[:, 0]
    shape = np.shape(description["nvec"])
    return numbers.reshape(len(rows), *shape).astype(description.get("dtype", "int64"))


def indexed(description: Description) -> Description:
    """The space of observations that are kept with `index`: numbers in place of one-hot ones."""
    kind = description["kind"]
    if kind == "Dict":
        inner = {k: indexed(each) for k, each in description["spaces"].items()}
        return {"kind": kind, "spaces": inner}
    if kind == "Tuple":
        return {"kind": kind, "spaces": [indexed(each) for each in description["spaces"]]}
    if kind in ("Box", "MultiBinary"):
        return description
    counts = _counts(description)
    return box((len(counts),), "int64", 0, [n - 1 for n in counts])


def width(description: Description) -> int:
    """How many numbers a row of it is, flat."""
    kind = description["kind"]
    if kind in ("Dict", "Tuple"):
        return sum(width(each) for _, each in leaves(description))
    if kind in ("Box", "MultiBinary"):
        return math.prod(description["shape"])
    return sum(_counts(description))


def has_images(description: Description) -> bool:
    """Whether a part of it is bytes in two or three dimensions."""
    return any(is_image(each) for _, each in leaves(description))


def is_image(description: Description) -> bool:
    """Whether it is a Box of bytes in two or three dimensions."""
    known = description["kind"] == "Box" and description["dtype"] == "uint8"
    return known and len(description["shape"]) in (2, 3)


def _pairs(description: Description, value: Any, what: str) -> Iterator[tuple[Description, Any]]:
    inner = description.get("spaces")
    if inner is None:
        yield description, value
        return
    by_name = description["kind"] == "Dict"
    named = sorted(inner.items()) if by_name else list(enumerate(inner))
    for key, each in named:
        try:
            leaf = value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise UserError(f"{what} have no part {key!r}, and their space has") from None
        yield from _pairs(each, leaf, f"{what}.{key}")


def _one_hot(description: Description, value: Any, what: str, index: bool) -> np.ndarray:
    value, kind = np.asarray(value), description["kind"]
    if kind == "Box":
        value = _shaped(value, description, what)
        return value.reshape(len(value), -1)
    numbers = _numbers(description, value, what)
    if kind == "MultiBinary" or index:
        return numbers.astype(np.float32)
    counts = _counts(description)
    if (needed := 8 * len(numbers) * sum(counts)) > MOST_BYTES:  # and again as next_obs
        raise UserError(
            f"{what}: {len(numbers)} rows of {sum(counts)} values each take "
            f"{needed / 2**30:.1f} GiB as one-hot; say discrete=index to keep the numbers"
        )
    rows = np.zeros((len(numbers), sum(counts)), np.float32)
    rows[np.arange(len(rows))[:, None], numbers + np.cumsum([0, *counts[:-1]])] = 1.0
    return rows


def _numbers(description: Description, value: np.ndarray, what: str) -> np.ndarray:
    """Whole numbers from 0 on, `[N, k]`."""
    if value.dtype.kind not in "biu":
        raise UserError(f"{what} must be whole numbers, not {value.dtype}")
    numbers = value.reshape(len(value), -1).astype(np.int64)
    counts = np.asarray(_counts(description))
    if numbers.shape[1] != len(counts):
        size = numbers.shape[1]
        raise UserError(f"{what} have {size} numbers a row, and their space has {len(counts)}")
    numbers = numbers - np.ravel(description.get("start", 0))
    if ((numbers < 0) | (numbers >= counts)).any():
        raise UserError(f"{what} go beyond their space, {short(description)}")
    return numbers


def _counts(description: Description) -> list[int]:
    """How many values each number of a whole-numbered space has."""
    kind = description["kind"]
    if kind == "Discrete":
        return [description["n"]]
    if kind == "MultiBinary":
        return [2] * math.prod(description["shape"])
    return [int(n) for n in np.ravel(description["nvec"])]


def _shaped(rows: np.ndarray, description: Description, what: str) -> np.ndarray:
    if list(rows.shape[1:]) != list(description["shape"]):
        shape, wanted = list(rows.shape[1:]), description["shape"]
        raise UserError(f"{what} have the shape {shape}, and their space {wanted}")
    return rows


def _box_shaped(description: Description, flat: np.ndarray) -> np.ndarray:
    shape = description.get("shape") if description["kind"] == "Box" else None
    return flat if shape is None else flat.reshape(len(flat), *shape)


def _bound(value: Any) -> Any:
    value = np.asarray(value)
    if value.ndim == 0:
        return value.item()
    if value.size and (value == value.reshape(-1)[0]).all():
        return value.reshape(-1)[0].item()
    return value.tolist()


def _typed(bound: Any, dtype: np.dtype) -> np.ndarray:
    return np.asarray(bound, np.float64 if dtype.kind == "f" else None).astype(dtype)


def _plain(bound: Any) -> Any:
    return np.asarray(bound, np.float32) if isinstance(bound, list) else float(bound)


def short(description: Description) -> str:
    """A few words on a space, such as `Discrete(4)` or `Dict(a, b)`."""
    kind, start = description["kind"], description.get("start", 0)
    if kind == "Discrete":
        return f"Discrete({description['n']}" + (f", start={start})" if start else ")")
    if kind in ("Dict", "Tuple"):
        inner = description["spaces"]
        listed = inner.items() if kind == "Dict" else enumerate(inner)
        return f"{kind}({', '.join(f'{key}: {short(each)}' for key, each in listed)})"
    if kind == "Box":
        bounds = description["low"], description["high"]
        low, high = (each if np.ndim(each) == 0 else "..." for each in bounds)
        return f"Box({low}, {high}, {tuple(description['shape'])})"
    return f"{kind}({description.get('nvec', description.get('shape'))})"


def _within(name: str, key: Any) -> str:
    return f"{name}.{key}"
