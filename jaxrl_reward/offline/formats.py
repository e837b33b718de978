"""One data set by its path or name, whatever its format: told by what the file holds."""

from pathlib import Path

import numpy as np

from jaxrl_reward.files import user_path
from jaxrl_reward.offline import d4rl, dataset, minari, ogbench
from jaxrl_reward.offline.dataset import Dataset
from jaxrl_reward.types import UserError

PREFIX = "minari:"
_ZIP = b"PK"


def read(source: Path | str) -> Dataset:
    """A data set: `minari:NAME`, or a file of ours, of D4RL's or of OGBench's.

    Raises:
      UserError: there is none, its format is not known, or it cannot be read.
    """
    if str(source).startswith(PREFIX):
        return minari.read(str(source).removeprefix(PREFIX))
    path = user_path(source)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give a file, or {PREFIX}NAME of Minari's store")
    with open(path, "rb") as file:
        start = file.read(len(d4rl.MAGIC))
    if start == d4rl.MAGIC:
        return d4rl.read(path)
    if not start.startswith(_ZIP):
        if path.suffix == ".npz":  # cut short, or never one
            return dataset.load(path)
        known = "an .npz of ours or OGBench's, an .hdf5 of D4RL's"
        raise UserError(f"{path} has no format that is known: {known}, or {PREFIX}NAME")
    if "observations" in _fields(path):
        return ogbench.read(path)
    return dataset.load(path)


def _fields(path: Path) -> list[str]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return list(archive.files)
    except Exception:  # `load` says what is wrong with it
        return []
