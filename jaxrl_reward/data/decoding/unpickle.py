"""A pickle read without running anything of it: arrays of numbers and plain values.

Objects become `Record`s, which hold what was pickled of them and do nothing. Only the names
that are given are known; any other is refused, and named. Arrays are made here, of the bytes
in the file, and not by NumPy's own way of unpickling.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from jaxrl_reward.types import UserError

_MOST_NUMBERS = 2**48  # of one array
_ARRAYS = {
    *(f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *(f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")),
    "numpy.dtype",
    "numpy.ndarray",
}


class Record:
    """What was pickled of an object: its class by name, its arguments and its state."""

    name: ClassVar[str] = ""
    arguments: tuple[Any, ...] = ()
    state: Any = MappingProxyType({})

    def __init__(self, *arguments: Any, **_: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
            state = {**(state[0] or {}), **state[1]}  # of a class with slots
        self.state = state

    def __getitem__(self, name: str) -> Any:
        return self.state[name]

    def append(self, *_: Any) -> None:
        """Of a pickled list: not kept."""

    extend = append

    def __setitem__(self, key: Any, value: Any) -> None:
        """Of a pickled mapping: not kept."""


def read(path: Path, names: Collection[str]) -> Any:
    """What a pickle holds.

    Args:
      path: of the file.
      names: `module.name` of classes and functions that become `Record`s.

    Raises:
      UserError: it is damaged, or names something else.
    """
    try:
        with open(path, "rb") as file:
            return _value(_Reader(file, path.stat().st_size, names).load())
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{path} cannot be read as a pickle: it is damaged") from None
    except Exception as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        line = f"{path} cannot be read as a pickle: it is damaged, or no data ({line[:200]})"
        raise UserError(line) from None


class _Bounded(io.RawIOBase):
    """A file that never makes room for more than it has."""

    def __init__(self, file: Any, size: int):
        self.file, self.size = file, size

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self.size - self.file.tell():
            raise EOFError("cut short")
        return self.file.read(count)

    def readinto(self, buffer: Any) -> int:
        return self.file.readinto(buffer)

    def readline(self, size: int | None = -1) -> bytes:
        return self.file.readline(10_000)


# The C one makes a table as large as a number in the file says.
_Plain: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Reader(_Plain):
    dispatch: ClassVar = dict(_Plain.dispatch)

    def __init__(self, file: Any, size: int, names: Collection[str]):
        super().__init__(_Bounded(file, size))
        self.size, self.names = size, names

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _ARRAYS:
            return _MAKERS[name]
        if full == "collections.OrderedDict":
            return OrderedDict
        if full in self.names:
            return _maker(full)
        raise UserError(f"a pickle that names {full} is not read: nothing of a pickle is run")

    def load_bytearray8(self) -> None:
        count = int.from_bytes(self.read(8), "little")
        if count > self.size:
            raise EOFError("cut short")
        self.append(bytearray(self.read(count)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _maker(name: str) -> Any:
    """A class of its own, as opcodes make objects of classes alone."""
    return type("Named", (Record,), {"name": name})


class _Type:
    """`numpy.dtype(code, align, copy)` and its state."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str):
            raise UserError(f"a pickle has an array of {type(code).__name__}, not of numbers")
        self.type = np.dtype(code)
        if self.type.kind not in "biuf":
            raise UserError(f"a pickle has an array of {self.type}, not of numbers")

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
        if order in ("<", ">"):
            self.type = self.type.newbyteorder(order)


class _Array:
    """`numpy.ndarray` whose state follows."""

    def __init__(self, *_: Any):
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, raw = state
        self.value = _from_bytes(raw, kind, shape, "F" if fortran else "C")


def _from_bytes(raw: Any, kind: Any, shape: Any, order: Any = "C") -> np.ndarray:
    if not isinstance(kind, _Type) or not isinstance(raw, bytes | bytearray):
        raise UserError("a pickle has an array that is not of numbers")
    rows = np.frombuffer(raw, kind.type)
    shape = tuple(int(n) for n in (shape if isinstance(shape, tuple) else (shape,)))
    if any(n < 0 or n > _MOST_NUMBERS for n in shape):
        raise ValueError(f"an array has the shape {shape}")
    return rows.reshape(shape, order="F" if order == "F" else "C")


def _frombuffer(raw: Any, kind: Any, shape: Any, order: Any, *_: Any) -> _Array:
    made = _Array()
    made.value = _from_bytes(raw, kind, shape, order)
    return made


def _scalar(kind: Any, raw: Any = b"") -> Any:
    return _from_bytes(raw, kind, ())[()]


_MAKERS = {
    "_reconstruct": _Array,
    "_frombuffer": _frombuffer,
    "scalar": _scalar,
    "dtype": _Type,
    "ndarray": _Array,
}


def _value(found: Any, depth: int = 0) -> Any:
    """The same with arrays in place of what stands for them, in records and plain values."""
    if depth > 50:
        raise UserError("a pickle is nested too deep")
    if isinstance(found, _Array):
        return found.value
    if isinstance(found, _Type):
        return found.type
    if isinstance(found, Record):
        found.state = _value(found.state, depth + 1)
    if isinstance(found, dict):
        return {key: _value(each, depth + 1) for key, each in found.items()}
    if isinstance(found, list | tuple):
        return type(found)(_value(each, depth + 1) for each in found)
    return found
