"""D4RL's files (Fu et al. 2020, arXiv:2004.07219): HDF5, one row per step, read by `h5py`.

`terminals` ends the task and `timeouts` only the clock. Where a file has no
`next_observations`, a step's successor is the observation of the next row, and so
the last step of an episode that timed out has none: it is left out, as D4RL's own
`qlearning_dataset` does, and the step before it, whose successor is known, is the
one that is truncated. The file's last row goes the same way. A termination has no
use for a successor, so the row is kept, and its observation stands for it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.files import user_path
from jaxrl_reward.offline.dataset import Dataset, Provenance, d4rl_returns, make
from jaxrl_reward.types import UserError

MAGIC = b"\x89HDF\r\n\x1a\n"  # the first bytes of every HDF5 file
_NAMES = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "terminals": "terminated",
    "timeouts": "truncated",
    "next_observations": "next_obs",
}
_OPTIONAL = ("next_observations", "timeouts")


def read(path: Path | str, max_steps: int | None = None) -> Dataset:
    """A file of D4RL's, with its reference returns where they are known.

    Args:
      path: an `.hdf5`.
      max_steps: the clock of an old file that has no `timeouts`.

    Raises:
      UserError: the file cannot be read, lacks a field or holds what is no data;
        or `h5py` is not installed.
    """
    arrays = _arrays(user_path(path))
    for name in _NAMES:
        if name not in arrays and name not in _OPTIONAL:
            raise UserError(f"{path} has no field {name!r}; D4RL's are {', '.join(_NAMES)}")
    rows = {name: len(value) if value.ndim else -1 for name, value in arrays.items()}
    for name, count in rows.items():
        if count != rows["rewards"] or count < 0:
            raise UserError(f"{path}: {name} has {count} rows, but rewards has {rows['rewards']}")
    if "timeouts" not in arrays:
        if max_steps is None:
            raise UserError(f"{path} has no field 'timeouts'; give max_steps, the task's clock")
        arrays["timeouts"] = _clock(arrays["terminals"], max_steps)
    found = {_NAMES[name]: value for name, value in arrays.items()}
    if rows["rewards"] and "next_obs" not in found:
        found = successors(found, str(path))
    name = Path(path).stem
    provenance = Provenance(environment=name, level=_level(name), source=Path(path).name)
    try:
        low, high = d4rl_returns(name)
        known = {"random_return": low, "expert_return": high}
    except UserError:
        known = {}
    return make(found, provenance, where=str(path)).replace_provenance(**known)


def successors(found: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Rows with the observation of the next row as successor, less those that have none.

    Args:
      found: `obs`, `action`, `reward`, `terminated` and `truncated`, `[N, ...]`.
      where: the file, for messages.

    Raises:
      UserError: no row is left.
    """
    terminated = found["terminated"].astype(bool)
    ends = found["truncated"].astype(bool) & ~terminated
    ends[-1] = ~terminated[-1]
    after = np.concatenate([found["obs"][1:], found["obs"][-1:]])
    wide = terminated.reshape(-1, *(1,) * (after.ndim - 1))
    after = np.where(wide, found["obs"], after)
    # The step before one without a successor becomes the episode's last, if it is of it.
    begins = np.concatenate([[True], (terminated | ends)[:-1]])
    last = np.concatenate([ends[1:] & ~begins[1:], [False]])
    truncated = (found["truncated"].astype(bool) & terminated) | last
    kept = ~ends
    # The end of a file is no clock: its last episode is cut.
    if not found["truncated"][-1] and not terminated[-1] and len(truncated) > 1:
        truncated[-2] &= terminated[-2]
    if not kept.any():
        raise UserError(f"{where}: observations have no row that has a successor")
    kept_rows = {"obs": found["obs"], "action": found["action"], "reward": found["reward"]}
    kept_rows |= {"next_obs": after, "terminated": terminated, "truncated": truncated}
    return {name: value[kept] for name, value in kept_rows.items()}


def _clock(terminals: np.ndarray, max_steps: int) -> np.ndarray:
    """Where a clock of `max_steps` ran out, `[N]` bool."""
    timeouts, length = np.zeros(len(terminals), bool), 0
    for row, terminal in enumerate(terminals):
        length += 1
        timeouts[row] = length == max_steps
        if terminal or timeouts[row]:
            length = 0
    return timeouts


def _arrays(path: Path) -> dict[str, Any]:
    h5py = _h5py()
    if not path.is_file():
        raise UserError(f"{path} does not exist; name an .hdf5 file of D4RL's")
    try:
        with h5py.File(path, "r") as file:
            return {
                name: np.asarray(file[name])
                for name in _NAMES
                if name in file and isinstance(file[name], h5py.Dataset)
            }
    except (OSError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as HDF5: not one, or cut short ({line})") from None


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        fix = 'pip install "jaxrl-reward[offline]"'
        raise UserError(f"h5py cannot be imported ({error}): {fix}") from None
    return h5py


def _level(name: str) -> str:
    """`medium-replay` of `hopper_medium_replay-v2` and the like, empty if none."""
    words = name.replace("_", "-").lower()
    levels = ("medium-replay", "medium-expert", "full-replay", "medium", "expert", "random")
    return next((level for level in levels if level in words), "")
