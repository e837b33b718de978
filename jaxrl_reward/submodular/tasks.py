"""Submodular tasks by name: who can go where, what the places visited are worth.

After Prajapat et al. (ICLR 2024), "Submodular Reinforcement Learning": the grids
of section 6 and appendix, as their public code has them, and small graphs whose
values are known exactly.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward.submodular import gaussian, maps
from jaxrl_reward.submodular.base import SetFunction
from jaxrl_reward.submodular.covering import coverage, groups
from jaxrl_reward.types import UserError

START = 34  # the cell in which the public code starts, whatever the grid


class Task(NamedTuple):
    """A walk of fixed length over n cells that is worth F of the cells visited.

    Attributes:
      successor: `[n, A, K]` int32, the outcomes of each action.
      probability: of the outcomes, `[n, A, K]`.
      function: F; its elements are the cells.
      start: the first cell, which is visited too.
      steps: the number of actions, H - 1 for H visits.
      cols: cell `r * cols + c` is drawn at row r, column c.
      walls: cells that cannot be reached, `[n]` bool.
    """

    successor: np.ndarray
    probability: np.ndarray
    function: SetFunction
    start: int
    steps: int
    cols: int
    walls: np.ndarray

    @property
    def cells(self) -> int:
        """n."""
        return self.successor.shape[0]

    @property
    def actions(self) -> int:
        """A."""
        return self.successor.shape[1]

    @property
    def rows(self) -> int:
        """Of the drawing; 1 for a graph."""
        return self.cells // self.cols

    def visits(self, cells: Any) -> np.ndarray:
        """How often each cell occurs in `cells`, of any shape: `[rows, cols]`, NaN at walls."""
        count = np.bincount(np.asarray(cells).reshape(-1), minlength=self.cells).astype(float)
        return np.where(self.walls, np.nan, count).reshape(self.rows, self.cols)

    def law(self, slip: float = 0.0) -> np.ndarray:
        """The probability of each successor, `[n, A, n]`.

        Args:
          slip: how likely the action is replaced by one drawn uniformly.
        """
        law = np.zeros((self.cells, self.actions, self.cells))
        index = np.ogrid[: self.cells, : self.actions]
        for k in range(self.successor.shape[2]):
            np.add.at(law, (*index, self.successor[..., k]), self.probability[..., k])
        return (1 - slip) * law + slip * law.mean(1, keepdims=True)


def _walk(free: np.ndarray, function: SetFunction, start: int, steps: int) -> Task:
    """A task on a grid, `free[rows, cols]`.

    Raises:
      UserError: no cell to start in.
    """
    if not 0 <= start < free.size:
        raise UserError(f"there is no cell {start} to start in: cells are 0 to {free.size - 1}")
    if not free.reshape(-1)[start]:
        raise UserError(f"cell {start} is a wall; start in a free one, like {free.argmax()}")
    successor = maps.successors(free)[..., None]
    return Task(
        successor,
        np.ones(successor.shape, np.float32),
        function,
        start,
        steps,
        free.shape[1],
        ~free.reshape(-1),
    )


def _open(rows: int, cols: int) -> np.ndarray:
    if rows < 1 or cols < 1:
        raise UserError(f"a grid of {rows} by {cols} cells has no cells")
    return np.ones((rows, cols), bool)


# ---- grids ------------------------------------------------------------------------


def constant_coverage(
    steps: int, rows: int = 30, cols: int = 30, start: int = START, span: int = 2
) -> Task:
    """Cells seen, each worth 1: a 2 x 2 block at every visit."""
    free = _open(rows, cols)
    return _walk(free, coverage(maps.blocks(free, span)), start, steps)


def bimodal(steps: int, start: int = START) -> Task:
    """Coverage of a map that is worth more in two opposite corners."""
    free = _open(30, 30)
    return _walk(free, coverage(maps.blocks(free), maps.bimodal(30, 30)), start, steps)


def path_planning(steps: int, start: int = START, map: int = 0) -> Task:
    """Informative path planning: coverage of a random smooth density."""
    free = _open(30, 30)
    return _walk(free, coverage(maps.blocks(free), maps.density(30, 30, map)), start, steps)


def nests(steps: int, start: int = START, map: int = 0) -> Task:
    """Biodiversity: coverage of a density of (drawn) clustered nest sites."""
    free = _open(30, 30)
    return _walk(free, coverage(maps.blocks(free), 5 * maps.nests(30, 30, map)), start, steps)


def two_rooms(steps: int, start: int = START) -> Task:
    """Building exploration: coverage of two rooms and their corridor, 68 cells."""
    free = maps.two_rooms()
    return _walk(free, coverage(maps.blocks(free), np.ones(free.size)), start, steps)


def item_collection(steps: int, start: int = START, map: int = 0) -> Task:
    """Six kinds of items on disjoint cells, each wanted up to its demand; 21 at most."""
    items = maps.disjoint_items(105, (18, 14, 13, 16, 18, 14), map)
    return _walk(_open(7, 15), groups(items, (3, 2, 3, 4, 6, 3), 105), start, steps)


def steiner(steps: int, start: int = START, map: int = 0) -> Task:
    """Covering of six overlapping groups of cells with larger demands; 55 at most."""
    items = maps.overlapping_items(105, (28, 24, 23, 26, 28, 24), map)
    return _walk(_open(7, 15), groups(items, (13, 6, 10, 4, 7, 15), 105), start, steps)


def experiment_design(
    steps: int, start: int = START, map: int = 0, noise: float = 1e-3, offset: float = 0.0
) -> Task:
    """Bayesian D-optimal design: the information that measurements give of a field.

    The field is a Gaussian process of which five random points in [0, 10]^2
    are known. The public code has noise 1e-6 and offset 3.058.
    """
    if noise <= 0:
        raise UserError(f"the noise of measurements must be above 0, not {noise}")
    known = np.random.default_rng(map).uniform(0, 10, (5, 2))
    prior = gaussian.kernel("matern52", maps.metres(30, 30), variance=maps.VARIANCE)
    left = gaussian.conditioned(prior, known, noise=1e-3)
    function = gaussian.InformationGain(left, noise, offset, capacity=steps + 1)
    return _walk(_open(30, 30), function, start, steps)


# ---- small graphs -----------------------------------------------------------------


def _graph(
    law: Sequence[Sequence[Mapping[int, float]]], function: SetFunction, start: int, steps: int
) -> Task:
    """A task from `law[cell][action] = {successor: probability}`."""
    most = max(len(outcomes) for row in law for outcomes in row)
    successor = np.zeros((len(law), len(law[0]), most), np.int32)
    probability = np.zeros(successor.shape, np.float32)
    for s, a in np.ndindex(len(law), len(law[0])):
        for k, (to, p) in enumerate(law[s][a].items()):
            successor[s, a, k], probability[s, a, k] = to, p
    walls = np.zeros(len(law), bool)
    return Task(successor, probability, function, start, steps, len(law), walls)


def choices(covers: Sequence[Sequence[int]], weights: Any, steps: int) -> Task:
    """Coverage by free choice: an action for every cell, which leads there from anywhere.

    Args:
      covers: the items of each cell; the start, the last one, has none.
      weights: of the items.
      steps: how many cells are chosen.
    """
    row = [{cell: 1.0} for cell in range(len(covers))]
    function = coverage([*covers, []], weights)
    return _graph([row] * (len(covers) + 1), function, len(covers), steps)


def history(steps: int) -> Task:
    """Left or right by chance, a hub, then a choice: worth 2 only to who remembers."""
    start, left, right, hub = range(4)
    law = [[{left: 0.5, right: 0.5}] * 2, [{hub: 1.0}] * 2, [{hub: 1.0}] * 2]
    law.append([{left: 1.0}, {right: 1.0}])
    return _graph(law, coverage([[], [0], [1], []]), start, steps)


def three_sets(steps: int) -> Task:
    """Three overlapping sets: the best one is not among the best two."""
    return choices([[0, 2, 4], [0, 1], [2, 3]], [1, 1, 1, 1, 0.01], steps)


def bandit(steps: int) -> Task:
    """Four overlapping sets in a row."""
    return choices([[0, 1], [1, 2], [2, 3], [3, 4, 5]], [3, 2, 2, 1, 1, 1], steps)


def line(steps: int) -> Task:
    """Stay, or go right with probability 0.8, on three cells."""
    law = [[{s: 1.0}, {min(s + 1, 2): 0.8, s: 0.2}] for s in range(3)]
    law[2][1] = {2: 1.0}
    return _graph(law, coverage([[0], [0, 1], [1, 2]], [1, 2, 4]), 0, steps)


GRIDS: Mapping[str, tuple[Callable[..., Task], int]] = {
    "bimodal": (bimodal, 39),
    "coverage": (constant_coverage, 79),
    "experiment_design": (experiment_design, 39),
    "item_collection": (item_collection, 39),
    "nests": (nests, 39),
    "path_planning": (path_planning, 39),
    "steiner": (steiner, 39),
    "two_rooms": (two_rooms, 39),
}
GRAPHS: Mapping[str, tuple[Callable[..., Task], int]] = {
    "bandit": (bandit, 2),
    "history": (history, 3),
    "line": (line, 3),
    "three_sets": (three_sets, 2),
}
FAMILIES = {"graph": GRAPHS, "grid": GRIDS}


def options(name: str) -> dict[str, Any]:
    """The options of a task, with their defaults; `max_steps_in_episode` is `steps`.

    Args:
      name: `grid:NAME` or `graph:NAME`.
    """
    family, _, short = name.partition(":")
    build, steps = FAMILIES[family][short]
    own = inspect.signature(build).parameters.values()
    rest = {each.name: each.default for each in own if each.name != "steps"}
    return {"max_steps_in_episode": steps, **rest}


def make(name: str, **chosen: Any) -> Task:
    """A task by name.

    Args:
      name: `grid:NAME` or `graph:NAME`.
      **chosen: some of `options(name)`.

    Raises:
      UserError: an option's value is impossible.
    """
    family, _, short = name.partition(":")
    build, default = FAMILIES[family][short]
    if chosen.get("map", 0) < 0:
        raise UserError(f"{name}: map must be at least 0, not {chosen['map']}")
    return partial(build, chosen.pop("max_steps_in_episode", default))(**chosen)
