"""Minari's data sets (the extra `minari`): read from and written to its local store.

An episode of T steps has T + 1 observations there, and terminations and
truncations apart. The store is the folder that `MINARI_DATASETS_PATH` names, else
Minari's default; nothing is downloaded.
"""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxrl_reward.offline.dataset import Dataset, Provenance, make
from jaxrl_reward.types import UserError, nearest

_KEYS = ("obs", "action", "reward", "next_obs", "terminated", "truncated")
_SCORES = ("ref_min_score", "ref_max_score")


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
            episodes = list(store.iterate_episodes())
    except FileNotFoundError:
        with _quiet():
            local = minari.list_local_datasets()
        hint = nearest(name, local) if local else "there is none"
        raise UserError(f"Minari's local store has no data set {name!r}, {hint}") from None
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    if not episodes:
        raise UserError(f"{where}: observations are empty; a dataset needs at least one row")
    parts = [_episode(store.observation_space, store.action_space, e, where) for e in episodes]
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    provenance = Provenance(
        environment=str(getattr(store.spec.env_spec, "id", None) or name),
        behaviour=str(known.get("algorithm_name") or ""),
        source=where,
        random_return=_number(known.get(_SCORES[0])),
        expert_return=_number(known.get(_SCORES[1])),
    )
    return make(arrays, provenance, where=where)


def write(dataset: Dataset, name: str) -> None:
    """Writes a new data set into the local store, with its reference returns.

    Raises:
      UserError: there is one of this name, the name is not one of Minari's, or the
        successor of a step is not the observation of the next, as in corrupted
        data, which Minari's layout cannot hold; or Minari is not installed.
    """
    minari = _minari()
    from gymnasium import spaces
    from minari.data_collector import EpisodeBuffer

    with _quiet():
        if name in minari.list_local_datasets():
            raise UserError(f"Minari's local store has a data set {name!r} already")
    steps = {key: np.asarray(getattr(dataset.steps, key)) for key in _KEYS}
    buffers = []
    for i, (start, stop, _) in enumerate(dataset.episodes()):
        rows = {key: value[start:stop] for key, value in steps.items()}
        if not np.array_equal(rows["next_obs"][:-1], rows["obs"][1:]):
            raise UserError(
                f"next_obs of episode {i} is not the next row's obs; Minari has one of the two only"
            )
        obs = np.concatenate([rows["obs"], rows["next_obs"][-1:]])
        flags = {"terminations": rows["terminated"], "truncations": rows["truncated"]}
        listed = {key: value.tolist() for key, value in flags.items()}
        rewards = rows["reward"].tolist()
        buffers.append(
            EpisodeBuffer(id=i, observations=obs, actions=rows["action"], rewards=rewards, **listed)  # pyright: ignore[reportArgumentType]
        )
    known = dataset.provenance
    try:
        with _quiet():
            written = minari.create_dataset_from_buffers(
                name,
                buffers,
                observation_space=_space(spaces, steps["obs"]),
                action_space=_space(spaces, steps["action"]),
                algorithm_name=known.behaviour or None,
                description=f"{known.environment} {known.level} {known.corruption}".strip() or None,
                jpeg_encoding=False,
            )
            # Its own argument keeps them only beside one of gymnasium's environments.
            scores = (known.random_return, known.expert_return)
            named = dict(zip(_SCORES, scores, strict=True))
            written.storage.update_metadata({k: v for k, v in named.items() if v is not None})
    except Exception as error:
        with contextlib.suppress(Exception), _quiet():
            minari.delete_dataset(name)
        line = " ".join(str(error).split())
        raise UserError(f"minari:{name} cannot be written: {line}") from error


def _episode(observed: Any, acted: Any, episode: Any, where: str) -> dict[str, np.ndarray]:
    """One episode's steps; its first row begins it."""
    obs = _array(observed, episode.observations, f"{where}: observations")
    action = _array(acted, episode.actions, f"{where}: actions", one_hot=False)
    count = len(episode.rewards)
    if len(obs) != count + 1:
        raise UserError(
            f"{where}: observations of episode {episode.id} have {len(obs)} rows, "
            f"and must be one more than its {count} rewards"
        )
    return {
        "obs": obs[:-1],
        "action": action,
        "reward": np.asarray(episode.rewards),
        "next_obs": obs[1:],
        "first": np.arange(count) == 0,
        "terminated": np.asarray(episode.terminations),
        "truncated": np.asarray(episode.truncations),
    }


def _array(space: Any, value: Any, what: str, one_hot: bool = True) -> np.ndarray:
    """Rows of a space as an array; entries of dicts and tuples are joined in their order."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return np.asarray(value)
    if isinstance(space, spaces.Discrete):
        index = np.asarray(value) - int(space.start)
        return np.eye(int(space.n), dtype=np.float32)[index] if one_hot else index
    if isinstance(space, spaces.Dict | spaces.Tuple):
        named = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        parts = [_array(part, value[key], what, one_hot) for key, part in named]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
    raise UserError(f"{what} must be arrays, not {type(space).__name__}")


def _space(spaces: Any, rows: np.ndarray) -> Any:
    """A space that holds the rows: bounds are not known, but for what is counted."""
    if rows.dtype.kind in "iu" and rows.ndim == 1:
        return spaces.Discrete(int(rows.max()) + 1)
    if rows.dtype == np.uint8:
        return spaces.Box(0, 255, rows.shape[1:], np.uint8)
    return spaces.Box(-np.inf, np.inf, rows.shape[1:], np.float32)


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
