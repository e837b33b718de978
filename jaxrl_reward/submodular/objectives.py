"""What a reward needs of a task: F, and which element an observation shows."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import options
from jaxrl_reward.submodular import tasks
from jaxrl_reward.submodular.base import SetFunction
from jaxrl_reward.submodular.covering import GridCoverage, disc, square
from jaxrl_reward.types import Array, UserError, nearest

VIEWS = ("scaled", "raw", "one_hot")


class Cell(struct.PyTreeNode):
    """The cell of a walk, and the time, as numbers that a policy reads, and back.

    `scaled`: row, column and time in [-1, 1]; `raw`: the cell's number and the
    time in steps; `one_hot`: `[n]` and the time in [-1, 1]. Reading back takes
    any of them, told apart by their lengths, and a one-hot vector without time.

    Attributes:
      rows, cols: cell `r * cols + c`.
    """

    rows: int = struct.field(pytree_node=False)
    cols: int = struct.field(pytree_node=False)

    def write(self, view: str, cell: Array, time: Array, steps: Any) -> Array:
        """The observation of a cell after `time` of `steps` steps."""
        if view == "raw":
            return jnp.stack([cell, time]).astype(jnp.float32)
        clock = 2.0 * time / jnp.maximum(steps, 1) - 1.0
        if view == "one_hot":
            shown = (jnp.arange(self.rows * self.cols) == cell).astype(jnp.float32)
            return jnp.append(shown, clock)
        row = 2.0 * (cell // self.cols) / max(self.rows - 1, 1) - 1.0
        col = 2.0 * (cell % self.cols) / max(self.cols - 1, 1) - 1.0
        return jnp.stack([row, col, clock]).astype(jnp.float32)

    def __call__(self, obs: Array) -> Array:
        """The cell that an observation shows, int32.

        Raises:
          UserError: it shows no cell of this grid.
        """
        obs, cells = obs.reshape(-1), self.rows * self.cols
        if obs.size in (cells, cells + 1):
            return jnp.argmax(obs[:cells]).astype(jnp.int32)
        if obs.size == 2:
            return jnp.clip(jnp.round(obs[0]), 0, cells - 1).astype(jnp.int32)
        if obs.size == 3:
            row = _nearest((obs[0] + 1) / 2 * (self.rows - 1), self.rows)
            return row * self.cols + _nearest((obs[1] + 1) / 2 * (self.cols - 1), self.cols)
        raise UserError(
            f"an observation of {obs.size} numbers shows no cell of {self.rows} x {self.cols}"
        )


class Place(struct.PyTreeNode):
    """The cell of a square arena in which a position is, two numbers of an observation.

    Attributes:
      half_width: the arena is `[-half_width, half_width]^2`; what is outside
        counts as the nearest cell.
      cells: in a row.
      x, y: which numbers of the observation are the position, from 0.
    """

    half_width: Any
    cells: int = struct.field(pytree_node=False)
    x: int = struct.field(pytree_node=False)
    y: int = struct.field(pytree_node=False)

    def __call__(self, obs: Array) -> Array:
        """The cell that an observation shows, int32.

        Raises:
          UserError: the observation has no such numbers.
        """
        obs = obs.reshape(-1)
        if max(self.x, self.y) >= obs.size:
            raise UserError(
                f"an observation of {obs.size} numbers has no number {max(self.x, self.y)}"
            )
        row, col = (self._nearest(obs[each]) for each in (self.y, self.x))
        return row * self.cells + col

    def _nearest(self, x: Array) -> Array:
        cell = jnp.floor((x / self.half_width + 1) / 2 * self.cells)
        return jnp.clip(cell, 0, self.cells - 1).astype(jnp.int32)


class Objective(struct.PyTreeNode):
    """A set function of what is observed.

    Attributes:
      function: F.
      at: from an observation to an element.
      text: what `make` read, empty where it was made otherwise.
    """

    function: SetFunction
    at: Callable[[Array], Array]
    text: str = struct.field(pytree_node=False, default="")


ARENAS = {"disc": disc, "square": square}


def arena(
    shape: str,
    half_width: float = 1.0,
    cells: int = 20,
    reach: int = 1,
    weight: float = 1.0,
    x: int = 0,
    y: int = 1,
) -> Objective:
    """The area seen by a sensor at the position that is observed.

    Args:
      shape: of what the sensor sees, `disc` or `square`.
      half_width: of the arena, in units of the observation.
      cells: in a row of the arena.
      reach: how far the sensor sees, in cells; it sees `2 reach + 1` across.
      weight: of every cell.
      x, y: which numbers of the observation are the position.

    Raises:
      UserError: a value is impossible.
    """
    if half_width <= 0 or weight < 0 or min(cells, reach + 1) < 1 or min(x, y) < 0:
        raise UserError(
            "an arena needs half_width > 0, weight >= 0, cells >= 1, reach >= 0, x and y >= 0"
        )
    function = GridCoverage(cells, cells, ARENAS[shape](reach), weight)
    return Objective(function, Place(half_width, cells, x, y))


def arena_options() -> dict[str, Any]:
    """The options of an arena, with their defaults."""
    own = inspect.signature(arena).parameters.values()
    return {each.name: each.default for each in own if each.name != "shape"}


def walk_options(name: str) -> dict[str, Any]:
    """The options of a task's environment, with their defaults."""
    view = "one_hot" if name.startswith("graph:") else "scaled"
    return {**tasks.options(name), "slip": 0.0, "observe": view}


def of_task(task: tasks.Task) -> Objective:
    """The objective of a task."""
    return Objective(task.function, Cell(task.rows, task.cols))


def names() -> list[str]:
    """What `make` knows, without options."""
    walks = [f"{family}:{name}" for family, table in tasks.FAMILIES.items() for name in table]
    return sorted([*walks, *(f"arena:{name}" for name in ARENAS)])


def make(text: str) -> Objective:
    """The objective of an environment: `grid:two_rooms`, `arena:disc,half_width=20,cells=100`.

    An `arena:` may look at any environment that observes a position.

    Raises:
      UserError: there is no such environment with an objective, or an option
        that it has not.
    """
    name, *pairs = text.split(",")
    name = name.strip()
    if name not in names():
        raise UserError(f"unknown objective {name!r}, {nearest(name, names())}")
    given: Mapping[str, Any] = options.read(pairs, {})
    if name.startswith("arena:"):
        chosen = options.check(name, given, arena_options())
        return arena(name.partition(":")[2], **chosen).replace(text=text)
    chosen = options.check(name, given, walk_options(name))
    chosen = {key: value for key, value in chosen.items() if key not in ("slip", "observe")}
    return of_task(tasks.make(name, **chosen)).replace(text=text)


def of(anything: str | SetFunction) -> Objective:
    """An objective from a text, or from a set function that reads one-hot observations."""
    if isinstance(anything, str):
        return make(anything)
    return Objective(anything, Cell(1, anything.ground))


def _nearest(x: Array, size: int) -> Array:
    return jnp.clip(jnp.round(x), 0, size - 1).astype(jnp.int32)
