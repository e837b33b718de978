"""A fixed data set of steps: what it holds, what its returns are, how it lies on disk.

Rows are in time order, episode after episode: an episode begins where `first` is
true and is *whole* if its last row is terminated or truncated. The last episode
of a stream that was cut is neither, and so not whole.

`terminated` says that no value follows a step, and `truncated` that the recording of
its episode ends with it. An episode that stands at its goal has many terminated rows
and goes on: only `first` says where the next begins.
"""

import dataclasses
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.data.fields import FIELDS, begins, checked
from jaxrl_reward.data.files import read_npz
from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.types import Transition, UserError

FORMAT = "jaxrl-reward dataset 1"  # says what a file is, and the version of its layout
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
      terminal_next_obs: whether `next_obs` is known where an episode terminates; if
        not, the step's `obs` stands for it.
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
    terminal_next_obs: bool = True


class LeftOut(NamedTuple):
    """The last steps of M episodes, which led to where nobody knows.

    No agent can learn from them, so they are no rows; but their rewards were earned.

    Attributes:
      row: the row before which each would stand, `[M]` int64.
      first: whether it was its episode's only one, `[M]` bool.
      ends: whether its episode ended with it, `[M]` bool; the data's last may be cut.
      reward: `[M]` float32.
    """

    row: np.ndarray
    first: np.ndarray
    ends: np.ndarray
    reward: np.ndarray


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
      left_out: steps that are no rows, and count in returns and lengths; or None.
      provenance: where they come from.
    """

    steps: Transition
    left_out: LeftOut | None = None
    provenance: Provenance = struct.field(pytree_node=False, default=Provenance())

    def __len__(self) -> int:
        return self.steps.env_reward.shape[-1]

    def episodes(self) -> list[Episode]:
        """All episodes in order, also those that are not whole."""
        spans = zip(*(each.tolist() for each in self._spans()), strict=True)
        return [Episode(*span) for span in spans]

    def returns(self) -> np.ndarray:
        """The undiscounted return of each whole episode, `[E]` float64."""
        beyond = () if self.left_out is None else self.left_out.reward
        return self._sums(np.asarray(self.steps.env_reward, np.float64), beyond)

    def lengths(self) -> np.ndarray:
        """The steps of each whole episode, `[E]` int64."""
        beyond = () if self.left_out is None else np.ones(len(self.left_out.row))
        return self._sums(np.ones(len(self), np.int64), beyond)

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
            "cut_episodes": sum(not each.whole for each in self.episodes()),
            "left_out": 0 if self.left_out is None else len(self.left_out.row),
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

    def _sums(self, rows: np.ndarray, beyond: Any) -> np.ndarray:
        """Sums over each whole episode, of its rows and of what is left out."""
        starts, _, whole = self._spans()
        sums, left = np.add.reduceat(rows, starts), self.left_out
        if left is not None:
            alone, beyond = np.asarray(left.first), np.asarray(beyond, sums.dtype)
            number = np.searchsorted(starts, left.row)  # of episodes begun before
            sums[number[~alone] - 1] += beyond[~alone]
            sums = np.insert(sums, number[alone], beyond[alone])
            whole = np.insert(whole, number[alone], left.ends[alone])
        return sums[whole]

    def _spans(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each episode the first row, the one after its last, and whether it is whole."""
        steps, left = self.steps, self.left_out
        # On the host, where nothing compiles.
        last = np.asarray(steps.terminated) | np.asarray(steps.truncated)
        starts = np.flatnonzero(steps.first)
        stops = np.append(starts[1:], len(last))
        whole = last[stops - 1]
        if left is not None and not (left.first[-1] or left.ends[-1]):
            whole[-1] = False
        return starts, stops, whole

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
    arrays: Mapping[str, Any],
    provenance: Provenance = Provenance(),
    where: str = "the dataset",
    left_out: LeftOut | None = None,
) -> Dataset:
    """A checked dataset.

    Args:
      arrays: `FIELDS` by name, `[N, ...]` each. Without `first`, an episode
        begins at the first row and after each last one. With it, an episode may go on
        after a terminated row, as one does that stands at its goal.
      provenance: where it comes from; the checksum is computed here.
      where: the file, for messages.
      left_out: steps that count in returns and lengths only.

    Raises:
      UserError: a field is missing, empty, of another length or shape than the
        others, not of numbers, or holds a NaN, an infinity or numbers that are not
        kept as they are (floats beyond float32, actions beyond int32, other whole
        numbers beyond 2^24); or `first` is false where an episode begins.
    """
    given = {name: np.asarray(arrays[name]) for name in FIELDS if name in arrays}
    for name in FIELDS:
        if name not in given and name != "first":
            raise UserError(f"{where} has no field {name!r}; it needs {', '.join(FIELDS)}")
    count = _rows(given, where)
    kept = {name: checked(name, value, where) for name, value in given.items()}
    first = kept.setdefault("first", begins(kept["terminated"] | kept["truncated"]))
    late = begins(kept["truncated"]) & ~first
    if late.any():
        row = int(np.flatnonzero(late)[0])
        raise UserError(f"{where}: first is false at row {row}, where an episode begins")
    if kept["obs"].shape != kept["next_obs"].shape:
        shapes = f"{kept['obs'].shape} and {kept['next_obs'].shape}"
        raise UserError(f"{where}: obs and next_obs must have one shape, not {shapes}")
    assert count == len(first)
    leaves: dict[str, Any] = {name: jnp.asarray(kept[name]) for name in FIELDS}
    steps = Transition(**leaves, env_reward=leaves["reward"])
    known = dataclasses.replace(provenance, checksum=checksum(steps, left_out))
    return Dataset(steps, left_out, known)


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


def checksum(steps: Transition, left_out: LeftOut | None = None) -> str:
    """sha256 of names, types, shapes and bytes of the fields, and of what is left out."""
    digest = hashlib.sha256()
    for name, value in (*arrays_of(steps), *_arrays_left_out(left_out)):
        digest.update(f"{name} {value.dtype.str} {value.shape};".encode())
        digest.update(value.data if value.size else b"")
    return digest.hexdigest()


def arrays_of(steps: Transition) -> Iterator[tuple[str, np.ndarray]]:
    """The fields as they are stored, contiguous, on the host."""
    for name in FIELDS:
        yield name, np.ascontiguousarray(getattr(steps, name))


def _arrays_left_out(left_out: LeftOut | None) -> Iterator[tuple[str, np.ndarray]]:
    if left_out is not None:
        for name, value in left_out._asdict().items():
            yield f"left_out_{name}", np.ascontiguousarray(value)


# ---- on disk -----------------------------------------------------------------------


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
    arrays |= dict(_arrays_left_out(dataset.left_out))
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
    names = [f"left_out_{name}" for name in LeftOut._fields]
    left_out = LeftOut(*(arrays[name] for name in names)) if names[0] in arrays else None
    dataset = make(arrays, provenance, str(path), left_out)
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
    if about["terminal_next_obs"]:  # as of all files that were written before it
        del about["terminal_next_obs"]
    return about


def provenance_from(text: str) -> Provenance:
    """The provenance in the JSON of `about_of`; an error if it holds something else."""
    about = json.loads(text)
    about["versions"] = tuple(tuple(pair) for pair in about["versions"])
    return Provenance(**about)
