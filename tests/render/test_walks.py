"""Drawings of walks: walls, visits and the place where it is."""

import itertools

import numpy as np
import pytest

from jaxrl_reward import envs, render
from jaxrl_reward.render import canvas, texts
from jaxrl_reward.render.canvas import GREEN, INK, ORANGE


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


# ---- worlds on a map ------------------------------------------------------------------


def frames_of(env, states):
    views = [np.eye(env.observation_space.shape[0], dtype=np.float32)[state] for state in states]
    rewards = [-1.0] * (len(states) - 1)
    return list(render.frames(env, render.Episode(views, [None] * len(states), rewards)))


def test_a_world_on_a_grid_is_drawn_as_one():
    """Along the row above the cliff; the last step ends it, and no state is behind."""
    pictures = frames_of(envs.make("tabular:windy_cliff"), [18, 12, 13, 14, 15, 16, 17, 0])
    at = [where(picture, ORANGE) for picture in pictures]
    assert at[0][1] > at[1][1]
    assert all(a[0] < b[0] for a, b in itertools.pairwise(at[1:7]))
    assert np.ptp([row for _, row in at[1:7]]) < 0.01
    assert at[7] == at[6]


@pytest.mark.parametrize("name", ["rooms", "rooms,size=9", "deep_sea_treasure", "rooms,horizon=3"])
def test_what_is_no_state_is_a_wall(name):
    env = envs.make(f"tabular:{name}")
    places, ends = env.environment.map
    assert len(places) == env.observation_space.shape[0] == env.params.mdp.states
    assert not set(places) & set(ends)
    picture = frames_of(env, [0])[0]
    assert where(picture, INK) != where(picture, GREEN)
    if name == "rooms,size=9":  # the goal is in the upper right corner
        column, row = where(picture, GREEN)
        assert column > 0.7 and row < 0.15


def test_places_follow_the_moves_of_the_world():
    """One step leads to a neighbour, or nowhere; the cliff's fall leads to the start."""
    for name in ("pantry,size=5", "rooms", "chain", "line_key", "risky_grid", "deep_sea_treasure"):
        env = envs.make(f"tabular:{name}")
        mdp, places = env.params.mdp, np.asarray(env.environment.map.places)
        there = np.asarray((mdp.probability > 0.0) & ~mdp.ends)
        far = np.abs(places[np.asarray(mdp.successor)] - places[:, None, None]).sum(-1)
        assert far[there].max() == 1, name
    assert envs.make("tabular:lotteries").environment.map is None


# ---- texts ----------------------------------------------------------------------------


def test_a_sequence_is_drawn_as_text(monkeypatch):
    env = envs.make("sequence:copy")
    episode = render.play(env, render.random(env), seed=1, max_steps=8)
    words = []
    monkeypatch.setattr(
        canvas.Canvas, "text", lambda self, at, text, colour, size: words.append((text, colour))
    )
    blank = [np.asarray(picture) for picture in render.frames(env, episode)]
    task, written = env.environment.task, words[3::4]
    prompt = task.text(episode.obs[0][: task.prompt_length])
    assert prompt.endswith("=") and words[1] == (prompt, INK) and words[0][0] == "prompt"
    assert [len(text) for text, _ in written] == list(range(len(episode.obs)))
    assert all(after[0].startswith(before[0]) for before, after in itertools.pairwise(written))
    monkeypatch.undo()
    drawn = [np.asarray(picture) for picture in render.frames(env, episode)]
    assert all((a != b).sum() > 500 for a, b in zip(drawn, blank, strict=True))


def test_a_long_text_is_in_lines():
    assert texts.lines("") == [""]
    assert texts.lines("a" * 60) == ["a" * 26, "a" * 26, "a" * 8]
