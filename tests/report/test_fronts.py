"""Figures of trade-offs: what they draw, and that they are written."""

import numpy as np

from jaxrl_reward.report import fronts, statistics


def test_a_curve_is_over_the_places_of_its_seeds():
    x = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0], [0.0, 2.0]])
    values = np.arange(8.0).reshape(4, 2)
    drawn = fronts.curve(x, values)
    np.testing.assert_allclose(drawn.step, [0.0, 2.0])
    np.testing.assert_allclose(drawn.estimate, [statistics.iqm(column) for column in values.T])
    assert (drawn.low <= drawn.estimate).all() and drawn.seeds == 4
    np.testing.assert_allclose(fronts.curve([3, 9], values).step, [3.0, 9.0])


def test_figures_are_written(tmp_path):
    front = fronts.Front(np.array([[-1.0, 1.0], [-3.0, 8.0]]), np.array([0.25, 0.5]), 0.25)
    words = {"title": "T", "labels": ("time", "treasure")}
    fronts.pareto({"a": front}, tmp_path / "front.png", note="n", **words)
    curve = fronts.curve([0, 5], np.arange(6.0).reshape(3, 2))
    fronts.lines({"p": {"a": curve}, "q": {"b": curve}}, tmp_path / "lines.png", **words)
    for name in ("front.png", "lines.png"):
        assert (tmp_path / name).stat().st_size > 8_000
