"""A fixed data set of steps: what it holds, what its returns are, how it lies on disk.

Rows are in time order, episode after episode: an episode begins where `first` is
true and is *whole* if its last row is terminated or truncated. The last episode
of a stream that was cut is neither, and so not whole.
"""

import dataclasses
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.types import Transition, UserError

FORMAT = "jaxrl-reward dataset 1"  # says what a file is, and the version of its layout
FIELDS = ("obs", "action", "reward", "next_obs", "first", "terminated", "truncated")
FLAGS = ("first", "terminated", "truncated")
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)

# The returns of a random and an expert policy (Fu et al. 2020, arXiv:2004.07219,
# appendix; the constants of its code): what D4RL's scores are relative to.
D4RL_RETURNS = {
    "halfcheetah": (-280.178953, 12135.0),
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
}


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where data comes from. Hashable: it is static in a `Dataset`.

    Attributes:
      environment: its name, as `envs.make` reads it where it is one of ours.
      behaviour: the agent that acted.
      level: how good it was, such as `medium-replay`.
      seed: of the run that collected.
      env_steps: that the agent had trained for.
      settings: of the collection, as JSON: the same settings give the same data.
      versions: of packages, as pairs.
      source: the file that it was read from, empty for our own.
      corruption: what was done to it since, such as `random dynamics`.
      random_return: mean return of uniform actions, None if unknown.
      expert_return: mean return of the best policy known, likewise.
      checksum: sha256 of the fields, empty where they have changed since.
    """

    environment: str = ""
    behaviour: str = ""
    level: str = ""
    seed: int | None = None
    env_steps: int | None = None
    settings: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    source: str = ""
    corruption: str = ""
    random_return: float | None = None
    expert_return: float | None = None
    checksum: str = ""


class Episode(NamedTuple):
    """Rows `start` to `stop` (not included); `whole` if its end is among them."""

    start: int
    stop: int
    whole: bool


class Dataset(struct.PyTreeNode):
    """N steps and where they come from.

    `provenance` is part of the tree's structure: give `steps` to compiled
    functions, and stack those of several sets, so that nothing recompiles.

    Attributes:
      steps: leaves `[N, ...]`; `env_reward` and `reward` are the same, `info` and
        `policy` are empty.
      provenance: where they come from.
    """

    steps: Transition
    provenance: Provenance = struct.field(pytree_node=False, default=Provenance())

    def __len__(self) -> int:
        return self.steps.env_reward.shape[-1]

    def episodes(self) -> list[Episode]:
        """All episodes in order, also those that are not whole."""
        first, last = self._bounds()
        starts = np.flatnonzero(first)
        stops = np.append(starts[1:], len(first))
        spans = zip(starts.tolist(), stops.tolist(), last[stops - 1].tolist(), strict=True)
        return [Episode(*span) for span in spans]

    def returns(self) -> np.ndarray:
        """The undiscounted return of each whole episode, `[E]` float64."""
        first, last = self._bounds()
        starts = np.flatnonzero(first)
        whole = last[np.append(starts[1:], len(first)) - 1]
        return np.add.reduceat(np.asarray(self.steps.env_reward, np.float64), starts)[whole]

    def lengths(self) -> np.ndarray:
        """The steps of each whole episode, `[E]` int64."""
        spans = [each.stop - each.start for each in self.episodes() if each.whole]
        return np.asarray(spans, np.int64)

    def references(self) -> tuple[float, float]:
        """The returns of a random and of an expert policy: its own, else D4RL's.

        Raises:
          UserError: they are not known.
        """
        known = self.provenance
        if known.random_return is not None and known.expert_return is not None:
            return known.random_return, known.expert_return
        return d4rl_returns(known.environment)

    def score(self, returns: Any) -> Any:
        """`normalized_score` by `references`."""
        return normalized_score(returns, *self.references())

    def summary(self) -> dict[str, Any]:
        """What it holds, as plain numbers for JSON. Returns are of whole episodes."""
        steps, returns, lengths = self.steps, self.returns(), self.lengths()
        reward = np.asarray(steps.env_reward, np.float64)
        shown = dataclasses.asdict(self.provenance)
        summary = {
            "rows": len(self),
            "episodes": len(returns),
            "cut_episodes": len(self.episodes()) - len(returns),
            "terminated": int(np.asarray(steps.terminated).sum()),
            "truncated": int((np.asarray(steps.truncated) & ~np.asarray(steps.terminated)).sum()),
            "obs_shape": list(steps.obs.shape[1:]),
            "action_shape": list(steps.action.shape[1:]),
            "reward": {"mean": reward.mean(), "mean_abs": np.abs(reward).mean()},
            "provenance": {**shown, "versions": dict(self.provenance.versions)},
        }
        if len(returns):
            spread = {f"{q:g}": float(np.quantile(returns, q)) for q in QUANTILES}
            summary["return"] = {"mean": float(returns.mean()), "quantiles": spread}
            summary["length"] = {"mean": float(lengths.mean()), "most": int(lengths.max())}
        summary["reward"] = {name: float(value) for name, value in summary["reward"].items()}
        return summary

    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Where episodes begin and end, `[N]` bool, on the host: there nothing compiles."""
        steps = self.steps
        last = np.asarray(steps.terminated) | np.asarray(steps.truncated)
        return np.asarray(steps.first), last

    def replace_provenance(self, **changes: Any) -> "Dataset":
        """The same steps with other words about them."""
        return self.replace(provenance=dataclasses.replace(self.provenance, **changes))


