"""Pictures of other suites' environments."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxrl_reward import envs, render
from jaxrl_reward.envs.suites.loading import quiet
from jaxrl_reward.render import suites
from jaxrl_reward.render.canvas import HEIGHT, TOP, WIDTH, Canvas

pytestmark = pytest.mark.loose_shapes
BLUE, ORANGE, GREY = (0, 114, 178), (230, 159, 0), (138, 138, 138)


def test_a_picture_fills_what_is_below_the_caption():
    canvas = Canvas()
    pixels = np.zeros((10, 10, 3), np.uint8)
    pixels[:, :5], pixels[:, 5:] = (255, 0, 0), (0, 0, 255)
    canvas.paste(pixels)
    seen = np.asarray(canvas.finish())
    side = HEIGHT - TOP
    assert (seen[:TOP] == 255).all() and (seen[:, : (WIDTH - side) // 2] == 255).all()
    middle = TOP + side // 2
    assert tuple(seen[middle, WIDTH // 2 - 10]) == (255, 0, 0)
    assert tuple(seen[middle, WIDTH // 2 + 10]) == (0, 0, 255)


def particles(places):
    """Three particles: one of the team, one of another, and a landmark."""
    world = SimpleNamespace(rad=np.array([0.2, 0.2, 0.1]), agents=["a", "b"])
    env = SimpleNamespace(environment=SimpleNamespace(suite=world, agents=("a",)))
    state = SimpleNamespace(suite=SimpleNamespace(p_pos=np.array(places)))
    return np.asarray(suites._particles(env)(state).finish())


def test_particles_are_where_they_are():
    seen = particles([[0.0, 0.0], [1.0, 0.0], [0.0, -1.0]])
    scale = 140.0 / 1.5  # pixels a unit, when all are near
    row, column = HEIGHT / 2 + 14.0, WIDTH / 2
    for colour, (x, y) in ((BLUE, (0, 0)), (ORANGE, (1, 0)), (GREY, (0, -1))):
        assert tuple(seen[round(row - y * scale), round(column + x * scale)]) == colour


def test_an_environment_without_a_drawing_of_its_own_is_drawn_from_its_observation():
    assert not suites.drawn(envs.make("gymnax:CartPole-v1"))


def test_jumanji_draws_without_a_window():
    pytest.importorskip("jumanji")
    import matplotlib
    from matplotlib import pyplot

    env = envs.make("jumanji:Snake-v1,num_rows=5,num_cols=5")
    assert suites.drawn(env)
    before, figures = matplotlib.get_backend(), pyplot.get_fignums()
    played = render.play(env, render.random(env), max_steps=2)
    frames = [np.asarray(frame) for frame in render.frames(env, played)]
    assert len(frames) == len(played.obs) == len(played.rewards) + 1
    assert all(frame.shape == (HEIGHT, WIDTH, 3) for frame in frames)
    green = [((f[..., 1] > 120) & (f[..., 0] < 60) & (f[..., 2] < 60)).sum() for f in frames]
    assert min(green) > 50  # the snake
    assert (frames[0] != frames[1]).any()
    assert (matplotlib.get_backend(), pyplot.get_fignums()) == (before, figures)


@pytest.mark.slow
def test_playground_is_drawn_by_its_bodies():
    pytest.importorskip("mujoco_playground")
    env = envs.make("playground:CartpoleBalance")
    played = render.play(env, render.random(env), max_steps=1)
    position, rotation = played.poses[0]
    assert position.shape == (2, 3) and rotation.shape == (2, 4)
    frame = np.asarray(next(render.frames(env, played)))
    assert (np.abs(frame.astype(int) - BLUE).sum(-1) < 30).sum() > 100  # the pole


@pytest.mark.slow
def test_a_team_in_jaxmarl_is_drawn():
    with quiet():
        pytest.importorskip("jaxmarl")
    env = envs.make("jaxmarl:MPE_simple_spread_v3")
    played = render.play(env, render.random(env), max_steps=1)
    frame = np.asarray(next(render.frames(env, played)))
    assert (np.abs(frame.astype(int) - BLUE).sum(-1) < 30).sum() > 300
