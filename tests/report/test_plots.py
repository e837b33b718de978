"""Learning curves: their numbers, their labels and their files."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.image import imread

from jaxrl_reward.report import plots
from jaxrl_reward.report.plots import curves, learning_curves
from jaxrl_reward.report.statistics import iqm, stratified_bootstrap
from jaxrl_reward.types import UserError


def long_form(arms, steps, metric="return"):
    """A table from values `[S, P]` by arm."""
    rows = [
        (arm, seed, step, metric, values[seed, i])
        for arm, values in arms.items()
        for seed in range(len(values))
        for i, step in enumerate(steps)
    ]
    names = ("arm", "seed", "step", "metric", "value")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def draws(seeds=6, points=4, seed=0):
    return np.random.default_rng(seed).normal(100.0, 5.0, (seeds, points))


STEPS = [1000, 2000, 3000, 4000]
TABLE = long_form({"env": draws(), "bonus": draws(3, seed=1)}, STEPS)


# Numbers ----------------------------------------------------------------------


def test_curves_are_iqm_and_bootstrap_at_each_step():
    result = curves(TABLE, resamples=500)
    assert list(result) == ["env", "bonus"]
    curve = result["env"]
    np.testing.assert_array_equal(curve.step, STEPS)
    np.testing.assert_allclose(curve.estimate, iqm(draws(), axis=0))
    expected = stratified_bootstrap(draws()[:, 2], resamples=500)
    assert (curve.low[2], curve.high[2]) == expected[1:]
    assert (result["env"].seeds, result["bonus"].seeds) == (6, 3)


def test_rows_may_come_in_any_order():
    order = np.random.default_rng(0).permutation(len(TABLE["arm"]))
    mixed = {name: np.asarray(column)[order] for name, column in TABLE.items()}
    for name, curve in curves(mixed).items():
        for ours, theirs in zip(curve, curves(TABLE)[name], strict=True):
            np.testing.assert_allclose(ours, theirs)


def test_other_metrics_are_not_mixed_in():
    other = long_form({"env": 1e6 * draws()}, STEPS, "length")
    both = {name: TABLE[name] + other[name] for name in TABLE}
    np.testing.assert_allclose(curves(both)["env"].estimate, curves(TABLE)["env"].estimate)
    assert list(curves(both, "length")) == ["env"]


def test_missing_rows_and_nan_are_left_out():
    values = draws()
    values[0, 1] = np.nan
    curve = curves(long_form({"env": values}, STEPS))["env"]
    np.testing.assert_allclose(curve.estimate[1], iqm(values[1:, 1]))
    np.testing.assert_allclose(curve.estimate[2], iqm(values[:, 2]))


def test_many_points_are_averaged_within_each_seed():
    values = draws(5, 1000)
    curve = curves(long_form({"env": values}, range(1000)), points=100, resamples=50)["env"]
    assert curve.step.shape == (100,)
    np.testing.assert_allclose(curve.step[:2], [4.5, 14.5])
    np.testing.assert_allclose(curve.estimate[1], iqm(values[:, 10:20].mean(1)))


def test_a_smoothed_point_is_the_mean_of_the_last():
    values = draws(3, 5)
    values[0, 1] = np.nan
    curve = curves(long_form({"env": values}, range(5)), smooth=3, resamples=50)["env"]
    seeds = [values[1, 2:5].mean(), values[2, 2:5].mean(), values[0, 2:5].mean()]
    np.testing.assert_allclose(curve.estimate[4], iqm(np.array(seeds)))
    # Points that a seed lacks are left out of its mean, and not made up.
    np.testing.assert_allclose(curve.estimate[1], iqm(values[1:, :2].mean(1)))
    third = [values[0, [0, 2]].mean(), *values[1:, :3].mean(1)]
    np.testing.assert_allclose(curve.estimate[2], iqm(np.array(third)))
    axes = drawn(TABLE, smooth=3)
    assert any(text.get_text().endswith("; means of 3 points") for text in axes.texts)


def test_one_seed_has_a_line_without_a_band():
    curve = curves(long_form({"env": draws(1)}, STEPS))["env"]
    np.testing.assert_allclose(curve.estimate, draws(1)[0])
    assert np.isnan(curve.low).all()


def test_pandas_and_pyarrow_tables():
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    for table in (pandas.DataFrame(TABLE), pyarrow.table(TABLE)):
        np.testing.assert_allclose(curves(table)["env"].low, curves(TABLE)["env"].low)


# Drawing ----------------------------------------------------------------------


def drawn(table, **options):
    """The axes of a figure, without its file."""
    arms = curves(table, smooth=options.get("smooth", 1))
    note = plots._note(arms, 0.95, options.get("smooth", 1))
    labels = ("Return (reward)", "Environment steps (per seed)")
    figure = plots._figure(arms, options.get("title"), *labels, note)
    return figure.axes[0]


def test_axes_are_labelled_and_lines_named():
    axes = drawn(TABLE, title="A title")
    assert axes.get_ylabel() == "Return (reward)"
    assert "steps" in axes.get_xlabel()
    texts = [text.get_text() for text in axes.texts]
    assert {"env", "bonus", "A title"} < set(texts)
    assert any("95 %" in text and "3 to 6 seeds" in text for text in texts)
    assert len(axes.collections) == 2  # a band each
    np.testing.assert_allclose(axes.lines[0].get_ydata(), curves(TABLE)["env"].estimate)


def test_names_are_outside_the_data_and_apart():
    values = draws(3)
    arms = {f"arm {i} with a name that is too long for one line": values + i for i in range(8)}
    axes = drawn(long_form(arms, STEPS))
    axes.figure.canvas.draw()
    area = axes.get_window_extent()
    boxes = [text.get_window_extent() for text in axes.texts if "arm" in text.get_text()]
    assert len(boxes) == 8
    assert all(box.x0 > area.x1 for box in boxes)
    boxes.sort(key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in itertools.pairwise(boxes))


def test_names_stand_in_the_order_of_the_ends():
    arms = {"low": draws(3) - 50, "high": draws(3) + 50, "middle": draws(3)}
    axes = drawn(long_form(arms, STEPS))
    height = {text.get_text(): text.get_position()[1] for text in axes.texts}
    assert height["low"] < height["middle"] < height["high"]


def test_names_are_not_read_as_mathematics(tmp_path):
    learning_curves(TABLE, tmp_path / "a.svg", title="$\\frac$", label="$\\frac$", resamples=50)
    axes = drawn(long_form({"$x_1$ \\frac": draws()}, STEPS))
    axes.figure.canvas.draw()
    assert "$x_1$ \\frac" in [text.get_text() for text in axes.texts]


def test_spread_moves_boxes_no_further_than_needed():
    spread = plots._spread(np.array([50.0, 10.0, 52.0]), np.full(3, 10.0), 100.0)
    np.testing.assert_allclose(spread, [46.0, 10.0, 56.0])
    spread = plots._spread(np.array([99.0, 98.0]), np.array([10.0, 20.0]), 100.0)
    np.testing.assert_allclose(spread, [95.0, 80.0])
    spread = plots._spread(np.array([0.0, 1.0]), np.array([10.0, 10.0]), 100.0)
    np.testing.assert_allclose(spread, [5.0, 15.0])


def test_no_two_of_many_arms_look_alike():
    assert len({plots.look(i) for i in range(28)}) == 28


# Files ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "suffix,start", [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_files(tmp_path, suffix, start):
    path = tmp_path / "new" / f"figure{suffix}"
    assert learning_curves(TABLE, path, title="A title", resamples=50) == path
    assert path.read_bytes().startswith(start)
    assert list(path.parent.iterdir()) == [path]


def test_a_pdf_has_no_type_3_fonts(tmp_path):
    content = learning_curves(TABLE, tmp_path / "figure.pdf", resamples=50).read_bytes()
    assert b"/Type3" not in content and b"/CIDFontType2" in content


@pytest.mark.parametrize("seeds,points", [(1, 1), (3, 1), (1, 4), (4, 4)])
def test_pictures_hold_more_than_axes(tmp_path, seeds, points):
    table = long_form({"env": draws(seeds, points)}, STEPS[:points])
    path = learning_curves(table, tmp_path / "figure.png", resamples=50)
    picture = imread(path)[..., :3]
    blue = np.abs(picture - np.array([0x00, 0x72, 0xB2]) / 255).max(-1) < 0.02
    assert blue.sum() > 100
    assert picture.shape[1] > 800


def test_a_failed_write_leaves_the_old_figure(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        learning_curves(TABLE, path, resamples=50)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_user_errors(tmp_path):
    with pytest.raises(UserError, match="did you mean 'return'"):
        curves(TABLE, "retrun")
    with pytest.raises(UserError, match="no results yet"):
        curves({name: [] for name in TABLE})
    with pytest.raises(UserError, match=r"\.png, \.pdf, \.svg"):
        learning_curves(TABLE, tmp_path / "figure.bmp")
    with pytest.raises(UserError, match="not finite"):
        curves(long_form({"env": draws() * np.inf}, STEPS))


def test_matplotlib_is_loaded_late_and_pyplot_never(tmp_path):
    code = f"""
import sys
from jaxrl_reward.report import plots
print("matplotlib" in sys.modules)
plots.learning_curves(dict(arm=["a"], seed=[0], step=[1], metric=["return"], value=[1.0]),
                      {str(tmp_path / "figure.png")!r})
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "True", "False"]


# Many arms --------------------------------------------------------------------


def test_of_many_arms_the_best_are_told_apart_and_it_is_said(tmp_path):
    arms = {f"arm {i:03d}": np.array([[i, i + 0.5]]) for i in range(60)}
    found = curves(long_form(arms, STEPS[:2]))
    best, others = plots._best(found)
    assert list(best) == [f"arm {i:03d}" for i in range(40, 60)] and len(others) == 40
    figure = plots._figure(found, None, "Return", "Steps", plots._note(found, 0.95, 1))
    (axes,) = figure.axes
    texts = [each.get_text() for each in axes.texts]
    assert "arm 059" in texts and "arm 039" not in texts
    assert any("the best 20 of 60 are named" in text for text in texts)
    few = dict(list(found.items())[:20])
    assert plots._best(few) == (few, {})
    path = learning_curves(long_form(arms, STEPS[:2]), tmp_path / "many.png", resamples=10)
    assert imread(path).std() > 0.01