def normalized_score(returns: Any, random: float, expert: float) -> Any:
    """`100 (R - random) / (expert - random)` (D4RL, arXiv:2004.07219, section 5).

    Raises:
      UserError: the two are the same, so that there is no scale.
    """
    if random == expert:
        raise UserError(f"a score needs two returns that differ, and both are {random:g}")
    return 100.0 * (returns - random) / (expert - random)


def d4rl_returns(name: str) -> tuple[float, float]:
    """D4RL's returns of a random and an expert policy, for `hopper-medium-v2` and the like.

    Not for other simulators' robots of the same name, such as `brax:hopper`.

    Raises:
      UserError: there are none of this name.
    """
    robot = re.fullmatch(r"(?:d4rl:)?([a-z0-9]+)(?:[-_].*)?", name)
    if robot is None or robot[1] not in D4RL_RETURNS:
        known = ", ".join(D4RL_RETURNS)
        raise UserError(f"no reference returns are known for {name!r}; D4RL's are of {known}")
    return D4RL_RETURNS[robot[1]]


# ---- made from arrays --------------------------------------------------------------


def make(
    arrays: Mapping[str, Any], provenance: Provenance = Provenance(), where: str = "the dataset"
) -> Dataset:
    """A checked dataset.

    Args:
      arrays: `FIELDS` by name, `[N, ...]` each. Without `first`, an episode
        begins at the first row and after each last one.
      provenance: where it comes from; the checksum is computed here.
      where: the file, for messages.

    Raises:
      UserError: a field is missing, empty, of another length or shape than the
        others, not of numbers, or holds a NaN or an infinity; or the episodes
        that `first` begins are not those that the flags end.
    """
    given = {name: np.asarray(arrays[name]) for name in FIELDS if name in arrays}
    for name in FIELDS:
        if name not in given and name != "first":
            raise UserError(f"{where} has no field {name!r}; it needs {', '.join(FIELDS)}")
    count = _rows(given, where)
    checked = {name: _checked(name, value, where) for name, value in given.items()}
    last = checked["terminated"] | checked["truncated"]
    after = np.concatenate([np.ones(1, bool), last[:-1]])
    first = checked.setdefault("first", after)
    if (after & ~first).any():
        row = int(np.flatnonzero(after & ~first)[0])
        raise UserError(f"{where}: first is false at row {row}, where an episode begins")
    if checked["obs"].shape != checked["next_obs"].shape:
        shapes = f"{checked['obs'].shape} and {checked['next_obs'].shape}"
        raise UserError(f"{where}: obs and next_obs must have one shape, not {shapes}")
    assert count == len(first)
    leaves: dict[str, Any] = {name: jnp.asarray(checked[name]) for name in FIELDS}
    steps = Transition(**leaves, env_reward=leaves["reward"])
    return Dataset(steps, dataclasses.replace(provenance, checksum=checksum(steps)))


def _rows(given: Mapping[str, np.ndarray], where: str) -> int:
    for name, value in given.items():
        if value.ndim == 0:
            raise UserError(f"{where}: {name} must be an array of rows, not one value")
    count = len(given["reward"])
    if count == 0:
        raise UserError(f"{where}: reward is empty; a dataset needs at least one row")
    for name, value in given.items():
        if len(value) != count:
            raise UserError(f"{where}: {name} has {len(value)} rows, but reward has {count}")
    return count


