"""Named arrays in a file, `.npz` or HDF5: which of the two is told by how it begins."""

import contextlib
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.files import user_path
from jaxrl_reward.types import UserError

HDF5 = b"\x89HDF\r\n\x1a\n"  # the first bytes of every such file
ZIP = b"PK"
_DAMAGED = (  # what h5py raises, by turns, where a file is damaged
    *(OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError),
    *(SystemError, OverflowError, MemoryError),
)


def start_of(path: Path | str) -> bytes:
    """Its first bytes.

    Raises:
      UserError: there is no such file.
    """
    path = user_path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; name the file of a data set")
    with open(path, "rb") as file:
        return file.read(len(HDF5))


def names_in(path: Path | str) -> list[str]:
    """What arrays it has, those in groups of an HDF5 file left out.

    Raises:
      UserError: it cannot be read as HDF5. An `.npz` that cannot has none.
    """
    if start_of(path) == HDF5:
        return members(path)[0]
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return list(archive.files)
    except Exception:  # `read_npz` says what is wrong with it
        return []


def members(path: Path | str) -> tuple[list[str], list[str]]:
    """The names of an HDF5 file's arrays and groups, those within groups left out.

    Raises:
      UserError: it cannot be read.
    """
    arrays, groups = [], []
    with hdf5(path) as file:
        for name, value in file.items():
            (groups if hasattr(value, "items") else arrays).append(name)
    return arrays, groups


def read_arrays(path: Path | str, names: Collection[str]) -> dict[str, np.ndarray]:
    """Those of the arrays that it has.

    Raises:
      UserError: it does not exist, is no such file, or is damaged.
    """
    if start_of(path) != HDF5:
        return read_npz(path, names)
    with hdf5(path) as file:
        found = {name: file[name] for name in names if name in file}
        return {k: np.asarray(v) for k, v in found.items() if not hasattr(v, "items")}


def read_npz(path: Path | str, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`, all or those that are named, without unpickling anything.

    Raises:
      UserError: it does not exist, is not an `.npz`, or is damaged.
    """
    path = user_path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; name the file of a dataset")
    try:
        # NumPy leaves a file open that it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise ValueError("one array")
            return {name: archive[name] for name in archive.files if names is None or name in names}
    except (zipfile.BadZipFile, zlib.error, EOFError, SyntaxError, *_DAMAGED) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{path} cannot be read as .npz: not one, or cut short ({line})") from None


@contextlib.contextmanager
def hdf5(path: Path | str) -> Iterator[Any]:
    """An HDF5 file, open in a `with`; what goes wrong in it is one line."""
    library = h5py()
    try:
        with library.File(user_path(path), "r") as file:
            _check_own(file, path, library)
            yield file
    except _DAMAGED as error:
        line = " ".join(str(error).split())[:200]
        line = f"{path} cannot be read as HDF5: not one, or cut short ({line})"
        raise UserError(line) from None


def _check_own(file: Any, path: Path | str, library: Any) -> None:
    """Raises a `UserError` where an array of the file lies in another one."""

    def leads_out(name: str, link: Any) -> str | None:
        return name if isinstance(link, library.ExternalLink) else None

    def lies_out(name: str, each: Any) -> str | None:
        plain = not isinstance(each, library.Dataset) or not (each.external or each.is_virtual)
        return None if plain else name

    if name := file.visititems_links(leads_out) or file.visititems(lies_out):
        raise UserError(f"{path}: {name} lies in another file, which is not read")


def h5py() -> Any:
    """The library that reads HDF5, which is an extra.

    Raises:
      UserError: it is not installed.
    """
    try:
        import h5py as library
    except ImportError as error:
        fix = 'pip install "jaxrl-reward[offline]"'
        raise UserError(f"h5py cannot be imported ({error}): {fix}") from None
    return library
