"""Our own `.npz`: the fields, what is left out and where the data come from, with a checksum."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data.dataset import (
    FIELDS,
    Dataset,
    LeftOut,
    Provenance,
    arrays_left_out,
    arrays_of,
    checksum,
    make,
)
from jaxrl_reward.data.files import read_npz
from jaxrl_reward.data.rows import Found, Traits
from jaxrl_reward.files import replacing, user_path
from jaxrl_reward.types import UserError

FORMAT = "jaxrl-reward dataset 1"  # says what a file is, and the version of its layout
OPTIONS: tuple[str, ...] = ()
TRAITS = Traits(
    ends="yes",
    successor="yes",
    spaces="all, as rows of one array, with their description",
    images="uint8 as they are",
    score="as collected or read",
    write="yes",
)
LATER = (  # of a provenance, added since
    *("terminal_next_obs", "format", "format_version", "assumed"),
    *("observation_space", "action_space"),
)


def save(dataset: Dataset, path: Path | str) -> Path:
    """Writes an `.npz`, all at once: readers see the old file or the new one.

    Raises:
      UserError: the path does not end in `.npz`.
    """
    path = user_path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path} must end in .npz to hold a dataset")
    about = about_of(dataset)
    arrays: dict[str, Any] = dict(arrays_of(dataset.steps))
    arrays |= dict(arrays_left_out(dataset.left_out))
    arrays["format"] = np.array(FORMAT)
    arrays["provenance"] = np.array(json.dumps(about))
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, open(partial, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    return path


def holds(found: Found) -> bool:
    """Whether it is an `.npz` that no other format knows, or is named as one."""
    return found.kind == "npz" or found.path.suffix == ".npz"


def read(path: Path | str) -> Dataset:
    """Our own files, which `save` wrote."""
    return load(path)


def load(path: Path | str) -> Dataset:
    """A dataset that `save` wrote.

    Raises:
      UserError: there is none, or it is damaged: the line says in what.
    """
    arrays = read_npz(path)
    provenance = _about(arrays, path)
    if "first" not in arrays:
        raise UserError(f"{path} has no field 'first'; it needs {', '.join(FIELDS)}")
    names = [f"left_out_{name}" for name in LeftOut._fields]
    left_out = LeftOut(*(arrays[name] for name in names)) if names[0] in arrays else None
    dataset = make(arrays, provenance, str(path), left_out)
    found = dataset.provenance.checksum or checksum(dataset.steps, left_out)
    if found != provenance.checksum:
        raise UserError(f"{path}: checksum does not fit the fields: the file was changed")
    return dataset.replace_provenance(checksum=found)


def provenance_of(path: Path | str) -> Provenance:
    """Where a file's data come from, without reading the data.

    Raises:
      UserError: as `load`.
    """
    return _about(read_npz(path, ("format", "provenance")), path)


def _about(arrays: Mapping[str, np.ndarray], path: Path | str) -> Provenance:
    if "format" not in arrays:
        fix = "make one of its arrays with data.make, and write that with data.save"
        raise UserError(f"{path} is not a dataset of jaxrl-reward: {fix}")
    if str(arrays["format"]) != FORMAT:
        raise UserError(f"{path}: format is {str(arrays['format'])!r}, and must be {FORMAT!r}")
    try:
        return provenance_from(str(arrays["provenance"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: provenance cannot be read ({error})") from None


def about_of(dataset: Dataset) -> dict[str, Any]:
    """The provenance for JSON, with the checksum of what the data are now."""
    about = dataclasses.asdict(dataset.provenance)
    about["checksum"] = checksum(dataset.steps, dataset.left_out)
    for name in LATER:  # as of all files that were written before them
        if about[name] == getattr(Provenance, name):
            del about[name]
    return about


def provenance_from(text: str) -> Provenance:
    """The provenance in the JSON of `about_of`; an error if it holds something else."""
    about = json.loads(text)
    about["versions"] = tuple(tuple(pair) for pair in about["versions"])
    about["assumed"] = tuple(about.get("assumed", ()))
    return Provenance(**about)
