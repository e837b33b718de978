"""Figures of return distributions: what is drawn is what was given."""

import numpy as np

from jaxrl_reward.report import return_laws as draw


def test_laws_curves_and_policies_are_drawn_as_given(tmp_path):
    figure, axes = draw.sheet(2, 2)
    values, weights = np.array([4.0, 14.0, 4.0, 99.0]), np.array([0.25, 0.5, 0.25, 0.0])
    draw.bars(axes[0, 0], {"a": (values, weights), "b": (np.array([14.0]), np.ones(1))})
    heights = [bar.get_height() for bar in axes[0, 0].patches]
    assert heights == [0.5, 0.5, 0.0, 1.0]  # equal values together; what cannot happen is left out
    assert [label.get_text() for label in axes[0, 0].get_xticklabels()] == ["4", "14"]

    draw.distributions(axes[0, 1], {"a": (values, weights)})
    line = axes[0, 1].lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[4, 0], [4, 0.5], [14, 1.0]])

    arms = {"a": np.array([[1.0, 2.0], [3.0, 4.0]]), "one": (1, np.array([5.0, 7.0]))}
    draw.curves(axes[1, 0], (0, 1), arms, exact=[4.0, 4.0], identity=True)
    drawn = [line.get_ydata() for line in axes[1, 0].lines]
    assert [np.ravel(y).tolist() for y in drawn] == [[0, 1], [2, 3], [6], [4, 4]]

    draw.arrows(axes[1, 1], [[1, -1], [0, 3]], {(0, 0): "red"}, goal=(1, 1))
    texts = axes[1, 1].texts
    assert [text.get_text() for text in texts].count("goal") == 1
    tips = {tuple(np.round(text.xy, 6)) for text in texts if text.get_text() == ""}
    assert tips == {(0.32, 0.0), (0.0, 0.68)}  # right; and up, which is down the axis
    draw.name(axes[1, 1], "title")
    assert draw.save(figure, tmp_path / "figure.png").stat().st_size > 1000
