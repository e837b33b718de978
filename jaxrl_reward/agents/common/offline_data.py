"""Fixed data as the device holds it: checked, in one piece, with its statistics."""

import dataclasses
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward import envs
from jaxrl_reward.data import dataset as datasets
from jaxrl_reward.data.formats import read
from jaxrl_reward.envs import promises
from jaxrl_reward.envs.bounds import limits, unit_action
from jaxrl_reward.types import Array, Transition, UserError

# First words of the names of data sets of other simulators: D4RL's, OGBench's, Minari's.
_OTHERS = (
    "halfcheetah hopper walker2d ant humanoid swimmer reacher pusher inverted antmaze maze2d "
    "minigrid pen hammer door relocate kitchen carla flow bullet pointmaze humanoidmaze antsoccer "
    "cube scene puzzle powderworld visual"
)
_OTHER = re.compile(rf"(?:.*/)?(?:{'|'.join(_OTHERS.split())})(?:[-_/].*)?", re.IGNORECASE)
_ROUNDING = 1e-4  # by which actions may be beyond their bounds
_GYM = re.compile(r"(?:.*/)?[A-Z]\w*-v\d+")  # Hopper-v5


class Data(struct.PyTreeNode):
    """D sets of N rows, one behind the other.

    Attributes:
      rows: what every update reads, in one piece: the flat observation, the
        action in unit numbers, the next observation, the environment's reward and
        whether the task ended, `[D * N, 2 O + A + 2]` float32.
      extra: what else the reward reads, leaves `[D * N, ...]`; else `()`.
      mean: of observations and next observations together, `[D, O]`.
      std: likewise.
    """

    rows: Array
    extra: Transition
    mean: Array
    std: Array

    @property
    def count(self) -> int:
        """The rows N of one set."""
        return self.rows.shape[0] // self.mean.shape[0]


def load(
    agent: str, env: envs.Env, read: Transition, sequential: Transition, data: Any
) -> tuple[Data, tuple[datasets.Provenance, ...]]:
    """The data as the device holds it, and where each set is from, with its checksum.

    Args:
      agent: whose it is, for messages.
      env: what it must be of.
      read: which parts of a transition the reward reads of a row.
      sequential: which parts it reads of all rows in order.
      data: a `Dataset` or a path to one, or several of them with as many rows.

    Raises:
      UserError: a file cannot be read, the shapes are not the environment's, the
        reward reads what the data does not have, or the sets differ in length.
    """
    several = isinstance(data, Sequence) and not isinstance(data, str)
    found = [read_set(each) for each in (data if several else [data])]
    if not found:
        raise UserError(f"{agent} needs at least one data set")
    for each in found:
        _check_fits(agent, env, each)
        _warn_of_another(agent, env, each.provenance.environment)
        _warn_of_bounds(agent, env, each)
    lengths = [len(each) for each in found]
    if len(set(lengths)) > 1:
        raise UserError(f"{agent} needs data sets of as many rows each, not of {lengths}")
    if sum(lengths) >= 2**31:
        raise UserError(f"{agent} can number {2**31 - 1} rows, not {sum(lengths)}")
    for part in ("info", "policy"):
        for name in getattr(read, part):
            if getattr(read, part)[name] or getattr(sequential, part)[name]:
                raise UserError(
                    f"{agent} learns from data without {part}[{name!r}], which the reward reads; "
                    "leave that term out"
                )
    keep = {
        name: getattr(read, name) or getattr(sequential, name)
        for name in ("action", "first", "truncated")
    }
    return _stack(env, found, keep), tuple(_origin(each) for each in found)


def read_set(data: Any) -> datasets.Dataset:
    """A `Dataset`, or the one that lies under a path.

    Raises:
      UserError: it is neither, or the file cannot be read.
    """
    if isinstance(data, datasets.Dataset):
        return data
    if isinstance(data, str | Path):
        return read(data)
    raise UserError(f"data must be a Dataset or the path of one, not {type(data).__name__}")


