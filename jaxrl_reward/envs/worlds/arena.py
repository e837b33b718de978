"""A point mass that explores a square: coverage with continuous actions."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.submodular import Objective, objectives
from jaxrl_reward.types import Array, UserError

STEPS = 99
FRICTION = 0.8  # of the velocity, what is left after a step


class ArenaState(struct.PyTreeNode):
    """Position and velocity, `[2]` each, the clock, and F's memory."""

    position: Array
    velocity: Array
    time: Array
    memory: Any


class ArenaParams(struct.PyTreeNode):
    """What can be varied without compiling anew.

    Attributes:
      objective: F of the cell that an observation is in.
      half_width: of the arena.
      speed: the highest, as part of `half_width` a step.
      noise: standard deviation of what is added to the action.
      max_steps_in_episode: the number of actions.
    """

    objective: Objective
    half_width: float
    speed: float = 0.1
    noise: float = 0.0
    max_steps_in_episode: int = STEPS


class Arena(environment.Environment):
    """Two forces in [-1, 1] push a point with friction; walls stop it.

    It starts at rest in the middle and observes position, velocity and time,
    `[5]`. Reward, end and `info` are those of `walk.Walk`.
    """

    def __init__(self, params: ArenaParams, name: str = "arena"):
        self._params, self._name = params, name

    @property
    def name(self) -> str:
        return self._name

    @property
    def default_params(self) -> Any:
        return self._params

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del key
        obs, objective = jnp.zeros(5).at[4].set(-1.0), params.objective
        memory = objective.function.start(objective.at(obs))
        return obs, ArenaState(jnp.zeros(2), jnp.zeros(2), jnp.int32(0), memory)

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        wide, objective = params.half_width, params.objective
        force = jnp.clip(action, -1.0, 1.0) + params.noise * jax.random.normal(key, (2,))
        # Where friction and the largest force balance, the speed is the highest.
        push = (1 - FRICTION) * params.speed * wide * force
        velocity = FRICTION * state.velocity + push
        free = state.position + velocity
        position = jnp.clip(free, -wide, wide)
        velocity *= position == free
        time = state.time + 1
        clock = 2.0 * time / jnp.maximum(params.max_steps_in_episode, 1) - 1.0
        obs = jnp.concatenate([position, velocity, clock[None]])
        cell = objective.at(obs)
        gain, memory = objective.function.gain(state.memory, cell)
        first = jnp.where(state.time == 0, objective.function.value(state.memory), 0.0)
        info = {"cell": cell, "value": objective.function.value(memory)}
        terminated = time >= params.max_steps_in_episode
        after = ArenaState(position, velocity, time, memory)
        return obs, after, gain + first, terminated, info

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-jnp.inf, jnp.inf, (5,), jnp.float32)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Box(-1.0, 1.0, (2,), jnp.float32)


def names() -> Iterable[str]:
    """The sensors that `make` knows."""
    return objectives.ARENAS


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """An arena and its parameters.

    Args:
      name: the shape of what the sensor sees, `disc` or `square`.
      options: `half_width`, `cells`, `reach` and `weight` of the objective (see
        `objectives.arena`), `speed`, `noise` and `max_steps_in_episode`.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    sensor = {k: v for k, v in objectives.arena_options().items() if k not in ("x", "y")}
    motion = {"speed": 0.1, "noise": 0.0, "max_steps_in_episode": STEPS}
    given = {**motion, **check(f"arena:{name}", options, {**sensor, **motion})}
    if min(given["speed"], given["noise"]) < 0:
        raise UserError(f"arena:{name}: speed and noise must not be negative")
    own = {key: given[key] for key in sensor if key in given}
    objective = objectives.arena(name, **own)
    params = ArenaParams(
        objective,
        objective.at.half_width,
        given["speed"],
        given["noise"],
        given["max_steps_in_episode"],
    )
    return Arena(params, name), params
