"""OGBench's files (Park et al. 2025, arXiv:2410.20092): `.npz`, one row per observation.

A trajectory of T steps has T + 1 rows: the last holds only where it ended, and its
action leads nowhere. `terminals` is true there, and means that the trajectory ends,
not that the task does: such an end is a truncation. In the compact form `valids`
is false in that row. Files with `next_observations` have a row per step. Those
made for one task have `rewards`, and `masks`, which are 0 where it is solved: such
steps are terminated, and the trajectory goes on.
"""

import warnings
from pathlib import Path

import numpy as np

from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.fields import begins, flag
from jaxrl_reward.data.files import read_arrays
from jaxrl_reward.data.rows import Found, Traits
from jaxrl_reward.types import UserError

NEEDED = ("observations", "actions", "terminals")
OWN = ("valids", "masks", "qpos", "qvel", "button_states", "oracle_reps")  # no other format's
OPTIONS: tuple[str, ...] = ()
TRAITS = Traits(
    ends="single-task sets: masks; else every end is a truncation",
    successor="yes",
    spaces="Box of any shape, Discrete (powderworld)",
    images="uint8 as they are",
)


def holds(found: Found) -> bool:
    """Whether the arrays have OGBench's names; what was recorded to reach goals has no rewards."""
    if "observations" not in found.names or found.kind not in ("hdf5", "npz"):
        return False
    if "timeouts" in found.names:
        return False
    own = any(name in found.names for name in OWN)
    return own or (found.kind == "npz" and "rewards" not in found.names)


def read(path: Path | str) -> Dataset:
    """A file of OGBench's.

    Data for reaching goals have no rewards: they are 0 then, and a warning says so.

    Raises:
      UserError: the file cannot be read, lacks a field or holds what is no data.
    """
    names = (*NEEDED, "next_observations", "valids", "rewards", "masks")
    arrays = read_arrays(path, names)
    for name in NEEDED:
        if name not in arrays:
            raise UserError(f"{path} has no field {name!r}; OGBench's are {', '.join(NEEDED)}")
    count = len(np.atleast_1d(arrays["observations"]))
    for name, value in arrays.items():
        rows = len(np.atleast_1d(value))
        if rows != count:
            raise UserError(f"{path}: {name} has {rows} rows, but observations has {count}")
    assumed = []
    if count == 0:
        raise UserError(f"{path}: observations is empty; a dataset needs at least one row")
    if "rewards" not in arrays:
        warnings.warn(f"{path} has no rewards: they are 0", stacklevel=2)
        arrays["rewards"] = np.zeros(count, np.float32)
        assumed.append("rewards are 0, as the file has none")
    if "masks" not in arrays:
        assumed.append("no step terminates, as the file has no masks")
    steps = _steps(arrays, str(path))
    provenance = Provenance(
        environment=Path(path).stem,
        source=Path(path).name,
        format="ogbench",
        assumed=tuple(assumed),
    )
    return make(steps, provenance, where=str(path))


def _steps(arrays: dict[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """The file's rows as steps with successors."""
    obs, count = arrays["observations"], len(arrays["observations"])
    flags = {
        name: flag(name, arrays[name], where)
        for name in ("terminals", "valids", "masks")
        if name in arrays
    }
    ends, valid = flags["terminals"], flags.get("valids", np.ones(count, bool))
    solved = ~flags.get("masks", np.ones(count, bool))
    if "next_observations" in arrays:
        kept, last, after = valid, ends, arrays["next_observations"]
    else:
        # The row that only says where the trajectory ended.
        only = ~valid if "valids" in arrays else ends
        after = np.concatenate([obs[1:], obs[-1:]])
        last = np.concatenate([only[1:], [False]])
        kept = ~only
        kept[-1] = False
    if not kept.any():
        raise UserError(f"{where}: observations have no row that has a successor")
    return {
        "obs": obs[kept],
        "action": arrays["actions"][kept],
        "reward": arrays["rewards"][kept],
        "next_obs": after[kept],
        "first": begins(last[kept]),
        "terminated": solved[kept],
        "truncated": last[kept],
    }
