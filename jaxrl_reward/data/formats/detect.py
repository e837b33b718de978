"""What lies at a path: told by what is in it, and not by its name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxrl_reward.data import files
from jaxrl_reward.data.rows import Found
from jaxrl_reward.types import UserError

_PICKLES = tuple(bytes([0x80, version]) for version in range(2, 6))
_OTHERS = {  # first bytes of files that hold data, and are no data set by themselves
    b"PAR1": "a table of Parquet: give the folder of the data set",
    b"ARROW1": "a table of Arrow: give the folder of the data set",
    b"\xff\xff\xff\xff": "a table of Arrow: give the folder of the data set",
    b"\x93NUMPY": "one array: give an .npz with a name for each",
    b"\x1f\x8b": "packed by gzip: unpack it first",
}


def look(path: Path) -> Found:
    """What there is, as far as it takes to tell formats apart.

    Raises:
      UserError: it cannot be read.
    """
    if path.is_dir():
        inside = list(path.iterdir())
        names = frozenset(each.name for each in inside if not each.is_dir())
        return Found(path, "folder", names, frozenset(x.name for x in inside if x.is_dir()))
    start = files.start_of(path)
    if start == files.HDF5:
        names, groups = files.members(path)
        return Found(path, "hdf5", frozenset(names), frozenset(groups))
    if start.startswith(files.ZIP):
        return Found(path, "npz", frozenset(files.names_in(path)))
    kind = "pickle" if start.startswith(_PICKLES) else "file"
    return Found(path, kind)


def layout(path: Path, formats: Mapping[str, Any], known: str) -> str:
    """The name of the format that something is of.

    Raises:
      UserError: it is of none; the line says what it is, where that is known.
    """
    found = look(path)
    for name, each in formats.items():
        if each.holds(found):
            return name
    raise UserError(f"{path} {_what(found)}; what is known is {known}")


def _what(found: Found) -> str:
    """What something is that is of no format."""
    names = found.names
    if found.kind == "folder":
        if not names and not found.groups:
            return "is an empty folder"
        if "data.pkl" in names or "version" in names:
            return "is a folder of PyTorch's"
        return "is a folder that has no format that is known"
    if found.kind == "hdf5":
        if {"episode_terminals", "discrete_action"} & names:
            return "is of d3rlpy's version 1: have d3rlpy 2 read it and dump it again"
        if any(each.startswith("episode_") for each in found.groups):
            return "is the inside of a data set of Minari's: give the folder of that"
        if "observations" in names or "obs" in names:
            listed = ", ".join(sorted(names))
            return f"has no rewards, and so is none of D4RL's; its arrays are {listed}"
        listed = ", ".join(sorted(names | found.groups)[:8]) or "nothing"
        return f"has no format that is known: it is HDF5 with {listed}"
    try:
        with open(found.path, "rb") as file:
            start = file.read(8)
    except OSError:
        start = b""
    told = next((text for first, text in _OTHERS.items() if start.startswith(first)), None)
    return f"is {told}" if told else "has no format that is known"
