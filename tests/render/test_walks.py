"""Drawings of walks: walls, visits and the place where it is."""

import itertools

import numpy as np

from jaxrl_reward import envs, render
from jaxrl_reward.render.canvas import INK, ORANGE


def where(picture, colour):
    """The mean column and row of what has about this colour, as parts of the picture."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    pixels = np.asarray(picture)[40:].astype(int)
    rows, columns = np.nonzero((np.abs(pixels - wanted) < 20).all(axis=2))
    return columns.mean() / pixels.shape[1], rows.mean() / pixels.shape[0]


def test_a_walk_through_two_rooms():
    env = envs.make("grid:two_rooms")
    cells = [34, 35, 36, 37, 38, 39]  # to the right through the corridor
    views = [np.eye(99, dtype=np.float32)[cell] for cell in cells]  # one-hot, and the time
    episode = render.Episode(views, [None] * 6, [1.0] * 5)
    pictures = list(render.frames(env, episode))
    at = [where(picture, ORANGE) for picture in pictures]
    assert all(a[0] < b[0] for a, b in itertools.pairwise(at))
    assert np.ptp([row for _, row in at]) < 0.01
    # Walls above and below the corridor, more of them below.
    column, row = where(pictures[0], INK)
    assert abs(column - 0.5) < 0.02 and row > at[0][1]
    # Where it has been stays marked.
    assert (np.asarray(pictures[-1]) != np.asarray(pictures[0])).any()


def test_visits_are_counted():
    task = envs.make("grid:two_rooms").environment.task
    count = task.visits([[34, 34], [35, 0]])
    assert count.shape == (7, 14) and count[2, 6] == 2 and count[2, 7] == count[0, 0] == 1
    assert np.isnan(count[0, 5]) and np.nansum(count) == 4
