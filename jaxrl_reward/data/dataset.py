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
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from flax import struct

from jaxrl_reward.data import described
from jaxrl_reward.data.fields import FIELDS, begins, checked
from jaxrl_reward.data.scores import d4rl_returns, normalized_score
from jaxrl_reward.types import Transition, UserError

if TYPE_CHECKING:
    from jaxrl_reward.spaces import Part

LARGE = 2**28  # bytes of a set whose checksum is computed when it is first needed
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


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
      checksum: sha256 of the fields, empty where they have changed since, or where they
        are more than 256 MB: `checksum` takes longer than reading them.
      terminal_next_obs: whether `next_obs` is known where an episode terminates; if
        not, the step's `obs` stands for it.
      format: of the source, such as `d3rlpy`; empty for arrays.
      format_version: as the source says it, if it does.
      assumed: what the source does not tell and was taken to be so, a sentence each.
      observation_space: as `described` writes spaces; empty where it is not known.
      action_space: likewise.
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
    format: str = ""
    format_version: str = ""
    assumed: tuple[str, ...] = ()
    observation_space: str = ""
    action_space: str = ""


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
      steps: leaves `[N, ...]`, on the host; `env_reward` and `reward` are the same,
        `info` and `policy` are empty.
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

    def parts(self) -> tuple["Part", ...]:
        """The parts of the flat observation, if its space is known; else none."""
        from jaxrl_reward.spaces import parts  # which loads gymnax

        known = self.provenance.observation_space
        return parts(described.space(described.read(known))) if known else ()

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
            "provenance": {
                **shown,
                "versions": dict(self.provenance.versions),
                "assumed": list(self.provenance.assumed),
            },
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
      provenance: where it comes from; the checksum is computed here, but of large sets.
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
    # On the host: what trains on it decides how it gets to the device, and when.
    leaves: dict[str, Any] = {**{name: kept[name] for name in FIELDS}, "env_reward": kept["reward"]}
    steps = Transition(**leaves)
    size = sum(kept[name].nbytes for name in FIELDS)
    known = dataclasses.replace(
        provenance, checksum=checksum(steps, left_out) if size <= LARGE else ""
    )
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
    for name, value in (*arrays_of(steps), *arrays_left_out(left_out)):
        digest.update(f"{name} {value.dtype.str} {value.shape};".encode())
        digest.update(value.data if value.size else b"")
    return digest.hexdigest()


def arrays_of(steps: Transition) -> Iterator[tuple[str, np.ndarray]]:
    """The fields as they are stored, contiguous, on the host."""
    for name in FIELDS:
        yield name, np.ascontiguousarray(getattr(steps, name))


def arrays_left_out(left_out: LeftOut | None) -> Iterator[tuple[str, np.ndarray]]:
    if left_out is not None:
        for name, value in left_out._asdict().items():
            yield f"left_out_{name}", np.ascontiguousarray(value)
