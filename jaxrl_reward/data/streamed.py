"""A file of ours that is read a part at a time: for sets that do not fit memory.

The arrays of an `.npz` that `save` wrote lie in it uncompressed, one behind the other, so
that any rows can be read by themselves. Opening one reads all of it once, in parts: what is
no finite number is refused, the checksum is compared, and means, ends and bounds are kept.
"""

import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from jaxrl_reward.data.dataset import Provenance
from jaxrl_reward.data.fields import FIELDS
from jaxrl_reward.data.formats.npz import provenance_of
from jaxrl_reward.files import user_path
from jaxrl_reward.types import UserError

PART = 2**18  # rows that are read at once


class Field(NamedTuple):
    """Where one array lies in the file."""

    at: int
    shape: tuple[int, ...]
    dtype: np.dtype


class Streamed:
    """N steps in a file.

    Attributes:
      path: the file.
      provenance: where they come from.
      fields: where each of `FIELDS` lies.
      first: where episodes begin, `[N]` bool.
      mean: of observations and next observations together, `[O]` float64.
      std: likewise.
      bounds: the least and the largest of each number of the actions, `[2, *A]`.
    """

    def __init__(self, path: Path | str):
        """Opens and checks a file.

        Raises:
          UserError: there is none, it is none that `save` wrote, or it is damaged.
        """
        self.path = user_path(path)
        if not self.path.is_file():
            raise UserError(f"{self.path} does not exist; stream reads a file of data.save")
        self.provenance: Provenance = provenance_of(self.path)
        self.fields = _fields(self.path)
        self.first = self.read("first", 0, len(self))
        digest, moments = hashlib.sha256(), _Moments()
        ends: list[np.ndarray] = []
        for name in FIELDS:
            field = self.fields[name]
            digest.update(f"{name} {field.dtype.str} {field.shape};".encode())
            for start, part in self.parts(name):
                digest.update(part.data)
                if part.dtype.kind == "f" and not np.isfinite(part).all():
                    row = start + int(np.argwhere(~np.isfinite(part))[0][0])
                    raise UserError(f"{self.path}: {name} holds no finite number in row {row}")
                if name in ("obs", "next_obs"):
                    moments.add(part.reshape(len(part), -1))
                if name == "action":
                    ends += [part.min(0), part.max(0)]
        known = self.provenance.checksum
        if known and known != digest.hexdigest() and not self.left_out:
            raise UserError(f"{self.path}: checksum does not fit the fields: the file was changed")
        self.mean, self.std = moments.mean, moments.std
        self.bounds = np.stack([np.min(ends, axis=0), np.max(ends, axis=0)])

    def __len__(self) -> int:
        return self.fields["reward"].shape[0]

    @property
    def left_out(self) -> bool:
        """Whether there are steps that are no rows, which count in the checksum too."""
        with zipfile.ZipFile(self.path) as archive:
            return any(name.startswith("left_out_") for name in archive.namelist())

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of a field, `[stop - start, ...]`, in memory of their own."""
        at, shape, dtype = self.fields[name]
        count = int(np.prod(shape[1:], dtype=np.int64))
        with open(self.path, "rb") as file:
            file.seek(at + start * count * dtype.itemsize)
            found = np.fromfile(file, dtype, (stop - start) * count)
        if found.size != (stop - start) * count:
            raise UserError(f"{self.path}: {name} ends before row {stop}: the file was cut")
        return found.reshape(stop - start, *shape[1:])

    def parts(self, name: str) -> Iterator[tuple[int, np.ndarray]]:
        """All rows of a field in order: the number of the first, and some."""
        for start in range(0, len(self), PART):
            yield start, self.read(name, start, min(start + PART, len(self)))


class _Moments:
    """Mean and variance of rows that come in parts (Chan et al. 1979), in float64."""

    def __init__(self) -> None:
        self.count, self.mean, self.square = 0, np.zeros(0), np.zeros(0)

    def add(self, rows: np.ndarray) -> None:
        rows = rows.astype(np.float64)
        mean = rows.mean(0)
        square = np.square(rows - mean).sum(0)
        if self.count:
            both, apart = self.count + len(rows), mean - self.mean
            square = self.square + square + np.square(apart) * self.count * len(rows) / both
            mean = self.mean + apart * len(rows) / both
        self.count, self.mean, self.square = self.count + len(rows), mean, square

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(self.square / self.count)


def _fields(path: Path) -> dict[str, Field]:
    """Where the arrays of an uncompressed `.npz` lie.

    Raises:
      UserError: one is compressed, missing, or of another length.
    """
    found: dict[str, Field] = {}
    try:
        with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
            for name in FIELDS:
                info = archive.getinfo(f"{name}.npy")
                if info.compress_type != zipfile.ZIP_STORED:
                    raise UserError(f"{path}: {name} is compressed; write it with data.save")
                # Of the local header the two lengths say where the content begins.
                file.seek(info.header_offset + 26)
                lengths = np.frombuffer(file.read(4), "<u2")
                file.seek(info.header_offset + 30 + int(lengths.sum()))
                found[name] = _header(file, f"{path}: {name}")
    except KeyError as error:
        raise UserError(f"{path} has no field {error}; write it with data.save") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    lengths = {field.shape[0] for field in found.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise UserError(f"{path}: the fields must have as many rows each, and some")
    return found


def _header(file: Any, where: str) -> Field:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if fortran and len(shape) > 1:
        raise UserError(f"{where} lies by columns; write it with data.save")
    if dtype.hasobject or not shape:
        raise UserError(f"{where} must be rows of numbers; write it with data.save")
    return Field(file.tell(), shape, dtype)
