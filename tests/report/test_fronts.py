"""Figures of trade-offs: what they draw, and that they are written."""

import numpy as np

from jaxrl_reward.report import fronts


def test_a_curve_is_over_the_places_of_its_seeds():
    x = np.array([[0.0, 1.0], [0.0, 3.0], [0.0, 2.0], [0.0, 2.0]])
    values = np.arange(8.0).reshape(4, 2)
    drawn = fronts.curve(x, values)
    np.testing.assert_allclose(drawn.step, [0.0, 2.0])
    np.testing.assert_allclose(drawn.estimate, [3.0, 4.0])  # of 0, 2, 4, 6 and 1, 3, 5, 7
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


def test_names_of_points_cover_each_other_nowhere():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = {f"arm number {i}": (0.5 + 0.01 * i, 0.5, "black") for i in range(6)}
    fronts.name_points(axes, points)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == list(points)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
