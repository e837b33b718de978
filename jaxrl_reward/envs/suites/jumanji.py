"""Jumanji (extra `jumanji`): observations in parts, masks kept, and a clock of our own.

Most of its environments pay discount 0 when their time is up, as at an end of the task. So
they are stepped with a time limit that is never reached: what they end by then is the task.

Three end by a number of steps that is part of the task, and terminate by it: FlatPack has as
many steps as blocks, MultiCVRP pays for what is undelivered after two steps a customer, and
JobShop has no more to do when its schedule is full.
"""

import copy
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl_reward import spaces
from jaxrl_reward.envs.clock import NEVER
from jaxrl_reward.envs.suites import clocks, jumanji_specs, known
from jaxrl_reward.envs.suites.loading import arguments, load, plain, quiet
from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError

LEFT_OUT = {"Sokoban-v0": "it downloads its levels"}


class Jumanji(clocks.Clocked):
    """An environment of Jumanji, whose observation is a `Dict` of its parts.

    A mask is the part `action_mask`. Whole numbers of at most 40 values are one-hot, but
    for the clock. `info` has what Jumanji's `extras` tell, and of a team, each agent's
    reward, `reward/0` and so on; the reward is their sum, or their mean.

    Args:
      name: the environment's.
      env: as Jumanji makes it.
      params: its time limit.
      mean: pays the mean of the agents' rewards, and not the sum.
    """

    def __init__(self, name: str, env: Any, params: Any, mean: bool = False):
        super().__init__(name, copy.copy(env), params)
        self._mean = mean
        if (limit := getattr(env, "time_limit", None)) is not None:
            self.suite.time_limit = NEVER
        if name.startswith("SearchAndRescue"):  # pays less the later, by its limit
            pays = env._reward_fn
            self.suite._reward_fn = lambda found, step, _: pays(found, step, limit)
        self._parts = jumanji_specs.parts(env.observation_spec)
        self._dtype, mask = env.action_spec.dtype, self._parts.get(spaces.MASK)
        self._action, self._joint = jumanji_specs.actions(name, env.action_spec, mask)

    def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
        del params
        state, timestep = self.suite.reset(key)
        return self._observe(timestep.observation), clocks.State(state, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Any, Any, Array, Array, dict[Any, Any]]:
        del key, params
        if self._joint:
            action = jnp.stack(jnp.unravel_index(action, self._joint))
        with quiet():  # BinPack's writes whole numbers over others
            after, timestep = self.suite.step(state.suite, jnp.asarray(action, self._dtype))
        told = {name: jnp.asarray(x, jnp.float32) for name, x in timestep.extras.items()}
        reward = jnp.asarray(timestep.reward, jnp.float32)
        if reward.ndim:
            told |= {f"reward/{i}": x for i, x in enumerate(reward)}
            reward = reward.mean() if self._mean else reward.sum()
        obs = self._observe(timestep.observation)
        return obs, clocks.State(after, state.time + 1), reward, timestep.last(), told

    def observation_space(self, params: Any) -> Any:
        return spaces.Dict({name: part.space for name, part in self._parts.items()})

    def action_space(self, params: Any = None) -> Any:
        return self._action

    def _observe(self, observation: Any) -> dict[str, Array]:
        value = lambda name: functools.reduce(getattr, name.split("."), observation)  # noqa: E731
        return {name: part.shown(value(name)) for name, part in self._parts.items()}


def names() -> list[str]:
    """Every environment of Jumanji."""
    return list(known.JUMANJI)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """An environment of Jumanji and its parameters.

    Args:
      name: one of `names()`.
      options: numbers that it, or what generates its problems, is built with:
        `time_limit`, `num_rows`; where each agent has a reward, `reward`: "sum" or "mean".

    Raises:
      UserError: Jumanji is not installed, an option is unknown or does not fit, or there
        are too many joint actions.
    """
    jumanji = load("jumanji", "jumanji")
    with quiet():
        env = jumanji.make(name)
    generator = getattr(env, "generator", getattr(env, "_generator", None))
    team = {"reward": "sum"} if env.reward_spec.shape else {}
    numbers = {**plain(_built_with(generator)), **plain(_built_with(env)), **team}
    for name_of_another in ("debug", "max_step"):
        numbers.pop(name_of_another, None)
    chosen = check(f"jumanji:{name}", options, numbers)
    pays = chosen.pop("reward", "sum")
    if pays not in ("sum", "mean"):
        raise UserError(f"jumanji:{name}: reward must be sum or mean, not {pays!r}")
    if chosen:
        env = _rebuilt(name, env, generator, chosen)
    params = clocks.timed(getattr(env, "time_limit", None))
    return Jumanji(name, env, params, pays == "mean"), params


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """An environment of Jumanji that was made elsewhere, with its own time limit."""
    params = params or clocks.timed(getattr(environment, "time_limit", None))
    return Jumanji(type(environment).__name__, environment, params), params


def _built_with(made: Any) -> dict[str, Any]:
    """What an object was built with, as far as it says so by attributes of the same name."""
    names = [] if made is None else arguments(type(made))
    values = {name: getattr(made, name, getattr(made, f"_{name}", None)) for name in names}
    return {name: x.item() if isinstance(x, np.generic) else x for name, x in values.items()}


def _rebuilt(name: str, env: Any, generator: Any, chosen: dict[str, Any]) -> Any:
    """The environment again, with other numbers."""
    kind, defaults = type(env), arguments(type(env))
    # What is None by default depends on the rest: a maze's time limit is its size.
    own = {k: v for k, v in plain(_built_with(env)).items() if defaults[k] is not None}
    own |= {k: v for k, v in chosen.items() if k in defaults}
    try:
        if generator is not None:
            of_it = {k: v for k, v in _built_with(generator).items() if v is not None}
            of_it |= {k: v for k, v in chosen.items() if k not in own}
            if "max_step" in of_it:  # MMST keeps a place for each step
                of_it["max_step"] = own["time_limit"]
            own["generator"] = type(generator)(**of_it) if of_it else generator
        return kind(**own)
    except Exception as error:  # what does not fit is any kind, at any depth
        words = f"jumanji:{name} cannot be made with {chosen}: {error}"
        raise UserError(words.partition("\n")[0]) from error