def _checked(name: str, value: np.ndarray, where: str) -> np.ndarray:
    """The field in the type it is kept in: bool, float32, or the integers it came in."""
    if value.dtype.kind not in "biuf":
        raise UserError(f"{where}: {name} must hold numbers, not {value.dtype}")
    if name in (*FLAGS, "reward") and value.ndim == 2 and value.shape[1] == 1:
        value = value[:, 0]
    if name in (*FLAGS, "reward") and value.ndim != 1:
        raise UserError(f"{where}: {name} must have the shape [N], not {list(value.shape)}")
    if name in FLAGS:
        if not np.isin(value, (0, 1)).all():
            raise UserError(f"{where}: {name} must be true or false (0 or 1) in each row")
        return value.astype(bool)
    bad = ~np.isfinite(value).reshape(len(value), -1).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise UserError(f"{where}: {name} holds a NaN or an infinity, first in row {row}")
    if name == "reward" or value.dtype.kind in "bf":
        return value.astype(np.float32)
    if name == "action":
        return value.astype(np.int32)
    return value if value.dtype == np.uint8 else value.astype(np.float32)


def checksum(steps: Transition) -> str:
    """sha256 of names, types, shapes and bytes of the fields."""
    digest = hashlib.sha256()
    for name, value in arrays_of(steps):
        digest.update(f"{name} {value.dtype.str} {value.shape};".encode())
        digest.update(value.data if value.size else b"")
    return digest.hexdigest()


def arrays_of(steps: Transition) -> Iterator[tuple[str, np.ndarray]]:
    """The fields as they are stored, contiguous, on the host."""
    for name in FIELDS:
        yield name, np.ascontiguousarray(getattr(steps, name))


# ---- on disk -----------------------------------------------------------------------


def save(dataset: Dataset, path: Path | str) -> Path:
    """Writes an `.npz`, all at once: readers see the old file or the new one.

    Raises:
      UserError: the path does not end in `.npz`.
    """
    path = user_path(path)
    if path.suffix != ".npz":
        raise UserError(f"{path} must end in .npz to hold a dataset")
    about = dataclasses.asdict(dataset.provenance) | {"checksum": checksum(dataset.steps)}
    arrays: dict[str, Any] = dict(arrays_of(dataset.steps))
    arrays["format"] = np.array(FORMAT)
    arrays["provenance"] = np.array(json.dumps(about))
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, buffer.getvalue())
    return path


def load(path: Path | str) -> Dataset:
    """A dataset that `save` wrote.

    Raises:
      UserError: there is none, or it is damaged: the line says in what.
    """
    arrays = read_npz(path)
    provenance = _about(arrays, path)
    if "first" not in arrays:
        raise UserError(f"{path} has no field 'first'; it needs {', '.join(FIELDS)}")
    dataset = make(arrays, provenance, where=str(path))
    if dataset.provenance.checksum != provenance.checksum:
        raise UserError(f"{path}: checksum does not fit the fields: the file was changed")
    return dataset


def provenance_of(path: Path | str) -> Provenance:
    """Where a file's data come from, without reading the data.

    Raises:
      UserError: as `load`.
    """
    return _about(read_npz(path, ("format", "provenance")), path)


def _about(arrays: Mapping[str, np.ndarray], path: Path | str) -> Provenance:
    if "format" not in arrays:
        fix = "make one of its arrays with offline.make, and write that with offline.save"
        raise UserError(f"{path} is not a dataset of jaxrl-reward: {fix}")
    if str(arrays["format"]) != FORMAT:
        raise UserError(f"{path}: format is {str(arrays['format'])!r}, and must be {FORMAT!r}")
    try:
        about = json.loads(str(arrays["provenance"]))
        about["versions"] = tuple(tuple(pair) for pair in about["versions"])
        return Provenance(**about)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: provenance cannot be read ({error})") from None


def read_npz(path: Path | str, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`, all or those that are named, without unpickling anything.

    Raises:
      UserError: it does not exist, is not an `.npz`, or is damaged.
    """
    path = user_path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; name the file of a dataset")
    try:
        # NumPy leaves a file open that it cannot read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise ValueError("one array")
            return {name: archive[name] for name in archive.files if names is None or name in names}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read as .npz: not one, or cut short ({line})") from None
