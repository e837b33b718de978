"""The cooperative tasks of JaxMARL, and how they are built without a time limit."""

import contextlib
import copy
import importlib
import io
import sys
from collections.abc import Iterator
from typing import Any

from jaxrl_reward.envs.clock import NEVER
from jaxrl_reward.envs.suites.loading import arguments, load, plain, quiet
from jaxrl_reward.options import check
from jaxrl_reward.types import UserError, nearest

# How a team is paid: "sum" of what each agent gets; "mean", where all get the team's.
NAMES = {
    "HeuristicEnemySMAX": "mean",
    "MPE_simple_facmac_3a_v1": "mean",
    "MPE_simple_facmac_6a_v1": "mean",
    "MPE_simple_facmac_9a_v1": "mean",
    "MPE_simple_facmac_v1": "mean",
    "MPE_simple_reference_v3": "sum",
    "MPE_simple_speaker_listener_v4": "mean",
    "MPE_simple_spread_v3": "sum",
    "MPE_simple_v3": "sum",
    "ant_4x2": "mean",
    "halfcheetah_6x1": "mean",
    "hanabi": "mean",
    "hopper_3x1": "mean",
    "humanoid_9|8": "mean",
    "jaxnav": "sum",
    "overcooked": "mean",
    "overcooked_v2": "mean",
    "switch_riddle": "mean",
    "walker2d_2x3": "mean",
}
BRAX = ("ant_4x2", "halfcheetah_6x1", "hopper_3x1", "humanoid_9|8", "walker2d_2x3")
# What would be another interface, or is the task's own.
_NOT_OPTIONS = ("env_name", "action_repeat", "auto_reset", "dim_c", "dim_p", "max_steps")


def build(name: str, options: dict[str, Any]) -> tuple[Any, Any, int | None, bool]:
    """A task.

    Args:
      name: one of `NAMES`.
      options: see `jaxmarl.make`.

    Returns:
      environment: without a time limit.
      shown: what its observations are made by, which may show the time limit.
      limit: in steps, None without one.
      mean: whether the team is paid the mean of its agents' rewards.

    Raises:
      UserError: JaxMARL is not installed, or an option is unknown or does not fit.
    """
    with _own_streams():
        suite = load("jaxmarl", "jaxmarl")
    with quiet():
        plain = suite.make(name)
    clock = "episode_length" if name in BRAX else "max_steps"
    limit, objects = getattr(plain, clock, None), _objects(name)
    known = {"reward": NAMES[name], **dict.fromkeys(objects, ""), **_numbers(plain)}
    if limit is not None:
        known[clock] = int(limit)
    chosen = check(f"jaxmarl:{name}", options, known)
    pays = chosen.pop("reward", NAMES[name])
    if pays not in ("sum", "mean"):
        raise UserError(f"jaxmarl:{name}: reward must be sum or mean, not {pays!r}")
    for option in set(chosen) & set(objects):
        word, found = chosen[option], objects[option]
        if word not in found:
            raise UserError(f"jaxmarl:{name} has no {option} {word!r}, {nearest(word, found)}")
        chosen[option] = found[word]
    given = chosen.pop(clock, None)
    if name in BRAX:
        chosen |= {"episode_length": NEVER, "auto_reset": False}
    with quiet():
        try:
            env = suite.make(name, **chosen)
        except Exception as error:  # what does not fit is any kind
            words = f"jaxmarl:{name} cannot be made with {options}: {error}"
            raise UserError(words.partition("\n")[0]) from error
    limit = given or (limit if name in BRAX else getattr(env, clock, None))
    shown = copy.copy(env) if name == "overcooked" else env
    if name not in BRAX and limit is not None:
        shown.max_steps = limit
        getattr(env, "_env", env).max_steps = NEVER  # SMAX is within
    return env, shown, limit, pays == "mean"


@contextlib.contextmanager
def _own_streams() -> Iterator[None]:
    """Keeps where output goes: JaxMARL, when it is imported, sends it to the process's own."""
    kept = sys.stdout, sys.stderr, sys.__stdout__
    sys.__stdout__ = io.StringIO()
    try:
        yield
    finally:
        sys.stdout, sys.stderr, sys.__stdout__ = kept


def _numbers(env: Any) -> dict[str, Any]:
    """What a task can be built with, and its defaults."""
    found = arguments(type(env))
    if hasattr(type(env), "heuristic_policy") or "_env" in vars(env):
        found = arguments(type(env._env)) | found
    return {k: v for k, v in plain(found).items() if k not in _NOT_OPTIONS}


def _objects(name: str) -> dict[str, dict[str, Any]]:
    """Options that name an object of JaxMARL."""
    if name == "HeuristicEnemySMAX":
        smax = importlib.import_module("jaxmarl.environments.smax.smax_env")
        return {"scenario": smax.MAP_NAME_TO_SCENARIO}
    if name == "overcooked":
        layouts = importlib.import_module("jaxmarl.environments.overcooked.layouts")
        return {"layout": layouts.overcooked_layouts}
    return {}
