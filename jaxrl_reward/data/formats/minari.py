"""Minari's data sets (the extra `minari`): read from its local store or a folder.

An episode of T steps has T + 1 observations there, and terminations and
truncations apart. The store is the folder that `MINARI_DATASETS_PATH` names, else
Minari's default; nothing is downloaded.
"""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.data.formats.minari_store import ABOUT, DATA, SCORES, folder, library, quiet
from jaxrl_reward.data.formats.minari_writer import write
from jaxrl_reward.data.formats.npz import provenance_from
from jaxrl_reward.data.rows import Found, Traits, check_lengths, check_option, joined
from jaxrl_reward.types import UserError, nearest

DISCRETE = ("one-hot", "index")
OPTIONS = ("discrete",)
TRAITS = Traits(
    ends="yes",
    successor="yes",
    spaces="Box, Discrete, MultiDiscrete, MultiBinary, Dict, Tuple",
    images="JPEG by default (lossy, told), or uint8 as they are",
    score="Minari's",
    write="yes",
)
__all__ = ["TRAITS", "folder", "holds", "read", "write"]

_FLAGS = {"rewards": "reward", "terminations": "terminated", "truncations": "truncated"}
_MAIN = "main_data.hdf5"
_LEAST = 32  # rows and columns of an image that Minari codes as JPEG


def holds(found: Found) -> bool:
    """Whether it is the folder of a data set, its `data`, or the HDF5 file within that."""
    if found.kind == "folder":
        at = found.path if "metadata.json" in found.names else found.path / DATA
        try:
            return "data_format" in json.loads((at / "metadata.json").read_bytes())
        except (OSError, ValueError, TypeError):
            return (at / _MAIN).is_file()
    return found.kind == "hdf5" and found.path.name == _MAIN and "episode_0" in found.groups


def read(source: Path | str, discrete: str = "one-hot") -> Dataset:
    """Minari's sets, by name in its local store or by folder; dicts and tuples become one vector.

    Args:
      source: the name, or the `Path` of a data set's folder.
      discrete: `index` keeps a Discrete observation as one number, not one-hot.

    Raises:
      UserError: there is none of this name, its spaces are no arrays, it holds no
        episode or what is no data; or Minari is not installed.
    """
    minari = library()
    where = str(source) if isinstance(source, Path) else f"minari:{source}"
    check_option(where, "discrete", discrete, DISCRETE)
    try:
        with quiet():
            at = _place(source) if isinstance(source, Path) else None
            store = minari.load_dataset(source) if at is None else minari.MinariDataset(at)
            known = dict(store.storage.metadata)
            spec = store.spec.env_spec
            found = _as_written(store.storage, known)
            spaces = store.observation_space, store.action_space
            observed, acted = (described.of(each) for each in spaces)
            episodes = [dict(each) for each in found.get_episodes(range(found.total_episodes))]
    except FileNotFoundError as error:
        if isinstance(source, Path):
            raise UserError(f"{where} is no whole data set of Minari's: {error}") from None
        with quiet():
            local = minari.list_local_datasets()
        hint = nearest(source, local) if local else "there is none"
        raise UserError(f"Minari's local store has no data set {source!r}, {hint}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except Exception as error:  # of the file, or of what decodes it
        raise UserError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    if not episodes:
        raise UserError(f"{where}: observations are empty; a dataset needs at least one row")
    index = discrete == "index"
    arrays = joined([_episode(observed, acted, each, where, index) for each in episodes])
    name = source if isinstance(source, str) else str(known.get("dataset_id", source.name))
    ours = Provenance(environment=str(getattr(spec, "id", None) or name))
    if ABOUT in known:
        try:
            ours = provenance_from(str(known[ABOUT]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: provenance cannot be read ({error})") from None
    scores = {"random_return": SCORES[0], "expert_return": SCORES[1]}
    changes: dict[str, Any] = {k: _number(known[v], where) for k, v in scores.items() if v in known}
    changes["assumed"] = (*ours.assumed, *_assumed(found, spaces, where))
    seen = described.indexed(observed) if index else observed
    changes["observation_space"] = described.text(seen)
    changes["action_space"] = described.text(acted)
    behaviour = str(known.get("algorithm_name") or ours.behaviour)
    made = make(arrays, ours, where=where)
    version = str(known.get("minari_version", ""))
    return made.replace_provenance(
        source=where, behaviour=behaviour, format="minari", format_version=version, **changes
    )


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


def _episode(
    observed: described.Description,
    acted: described.Description,
    episode: dict,
    where: str,
    index: bool,
) -> dict[str, np.ndarray]:
    """One episode's steps."""
    what = f"{where}: observations"
    obs = described.observations(observed, episode["observations"], what, index)
    count = len(episode["rewards"])
    if len(obs) != count + 1:
        raise UserError(
            f"{where}: observations of episode {episode['id']} have {len(obs)} rows, "
            f"and must be one more than its {count} rewards"
        )
    steps = {"action": described.actions(acted, episode["actions"], f"{where}: actions")}
    steps |= {ours: np.asarray(episode[key]) for key, ours in _FLAGS.items()}
    of = {f"{name} of episode {episode['id']}": rows for name, rows in steps.items()}
    check_lengths(where, of, count, "its rewards")
    return {"obs": obs[:-1], "next_obs": obs[1:], **steps}


def _assumed(storage: Any, spaces: tuple[Any, Any], where: str) -> tuple[str, ...]:
    """What is said where images were coded as JPEGs."""
    if not getattr(storage, "_jpeg_encoding", False):
        return ()
    leaves = [leaf for each in spaces for _, leaf in described.leaves(described.of(each))]
    if not any(_is_coded(leaf) for leaf in leaves):
        return ()
    line = "images were kept as JPEGs, which are not what was seen: some bytes may be off by 200"
    warnings.warn(f"{where}: {line}", stacklevel=3)
    return (line,)


def _is_coded(leaf: described.Description) -> bool:
    """Whether Minari codes such a Box as JPEG."""
    if not described.is_image(leaf) or (leaf["low"], leaf["high"]) != (0, 255):
        return False
    return min(leaf["shape"][:2]) >= _LEAST


def _place(path: Path) -> Path:
    """The folder `data` of a set, from what a user names of it."""
    if path.is_file():
        return path.parent
    return path if (path / "metadata.json").is_file() else path / DATA


def _number(value: Any, where: str) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise UserError(f"{where}: a reference score is {value!r}, no number") from None
