"""d3rlpy's `ReplayBuffer.dump` (version 2, `.h5`): a few arrays an episode, as many rows as steps.

There is no last observation: of an episode that did not terminate the last step leads to
where the file does not say, as d3rlpy itself has it.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.fields import column
from jaxrl_reward.data.files import hdf5
from jaxrl_reward.data.rows import (
    MISSING,
    Found,
    Traits,
    assumed_of_missing,
    check_lengths,
    check_option,
    last_of,
    successors,
)
from jaxrl_reward.types import UserError

OPTIONS = ("missing",)
TRAITS = Traits(
    ends="yes",
    successor="no: missing=drop or repeat",
    spaces="Box of any shape, Discrete",
    images="uint8 as they are",
)
_FIELDS = {"actions": "action", "rewards": "reward"}


def holds(found: Found) -> bool:
    """Whether arrays are named by episode, as `observations_0`."""
    return found.kind == "hdf5" and {"num_episodes", "rewards_0"} <= found.names


def read(path: Path | str, missing: str = "drop") -> Dataset:
    """d3rlpy's replay buffers, version 2: what `ReplayBuffer.dump` wrote.

    Args:
      path: the `.h5`.
      missing: of the last step of an episode that was truncated: `drop` it, or
        `repeat` its own observation in place of the next.

    Raises:
      UserError: the file cannot be read, lacks an array or holds what is no data.
    """
    where = str(path)
    check_option(where, "missing", missing, MISSING)
    with hdf5(path) as file:
        version = file["version"][()] if "version" in file else b""
        count = int(_scalar(file, "num_episodes", where))
        _check_episodes(file, count, where)
        parts = [_episode(file, i, where) for i in range(count)]
        observed = _space(file)
    found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    over = found["terminated"] | found["truncated"]
    lost = int(found["truncated"].sum())
    rows, left_out, known = successors(found, over, where, missing)
    provenance = Provenance(
        environment=Path(path).stem,
        source=Path(path).name,
        format="d3rlpy",
        format_version=version.decode() if isinstance(version, bytes) else str(version),
        assumed=assumed_of_missing(missing, lost),
        terminal_next_obs=known,
        observation_space=described.text(observed),
    )
    return make(rows, provenance, where, left_out)


def _check_episodes(file: Any, count: int, where: str) -> None:
    listed = {int(m[1]) for name in file if (m := re.fullmatch(r"rewards_(\d+)", name))}
    if count < 1:
        raise UserError(f"{where}: num_episodes is {count}; a dataset needs at least one row")
    if len(listed) != count or max(listed) != count - 1:
        raise UserError(f"{where}: num_episodes is {count}, and rewards of {len(listed)} are there")


def _episode(file: Any, number: int, where: str) -> dict[str, np.ndarray]:
    """One episode's steps, without successors."""
    found = {"obs": _observed(file, number, where)}
    for name, ours in _FIELDS.items():
        if f"{name}_{number}" not in file:
            raise UserError(f"{where} has no array {name}_{number}, and {number} is an episode")
        found[ours] = np.asarray(file[f"{name}_{number}"])
    ended = bool(_scalar(file, f"terminated_{number}", where))
    found["reward"] = column(f"rewards_{number}", found["reward"], where)
    count = len(found["reward"])
    if not count:
        raise UserError(f"{where}: rewards_{number} is empty; an episode has at least one step")
    if found["action"].dtype.kind in "iu":
        found["action"] = column(f"actions_{number}", found["action"], where)
    check_lengths(where, {f"{k}_{number}": v for k, v in found.items()}, count, "its rewards")
    return {
        **found,
        "terminated": last_of(count, ended),
        "truncated": last_of(count, not ended),
    }


def _observed(file: Any, number: int, where: str) -> np.ndarray:
    """Observations as rows; of a tuple, whose arrays have numbers, one flat vector."""
    names = _arrays(file, number)
    if not names:
        raise UserError(f"{where} has no array observations_{number}, and {number} is an episode")
    rows = [np.asarray(file[name]) for name in names]
    if len(rows) == 1 and names[0] == f"observations_{number}":
        return rows[0]
    check_lengths(where, dict(zip(names, rows, strict=True)), len(rows[0]), names[0])
    return np.concatenate([each.reshape(len(each), -1) for each in rows], axis=1, dtype=np.float32)


def _arrays(file: Any, number: int) -> list[str]:
    """The names of an episode's observations, of a tuple in its order."""
    if f"observations_{number}" in file:
        return [f"observations_{number}"]
    pattern = re.compile(rf"observations_{number}_(\d+)")
    found = {int(m[1]): name for name in file if (m := pattern.fullmatch(name))}
    return [found[i] for i in sorted(found)]


def _space(file: Any) -> described.Description:
    names = _arrays(file, 0)
    spaces = [described.of_rows(file[name]) for name in names]
    if names == ["observations_0"]:
        return spaces[0]
    return {"kind": "Tuple", "spaces": spaces}


def _scalar(file: Any, name: str, where: str) -> Any:
    if name not in file or file[name].shape != ():
        raise UserError(f"{where} has no number {name!r}, which d3rlpy writes")
    return file[name][()]
