"""Drawings: of the right size, moving with the state, in files that can be read."""

import dataclasses
import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxrl_reward import envs, render
from jaxrl_reward.render import flat
from jaxrl_reward.render.canvas import BLUE, HEIGHT, ORANGE, WIDTH, Canvas, blend
from jaxrl_reward.types import UserError

CLASSIC = (
    "gymnax:CartPole-v1",
    "gymnax:MountainCar-v0",
    "gymnax:MountainCarContinuous-v0",
    "gymnax:Pendulum-v1",
    "gymnax:Acrobot-v1",
)


@dataclasses.dataclass(frozen=True)
class Named:
    """What a drawing from observations needs of an environment."""

    name: str


def episode(*observations) -> render.Episode:
    obs = [np.asarray(each, np.float32) for each in observations]
    return render.Episode(obs, [None] * len(obs), [1.0] * (len(obs) - 1))


def pictures(name: str, *observations) -> list[Image.Image]:
    return list(render.frames(Named(name), episode(*observations)))


def inside(image: Image.Image) -> np.ndarray:
    """The picture without its caption, `[H, W, 3]`."""
    return np.asarray(image)[30:].astype(int)


def middle(image: Image.Image, colour: str, tolerance: int = 40) -> tuple[float, float]:
    """The mean column and row of what has about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    rows, columns = np.nonzero((np.abs(inside(image) - wanted) < tolerance).all(axis=2))
    assert len(rows), f"nothing is {colour}"
    return float(columns.mean()), float(rows.mean())


# ---- classic control --------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIC)
def test_frames_of_an_episode(name):
    env = envs.make(name)
    played = render.play(env, render.random(env), seed=1, max_steps=6)
    assert len(played.obs) == len(played.rewards) + 1 == 7
    drawn = list(render.frames(env, played))
    assert [image.size for image in drawn] == [(WIDTH, HEIGHT)] * 7
    assert all(image.mode == "RGB" for image in drawn)
    moved = [np.abs(inside(a) - inside(b)).sum() for a, b in itertools.pairwise(drawn)]
    assert sum(change > 0 for change in moved) >= 4
    # Ink, but mostly paper.
    assert 0.005 < np.mean((inside(drawn[0]) < 250).any(axis=2)) < 0.6


def test_the_same_seed_gives_the_same_episode():
    env = envs.make("gymnax:CartPole-v1")
    one, same, other = (
        render.play(env, render.random(env), seed=seed, max_steps=3) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(one.obs, same.obs)
    assert not np.array_equal(one.obs[0], other.obs[0])


def test_an_episode_ends_where_the_environment_says():
    env = envs.make("gymnax:CartPole-v1,max_steps_in_episode=3")
    assert len(render.play(env, render.random(env), max_steps=50).rewards) == 3


def test_cart_and_pole_follow_the_state():
    left, right, leaning = pictures(
        "gymnax:CartPole-v1", [-1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0.3, 0]
    )
    assert middle(right, ORANGE)[0] - middle(left, ORANGE)[0] == pytest.approx(180, abs=2)
    assert middle(leaning, ORANGE)[0] > middle(right, ORANGE)[0] + 5


def test_the_car_stands_on_its_hill():
    valley, up = pictures("gymnax:MountainCar-v0", [-np.pi / 6, 0], [0.3, 0])
    assert middle(up, BLUE)[0] > middle(valley, BLUE)[0] + 100
    assert middle(up, BLUE)[1] < middle(valley, BLUE)[1] - 100


def test_the_pendulum_hangs_and_stands():
    up, down, left = pictures("gymnax:Pendulum-v1", [1, 0, 0], [-1, 0, 0], [0, 1, 0])
    red = "#D55E00"
    assert middle(up, red)[1] < middle(down, red)[1] - 80
    assert middle(left, red)[0] < middle(up, red)[0] - 40  # angles grow anticlockwise


def test_the_acrobot_raises_its_hand():
    hanging, raised = pictures("gymnax:Acrobot-v1", [1, 0, 1, 0, 0, 0], [-1, 0, 1, 0, 0, 0])
    sky = "#56B4E9"
    assert middle(raised, sky)[1] < middle(hanging, sky)[1] - 150


# ---- everything else --------------------------------------------------------------


def test_a_grid_has_a_square_for_each_cell():
    obs = np.zeros((4, 6, 2))
    obs[1, 2, 0], obs[3, 5, 1] = 1, 1
    (image,) = pictures("mine:grid", obs)
    cell = 280 / 4
    (x, y), (u, v) = middle(image, BLUE, 10), middle(image, ORANGE, 10)
    assert (u - x, v - y) == pytest.approx((3 * cell, 2 * cell), abs=2)


def test_any_vector_is_bars_on_one_scale():
    """An environment without a picture of its own shows what the agent sees."""
    small, large = pictures("mine:vector", [1.0, 0.0], [3.0, 0.0])

    def area(image):
        return ((inside(image) - [0, 0x72, 0xB2]) == 0).all(axis=2).sum()

    ratio = area(large) / area(small)
    assert ratio == pytest.approx(np.log1p(3) / np.log1p(1), rel=0.1)


@pytest.mark.parametrize("obs", [np.float32(3), np.zeros(0), np.zeros((2, 3, 4, 5)), [np.inf, 0]])
def test_odd_observations_are_drawn(obs):
    (image,) = pictures("mine:odd", obs)
    assert image.size == (WIDTH, HEIGHT)


def test_a_name_of_another_family_is_not_mistaken_for_a_classic():
    assert isinstance(flat.draw("mine:CartPole-v1", np.zeros(9)), Canvas)


def test_blend():
    assert blend("#000000", "#FFFFFF", 0.0) == "#000000"
    assert blend("#000000", "#FF8000", 1.0) == "#FF8000"
    assert blend("#000000", "#FFFFFF", 0.4) == "#666666"


# ---- brax -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pendulum():
    pytest.importorskip("brax")
    return envs.make("brax:inverted_pendulum")


@pytest.mark.loose_shapes
def test_brax_bodies_follow_their_pose(pendulum):
    still = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    half = np.deg2rad(20) / 2
    leaning = still.copy()
    leaning[1] = [np.cos(half), 0.0, np.sin(half), 0.0]
    poses = [(np.zeros((2, 3)), still), (np.zeros((2, 3)), leaning)]
    played = render.Episode([np.zeros(4)] * 2, poses, [1.0])
    upright, tilted = render.frames(pendulum, played)
    assert upright.size == tilted.size == (WIDTH, HEIGHT)
    pole = "#0072B2"
    assert middle(tilted, pole)[0] > middle(upright, pole)[0] + 5
    # The cart is before its rail, not cut by it.
    columns, rows = middle(upright, ORANGE)
    assert abs(columns - WIDTH / 2) < 40 and 0 < rows < HEIGHT


@pytest.mark.slow
@pytest.mark.loose_shapes
def test_brax_episodes_are_drawn(pendulum, tmp_path):
    played = render.play(pendulum, render.random(pendulum), max_steps=3)
    with Image.open(render.write(pendulum, played, tmp_path / "a.gif")) as image:
        assert image.n_frames == 4


# ---- files ------------------------------------------------------------------------


def test_a_gif_has_a_frame_for_each_observation(tmp_path):
    played = episode(*([x, 0, x / 5, 0] for x in np.linspace(-1, 1, 9)))
    path = render.write(Named("gymnax:CartPole-v1"), played, tmp_path / "new" / "a.gif")
    with Image.open(path) as image:
        assert (image.format, image.size, image.n_frames) == ("GIF", (WIDTH, HEIGHT), 9)
        assert image.info["loop"] == 0  # for ever
        durations = []
        for i in range(image.n_frames):
            image.seek(i)
            durations.append(image.info["duration"])
            last = image.convert("RGB")
    assert durations == [40] * 8 + [1000]
    assert middle(last, ORANGE)[0] > WIDTH / 2 + 60
    assert [each.name for each in path.parent.iterdir()] == ["a.gif"]


def test_a_still_episode_keeps_its_frames(tmp_path):
    """Pillow merges equal frames; the caption differs, so none are equal."""
    played = episode(*[[0, 0, 0, 0]] * 4)
    path = render.write(Named("gymnax:CartPole-v1"), played, tmp_path / "a.gif")
    with Image.open(path) as image:
        assert image.n_frames == 4


def test_writing_is_atomic(tmp_path, monkeypatch):
    path = tmp_path / "a.gif"
    path.write_bytes(b"old")
    played = episode([0, 0, 0, 0], [1, 0, 0, 0])

    def fail(*_):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(RuntimeError):
        render.write(Named("gymnax:CartPole-v1"), played, path)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.gif"]
    monkeypatch.undo()
    render.write(Named("gymnax:CartPole-v1"), played, path)
    assert path.read_bytes()[:3] == b"GIF"


def test_an_mp4_needs_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'jaxrl-reward\[video\]'; or name a \.gif"):
        render.write(Named("mine:x"), episode([1.0]), tmp_path / "a.mp4")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # ffmpeg starts at once
def test_an_mp4_is_written(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    path = render.write(Named("mine:x"), episode([1.0], [2.0]), tmp_path / "a.mp4")
    assert b"ftyp" in path.read_bytes()[:16]


@pytest.mark.parametrize("name", ["a.avi", "a", "a.png"])
def test_other_files_are_refused(name):
    with pytest.raises(UserError, match=f"{name} must end in one of: .gif, .mp4") as caught:
        render.check_path(Path(name))
    assert "\n" not in str(caught.value)
