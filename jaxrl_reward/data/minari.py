"""Minari's data sets (the extra `minari`): read from and written to its local store.

An episode of T steps has T + 1 observations there, and terminations and
truncations apart. The store is the folder that `MINARI_DATASETS_PATH` names, else
Minari's default; nothing is downloaded.
"""

import contextlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data.dataset import Dataset, Provenance, about_of, make, provenance_from
from jaxrl_reward.types import UserError, nearest

_KEYS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
_FLAGS = {"rewards": "reward", "terminations": "terminated", "truncations": "truncated"}
_SCORES = ("ref_min_score", "ref_max_score")
_ABOUT = "jaxrl_reward"  # where our own provenance lies in Minari's metadata
_NAME = re.compile(r"(?:[-\w]+/)*[-\w]+-v\d+")
_DATA = "data"  # the folder of a data set that holds it


def read(name: str) -> Dataset:
    """A data set of the local store. Observations that are dicts become one vector.

    Raises:
      UserError: there is none of this name, its spaces are no arrays, it holds no
        episode or what is no data; or Minari is not installed.
    """
    minari = _minari()
    where = f"minari:{name}"
    try:
        with _quiet():
            store = minari.load_dataset(name)
            known = dict(store.storage.metadata)
            spec = store.spec.env_spec
            found = _as_written(store.storage, known)
            episodes = [dict(each) for each in found.get_episodes(range(found.total_episodes))]
    except FileNotFoundError:
        with _quiet():
            local = minari.list_local_datasets()
        hint = nearest(name, local) if local else "there is none"
        raise UserError(f"Minari's local store has no data set {name!r}, {hint}") from None
    except Exception as error:  # of the file, or of what decodes it
        raise UserError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    if not episodes:
        raise UserError(f"{where}: observations are empty; a dataset needs at least one row")
    parts = [_episode(store.observation_space, store.action_space, e, where) for e in episodes]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    ours = Provenance(environment=str(getattr(spec, "id", None) or name))
    if _ABOUT in known:
        try:
            ours = provenance_from(str(known[_ABOUT]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: provenance cannot be read ({error})") from None
    scores = {"random_return": _SCORES[0], "expert_return": _SCORES[1]}
    changes: dict[str, Any] = {k: _number(known[v]) for k, v in scores.items() if v in known}
    behaviour = str(known.get("algorithm_name") or ours.behaviour)
    made = make(arrays, ours, where=where)
    return made.replace_provenance(source=where, behaviour=behaviour, **changes)


def folder(name: str) -> Path:
    """Where the store keeps a data set, whether there is one or not.

    Raises:
      UserError: Minari is not installed.
    """
    _minari()
    from minari.storage import get_dataset_path

    return Path(get_dataset_path(name))


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
    minari = _minari()
    from minari import namespace as namespaces
    from minari.dataset.minari_storage import MinariStorage

    root = folder("")
    _check_free(root, name)
    steps = {key: np.asarray(getattr(dataset.steps, key)) for key in _KEYS}
    buffers, known = _buffers(dataset, steps), dataset.provenance
    spaces = _space(steps["obs"]), _action_space(steps["action"], known.environment, actions)
    _warn_of_losses(dataset)
    metadata: dict[str, Any] = {
        "dataset_id": name,
        "minari_version": minari.__version__,
        "algorithm_name": known.behaviour,
        "description": f"{known.environment} {known.level} {known.corruption}".strip(),
        _SCORES[0]: known.random_return,
        _SCORES[1]: known.expert_return,
        _ABOUT: json.dumps(about_of(dataset)),
    }
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=root))  # which is not listed
    try:
        with _quiet():
            (unfinished / "set").mkdir()
            storage = MinariStorage.new(unfinished / "set" / _DATA, *spaces, jpeg_encoding=False)
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


