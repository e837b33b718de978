"""Submodular tasks as environments: a walk over cells, paid by its marginal gains."""

from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.submodular import SetFunction, Task, objectives, tasks
from jaxrl_reward.types import Array, UserError, nearest


class WalkState(struct.PyTreeNode):
    """The cell, the clock, and F's memory of the cells so far."""

    cell: Array
    time: Array
    memory: Any


class WalkParams(struct.PyTreeNode):
    """What can be varied without compiling anew.

    Attributes:
      successor, probability: where actions lead, `[n, A, K]`, see `Task`.
      function: F.
      start: the first cell.
      slip: how likely the action is replaced by one drawn uniformly.
      max_steps_in_episode: the number of actions.
    """

    successor: Array
    probability: Array
    function: SetFunction
    start: int
    slip: float
    max_steps_in_episode: int


class Walk(environment.Environment):
    """A task: discrete actions, the cell and the time as observation.

    The reward is what the next cell adds to F, with F of the first cell in the
    first reward, so the return of an episode is F of all cells visited. The
    horizon is part of the task, and in sight: its end terminates. `info` has
    the `cell` after the step, `value`, F so far, and the action that was
    `executed`.
    """

    def __init__(self, task: Task, name: str = "walk", view: str = "scaled"):
        self.task, self.view = task, view
        self.at = objectives.Cell(task.rows, task.cols)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_actions(self) -> int:
        return self.task.actions

    @property
    def default_params(self) -> Any:
        task = self.task
        successor, probability = jnp.asarray(task.successor), jnp.asarray(task.probability)
        return WalkParams(successor, probability, task.function, task.start, 0.0, task.steps)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del key
        cell = jnp.asarray(params.start, jnp.int32)
        state = WalkState(cell, jnp.int32(0), params.function.start(cell))
        return self._observe(state, params), state

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        key_slip, key_action, key_outcome = jax.random.split(key, 3)
        slips = jax.random.bernoulli(key_slip, params.slip)
        other = jax.random.randint(key_action, (), 0, self.num_actions)
        executed = jnp.where(slips, other, jnp.asarray(action, jnp.int32))
        at = (state.cell, executed)
        outcome = jnp.int32(0)
        if params.successor.shape[-1] > 1:
            outcome = jax.random.categorical(key_outcome, jnp.log(params.probability[at]))
        cell = params.successor[(*at, outcome)]
        gain, memory = params.function.gain(state.memory, cell)
        first = jnp.where(state.time == 0, params.function.value(state.memory), 0)
        after = WalkState(cell, state.time + 1, memory)
        info = {"cell": cell, "value": params.function.value(memory), "executed": executed}
        terminated = after.time >= params.max_steps_in_episode
        return self._observe(after, params), after, gain + first, terminated, info

    def observation_space(self, params: Any) -> Any:
        if self.view == "raw":
            return spaces.Box(0.0, float(max(self.task.cells, self.task.steps)), (2,), jnp.float32)
        size = 3 if self.view == "scaled" else self.task.cells + 1
        return spaces.Box(-1.0, 1.0, (size,), jnp.float32)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(self.num_actions)

    def _observe(self, state: Any, params: Any) -> Array:
        return self.at.write(self.view, state.cell, state.time, params.max_steps_in_episode)


def grids() -> Iterable[str]:
    """The grids that `make` knows."""
    return tasks.GRIDS


def graphs() -> Iterable[str]:
    """The small graphs that `make` knows."""
    return tasks.GRAPHS


def make(family: str, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A task's environment and its parameters.

    Args:
      family: `grid` or `graph`.
      name: of the task.
      options: its own, `max_steps_in_episode`, `slip` and `observe`, how a cell
        is seen: `scaled`, `raw` or `one_hot`, see `objectives.Cell`.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    full = f"{family}:{name}"
    given = check(full, options, objectives.walk_options(full))
    defaults = objectives.walk_options(full)
    view, slip = (given.pop(key, defaults[key]) for key in ("observe", "slip"))
    if view not in objectives.VIEWS:
        hint = nearest(view, objectives.VIEWS)
        raise UserError(f"{full} cannot be observed as {view!r}, {hint}")
    if not 0 <= slip <= 1:
        raise UserError(f"{full}: slip must be between 0 and 1, not {slip}")
    walk = Walk(tasks.make(full, **given), name, view)
    return walk, walk.default_params.replace(slip=slip)
