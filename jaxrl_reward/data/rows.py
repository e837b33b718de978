"""What readers share: episodes joined to rows, and successors that are the next row.

Every reader is a module with `read(path, **options)`, which gives a `Dataset`; `holds(found)`,
whether a path is of its format; `OPTIONS`, the names of what a user may say of a file; and
`TRAITS`, what the format can hold.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import LeftOut
from jaxrl_reward.data.fields import begins, checked
from jaxrl_reward.types import UserError, nearest

_CHUNK = 2**20  # numbers moved together
MISSING = ("drop", "repeat")  # what becomes of a step whose successor the file does not hold


class Found(NamedTuple):
    """What lies at a path, as far as it takes to tell formats apart.

    Attributes:
      path: where.
      kind: `hdf5`, `npz`, `pickle`, `folder` or `file`.
      names: of the arrays on the first floor, or of the files in a folder.
      groups: of the groups on the first floor of an HDF5 file, or of folders in a folder.
    """

    path: Path
    kind: str
    names: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


class Traits(NamedTuple):
    """What a format can hold, as the table of formats says it: a few words each.

    Attributes:
      ends: whether it tells a termination from a truncation.
      successor: whether the true observation after an episode's last step is in it.
      spaces: which observations and actions.
      images: how they are kept.
      score: whose reference returns come with it.
      write: whether this package writes it.
    """

    ends: str
    successor: str
    spaces: str
    images: str
    score: str = "no"
    write: str = "no"


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Episodes one behind the other, with `first`."""
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    found["first"] = np.concatenate([np.arange(len(part["reward"])) == 0 for part in parts])
    return found


def last_of(count: int, ends: bool = True) -> np.ndarray:
    """True in the last of so many rows, if `ends`."""
    return (np.arange(count) == count - 1) & ends


def check_lengths(where: str, rows: Mapping[str, Any], count: int, of: str) -> None:
    """Raises a `UserError` unless there are `count` of each."""
    for name, each in rows.items():
        if len(each) != count:
            raise UserError(f"{where}: {name} has {len(each)} rows, but {of} has {count}")


def successors(
    found: dict[str, np.ndarray], over: np.ndarray, where: str, missing: str = "drop"
) -> tuple[dict[str, np.ndarray], LeftOut | None, bool]:
    """Rows with the observation of the next row as successor, less those that have none.

    Args:
      found: `obs`, `action`, `reward`, `terminated` and `truncated`, `[N, ...]`; what
        is kept is moved within them.
      over: where an episode ends, `[N]` bool.
      where: the file, for messages.
      missing: what becomes of the last step of an episode that did not terminate:
        `drop`, or `repeat`, which has its own observation stand for the successor.

    Returns:
      fields: those, and `next_obs` and `first`, of the rows that are kept.
      left_out: the rows that are not.
      known: whether no kept row lacks its successor, as terminated ones may.

    Raises:
      UserError: no row is left.
    """
    terminated, timeouts, first = found["terminated"], found["truncated"], begins(over)
    stands = over.copy()  # for the rows that the next one does not follow
    stands[-1] = True
    dropped, guessed = stands & ~terminated, stands & terminated
    if missing == "repeat":
        dropped, guessed = np.zeros_like(stands), stands
    if dropped.all():
        raise UserError(f"{where}: observations have no row that has a successor")
    # The step before one that timed out becomes the episode's last, if it is of it.
    # The end of a file is no clock: its last episode is cut.
    last = np.concatenate([(dropped & timeouts & ~first)[1:], [False]])
    steps = {**found, "first": first, "truncated": (timeouts & ~dropped) | last}
    kept, left_out = np.flatnonzero(~dropped), None
    after = found["obs"][np.minimum(kept + 1, len(over) - 1)]
    at = np.flatnonzero(guessed[kept])
    after[at] = found["obs"][kept[at]]
    if dropped.any():
        reward = checked("reward", found["reward"], where)
        row = np.cumsum(~dropped).astype(np.int64)
        left_out = LeftOut(*(each[dropped] for each in (row, first, timeouts, reward)))
        steps = {name: _moved(value, kept) for name, value in steps.items()}
    steps["next_obs"] = after
    return steps, left_out, not guessed.any()


def _moved(rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Some rows, in ascending order, moved to the front where they lie, and no copy of them."""
    if not rows.flags.writeable:
        return rows[kept]
    many = max(1, _CHUNK // max(1, rows[:1].size))
    for start in range(0, len(kept), many):
        some = kept[start : start + many]  # which are behind what was written before
        rows[start : start + len(some)] = rows[some]
    return rows[: len(kept)]


def assumed_of_missing(missing: str, count: int) -> tuple[str, ...]:
    """What is said of `count` steps whose successor a file does not hold."""
    if not count:
        return ()
    done = {
        "drop": "they are left out, and count in returns and lengths (missing=repeat keeps them)",
        "repeat": "their own observation stands for it (missing=drop leaves them out)",
    }[missing]
    return (f"{count} last steps of episodes have no successor in the file: {done}",)


def check_option(where: str, name: str, value: str, known: Sequence[str]) -> str:
    """The value, if it is one of those known.

    Raises:
      UserError: it is another.
    """
    if value not in known:
        raise UserError(f"{where}: {name} must be one of {', '.join(known)}, not {value!r}")
    return value


DONES = ("truncated", "terminated")  # what rows that are done are taken for


def assumed_of_dones(dones: str) -> tuple[str, ...]:
    """What is said of a file that does not tell a termination from an end of recording."""
    if dones == "terminated":
        return ("rows that are done terminate the task, as dones=terminated says",)
    line = "every episode is truncated at its last row and nothing terminates"
    return (f"{line} (dones=terminated takes rows that are done for terminations)",)


def chosen(where: str, spaces: Mapping[str, described.Description], obs: str) -> list[str]:
    """The names of observations that are read, sorted as in a Dict: those asked for, or all.

    Raises:
      UserError: one is not there; or none was named, and images are among several.
    """
    names = sorted(spaces)
    if not names:
        raise UserError(f"{where} has no observations")
    if obs:
        asked = sorted(dict.fromkeys(obs.split("+")))
        for name in asked:
            if name not in spaces:
                raise UserError(f"{where} has no observation {name!r}, {nearest(name, names)}")
        return asked
    images = [name for name in names if described.is_image(spaces[name])]
    if images and len(names) > 1:
        low = "+".join(name for name in names if name not in images) or names[0]
        raise UserError(
            f"{where} has observations {', '.join(names)}, and {images[0]} is an image: say which, "
            f"as in ',obs={low}' or ',obs={images[0]}'"
        )
    return names