def _check_free(root: Path, name: str) -> None:
    """Raises a `UserError` unless a data set of this name can be put into the store."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(f"minari: {name!r} is no name of a data set; it is like 'lab/hopper-v0'")
    if _DATA in name.split("/"):
        raise UserError(f"minari: no part of {name!r} may be 'data', which is Minari's own")
    if os.path.lexists(root / name):
        listed = (root / name / _DATA).is_dir()
        what = f"a data set {name!r}" if listed else f"a folder or file at {name!r}"
        raise UserError(f"Minari's local store has {what} already; choose another name")
    for parent in Path(name).parents:
        if parent.parts and (root / parent / _DATA).exists():
            raise UserError(f"minari: {str(parent)!r} is a data set, and none can lie within it")


def _buffers(dataset: Dataset, steps: dict[str, np.ndarray]) -> list[Any]:
    """The episodes as Minari takes them."""
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
        listed |= {"observations": obs, "actions": rows["action"]}
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


def _as_written(storage: Any, metadata: dict[str, Any]) -> Any:
    """The storage, told how its images are stored: before 0.5.3 they were plain arrays.

    Minari takes what says nothing of it for JPEGs, as 0.5.3 wrote them.
    """
    numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", str(metadata.get("minari_version", "")))
    plain = numbers is not None and tuple(int(n) for n in numbers.groups()) < (0, 5, 3)
    if not plain or "jpeg_encoding" in metadata:
        return storage
    spaces = storage.observation_space, storage.action_space
    return type(storage)(storage.data_path, *spaces, jpeg_encoding=False)


def _episode(observed: Any, acted: Any, episode: dict, where: str) -> dict[str, np.ndarray]:
    """One episode's steps; its first row begins it."""
    obs = _array(observed, episode["observations"], f"{where}: observations")
    count = len(episode["rewards"])
    if len(obs) != count + 1:
        raise UserError(
            f"{where}: observations of episode {episode['id']} have {len(obs)} rows, "
            f"and must be one more than its {count} rewards"
        )
    steps = {"action": _array(acted, episode["actions"], f"{where}: actions", one_hot=False)}
    steps |= {ours: np.asarray(episode[key]) for key, ours in _FLAGS.items()}
    for name, rows in steps.items():
        if len(rows) != count:
            what = f"{name} of episode {episode['id']} has {len(rows)} rows"
            raise UserError(f"{where}: {what}, but it has {count} rewards")
    return {"obs": obs[:-1], "next_obs": obs[1:], "first": np.arange(count) == 0, **steps}


def _array(space: Any, value: Any, what: str, one_hot: bool = True) -> np.ndarray:
    """Rows of a space as an array; entries of dicts and tuples are joined in their order."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return np.asarray(value)
    if isinstance(space, spaces.Discrete):
        index, count = np.asarray(value) - int(space.start), int(space.n)
        if ((index < 0) | (index >= count)).any():
            raise UserError(f"{what} go beyond their space, {space}")
        return np.eye(count, dtype=np.float32)[index] if one_hot else index
    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        parts = [_array(part, value[key], what, one_hot) for key, part in named]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    raise UserError(f"{what} must be arrays, not {type(space).__name__}")


def _space(rows: np.ndarray) -> Any:
    """A space that holds the rows: what bounds there are is not known, but of bytes."""
    from gymnasium import spaces

    if rows.dtype.kind in "iu":
        bounds = np.iinfo(rows.dtype)
        return spaces.Box(bounds.min, bounds.max, rows.shape[1:], rows.dtype.type)
    return spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32)


def _action_space(rows: np.ndarray, environment: str, actions: int | None) -> Any:
    """The space of the actions, which holds all that there are and not only those taken.

    Raises:
      UserError: they are discrete, and how many there are is not known.
    """
    from gymnasium import spaces

    if rows.dtype.kind not in "iu" or rows.ndim != 1:
        return _space(rows)
    count = _count(environment) if actions is None else actions
    if count is None:
        raise UserError(
            f"the data do not say how many actions there are; give actions={rows.max() + 1} or more"
        )
    if count < 1 or rows.min() < 0 or rows.max() >= count:
        raise UserError(f"actions are from {rows.min()} to {rows.max()}, not of {count}")
    return spaces.Discrete(count)


def _count(environment: str) -> int | None:
    """How many actions one of our environments has; None for all that is not one."""
    from jaxrl_reward import envs
    from jaxrl_reward.envs import spaces

    try:
        space = envs.make(environment).action_space
    except UserError:
        return None
    return int(space.n) if isinstance(space, spaces.Discrete) else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _minari() -> Any:
    try:
        with _quiet():
            import minari
    except ImportError as error:
        fix = 'pip install "jaxrl-reward[minari]"'
        raise UserError(f"minari cannot be imported ({error}): {fix}") from None
    return minari


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without gymnasium's advice to those who publish data sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
