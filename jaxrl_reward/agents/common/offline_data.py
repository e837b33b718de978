"""Fixed data as the device holds it: checked, in one piece, with its statistics."""

import dataclasses
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward.agents.offline import data_checks
from jaxrl_reward.agents.offline.packed_data import Data, stack
from jaxrl_reward.agents.offline.streaming import Stream
from jaxrl_reward.data import dataset as datasets
from jaxrl_reward.data.formats import read
from jaxrl_reward.data.streamed import Streamed
from jaxrl_reward.envs import recorded, spaces
from jaxrl_reward.types import Transition, UserError

_FIELDS = tuple(field.name for field in dataclasses.fields(Transition))


class Blank(NamedTuple):
    """In the place of data, for an agent that learns no more: as many rows of zeros."""

    rows: int


def load(
    agent: str,
    env: envs.Env,
    read: Transition,
    sequential: Transition,
    data: Any,
    holdout: tuple[float, int] = (0.0, 0),
) -> tuple[Data, tuple[datasets.Provenance, ...]]:
    """The data as the device holds it, and where each set is from, with its checksum.

    Args:
      agent: whose it is, for messages.
      env: what it must be of.
      read: which parts of a transition the reward reads of a row.
      sequential: which parts it reads of all rows in order.
      data: a `Dataset` or a path to one, or several of them with as many rows.
      holdout: the share of episodes that is set aside, and the seed that chooses them.

    Raises:
      UserError: a file cannot be read, the shapes are not the environment's, the
        reward reads what the data does not have, the sets differ in length, or there
        are too few episodes to set some aside.
    """
    if isinstance(data, Blank):
        data, holdout = _zeros(env, data.rows), (0.0, 0)
    several = isinstance(data, Sequence) and not isinstance(data, str)
    found = [read_set(each) for each in (data if several else [data])]
    if not found:
        raise UserError(f"{agent} needs at least one data set")
    for each in found:
        data_checks.fits(agent, env, each)
        data_checks.warn_of_another(agent, env, each.provenance.environment)
        if isinstance(env.action_space, spaces.Discrete):
            data_checks.choices(agent, env, each)
        else:
            data_checks.warn_of_bounds(agent, env, each)
    lengths = [len(each) for each in found]
    if len(set(lengths)) > 1:
        raise UserError(f"{agent} needs data sets of as many rows each, not of {lengths}")
    if sum(lengths) >= 2**31:
        raise UserError(f"{agent} can number {2**31 - 1} rows, not {sum(lengths)}")
    _check_known(agent, read, sequential)
    keep = _kept(read, sequential)
    origins = tuple(_origin(each) for each in found)
    if not holdout[0]:
        return stack(env, found, [None] * len(found), keep), origins
    held = [_held(agent, each, *holdout) for each in found]
    if len({int(rows.sum()) for rows in held}) > 1:
        raise UserError(
            f"{agent}'s holdout of several data sets needs episodes of the same lengths in each; "
            "use holdout=0"
        )
    made = stack(env, found, [~rows for rows in held], keep)
    aside = stack(env, found, held, keep, clocked=True)
    return made.replace(held=aside.replace(mean=made.mean, std=made.std)), origins


def _kept(read: Transition, sequential: Transition) -> dict[str, bool]:
    """Which fields of a row the reward reads beside those of every update."""
    names = ("action", "first", "truncated")
    return {name: getattr(read, name) or getattr(sequential, name) for name in names}


def _check_known(agent: str, read: Transition, sequential: Transition) -> None:
    for part in ("info", "policy"):
        for name in getattr(read, part):
            if getattr(read, part)[name] or getattr(sequential, part)[name]:
                raise UserError(
                    f"{agent} learns from data without {part}[{name!r}], which the reward reads; "
                    "leave that term out"
                )


def stream(
    agent: str, env: envs.Env, read: Transition, sequential: Transition, data: Any, config: Any
) -> Stream:
    """The windows of a set that lies in a file; `load` says what the arguments are.

    Raises:
      UserError: as `load`; it is no file of ours; or the reward reads all steps in order.
    """
    source = open_stream(data)
    _check_known(agent, read, sequential)
    if any(jax.tree.leaves(sequential)):
        raise UserError(
            f"{agent}'s stream sees a window of the data at a time, and the reward reads all steps "
            "in order; leave that term, or stream, out"
        )
    if config.fqe_steps and not config.holdout:
        raise UserError(f"{agent}'s fqe_steps with stream needs a holdout above 0")
    fields = source.fields
    data_checks.shapes(agent, env, {name: fields[name].shape[1:] for name in ("obs", "action")})
    data_checks.warn_of_another(agent, env, source.provenance.environment)
    ends = Transition(**{**dict.fromkeys(_FIELDS, ()), "action": source.bounds})
    both = datasets.Dataset(ends, None, source.provenance)
    if isinstance(env.action_space, spaces.Discrete):
        data_checks.choices(agent, env, both)
    else:
        data_checks.warn_of_bounds(agent, env, both)
    return Stream(agent, env, source, _kept(read, sequential), config)


