"""Environments that a user brings: gymnax's as they are, and what all of them must give.

What is tried is tried on shapes alone, before anything is compiled.
"""

from functools import partial
from typing import Any

import jax

from jaxrl_reward import spaces
from jaxrl_reward.checks import difference, is_real, on_shapes, shown
from jaxrl_reward.envs import carried, registry, strangers, suites
from jaxrl_reward.envs.bounds import limits
from jaxrl_reward.types import UserError

_PACKAGES = ("jaxrl_reward", "gymnax")  # whose environments are known to keep the contract
_STEP = "step_env(key, state, action, params)"
_GIVES = "(obs, state, reward, terminated, info)"


def given(what: Any) -> registry.Env:
    """The environment that a caller means.

    Args:
      what: an `Env`, which is given back; the name of one, a gymnax environment or one of
        another suite, or a pair of that and its parameters, as `gymnax.make` gives.

    Raises:
      UserError: it is none of these, or does not keep gymnax's contract.
    """
    if isinstance(what, registry.Env):
        return what
    if isinstance(what, str):
        made = registry.make(what)
    else:
        pair = isinstance(what, tuple) and len(what) == 2
        made = from_gymnax(*what) if pair else from_gymnax(what)
    check(made)
    return made


def from_gymnax(environment: Any, params: Any = None, name: str = "") -> registry.Env:
    """An environment that follows gymnax, with its parameters.

    A class written for gymnax 0.x has its time limit told apart from what ends the task,
    see `clock`. One of another suite is put behind gymnax's interface, see `suites`.

    Args:
      environment: has `reset_env`, `step_env`, `observation_space` and `action_space`, or is
        a suite's own.
      params: its parameters; `default_params` by default.
      name: for messages and records; by default the environment's own.

    Raises:
      UserError: it is no such environment.
    """
    environment, params = suites.adapted(environment, params)
    strangers.check(environment)
    if params is None:
        params = getattr(environment, "default_params", None)
    own = getattr(environment, "name", None)
    name = name or (own if isinstance(own, str) else type(environment).__name__)
    return registry.Env(name, environment, params)


# ---- the contract, on shapes ---------------------------------------------------------------


def check(env: registry.Env, every: bool = False) -> None:
    """Raises a `UserError` unless an environment gives what gymnax's contract wants of it.

    Those of gymnax and of this package do, and are looked at only with `every`.
    """
    if not every and str(type(env.environment).__module__).partition(".")[0] in _PACKAGES:
        return
    key = jax.random.key(0)
    observation, action = (_space(env, kind) for kind in ("observation", "action"))
    reset = on_shapes(
        env.name, env.environment.reset_env, "reset_env(key, params)", key, env.params
    )
    if not isinstance(reset, tuple) or len(reset) != 2:
        raise _wrong(env, "reset_env(key, params)", shown(reset), "(obs, state)")
    _check_obs(env, "reset_env(key, params)", reset[0], observation)
    act = jax.ShapeDtypeStruct(action.shape, action.dtype)
    step = on_shapes(env.name, env.environment.step_env, _STEP, key, reset[1], act, env.params)
    if not isinstance(step, tuple) or len(step) != 5:
        raise _wrong(env, _STEP, shown(step), f"five values, {_GIVES}")
    obs, state, reward, terminated, info = step
    _check_state(env, reset[1], state)
    _check_obs(env, _STEP, obs, observation)
    for what, value in (("reward", reward), ("terminated", terminated)):
        if not is_real(value) or value.size != 1:
            raise _wrong(env, _STEP, f"{shown(value)} as {what}", "one number")
    if not isinstance(info, dict):
        raise _wrong(env, _STEP, f"{shown(info)} as info", "a dict")
    on_shapes(env.name, env.step, "step(key, state, action)", key, reset[1], act)


def _wrong(env: registry.Env, words: str, gave: str, wanted: str) -> UserError:
    return UserError(f"{env.name}: {words} gives {gave}, and {wanted} is wanted")


def _space(env: registry.Env, kind: str) -> Any:
    """The space of observations or of actions, of arrays."""
    try:
        space = getattr(env, f"{kind}_space")
    except Exception as error:
        raise UserError(f"{env.name}: {kind}_space(params) fails: {error!r}") from error
    if not isinstance(space, registry.ARRAYS):
        kinds = "gymnax's spaces.Box or spaces.Discrete"
        raise _wrong(env, f"{kind}_space(params)", f"{type(space).__name__}", kinds)
    if isinstance(space, spaces.Box) and kind == "action":
        limits(space)
    return space


def _check_obs(env: registry.Env, words: str, obs: Any, space: Any) -> None:
    raw = env.environment.observation_space(env.params)
    if isinstance(raw, spaces.Dict | spaces.Tuple):
        said = f"taking the obs of {words} apart as observation_space says"
        obs = on_shapes(env.name, partial(spaces.flatten, raw), said, obs)
    shape = () if isinstance(raw, spaces.Discrete) else space.shape
    shape = raw.shape if isinstance(raw, spaces.MultiDiscrete) else shape
    if not is_real(obs) or obs.shape != shape:
        wanted = f"the shape {shape} of observation_space"
        raise _wrong(env, words, f"{shown(obs)} as obs", wanted)


def _check_state(env: registry.Env, before: Any, after: Any) -> None:
    """The state keeps its structure and shapes, and its kinds of numbers."""
    shapes = [
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, "f"), t) for t in (before, after)
    ]
    apart = difference(*shapes)
    if apart is None:
        was, now = (jax.tree.leaves(tree) for tree in (before, after))
        if all(carried.keeps(old.dtype, new.dtype) for old, new in zip(was, now, strict=True)):
            return
        apart = difference(before, after)
    raise UserError(f"{env.name}: {_STEP} changes the state that reset_env gives, {apart}")
