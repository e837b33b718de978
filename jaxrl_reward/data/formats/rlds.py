"""RLDS as TensorFlow Datasets writes it: TFRecord files of episodes, and `features.json`.

Of T steps there are T + 1 rows: the last holds where the episode ended, and its action and
reward mean nothing. TensorFlow is not needed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.decoding import images, tfrecord
from jaxrl_reward.data.fields import flag
from jaxrl_reward.data.rows import (
    Found,
    Traits,
    check_lengths,
    check_option,
    chosen,
    joined,
    last_of,
)
from jaxrl_reward.types import UserError, nearest

OPTIONS = ("obs", "split", "reward")
REWARDS = ("after", "before")
TRAITS = Traits(
    ends="yes",
    successor="yes",
    spaces="Box of any shape, Discrete, by name",
    images="PNG or JPEG, by obs=NAME",
)
_ROOT = "observation"


def holds(found: Found) -> bool:
    """Whether it is a folder with `features.json` and `dataset_info.json`."""
    return found.kind == "folder" and {"features.json", "dataset_info.json"} <= found.names


def read(path: Path | str, obs: str = "", split: str = "", reward: str = "after") -> Dataset:
    """RLDS: the folder of a version of a data set of TensorFlow Datasets, of TFRecords.

    Args:
      path: the folder, such as `d4rl_mujoco_hopper/v2-medium/1.0.0`.
      obs: names of observations with `+` between; by default all, unless some are images.
      split: by default the only one, or `train`.
      reward: `after`: a row's reward follows its action, as RLDS says; `before`: it came
        with the row's observation, as in some older sets.

    Raises:
      UserError: the folder cannot be read, lacks what is named, or holds what is no data.
    """
    path = Path(path)
    where = str(path)
    check_option(where, "reward", reward, REWARDS)
    about, features = (_json(path, name) for name in ("dataset_info.json", "features.json"))
    try:
        inner = features["featuresDict"]["features"]["steps"]["sequence"]["feature"]
        steps = dict(_leaves(inner, ""))
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{where}: features.json has no steps, as RLDS has") from None
    keys, observed = _observed(steps, obs, where)
    for name in ("action", "is_last", "is_terminal"):
        if name not in steps:
            has = ", ".join(sorted(steps)[:8])
            raise UserError(f"{where}: steps have no array {name!r}; they have {has}")
    files, assumed = _files(path, about, split), []
    parts = [
        _episode(each, steps, keys, observed, reward, where)
        for file in files
        for each in tfrecord.examples(file)
    ]
    parts = [part for part in parts if len(part["reward"])]
    if not parts:
        raise UserError(f"{where} has no steps; a dataset needs at least one row")
    if "reward" not in steps:
        assumed.append("rewards are 0, as the set has none")
    elif reward == "before":
        assumed.append("a row's reward came with its observation, as reward=before says")
    provenance = Provenance(
        environment=str(about.get("name", path.parent.name)),
        source=path.name,
        format="rlds",
        format_version=str(about.get("version", "")),
        assumed=tuple(assumed),
        observation_space=described.text(observed),
    )
    return make(joined(parts), provenance, where)


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        found = json.loads((path / name).read_bytes())
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path}: {name} cannot be read, as TensorFlow Datasets writes it")
    return found


def _leaves(feature: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Features without parts, by their names with slashes between."""
    inner = feature.get("featuresDict")
    if inner is None:
        yield name, feature
        return
    for key, each in inner["features"].items():
        yield from _leaves(each, f"{name}/{key}" if name else key)


def _observed(
    steps: dict[str, dict[str, Any]], obs: str, where: str
) -> tuple[list[str], described.Description]:
    """The features that are read as observations, and their space."""
    spaces = {}
    for name, each in steps.items():
        if name != _ROOT and not name.startswith(f"{_ROOT}/"):
            continue
        shown = name.removeprefix(_ROOT).removeprefix("/")
        if (known := _box(each)) is not None:
            spaces[shown or _ROOT] = known
        elif not obs or shown in obs.split("+"):
            kind = str(each.get("pythonClassName", "")).rpartition(".")[2] or "of another kind"
            raise UserError(f"{where}: observation {shown!r} is {kind}, no array; name others")
    keys = chosen(where, spaces, obs)
    inner = {key: spaces[key] for key in keys}
    return keys, inner[keys[0]] if len(keys) == 1 else {"kind": "Dict", "spaces": inner}


