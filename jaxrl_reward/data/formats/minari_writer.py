"""Minari's data sets, written: all at once, in spaces that hold them, with where they come from."""

import json
import os
import re
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance
from jaxrl_reward.data.formats.minari_store import ABOUT, DATA, SCORES, folder, library, quiet
from jaxrl_reward.data.formats.npz import about_of
from jaxrl_reward.types import UserError

_KEYS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
_FLAGS = {"rewards": "reward", "terminations": "terminated", "truncations": "truncated"}
_NAME = re.compile(r"(?:[-\w]+/)*[-\w]+-v\d+")


def write(dataset: Dataset, name: str, actions: int | None = None) -> None:
    """Writes a new data set into the local store, and where it comes from.

    It is written beside the others under a name of its own, and moved to its place
    when it is whole: whatever lies there already is left alone.

    Args:
      dataset: what to write.
      name: `NAMESPACE/NAME-vN`; the namespace may be left out.
      actions: how many there are, where they are discrete; by default as many as the
        environment has that the data name, if it is one of ours.

    Raises:
      UserError: something lies at the name, it is not one of Minari's, the number of
        actions is not known, or the successor of a step is not the observation of
        the next, as in corrupted data, which Minari's layout cannot hold; or Minari
        is not installed.
    """
    minari = library()
    from minari import namespace as namespaces
    from minari.dataset.minari_storage import MinariStorage

    root = folder("")
    _check_free(root, name)
    steps = {key: np.asarray(getattr(dataset.steps, key)) for key in _KEYS}
    known = dataset.provenance
    observed = _described(known.observation_space, steps["obs"])
    acted = _acted(known, steps["action"], actions)
    buffers = _buffers(dataset, steps, observed, acted)
    spaces = _fitting(observed, buffers, "observations"), _fitting(acted, buffers, "actions")
    _warn_of_losses(dataset)
    metadata: dict[str, Any] = {
        "dataset_id": name,
        "minari_version": minari.__version__,
        "algorithm_name": known.behaviour,
        "description": _description(known),
        SCORES[0]: known.random_return,
        SCORES[1]: known.expert_return,
        ABOUT: json.dumps(about_of(dataset)),
    }
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))  # which is not listed
    try:
        with quiet():
            (unfinished / "set").mkdir()
            storage = MinariStorage.new(unfinished / "set" / DATA, *spaces, jpeg_encoding=False)
            given = {k: v for k, v in metadata.items() if v not in (None, "")}
            storage.update_metadata(given)
            storage.update_episodes(buffers)
            namespace = name.rpartition("/")[0]
            if namespace and namespace not in namespaces.list_local_namespaces():
                namespaces.create_namespace(namespace)
            _check_free(root, name)
            os.rename(unfinished / "set", root / name)
    except UserError:
        raise
    except Exception as error:
        line = " ".join(str(error).split())
        raise UserError(f"minari:{name} cannot be written: {line}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _description(known: Provenance) -> str:
    """Of what the data are, in words that Minari shows."""
    words = [known.environment, known.level, known.corruption]
    made = ", ".join(f"{name} {version}" for name, version in known.versions)
    said = " ".join(word for word in words if word)
    return f"{said} ({made})".strip() if made else said


def _check_free(root: Path, name: str) -> None:
    """Raises a `UserError` unless a data set of this name can be put into the store."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"minari: {name!r} is no name of a data set; it is like 'lab/hopper-v0'")
    if DATA in name.split("/"):
        raise UserError(f"minari: no part of {name!r} may be 'data', which is Minari's own")
    if os.path.lexists(root / name):
        listed = (root / name / DATA).is_dir()
        what = f"a data set {name!r}" if listed else f"a folder or file at {name!r}"
        raise UserError(f"Minari's local store has {what} already; choose another name")
    for parent in Path(name).parents:
        if parent.parts and (root / parent / DATA).exists():
            raise UserError(f"minari: {str(parent)!r} is a data set, and none can lie within it")


def _buffers(
    dataset: Dataset,
    steps: dict[str, np.ndarray],
    observed: described.Description,
    acted: described.Description,
) -> list[Any]:
    """The episodes as Minari takes them, with the parts that their spaces have."""
    from minari.data_collector import EpisodeBuffer

    buffers = []
    for i, (start, stop, _) in enumerate(dataset.episodes()):
        rows = {key: value[start:stop] for key, value in steps.items()}
        if not np.array_equal(rows["next_obs"][:-1], rows["obs"][1:]):
            raise UserError(
                f"next_obs of episode {i} is not the next row's obs; Minari has one of the two only"
            )
        obs = np.concatenate([rows["obs"], rows["next_obs"][-1:]])
        listed: dict[str, Any] = {key: rows[ours].tolist() for key, ours in _FLAGS.items()}
        listed["observations"] = described.structured(observed, obs)
        listed["actions"] = described.structured(acted, rows["action"], action=True)
        buffers.append(EpisodeBuffer(id=i, **listed))
    return buffers


def _warn_of_losses(dataset: Dataset) -> None:
    """One line on what Minari's layout has no place for."""
    lost = []
    if dataset.left_out is not None:
        lost.append(f"the last step of {len(dataset.left_out.row)} truncated or cut episodes")
    if not dataset.provenance.terminal_next_obs:
        lost.append("where terminated episodes ended, whose last observation is written twice")
    if lost:
        warnings.warn(f"Minari does not get {', and '.join(lost)}", stacklevel=3)


def _described(text: str, rows: np.ndarray) -> described.Description:
    """The space that is written of rows, if they are such; else one of what they are."""
    if text:
        known = described.read(text)
        plain = known["kind"] == "Box"
        shape = tuple(known["shape"]) if plain else (described.width(known),)
        if rows.shape[1:] == shape and (not plain or np.dtype(known["dtype"]).kind != "u"):
            return known
        if rows.shape[1:] == shape and rows.dtype.name == known["dtype"]:
            return known
    return described.of_rows(rows)


def _acted(known: Provenance, rows: np.ndarray, actions: int | None) -> described.Description:
    """The space of the actions, which holds all that there are and not only those taken.

    Raises:
      UserError: they are discrete, and how many there are is not known.
    """
    if rows.dtype.kind not in "iu":
        return _described(known.action_space, rows)
    given = described.read(known.action_space) if known.action_space else None
    if given is not None and given["kind"] != "Box" and actions is None:
        return given
    if rows.ndim != 1:
        return _described(known.action_space, rows)
    count = _count(known.environment) if actions is None else actions
    if count is None:
        raise UserError(
            f"the data do not say how many actions there are; give actions={rows.max() + 1} or more"
        )
    if count < 1 or rows.min() < 0 or rows.max() >= count:
        raise UserError(f"actions are from {rows.min()} to {rows.max()}, not of {count}")
    return {"kind": "Discrete", "n": int(count), "start": 0}


def _fitting(known: described.Description, buffers: list[Any], name: str) -> Any:
    """The space, with open bounds where it does not hold what there is, as Minari checks it."""
    with quiet():
        made = described.to_gymnasium(known)
        if all(_holds(made, getattr(each, name)) for each in buffers):
            return made
    warnings.warn(f"{name} go beyond their space: it is written without bounds", stacklevel=3)
    with quiet():
        return described.to_gymnasium(_open(known))


def _holds(space: Any, rows: Any) -> bool:
    kind = type(space).__name__
    if kind == "Dict":
        return all(_holds(each, rows[key]) for key, each in space.spaces.items())
    if kind == "Tuple":
        return all(_holds(each, rows[i]) for i, each in enumerate(space.spaces))
    if kind == "Box":
        return bool(((rows >= space.low) & (rows <= space.high)).all())
    return True  # whole numbers of another space have been refused before


def _open(known: described.Description) -> described.Description:
    kind = known["kind"]
    if kind == "Dict":
        return {**known, "spaces": {key: _open(each) for key, each in known["spaces"].items()}}
    if kind == "Tuple":
        return {**known, "spaces": [_open(each) for each in known["spaces"]]}
    if kind == "Box" and np.dtype(known["dtype"]).kind == "f":
        return described.box(known["shape"], known["dtype"])
    return known


def _count(environment: str) -> int | None:
    """How many actions one of our environments has; None for all that is not one."""
    from jaxrl_reward import envs
    from jaxrl_reward.envs import spaces

    try:
        space = envs.make(environment).action_space
    except UserError:
        return None
    return int(space.n) if isinstance(space, spaces.Discrete) else None
