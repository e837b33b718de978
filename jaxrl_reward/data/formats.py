"""One data set by its path or name, whatever its format: told by what the file holds."""

import re
from pathlib import Path
from typing import Any

from jaxrl_reward.data import d4rl, dataset, files, minari, ogbench
from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.files import user_path
from jaxrl_reward.types import UserError, nearest

PREFIX = "minari:"
OPTIONS = ("max_steps", "ends")  # of D4RL's files


def read(source: Path | str, max_steps: int | None = None, ends: str | None = None) -> Dataset:
    """A data set: `minari:NAME`, or a file of ours, of D4RL's or of OGBench's.

    Args:
      source: the path or name. What follows may be written behind it, as in
        `kitchen.hdf5,ends=terminals`.
      max_steps: of D4RL's layout alone, see `d4rl.read`.
      ends: likewise.

    Raises:
      UserError: there is none, its format is not known, or it cannot be read.
    """
    source, options = _split(source, {"max_steps": max_steps, "ends": ends})
    if source.startswith(PREFIX):
        _refuse(source, options)
        return minari.read(source.removeprefix(PREFIX))
    path = user_path(source)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file, or {PREFIX}NAME of Minari's store")
    layout = _layout(path)
    if layout == "d4rl":
        return d4rl.read(path, **options)
    _refuse(source, options)
    return ogbench.read(path) if layout == "ogbench" else dataset.load(path)


def stamp(source: Path | str) -> tuple[Any, ...]:
    """What differs once other data lie at a path or name, without reading them."""
    source = _split(source, {})[0]
    named = source.startswith(PREFIX)
    path = minari.folder(source.removeprefix(PREFIX)) if named else user_path(source)
    found = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    known = ((str(each), each.stat()) for each in found)
    return tuple(
        (name, at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino) for name, at in known
    )


def _layout(path: Path) -> str:
    """Whose names the arrays of a file have: `d4rl`'s, `ogbench`'s or `ours`."""
    start = files.start_of(path)
    if start != files.HDF5 and not start.startswith(files.ZIP):
        if path.suffix == ".npz":  # cut short, or never one
            return "ours"
        known = "an .npz or .hdf5 of D4RL's or OGBench's names, an .npz of ours"
        raise UserError(f"{path} has no format that is known: {known}, or {PREFIX}NAME")
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
