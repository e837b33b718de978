"""One data set by its path or name, whatever its format: told by what it holds."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.data.formats import (
    d3rlpy,
    d4rl,
    detect,
    imitation,
    lerobot,
    minari,
    npz,
    ogbench,
    rlds,
    robomimic,
    sb3,
)
from jaxrl_reward.files import user_path
from jaxrl_reward.plugins.definitions import check_free
from jaxrl_reward.types import UserError, nearest

PREFIX = "minari:"
WHOLE = ("max_steps",)  # options that are whole numbers

Reader = Callable[[Path], Dataset]


class Format(NamedTuple):
    """Files of one kind.

    Attributes:
      read: from a path to the data set.
      suffix: of the files that are known by it; empty for none.
    """

    read: Reader
    suffix: str = ""


# In the order in which a path is compared with them: ours knows any other `.npz`.
_BUILT_IN: dict[str, Any] = {
    "robomimic": robomimic,
    "d3rlpy": d3rlpy,
    "minari": minari,
    "lerobot": lerobot,
    "imitation": imitation,
    "rlds": rlds,
    "sb3": sb3,
    "d4rl": d4rl,
    "ogbench": ogbench,
    "npz": npz,
}
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


def read(source: Path | str, **options: Any) -> Dataset:
    """A data set of any format: a file or folder, or `minari:NAME` of Minari's local store.

    Args:
      source: the path or name, or `FORMAT:PATH`. What follows may be written behind it,
        as in `kitchen.hdf5,ends=terminals`.
      **options: what its format does not tell: those of its reader, such as `max_steps`
        and `ends` of `d4rl.read`. None is as if it were left out.

    Raises:
      UserError: there is none, its format is not known, or it cannot be read.
    """
    source, given = _split(source, {k: v for k, v in options.items() if v is not None})
    if (name := minari_name(source)) is not None:
        return minari.read(name, **_checked(source, "minari", given))
    own, path = _own(source)
    if not path.exists():
        raise UserError(f"{path} does not exist; give a file, or {PREFIX}NAME of Minari's store")
    if own in _OWN:
        if given:
            raise UserError(f"{path} is read as {own!r}, which has no options; leave them out")
        return _read_own(own, path)
    layout = own or detect.layout(path, _BUILT_IN, _known())
    return _BUILT_IN[layout].read(path, **_checked(source, layout, given))


def write(dataset: Dataset, target: str) -> str:
    """Writes a data set: `npz:PATH`, `d4rl:PATH` or `minari:NAME`.

    Returns:
      where it is.

    Raises:
      UserError: there is no such format to write, or it cannot hold the data.
    """
    name, colon, place = target.partition(":")
    if not colon or name not in WRITERS:
        known = ", ".join(f"{each}:..." for each in WRITERS)
        raise UserError(f"{target!r} is no place to write to; it is like {known}")
    return str(WRITERS[name](dataset, place) or target)


WRITERS: dict[str, Callable[[Dataset, str], Any]] = {
    "npz": npz.save,
    "d4rl": d4rl.write,
    "minari": minari.write,
}


def traits() -> dict[str, Any]:
    """What each format can hold, by name."""
    return {name: _BUILT_IN[name].TRAITS for name in sorted(_BUILT_IN)}


def stamp(source: Path | str) -> tuple[Any, ...]:
    """What differs once other data lie at a path or name, without reading them."""
    source = _split(source, {})[0]
    name = minari_name(source)
    path = _own(source)[1] if name is None else minari.folder(name)
    found = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
    known = ((str(each), each.stat()) for each in found)
    return tuple(
        (name, at.st_mtime_ns, at.st_ctime_ns, at.st_size, at.st_ino) for name, at in known
    )


def minari_name(source: str) -> str | None:
    """The name in Minari's store that is meant; None for a path."""
    if not source.startswith(PREFIX):
        return None
    name = source.removeprefix(PREFIX)
    return None if name.startswith(("/", "./", "../", "~")) else name


def _known() -> str:
    """What can be read, for messages."""
    own = "".join(f", {each.suffix or f'{name}:PATH'}" for name, each in _OWN.items())
    return f"a file or folder of {', '.join(_BUILT_IN)}{own}, or {PREFIX}NAME"


def _own(source: str) -> tuple[str | None, Path]:
    """The name of the format that a file is said to be of, if it is, and its path."""
    name, colon, path = source.partition(":")
    if colon and name in {*_OWN, *_BUILT_IN} and path:
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


def _split(source: Path | str, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path, and the options that are set, here and behind it."""
    text, options = str(source), {k: v for k, v in given.items() if v is not None}
    behind = re.fullmatch(r"(.+?)((?:,\w+=[^,/]*)+)", text)
    if behind is None or user_path(text).exists():
        return text, options
    for pair in behind[2].removeprefix(",").split(","):
        name, _, value = pair.partition("=")
        known = sorted({each for module in _BUILT_IN.values() for each in module.OPTIONS})
        if name not in known:
            raise UserError(f"{behind[1]} has no option {name!r}, {nearest(name, known)}")
        if name in options:
            raise UserError(f"{behind[1]}: {name} is set twice")
        options[name] = _whole(behind[1], value) if name in WHOLE else value
    return behind[1], options


def _whole(where: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]+", value):
        raise UserError(f"{where}: max_steps must be a whole number, not {value!r}")
    return int(value)


def _checked(source: str, layout: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, if the format has them all."""
    for name in options:
        known = _BUILT_IN[layout].OPTIONS
        if name not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise UserError(f"{source} is of {layout}, which has no option {name!r}; {has}")
    return options
