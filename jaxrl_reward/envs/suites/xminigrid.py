"""XLand-MiniGrid (extra `xminigrid`): grids seen from the agent, as planes of tiles and colours.

The goal terminates and pays `1 - 0.9 t / T`; the clock T truncates from its step on, where
xminigrid tells it on that step alone. `info` has `success`, 1 where the goal is reached. The
tasks named XLand have no goal of their own: hand over `(environment, params)` with a ruleset.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces
from jaxrl_reward.envs.suites.base import Adapter, planes
from jaxrl_reward.envs.suites.loading import load
from jaxrl_reward.options import check
from jaxrl_reward.types import Array

_SIZES = (
    *("R1-9x9", "R1-11x11", "R1-13x13", "R1-15x15", "R1-17x17", "R2-9x9", "R2-11x11", "R2-13x13"),
    *("R2-15x15", "R2-17x17", "R4-9x9", "R4-11x11", "R4-13x13", "R4-15x15", "R4-17x17"),
    *("R6-13x13", "R6-17x17", "R6-19x19", "R9-16x16", "R9-19x19", "R9-25x25"),
)
_TASKS = (
    *("BlockedUnlockPickUp", "DoorKey-5x5", "DoorKey-6x6", "DoorKey-8x8", "DoorKey-16x16"),
    *("Empty-5x5", "Empty-6x6", "Empty-8x8", "Empty-16x16", "EmptyRandom-5x5"),
    *("EmptyRandom-6x6", "EmptyRandom-8x8", "EmptyRandom-16x16", "FourRooms", "LockedRoom"),
    *("MemoryS8", "MemoryS16", "MemoryS32", "MemoryS64", "MemoryS128", "Playground"),
    *("Unlock", "UnlockPickUp"),
)


class GridParams(struct.PyTreeNode):
    """xminigrid's own parameters, whose `max_steps` is not read, and the time limit in steps."""

    xminigrid: Any
    max_steps_in_episode: int


class Grid(Adapter):
    """A task of XLand-MiniGrid: its goal terminates, the clock truncates.

    The state is xminigrid's `TimeStep`, without the observation.

    Attributes:
      one_hot: whether tiles and colours are planes, or the suite's own numbers.
    """

    def __init__(self, name: str, suite: Any, params: Any, one_hot: bool = True):
        super().__init__(name, suite, params)
        core = load("xminigrid", "xminigrid.core.constants")
        self._counts, self.one_hot = (core.NUM_TILES, core.NUM_COLORS), one_hot

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        step = self.suite.reset(_limited(params), key)
        return self._observe(step.observation), step.replace(observation=())

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        del key
        after = self.suite.step(_limited(params), state, action)
        terminated = after.discount == 0.0
        told = {"success": (terminated & (after.reward > 0.0)).astype(jnp.float32)}
        new = after.replace(observation=())
        return self._observe(after.observation), new, after.reward, terminated, told

    def is_truncated(self, state: Any, params: Any) -> Any:
        return state.state.step_num >= params.max_steps_in_episode

    def observation_space(self, params: Any) -> Any:
        shape = self.suite.observation_shape(params.xminigrid)
        if self.one_hot:
            return spaces.Box(0.0, 1.0, (*shape[:-1], sum(self._counts)))
        return spaces.Box(0.0, max(self._counts) - 1.0, shape)

    def action_space(self, params: Any = None) -> Any:
        known = self._params if params is None else params
        return spaces.Discrete(self.suite.num_actions(known.xminigrid))

    def _observe(self, grid: Array) -> Array:
        return planes(grid, self._counts) if self.one_hot else grid


def names() -> tuple[str, ...]:
    """xminigrid's names."""
    return (*(f"MiniGrid-{task}" for task in _TASKS), *(f"XLand-MiniGrid-{s}" for s in _SIZES))


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A task and its parameters.

    Args:
      name: one of `names()`.
      options: `max_steps`, the task's own by default, `view_size`, how many cells wide what is
        seen, and `one_hot`, true by default: false gives xminigrid's own numbers
        `[view, view, 2]`.

    Raises:
      UserError: xminigrid is not installed, or an option is unknown or does not fit.
    """
    environment, params = load("xminigrid", "xminigrid").make(name)
    known = {"max_steps": params.max_steps, "view_size": params.view_size, "one_hot": True}
    given = check(f"xminigrid:{name}", options, known)
    one_hot = given.pop("one_hot", True)
    return _adapted(environment, params.replace(**given), one_hot)


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """A task that the user made, and its parameters, by default its own."""
    return _adapted(environment, params, True)


def _adapted(environment: Any, params: Any, one_hot: bool) -> tuple[Any, Any]:
    params = environment.default_params() if params is None else params
    known = GridParams(params, params.max_steps)
    return Grid(type(environment).__name__, environment, known, one_hot), known


def _limited(params: Any) -> Any:
    """xminigrid's parameters with the clock that the goal's reward depends on."""
    return params.xminigrid.replace(max_steps=params.max_steps_in_episode)
