"""One data set by its path or name, whatever its format: told by what the file holds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl_reward.data import d4rl, dataset, files, minari, ogbench
from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.files import user_path
from jaxrl_reward.plugins.definitions import check_free
from jaxrl_reward.types import UserError, nearest

PREFIX = "minari:"
OPTIONS = ("max_steps", "ends")  # of D4RL's files

Reader = Callable[[Path], Dataset]


class Format(NamedTuple):
    """Files of one kind.

    Attributes:
      read: from a path to the data set.
      suffix: of the files that are known by it; empty for none.
    """

    read: Reader
    suffix: str = ""


_BUILT_IN = {"minari": minari, "d4rl": d4rl, "ogbench": ogbench, "npz": dataset}
_OWN: dict[str, Format] = {}


def names() -> list[str]:
    """The formats that `read` knows, users' own among them."""
    return sorted({*_BUILT_IN, *_OWN})


def register(name: str, read: Reader, suffix: str = "") -> Reader:
    """Makes a format of files known: `NAME:PATH`, and any path with the suffix, is read with it.

    Args:
      name: a Python identifier of two letters or more.
      read: from a `Path` to a `Dataset`, such as `data.make` gives.
      suffix: such as `.csv`; empty for none.

    Returns:
      `read`.

    Raises:
      UserError: the name or the suffix is none, or is another definition's.
    """
    if not name.isidentifier() or len(name) < 2:  # C: is a drive
        raise UserError(f"format name {name!r} is not an identifier of two letters or more")
    if suffix and not re.fullmatch(r"\.\w[\w.]*", suffix):
        raise UserError(f"the suffix of format {name!r} must be like .csv, not {suffix!r}")
    if suffix in (".npz", ".hdf5", ".h5"):
        raise UserError(f"{suffix} files are told by what they hold; leave the suffix out")
    holder = _OWN[name].read if name in _OWN else _BUILT_IN.get(name)
    check_free(f"format name {name!r}", holder, read)
    for other, each in _OWN.items():
        if suffix and other != name and each.suffix == suffix:
            raise UserError(f"{suffix} files are read as {other!r}; choose another suffix")
    _OWN[name] = Format(read, suffix)
    return read


def summary(name: str) -> str:
    """The first line on a format."""
    documented = _OWN[name].read if name in _OWN else _BUILT_IN[name]
    return (documented.__doc__ or "").strip().partition("\n")[0]


def read(source: Path | str, max_steps: int | None = None, ends: str | None = None) -> Dataset:
    """A data set: `minari:NAME`, or a file of ours, of D4RL's, of OGBench's or of one's own format.

    Args:
      source: the path or name, `FORMAT:PATH` of a format that is registered. What follows
        may be written behind it, as in `kitchen.hdf5,ends=terminals`.
      max_steps: of D4RL's layout alone, see `d4rl.read`.
      ends: likewise.

    Raises:
      UserError: there is none, its format is not known, or it cannot be read.
    """
    source, options = _split(source, {"max_steps": max_steps, "ends": ends})
    if source.startswith(PREFIX):
        _refuse(source, options)
        return minari.read(source.removeprefix(PREFIX))
    own, path = _own(source)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file, or {PREFIX}NAME of Minari's store")
    if own is not None:
        _refuse(source, options)
        return _read_own(own, path)
    layout = _layout(path)
    if layout == "d4rl":
        return d4rl.read(path, **options)
    _refuse(source, options)
    return ogbench.read(path) if layout == "ogbench" else dataset.load(path)


def stamp(source: Path | str) -> tuple[Any, ...]:
    """What differs once other data lie at a path or name, without reading them."""
    source = _split(source, {})[0]
    named = source.startswith(PREFIX)
    path = minari.folder(source.removeprefix(PREFIX)) if named else _own(source)[1]
    found = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    known = ((str(each), each.stat()) for each in found)
    return tuple(
        (name, at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino) for name, at in known
    )


def _own(source: str) -> tuple[str | None, Path]:
    """The name of the user's format that a file is of, if it is, and its path."""
    name, colon, path = source.partition(":")
    if colon and name in _OWN:
        return name, user_path(path)
    told = [name for name, each in _OWN.items() if each.suffix and source.endswith(each.suffix)]
    return next(iter(told), None), user_path(source)


def _read_own(name: str, path: Path) -> Dataset:
    """A file as a user's format reads it."""
    try:
        found: Any = _OWN[name].read(path)
    except UserError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{path} cannot be read as {name}: {line}") from error
    if not isinstance(found, Dataset):
        kind = type(found).__name__
        raise UserError(f"format {name!r} must give a Dataset, see data.make, and gives {kind}")
    return found if found.provenance.source else found.replace_provenance(source=path.name)


def _layout(path: Path) -> str:
    """Whose names the arrays of a file have: `d4rl`'s, `ogbench`'s or `ours`."""
    start = files.start_of(path)
    if start != files.HDF5 and not start.startswith(files.ZIP):
        if path.suffix == ".npz":  # cut short, or never one
            return "ours"
        known = "an .npz or .hdf5 of D4RL's or OGBench's names, an .npz of ours"
        own = "".join(f", {each.suffix or f'{name}:PATH'}" for name, each in _OWN.items())
        raise UserError(f"{path} has no format that is known: {known}{own}, or {PREFIX}NAME")
    names = files.names_in(path)
    if "observations" not in names:
        return "d4rl" if start == files.HDF5 else "ours"
    if "timeouts" in names:
        return "d4rl"
    if any(name in names for name in ogbench.OWN):
        return "ogbench"
    # What was recorded to reach goals has no rewards, and D4RL's always has.
    return "d4rl" if "rewards" in names or start == files.HDF5 else "ogbench"


def _split(source: Path | str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path, and the options that are set, here and behind it."""
    text, options = str(source), {k: v for k, v in given.items() if v is not None}
    behind = re.fullmatch(r"(.+?)((?:,\w+=[^,/]*)+)", text)
    if behind is None or user_path(text).exists():
        return text, options
    for pair in behind[2].removeprefix(",").split(","):
        name, _, value = pair.partition("=")
        if name not in OPTIONS:
            raise UserError(f"{behind[1]} has no option {name!r}, {nearest(name, OPTIONS)}")
        if name in options:
            raise UserError(f"{behind[1]}: {name} is set twice")
        options[name] = _whole(behind[1], value) if name == "max_steps" else value
    return behind[1], options


def _whole(where: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]+", value):
        raise UserError(f"{where}: max_steps must be a whole number, not {value!r}")
    return int(value)


def _refuse(source: str, options: dict[str, Any]) -> None:
    if options:
        raise UserError(f"{source} says where its episodes end; leave {next(iter(options))} out")
