"""D4RL's layout (Fu et al. 2020, arXiv:2004.07219): one row per step, in HDF5 or an `.npz`.

`terminals` ends the task and `timeouts` only the clock. Where a file has no
`next_observations`, a step's successor is the observation of the next row, and so
the last step of an episode that timed out has none: it is left out, as D4RL's own
`qlearning_dataset` does, and the step before it, whose successor is known, is the
one that is truncated; its reward still counts in the episode's return. The file's
last row goes the same way. A termination has no use for a successor, so the row is
kept, and its observation stands for it.

In antmaze, `terminals` marks the rows at the goal, where a trajectory goes on:
only `timeouts` ends it.
"""

import re
from pathlib import Path

import numpy as np

from jaxrl_reward.data.dataset import Dataset, Provenance, d4rl_returns, make
from jaxrl_reward.data.fields import begins, flag
from jaxrl_reward.data.files import read_arrays
from jaxrl_reward.data.formats import d4rl_writer, ogbench
from jaxrl_reward.data.formats.d4rl_writer import write
from jaxrl_reward.data.rows import (
    MISSING,
    Found,
    Traits,
    assumed_of_missing,
    check_option,
    successors,
)
from jaxrl_reward.types import UserError

_NAMES = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "terminals": "terminated",
    "timeouts": "truncated",
    "next_observations": "next_obs",
}
_OPTIONAL = ("next_observations", "timeouts")
_OTHERS = ("masks", "valids")  # OGBench's, which say what terminals and timeouts say here

__all__ = ["TRAITS", "holds", "read", "write"]

ENDS = ("both", "terminals", "timeouts")  # what can end an episode
OPTIONS = ("max_steps", "ends", "missing")
TRAITS = Traits(
    ends="yes; without timeouts as max_steps or ends says",
    successor="with next_observations; else missing=drop or repeat",
    spaces="Box of any shape, Discrete",
    images="uint8 as they are",
    score="D4RL's",
    write="yes",
)


def holds(found: Found) -> bool:
    """Whether the arrays have D4RL's names: with rewards, which OGBench's have with masks alone."""
    if "observations" not in found.names or found.kind not in ("hdf5", "npz"):
        return False
    if "episode_terminals" in found.names:  # of d3rlpy's version 1
        return False
    if "timeouts" in found.names:
        return True
    return "rewards" in found.names and not any(name in found.names for name in ogbench.OWN)


def read(
    path: Path | str,
    max_steps: int | None = None,
    ends: str | None = None,
    missing: str = "drop",
) -> Dataset:
    """A file of D4RL's, with its reference returns where they are known.

    Args:
      path: an `.hdf5`, or an `.npz` with the same names.
      max_steps: the task's clock, for a file that has no `timeouts`.
      ends: what ends an episode: `terminals` (there was no clock), `timeouts` (rows
        at the goal are terminal, and the trajectory goes on), or `both`. By default
        `timeouts` for antmaze, and `both` for all else.
      missing: of a step without a successor in the file: `drop` it, or `repeat` its
        own observation in place of it.

    Raises:
      UserError: the file cannot be read, lacks a field, holds what is no data, or
        leaves open what ends an episode; or `h5py` is not installed.
    """
    where, name = str(path), Path(path).stem
    check_option(where, "missing", missing, MISSING)
    found = _fields(read_arrays(path, (*_NAMES, *_OTHERS)), where)
    if (ours := d4rl_writer.of_ours(path)) is not None:
        flags, left_out, about = ours
        return make({**found, **flags}, about, where, left_out)
    found["truncated"] = _timeouts(found, where, name, max_steps, ends)
    ends = ends or _ends(found, where, name)
    over = found["truncated"] | found["terminated"] if ends != "timeouts" else found["truncated"]
    found["first"], left_out, known_next = begins(over), None, True
    assumed = _assumed(name, max_steps, ends)
    if "next_obs" not in found:
        lost = int((over & ~found["terminated"]).sum() + (not over[-1]))
        assumed += assumed_of_missing(missing, lost)
        found, left_out, known_next = successors(found, over, where, missing)
    provenance = Provenance(
        environment=name,
        level=_level(name),
        source=Path(path).name,
        terminal_next_obs=known_next,
        format="d4rl",
        assumed=assumed,
    )
    try:
        low, high = d4rl_returns(name)
        known = {"random_return": low, "expert_return": high}
    except UserError:
        known = {}
    return make(found, provenance, where, left_out).replace_provenance(**known)


def _assumed(name: str, max_steps: int | None, ends: str) -> tuple[str, ...]:
    """What is not in the file, and how it was taken."""
    assumed = []
    if max_steps is not None:
        assumed.append(f"a clock of {max_steps} steps ends episodes, as max_steps says")
    if ends == "timeouts":
        line = "a trajectory goes on after a terminal row, and ends by timeouts alone"
        assumed.append(f"{line}{', as in antmaze' if _is_antmaze(name) else ''}")
    if ends == "terminals":
        assumed.append("no clock ended an episode, as ends=terminals says")
    return tuple(assumed)


