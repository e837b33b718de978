"""imitation's trajectories: a folder of Hugging Face's datasets, a row for each trajectory.

Of T steps there are T + 1 observations. `terminal` is true of every trajectory that is
finished, also by a clock: which of the two, the file does not say. What `infos` hold is not
decoded, as decoding could run it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.decoding.arrow import column_rows, tables
from jaxrl_reward.data.rows import (
    Found,
    Traits,
    check_lengths,
    check_option,
    joined,
    last_of,
)
from jaxrl_reward.types import UserError

OPTIONS = ("ends", "max_steps")
ENDS = ("terminated", "truncated")
TRAITS = Traits(
    ends="no: ends=terminated or truncated, or max_steps",
    successor="yes",
    spaces="Box of any shape, Discrete",
    images="uint8 as they are",
)
_STATE = "state.json"


def holds(found: Found) -> bool:
    """Whether it is a folder that `save_to_disk` made."""
    return found.kind == "folder" and {_STATE, "dataset_info.json"} <= found.names


def read(path: Path | str, ends: str = "terminated", max_steps: int | None = None) -> Dataset:
    """imitation's trajectories, a folder that `serialize.save` wrote.

    Args:
      path: the folder.
      ends: what finished trajectories are taken for: `terminated`, or `truncated`,
        as where all end by a clock.
      max_steps: the clock: trajectories of so many steps are truncated, shorter ones
        as `ends` says.

    Raises:
      UserError: the folder cannot be read, lacks a column, or holds what is no data.
    """
    path = Path(path)
    where = str(path)
    check_option(where, "ends", ends, ENDS)
    if max_steps is not None and max_steps < 1:
        raise UserError(f"{where}: max_steps must be at least 1, not {max_steps}")
    parts, assumed = [], {}
    for table in tables(path, _files(path), "arrow"):
        missing = [name for name in ("obs", "acts", "terminal") if name not in table.column_names]
        if missing:
            raise UserError(f"{where} has no column {missing[0]!r}, as imitation's have")
        for row in range(len(table)):
            parts.append(_episode(table, row, where, ends, max_steps, assumed))
    if not parts:
        raise UserError(f"{where} has no trajectory; a dataset needs at least one row")
    rows = joined(parts)
    provenance = Provenance(
        environment=path.name,
        source=path.name,
        format="imitation",
        assumed=tuple(assumed),
        observation_space=described.text(described.of_rows(rows["obs"])),
    )
    return make(rows, provenance, where)


def _files(path: Path) -> list[Path]:
    """The files of the rows, in their order."""
    try:
        listed = json.loads((path / _STATE).read_bytes())["_data_files"]
        names = [str(each["filename"]) for each in listed]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path / _STATE} does not list the files of a dataset") from None
    if outside := [name for name in names if Path(name).name != name]:
        raise UserError(f"{path / _STATE} names {outside[0]!r}, which lies elsewhere")
    return [path / name for name in names]


def _episode(
    table: Any,
    row: int,
    where: str,
    ends: str,
    max_steps: int | None,
    assumed: dict[str, None],
) -> dict[str, np.ndarray]:
    """One trajectory's steps."""
    what = f"{where}: trajectory {row}"
    obs, action = (column_rows(table, name, row, what) for name in ("obs", "acts"))
    count = len(action)
    if not count:
        raise UserError(f"{what} has no steps")
    check_lengths(what, {"obs": obs[1:]}, count, "acts")
    reward = np.zeros(count, np.float32)
    if "rews" in table.column_names:
        reward = column_rows(table, "rews", row, what)
    else:
        assumed["rewards are 0, as the file has none"] = None
    check_lengths(what, {"rews": reward}, count, "acts")
    finished = table["terminal"][row].as_py()
    if not isinstance(finished, bool):
        raise UserError(f"{what}: terminal must be true or false, not {finished!r}")
    clock = finished and count == max_steps
    over = finished and not clock and ends == "terminated"
    if finished and not clock:
        other = next(each for each in ENDS if each != ends)
        line = f"finished trajectories are {ends}: the file does not tell a clock from an end"
        assumed[f"{line} (ends={other}, or max_steps=N)"] = None
    if clock:
        assumed[f"trajectories of {max_steps} steps are truncated, as max_steps says"] = None
    return {
        "obs": obs[:-1],
        "next_obs": obs[1:],
        "action": action,
        "reward": reward,
        "terminated": last_of(count, over),
        "truncated": last_of(count, finished and not over),
    }
