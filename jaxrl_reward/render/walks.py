"""Drawings of walks over cells: the walls, where the walk has been, where it is."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.render.canvas import (
    BLUE,
    FAINT,
    GREEN,
    HEIGHT,
    INK,
    ORANGE,
    WIDTH,
    Canvas,
    blend,
)
from jaxrl_reward.submodular import objectives

FAMILIES = ("graph", "grid")


def draw(task: Any, observations: Sequence[np.ndarray]) -> Iterator[Canvas]:
    """One frame for each observation of an episode.

    Args:
      task: a `submodular.Task`.
      observations: of its environment, from the first.
    """
    at = objectives.of_task(task).at
    cells = np.asarray(jax.vmap(at)(jnp.asarray(np.stack(observations))))
    walls = np.asarray(task.walls, bool).reshape(task.rows, task.cols)
    yield from _frames(walls, [divmod(cell, task.cols) for cell in cells.tolist()])


def draw_map(where: Any, mdp: Any, observations: Sequence[np.ndarray]) -> Iterator[Canvas]:
    """One frame for each observation of an episode in a finite world that lies on a map.

    Args:
      where: the `tabular.maps.Map`; what is no place and no end is a wall.
      mdp: the world.
      observations: one-hot states, from the first.
    """
    known = [*where.places, *where.ends]
    walls = np.ones(np.max(known, axis=0) + 1, bool)
    walls[tuple(np.transpose(known))] = False
    states = [int(np.argmax(obs)) for obs in observations]
    if len(states) > 1 and not _goes_on(mdp, *states[-2:]):
        states[-1] = states[-2]  # the end is no state: it was reached from here
    yield from _frames(walls, [where.places[state] for state in states], where.ends)


def _goes_on(mdp: Any, before: int, after: int) -> bool:
    """Whether a step may lead from one state to the other."""
    there = (mdp.successor[before] == after) & ~mdp.ends[before]
    return bool((there & (mdp.probability[before] > 0.0)).any())


def _frames(
    walls: np.ndarray, path: Sequence[tuple[int, int]], ends: Sequence[tuple[int, int]] = ()
) -> Iterator[Canvas]:
    rows, columns = walls.shape
    visits = np.zeros(walls.shape, int)
    size = min((HEIGHT - 40) / rows, (WIDTH - 20) / columns)
    for place in path:
        visits[place] += 1
        canvas = Canvas((columns / 2, -rows / 2 + 14 / size), size)
        for row, col in np.ndindex(walls.shape):
            often = blend(FAINT, BLUE, 1 - 0.6 ** int(visits[row, col]))
            colour = INK if walls[row, col] else GREEN if (row, col) in ends else often
            canvas.box((col + 0.04, -row - 0.96), (col + 0.96, -row - 0.04), colour)
        row, col = place
        canvas.disc((col + 0.5, -row - 0.5), 0.32, ORANGE)
        yield canvas