def _fields(arrays: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The arrays by our names, of as many rows each; `terminated` as bool."""
    for name in _NAMES:
        if name not in arrays and name not in _OPTIONAL:
            raise UserError(f"{where} has no field {name!r}; D4RL's are {', '.join(_NAMES)}")
    rows = {name: len(value) if value.ndim else -1 for name, value in arrays.items()}
    for name, count in rows.items():
        if count != rows["rewards"] or count < 0:
            raise UserError(f"{where}: {name} has {count} rows, but rewards has {rows['rewards']}")
    if not rows["rewards"]:
        raise UserError(f"{where}: rewards is empty; a dataset needs at least one row")
    terminals = flag("terminals", arrays["terminals"], where)
    masks = arrays.get("masks")
    if "valids" in arrays or (masks is not None and ((masks != 0) == terminals).any()):
        name = "valids" if "valids" in arrays else "masks"
        raise UserError(f"{where} has OGBench's {name} beside D4RL's terminals, and they differ")
    found = {_NAMES[name]: value for name, value in arrays.items() if name in _NAMES}
    return {**found, "terminated": terminals}


def _timeouts(
    found: dict[str, np.ndarray], where: str, name: str, max_steps: int | None, ends: str | None
) -> np.ndarray:
    """Where a clock ran out, `[N]` bool: as the file says, or as the options do."""
    if ends not in (None, *ENDS):
        raise UserError(f"{where}: ends must be one of {', '.join(ENDS)}, not {ends!r}")
    if max_steps is not None and max_steps < 1:
        raise UserError(f"{where}: max_steps must be at least 1, not {max_steps}")
    if "truncated" in found:
        timeouts = flag("timeouts", found["truncated"], where)
        if max_steps is not None:
            raise UserError(f"{where} has timeouts; leave max_steps out")
        if ends == "terminals" and timeouts.any():
            row = int(np.flatnonzero(timeouts)[0])
            raise UserError(f"{where}: timeouts ends an episode in row {row}; say ends=both")
        return timeouts
    terminals = found["terminated"]
    if max_steps is not None:
        goes_on = ends == "timeouts" or (ends is None and _is_antmaze(name))
        return _clock(terminals & (not goes_on), max_steps)
    if ends != "terminals":
        raise UserError(
            f"{where} has no field 'timeouts': say the task's clock, as in "
            f"'{Path(where).name},max_steps=1000', or ',ends=terminals' if no clock ended episodes"
        )
    return np.zeros(len(terminals), bool)


def _ends(found: dict[str, np.ndarray], where: str, name: str) -> str:
    """What ends an episode.

    Raises:
      UserError: two terminals in a row may be a stay at the goal, or an episode of
        one step.
    """
    if _is_antmaze(name):
        return "timeouts"
    terminated, timeouts = found["terminated"], found["truncated"]
    runs = terminated[:-1] & terminated[1:] & ~timeouts[:-1]
    if runs.any() and not _jumps(found, runs):
        row = int(np.flatnonzero(runs)[0])
        raise UserError(
            f"{where}: terminals is 1 in rows {row} and {row + 1}: say "
            f"'{Path(where).name},ends=timeouts' if a trajectory goes on at its goal, as "
            "antmaze's, or ',ends=both' if an episode has one step"
        )
    return "both"


def _jumps(found: dict[str, np.ndarray], rows: np.ndarray) -> bool:
    """Whether the next row does not follow one of these, where it does follow all others."""
    if "next_obs" not in found or found["next_obs"].shape != found["obs"].shape:
        return False
    away = found["next_obs"][:-1] != found["obs"][1:]
    away = away.reshape(len(away), -1).any(axis=1)
    inner = ~(found["terminated"] | found["truncated"])[:-1]
    return bool(inner.any() and not away[inner].any() and away[rows].any())


def _is_antmaze(name: str) -> bool:
    return re.search(r"ant[-_]?maze", name.lower()) is not None


def _clock(terminals: np.ndarray, max_steps: int) -> np.ndarray:
    """Where a clock of `max_steps` ran out, `[N]` bool."""
    timeouts, length = np.zeros(len(terminals), bool), 0
    for row, terminal in enumerate(terminals):
        length += 1
        timeouts[row] = length == max_steps
        if terminal or timeouts[row]:
            length = 0
    return timeouts


def _level(name: str) -> str:
    """`medium-replay` of `hopper_medium_replay-v2` and the like, empty if none."""
    words = name.replace("_", "-").lower()
    levels = ("medium-replay", "medium-expert", "full-replay", "medium", "expert", "random")
    return next((level for level in levels if level in words), "")
