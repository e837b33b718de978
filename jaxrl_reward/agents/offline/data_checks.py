"""Whether data are those of an environment: shapes, actions, names."""

import re
import warnings

import numpy as np

from jaxrl_reward import envs
from jaxrl_reward.data import dataset as datasets
from jaxrl_reward.envs import promises
from jaxrl_reward.envs.bounds import limits
from jaxrl_reward.types import UserError

# First words of the names of data sets of other simulators: D4RL's, OGBench's, Minari's.
_OTHERS = (
    "halfcheetah hopper walker2d ant humanoid swimmer reacher pusher inverted antmaze maze2d "
    "minigrid pen hammer door relocate kitchen carla flow bullet pointmaze humanoidmaze antsoccer "
    "cube scene puzzle powderworld visual"
)
_OTHER = re.compile(rf"(?:.*/)?(?:{'|'.join(_OTHERS.split())})(?:[-_/].*)?", re.IGNORECASE)
_ROUNDING = 1e-4  # by which actions may be beyond their bounds
_GYM = re.compile(r"(?:.*/)?[A-Z]\w*-v\d+")  # Hopper-v5


def fits(agent: str, env: envs.Env, found: datasets.Dataset) -> None:
    """As `shapes`, of a data set."""
    each = {name: getattr(found.steps, name).shape[1:] for name in ("obs", "action")}
    shapes(agent, env, each)


def shapes(agent: str, env: envs.Env, found: dict[str, tuple[int, ...]]) -> None:
    """Raises a `UserError` unless observations and actions have the environment's shapes."""
    spaces_of = {"obs": env.observation_space, "action": env.action_space}
    for name, space in spaces_of.items():
        shape, wanted = found[name], tuple(space.shape)
        if shape != wanted:
            raise UserError(
                f"{agent}'s data has {name} of shape {list(shape)}, "
                f"and {env.name} of shape {list(wanted)}; name the environment that it is of"
            )


def warn_of_another(agent: str, env: envs.Env, said: str) -> None:
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


def choices(agent: str, env: envs.Env, found: datasets.Dataset) -> None:
    """Raises a `UserError` unless all actions are whole numbers from 0 to n - 1."""
    action, most = np.asarray(found.steps.action), int(env.action_space.n) - 1
    wrong = (action != np.rint(action)) | (action < 0) | (action > most)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{agent}'s data has action {action[row]:g} in row {row}, and those of {env.name} are "
            f"whole numbers from 0 to {most}"
        )


def warn_of_bounds(agent: str, env: envs.Env, found: datasets.Dataset) -> None:
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
