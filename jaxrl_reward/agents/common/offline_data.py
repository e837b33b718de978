"""Fixed data as the device holds it: checked, in one piece, with its statistics."""

import dataclasses
import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward.agents.common.packed_data import Data, stack
from jaxrl_reward.data import dataset as datasets
from jaxrl_reward.data.formats import read
from jaxrl_reward.envs import recorded, spaces
from jaxrl_reward.envs.bounds import limits
from jaxrl_reward.types import Transition, UserError

# First words of the names of data sets of other simulators: D4RL's, OGBench's, Minari's.
_OTHERS = (
    "halfcheetah hopper walker2d ant humanoid swimmer reacher pusher inverted antmaze maze2d "
    "minigrid pen hammer door relocate kitchen carla flow bullet pointmaze humanoidmaze antsoccer "
    "cube scene puzzle powderworld visual"
)
_OTHER = re.compile(rf"(?:.*/)?(?:{'|'.join(_OTHERS.split())})(?:[-_/].*)?", re.IGNORECASE)
_ROUNDING = 1e-4  # by which actions may be beyond their bounds
_GYM = re.compile(r"(?:.*/)?[A-Z]\w*-v\d+")  # Hopper-v5


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
        _check_fits(agent, env, each)
        _warn_of_another(agent, env, each.provenance.environment)
        if isinstance(env.action_space, spaces.Discrete):
            _check_choices(agent, env, each)
        else:
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
    aside = stack(env, found, held, keep, clock=True)
    return made.replace(held=aside.replace(mean=made.mean, std=made.std)), origins


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


def alone(found: Sequence[datasets.Dataset], actions: Any = None) -> envs.Env:
    """What takes the place of the environment that data are of, where that is not known here.

    Args:
      found: the data, one set or several.
      actions: their space, see `recorded.actions_from`; else what the data say, or have.

    Raises:
      UserError: the actions are of no space that agents have.
    """
    known, shape = found[0].provenance, tuple(found[0].steps.action.shape[1:])
    said = getattr(known, "action_space", "")
    if actions is not None:
        space, assumed = recorded.actions_from(actions, shape), ""
    elif said:
        space, assumed = recorded.space_of(json.loads(said)), ""
    else:
        rows = [np.asarray(each.steps.action) for each in found]
        if len({row.shape[1:] for row in rows}) > 1:
            raise UserError("the data sets have actions of several shapes; give sets of one task")
        space, assumed = recorded.actions_of(np.concatenate(rows))
    name = known.environment
    if re.fullmatch(r"\w+:.+", name):
        warnings.warn(
            f"the data say that they are of {name}, which is not known here: nothing is played",
            stacklevel=2,
        )
    observations = spaces.Box(-jnp.inf, jnp.inf, tuple(found[0].steps.obs.shape[1:]))
    return envs.of_data(name or Path(known.source).stem or "data", observations, space, assumed)


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
    warnings.warn(line, stacklevel=2)


def _check_choices(agent: str, env: envs.Env, found: datasets.Dataset) -> None:
    """Raises a `UserError` unless all actions are whole numbers from 0 to n - 1."""
    action, most = np.asarray(found.steps.action), int(env.action_space.n) - 1
    wrong = (action != np.rint(action)) | (action < 0) | (action > most)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{agent}'s data has action {action[row]:g} in row {row}, and those of {env.name} are "
            f"whole numbers from 0 to {most}"
        )


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