def _box(feature: dict[str, Any]) -> described.Description | None:
    """The space of a feature that is an array of a fixed size; None for another."""
    for kind in ("tensor", "image"):
        known = feature.get(kind)
        if not isinstance(known, dict):
            continue
        if known.get("encoding", "none") != "none":
            return None
        try:
            shape = [int(n) for n in known.get("shape", {}).get("dimensions", ())]
            dtype = np.dtype(known["dtype"])
        except (TypeError, ValueError, KeyError, AttributeError):
            return None
        if dtype.kind not in "biuf" or any(n < 1 for n in shape):
            return None
        whole = dtype == np.uint8
        return described.box(shape, dtype, *((0, 255) if whole else ()))
    return None


def _files(path: Path, about: dict[str, Any], split: str) -> list[Path]:
    """The files of a split."""
    try:
        name, kind = about["name"], about.get("fileFormat", "tfrecord")
        splits = {each["name"]: len(each["shardLengths"]) for each in about["splits"]}
    except (KeyError, TypeError):
        raise UserError(f"{path}: dataset_info.json lists no splits") from None
    if kind != "tfrecord":
        raise UserError(f"{path} holds {kind}, and only TFRecords are read")
    wanted = split or ("train" if "train" in splits else next(iter(splits), ""))
    if wanted not in splits:
        raise UserError(f"{path} has no split {split!r}, {nearest(split, splits)}")
    of = splits[wanted]
    files = [path / f"{name}-{wanted}.tfrecord-{i:05d}-of-{of:05d}" for i in range(of)]
    if any(file.parent != path for file in files):
        raise UserError(f"{path}: dataset_info.json names files that lie elsewhere")
    return files


def _episode(
    example: dict[str, Any],
    steps: dict[str, dict[str, Any]],
    keys: list[str],
    observed: described.Description,
    reward: str,
    where: str,
) -> dict[str, np.ndarray]:
    """One episode's steps."""
    rows = {}
    names = {key: key if key == _ROOT else f"{_ROOT}/{key}" for key in keys}
    for name in (*names.values(), "action", "reward", "is_last", "is_terminal"):
        if name in steps:
            rows[name] = _array(example, name, steps[name], where)
    last = flag("is_last", rows["is_last"], where)
    count = len(last) - 1
    check_lengths(where, rows, count + 1, "is_last of an episode")
    seen = {key: rows[name] for key, name in names.items()}
    obs = described.observations(observed, seen[keys[0]] if len(keys) == 1 else seen, where)
    paid = rows.get("reward", np.zeros(count + 1, np.float32))
    if last[:-1].any():
        raise UserError(f"{where}: is_last is true before the last row of an episode")
    ended = flag("is_terminal", rows["is_terminal"], where)[-1:].any()
    return {
        "obs": obs[:-1],
        "next_obs": obs[1:],
        "action": rows["action"][:-1],
        "reward": paid[:-1] if reward == "after" else paid[1:],
        "terminated": last_of(max(count, 0), bool(last[-1:].any() and ended)),
        "truncated": last_of(max(count, 0), bool(last[-1:].any() and not ended)),
    }


def _array(example: dict[str, Any], name: str, feature: dict[str, Any], where: str) -> np.ndarray:
    """A feature of all rows of an episode."""
    known, what = _box(feature), f"{where}: {name}"
    if known is None:
        raise UserError(f"{what} is no array of a fixed size")
    values = example.get(f"steps/{name}")
    if values is None:
        raise UserError(f"{what} is not in an episode")
    if isinstance(values, list):
        shown = [images.decoded(each, what) for each in values]
        if any(list(each.shape) != known["shape"] for each in shown):
            raise UserError(f"{what} has images of another shape than {known['shape']}")
        return np.stack(shown) if shown else np.zeros((0, *known["shape"]), np.uint8)
    size = int(np.prod(known["shape"], dtype=np.int64))
    if len(values) % size:
        raise UserError(f"{what} has {len(values)} numbers, which are no rows of {size}")
    return values.astype(known["dtype"]).reshape(-1, *known["shape"])
