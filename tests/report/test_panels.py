"""Small multiples: a panel for each task, a map for each arm, and pictures that hold them."""

import numpy as np
from matplotlib.image import imread

from jaxrl_reward.report import panels
from jaxrl_reward.report.plots import Curve


def curve(height, seeds=4):
    step = np.array([0.0, 10.0, 20.0])
    estimate = height * step / 20.0
    return Curve(step, estimate, estimate - 1.0, estimate + 1.0, seeds)


def share(picture, colour):
    return (np.abs(picture[..., :3] - np.array(colour) / 255).max(-1) < 0.02).mean()


def test_arms_look_alike_in_every_panel(tmp_path):
    tasks = {
        "first": {"a": curve(5.0), "b": curve(3.0)},
        "second": {"b": curve(9.0)},
        "third": {"a": curve(2.0, seeds=1)},
        "fourth": {"a": curve(1.0)},
    }
    path = panels.learning_curves(
        tasks, tmp_path / "figure.png", title="T", label="F", best={"second": ("best", 10.0)}
    )
    picture = imread(path)
    blue, red = share(picture, (0x00, 0x72, 0xB2)), share(picture, (0xD5, 0x5E, 0x00))
    assert blue > red > 0.0005


def test_maps_show_walls_and_where_the_agents_were(tmp_path):
    walls = np.zeros((4, 6), bool)
    walls[:, 5] = True
    seen = panels.Map(np.full((4, 6), 4.0), walls, (1, 1))
    nothing = panels.Map(np.zeros((4, 6)), walls, (1, 1))
    rows = {"one": {"a": seen, "b": nothing}, "two": {"b": nothing}}
    picture = imread(panels.heat_maps(rows, tmp_path / "maps.png", title="T", note="N"))
    assert share(picture, (0x00, 0x28, 0x4A)) > 0.05  # the darkest
    assert share(picture, (0xB8, 0xB8, 0xB8)) > 0.02  # walls
    assert 0.0 < share(picture, (0xD5, 0x5E, 0x00)) < 0.02  # where they start
