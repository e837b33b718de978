"""D4RL's layout, written as HDF5: what others read, and beside it what it has no place for."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data.dataset import Dataset, LeftOut, Provenance, arrays_left_out
from jaxrl_reward.data.files import HDF5, h5py, hdf5, start_of
from jaxrl_reward.data.formats.npz import about_of, provenance_from
from jaxrl_reward.files import replacing, user_path
from jaxrl_reward.types import UserError

NAMES = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "terminals": "terminated",
    "next_observations": "next_obs",
}
_OURS = "jaxrl_reward"  # the group of what the layout has no place for
_FLAGS = ("first", "truncated")


def write(dataset: Dataset, path: Path | str) -> Path:
    """Writes an HDF5 file with a row for each step and `next_observations`, all at once.

    `timeouts` is true where an episode was truncated or cut; which of the two, and where
    the data come from, is in a group of our own, by which `read` gives back every bit.

    Raises:
      UserError: the path does not end in `.hdf5` or `.h5`, or `h5py` is not installed.
    """
    path = user_path(path)
    if path.suffix not in (".hdf5", ".h5"):
        raise UserError(f"{path} must end in .hdf5 to hold D4RL's layout")
    steps, library = dataset.steps, h5py()
    terminated, truncated = np.asarray(steps.terminated), np.asarray(steps.truncated)
    cut = np.append(np.asarray(steps.first)[1:], False) & ~terminated & ~truncated
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, library.File(partial, "w") as file:
        for name, ours in NAMES.items():
            file[name] = np.asarray(getattr(steps, ours))
        file["timeouts"] = truncated | cut
        about = about_of(dataset)
        for name in ("environment", "behaviour", "level", "corruption"):
            if about[name]:
                file[f"metadata/{name}"] = about[name]
        for name in _FLAGS:
            file[f"{_OURS}/{name}"] = np.asarray(getattr(steps, name))
        for name, value in arrays_left_out(dataset.left_out):
            file[f"{_OURS}/{name}"] = value
        file[f"{_OURS}/provenance"] = json.dumps(about)
    return path


def of_ours(path: Path | str) -> tuple[dict[str, np.ndarray], LeftOut | None, Provenance] | None:
    """What `write` kept of a file beside D4RL's arrays; None if it did not write it.

    Raises:
      UserError: it cannot be read.
    """
    if start_of(path) != HDF5:
        return None
    with hdf5(path) as file:
        if _OURS not in file or "provenance" not in file[_OURS]:
            return None
        group: Any = file[_OURS]
        flags = {name: np.asarray(group[name]) for name in _FLAGS}
        names = [f"left_out_{name}" for name in LeftOut._fields]
        left_out = None
        if names[0] in group:
            left_out = LeftOut(*(np.asarray(group[name]) for name in names))
        text = group["provenance"].asstr()[()]
    try:
        return flags, left_out, provenance_from(text)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: provenance cannot be read ({error})") from None
