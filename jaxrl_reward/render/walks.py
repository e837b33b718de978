"""Drawings of walks over cells: the walls, where the walk has been, where it is."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.render.canvas import BLUE, FAINT, HEIGHT, INK, ORANGE, WIDTH, Canvas, blend
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
    visits = np.zeros(task.cells, int)
    size = min((HEIGHT - 40) / task.rows, (WIDTH - 20) / task.cols)
    for cell in cells.tolist():
        visits[cell] += 1
        canvas = Canvas((task.cols / 2, -task.rows / 2 + 14 / size), size)
        for each in range(task.cells):
            row, col = divmod(each, task.cols)
            often = blend(FAINT, BLUE, 1 - 0.6 ** visits[each])
            colour = INK if task.walls[each] else often
            canvas.box((col + 0.04, -row - 0.96), (col + 0.96, -row - 0.04), colour)
        row, col = divmod(cell, task.cols)
        canvas.disc((col + 0.5, -row - 0.5), 0.32, ORANGE)
        yield canvas
