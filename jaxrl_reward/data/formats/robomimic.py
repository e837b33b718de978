"""robomimic's demonstrations (HDF5): a group each, observations by name.

`dones` are rows of success, rows where the demonstration ends, or both, and the file does not
say which: by default every demonstration is cut at its last row, and no step terminates.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.fields import column, flag
from jaxrl_reward.data.files import hdf5
from jaxrl_reward.data.rows import (
    DONES,
    MISSING,
    Found,
    Traits,
    assumed_of_dones,
    assumed_of_missing,
    check_lengths,
    check_option,
    chosen,
    joined,
    last_of,
    successors,
)
from jaxrl_reward.types import UserError

OPTIONS = ("obs", "dones", "filter", "missing")
TRAITS = Traits(
    ends="no: dones=truncated or terminated",
    successor="with next_obs; else missing=drop or repeat",
    spaces="Box of any shape, by name",
    images="uint8 as they are, by obs=NAME",
)


def holds(found: Found) -> bool:
    """Whether it has a group `data`, of demonstrations."""
    return found.kind == "hdf5" and "data" in found.groups


def read(
    path: Path | str,
    obs: str = "",
    dones: str = "truncated",
    filter: str = "",
    missing: str = "drop",
) -> Dataset:
    """robomimic's demonstrations, in the order of their numbers.

    Args:
      path: the `.hdf5`.
      obs: names of observations with `+` between; by default all, unless some are images.
      dones: `terminated` takes rows that are done for terminations; by default
        demonstrations are truncated at their ends, and nothing terminates.
      filter: the demonstrations that `mask/NAME` lists, such as `train`; by default all.
      missing: of a step without a successor in the file: `drop` it, or `repeat` its
        own observation in place of the next.

    Raises:
      UserError: the file cannot be read, lacks what is named, or holds what is no data.
    """
    where = str(path)
    check_option(where, "missing", missing, MISSING)
    check_option(where, "dones", dones, DONES)
    with hdf5(path) as file:
        data, assumed = file["data"], []
        about = _about(data, where)
        names = _names(file, where, filter)
        if "obs" not in data[names[0]]:
            raise UserError(f"{where}: {names[0]} has no obs; robomimic's dataset_states_to_obs.py")
        shapes = {name: _box(value) for name, value in data[names[0]]["obs"].items()}
        keys = chosen(where, shapes, obs)
        parts = [_demonstration(data[name], name, keys, where, dones, assumed) for name in names]
    found, left_out, known = joined(parts), None, True
    if "next_obs" not in found:
        over = np.append(found["first"][1:], True)
        lost = int((over & ~found["terminated"]).sum())
        assumed += assumed_of_missing(missing, lost)
        found, left_out, known = successors(found, over, where, missing)
    spaces = {name: shapes[name] for name in keys}
    observed = spaces[keys[0]] if len(keys) == 1 else {"kind": "Dict", "spaces": spaces}
    provenance = Provenance(
        environment=str(about.get("env_name", Path(path).stem)),
        source=Path(path).name,
        format="robomimic",
        assumed=(*assumed_of_dones(dones), *dict.fromkeys(assumed)),
        terminal_next_obs=known,
        observation_space=described.text(observed),
    )
    return make(found, provenance, where, left_out)


def _about(data: Any, where: str) -> dict[str, Any]:
    """The environment, as the file says it."""
    try:
        found = json.loads(data.attrs.get("env_args", "{}"))
    except (ValueError, TypeError):
        raise UserError(f"{where}: env_args of its data is no JSON") from None
    return found if isinstance(found, dict) else {}


def _names(file: Any, where: str, filter: str) -> list[str]:
    """The demonstrations, by number: as texts, demo_10 would come before demo_2."""
    listed = {n: int(m[1]) for n in file["data"] if (m := re.fullmatch(r"demo_(\d+)", n))}
    if not listed:
        raise UserError(f"{where} has a group data without demo_0, demo_1, ..., as robomimic's")
    names = sorted(listed, key=lambda name: listed[name])
    if not filter:
        return names
    masks = file.get("mask", {})
    if filter not in masks:
        known = ", ".join(masks) or "none"
        raise UserError(f"{where} has no filter {filter!r}; it has {known}")
    kept = {x.decode() if isinstance(x, bytes) else str(x) for x in masks[filter][()]}
    if missing := sorted(kept - set(names)):
        raise UserError(f"{where}: filter {filter!r} lists {missing[0]}, which is not there")
    return [name for name in names if name in kept]


def _box(value: Any) -> described.Description:
    if not hasattr(value, "shape"):
        return described.box((0,))
    if value.dtype == np.uint8:
        return described.box(value.shape[1:], "uint8", 0, 255)
    return described.box(value.shape[1:], value.dtype)


def _demonstration(
    demo: Any, name: str, keys: list[str], where: str, dones: str, assumed: list[str]
) -> dict[str, np.ndarray]:
    """One demonstration's steps."""
    if "actions" not in demo:
        raise UserError(f"{where}: {name} has no actions")
    action = np.asarray(demo["actions"])
    count = len(action)
    found: dict[str, np.ndarray] = {"obs": _joined(demo, "obs", keys, name, where)}
    if "next_obs" in demo:
        found["next_obs"] = _joined(demo, "next_obs", keys, name, where)
    if "rewards" in demo:
        found["reward"] = column("rewards", np.asarray(demo["rewards"]), where)
    else:  # as robomimic reads it
        found["reward"] = np.zeros(count, np.float32)
        assumed.append("rewards are 0, as the file has none")
    done = np.zeros(count, bool)
    if dones == "terminated" and "dones" not in demo:
        raise UserError(f"{where}: {name} has no dones; leave dones=terminated out")
    if dones == "terminated":
        done = flag("dones", np.asarray(demo["dones"]), where)
    found |= {"action": action, "terminated": done}
    check_lengths(where, {f"{k} of {name}": v for k, v in found.items()}, count, "its actions")
    if not count:
        raise UserError(f"{where}: {name} is empty; a demonstration has at least one step")
    return {**found, "truncated": last_of(count, not done[-1])}


def _joined(demo: Any, group: str, keys: list[str], name: str, where: str) -> np.ndarray:
    """Observations as rows: the only one as it is, several as one flat vector."""
    rows = []
    for key in keys:
        if key not in demo[group]:
            raise UserError(f"{where}: {name} has no {group}/{key}, and others have")
        rows.append(np.asarray(demo[group][key]))
    if len(rows) == 1:
        return rows[0]
    check_lengths(where, dict(zip(keys, rows, strict=True)), len(rows[0]), keys[0])
    return np.concatenate([each.reshape(len(each), -1) for each in rows], axis=1, dtype=np.float32)