def open_stream(data: Any) -> Streamed:
    """A file that is read a part at a time, opened and checked once.

    Raises:
      UserError: it is none, or it is damaged.
    """
    if isinstance(data, Streamed):
        return data
    if isinstance(data, list | tuple) and len(data) == 1:
        return open_stream(data[0])
    if not isinstance(data, str | Path):
        raise UserError("stream reads one file of data.save; give its path as data")
    return Streamed(data)


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


def references(env: envs.Env, found: Sequence[datasets.Provenance]) -> tuple[float, float] | None:
    """The returns that score 0 and 100 in this environment; None where data do not say them.

    Those of another simulator are none of this one's.
    """
    name = env.name.partition(",")[0]
    known = {
        (each.random_return, each.expert_return)
        for each in found
        if each.environment.partition(",")[0] in ("", name, name.partition(":")[2])
    }
    low, high = known.pop() if len(known) == 1 else (None, None)
    return None if low is None or high is None or low == high else (low, high)


class Known(NamedTuple):
    """What is known of data before they are read to be learned from.

    Attributes:
      provenance: where they come from.
      obs_shape: of one observation.
      actions: all of them, or the least and the largest, `[N, *A]`.
    """

    provenance: datasets.Provenance
    obs_shape: tuple[int, ...]
    actions: np.ndarray


def known(found: datasets.Dataset | Streamed) -> Known:
    """That of a set in memory or in a file."""
    if isinstance(found, Streamed):
        return Known(found.provenance, found.fields["obs"].shape[1:], found.bounds)
    shape = tuple(found.steps.obs.shape[1:])
    return Known(found.provenance, shape, np.asarray(found.steps.action))


def alone(found: Sequence[Known], actions: Any = None) -> envs.Env:
    """What takes the place of the environment that data are of, where that is not known here.

    Args:
      found: what is known of the data, one set or several.
      actions: their space, see `recorded.actions_from`; else what the data say, or have.

    Raises:
      UserError: the actions are of no space that agents have.
    """
    origin, shape = found[0].provenance, tuple(found[0].actions.shape[1:])
    said = origin.action_space
    if actions is not None:
        space, assumed = recorded.actions_from(actions, shape), ""
    elif said:
        space, assumed = recorded.space_of(json.loads(said)), ""
    else:
        rows = [each.actions for each in found]
        if len({row.shape[1:] for row in rows}) > 1:
            raise UserError("the data sets have actions of several shapes; give sets of one task")
        space, assumed = recorded.actions_of(np.concatenate(rows))
    name = origin.environment
    if re.fullmatch(r"\w+:.+", name):
        warnings.warn(
            f"the data say that they are of {name}, which is not known here: nothing is played",
            stacklevel=2,
        )
    observations = spaces.Box(-jnp.inf, jnp.inf, found[0].obs_shape)
    return envs.of_data(name or Path(origin.source).stem or "data", observations, space, assumed)


def _zeros(env: envs.Env, rows: int) -> datasets.Dataset:
    """Rows of zeros in the shape of the environment's."""
    obs = np.zeros((rows, *env.observation_space.shape), np.float32)
    arrays = dict.fromkeys(("reward", "terminated", "truncated"), np.zeros(rows, np.float32))
    action = np.zeros((rows, *env.action_space.shape), np.float32)
    return datasets.make({"obs": obs, "next_obs": obs, "action": action, **arrays})


def _held(agent: str, found: datasets.Dataset, share: float, seed: int) -> np.ndarray:
    """Which rows are of the episodes that are set aside, `[N]` bool."""
    number = np.cumsum(np.asarray(found.steps.first)) - 1
    count = int(number[-1]) + 1
    if count < 2:
        raise UserError(
            f"{agent}'s holdout sets whole episodes aside, and the data is one; use holdout=0"
        )
    most = min(max(1, round(share * count)), count - 1)
    aside = np.random.default_rng(seed).permutation(count)[:most]
    return np.isin(number, aside)


def _origin(found: datasets.Dataset) -> datasets.Provenance:
    known = found.provenance
    if known.checksum:
        return known
    return dataclasses.replace(known, checksum=datasets.checksum(found.steps, found.left_out))