def blank(env: envs.Env, rows: int) -> datasets.Dataset:
    """Rows of zeros in the shape of the environment's: for an agent that learns no more."""
    obs = np.zeros((rows, *env.observation_space.shape), np.float32)
    arrays = dict.fromkeys(("reward", "terminated", "truncated"), np.zeros(rows, np.float32))
    action = np.zeros((rows, *env.action_space.shape), np.float32)
    return datasets.make({"obs": obs, "next_obs": obs, "action": action, **arrays})


def _origin(found: datasets.Dataset) -> datasets.Provenance:
    known = found.provenance
    if known.checksum:
        return known
    return dataclasses.replace(known, checksum=datasets.checksum(found.steps, found.left_out))


def _check_fits(agent: str, env: envs.Env, found: datasets.Dataset) -> None:
    spaces_of = {"obs": env.observation_space, "action": env.action_space}
    for name, space in spaces_of.items():
        shape, wanted = getattr(found.steps, name).shape[1:], tuple(space.shape)
        if shape != wanted:
            raise UserError(
                f"{agent}'s data has {name} of shape {list(shape)}, "
                f"and {env.name} of shape {list(wanted)}; name the environment that it is of"
            )


def _warn_of_another(agent: str, env: envs.Env, said: str) -> None:
    """One line where data say that they are of another task than they are evaluated in."""
    base, name = said.partition(",")[0], env.name.partition(",")[0]
    if base in (name, name.partition(":")[2]):
        return
    if ":" in base:
        fix = f"name {said} in place of it"
    elif _OTHER.fullmatch(base) or _GYM.fullmatch(base):
        fix = f"none of `list envs` is that one; `collect sac {name}` makes data that fit"
    else:
        return  # the name of a file, which need not say anything
    line = f"{agent}'s data say that they are of {said}, and {name} is another task: {fix}"
    if differs := promises.note(name):
        line = f"{line}; {name} {differs}"
    warnings.warn(line, stacklevel=2)


def _warn_of_bounds(agent: str, env: envs.Env, found: datasets.Dataset) -> None:
    """One line where actions are beyond the bounds, but for those that were corrupted."""
    if re.search(r"\b(?:action|mixed)\b", found.provenance.corruption):
        return
    space, action = env.action_space, np.asarray(found.steps.action)
    low, high = (x.reshape(space.shape) for x in limits(space))
    slack = _ROUNDING * np.maximum(1.0, np.abs(action))
    beyond = ((action < low - slack) | (action > high + slack)).reshape(len(action), -1).any(1)
    if beyond.any():
        row = int(np.flatnonzero(beyond)[0])
        warnings.warn(
            f"{agent}'s data have {int(beyond.sum())} of {len(action)} actions beyond the bounds "
            f"of {env.name}, first in row {row} ({np.ravel(action[row])}): are they of another "
            "scale or task?",
            stacklevel=2,
        )


def _stack(env: envs.Env, found: list[datasets.Dataset], keep: dict[str, bool]) -> Data:
    def flat(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return x.reshape(len(x), -1).astype(np.float32)

    def extra(name: str) -> Any:
        if not keep.get(name):
            return ()
        return jnp.asarray(np.concatenate([np.asarray(getattr(s.steps, name)) for s in found]))

    rows, means, stds = [], [], []
    for steps in (each.steps for each in found):
        obs, after = flat(steps.obs), flat(steps.next_obs)
        action = np.asarray(unit_action(env.action_space, flat(steps.action)))
        rest = [flat(steps.env_reward), flat(steps.terminated)]
        rows.append(np.concatenate([obs, action, after, *rest], axis=1))
        both = np.concatenate([obs, after]).astype(np.float64)
        means.append(both.mean(0))
        stds.append(both.std(0))
    names = [field.name for field in dataclasses.fields(Transition)]
    return Data(
        rows=jnp.asarray(np.concatenate(rows)),
        extra=Transition(**{name: extra(name) for name in names}),
        mean=jnp.asarray(np.stack(means), jnp.float32),
        std=jnp.asarray(np.stack(stds), jnp.float32),
    )
