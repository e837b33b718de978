"""Bounded rewards against their formulas, on numbers worked by hand."""

import numpy as np
import pytest

from jaxrl_reward import rewards as rw

R = [-2.0, 0.0, 0.5, 3.0]


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tanh(scale=2)", np.tanh([-1.0, 0.0, 0.25, 1.5])),
        ("par()", sigmoid(R)),
        ("par(reference=0.5, slope=2)", sigmoid([-5.0, -1.0, 0.0, 5.0])),
        (
            "par(reference=(0, 1))",
            [(sigmoid(r) + sigmoid(r - 1)) / 2 for r in R],
        ),
        ("log_sigmoid(reference=0.5)", np.log(sigmoid([-2.5, -0.5, 0.0, 2.5]))),
        ("shortfall(below=0.25)", [-2.25, -0.25, 0.0, 0.0]),
        ("proximity(scale=2, dispersion=0.5, density=0.5)", np.exp(-0.5 * np.abs(R)) ** 2),
        ("terminal(value=-3)", [0.0, 0.0, 0.0, -3.0]),
        # r_k - r_{k+1}; the last step but one keeps its own, and the last has none.
        ("delta()", [-2.0, -0.5, 0.5, 0.0]),
    ],
)
def test_formulas(text, expected, block_of, paid):
    np.testing.assert_allclose(paid(rw.parse(text), block_of(R)), expected, atol=1e-6)


def test_a_sum_of_log_sigmoids_is_a_logical_and(block_of, paid):
    """It is the log-probability that both are better than their references."""
    both = rw.log_sigmoid(0.0) + (rw.scale(-1.0) | rw.log_sigmoid(1.0))
    expected = np.log(sigmoid(R) * sigmoid(-np.asarray(R) - 1.0))
    np.testing.assert_allclose(paid(both, block_of(R)), expected, atol=1e-6)


def test_the_reference_is_the_85th_percentile_of_a_gaussian():
    np.testing.assert_allclose(rw.gaussian_quantile(2.0, 3.0), 2 + 3 * 1.0364, atol=1e-3)


def test_delta_telescopes_within_episodes(block_of, paid):
    """What is left from step k on is the score of step k, up to the answer."""
    scores = [0.3, 0.9, 0.2, 0.7, 0.4, 0.6]
    out = paid(rw.delta(), block_of(scores, ends=[3]))
    left = np.cumsum(out[:4][::-1])[::-1]
    np.testing.assert_allclose(left, [0.3, 0.9, 0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(out[4:], [0.4, 0.0], atol=1e-6)


def test_shortfall_of_any_length_is_at_most_zero(block_of, paid):
    assert paid(rw.shortfall(0.5), block_of([0.9] * 50)).sum() == 0.0


def test_hold_keeps_the_least_factor_for_so_many_steps(block_of, paid):
    factors = [1.0, 0.5, 1.0, 0.8, 1.0, 1.0, 1.0, 1.0]
    out = paid(rw.hold(steps=2.0), block_of(factors))
    # 0.5 is held when 0.8 comes, which starts the two steps anew.
    np.testing.assert_allclose(out, [1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0])
    forever = paid(rw.hold(steps=float("inf")), block_of([1.0, 0.0, 1.0, 1.0], ends=[2]))
    np.testing.assert_allclose(forever, [1.0, 0.0, 0.0, 1.0])  # until the episode ends


def test_carl_multiplies_penalties_and_ends_with_a_hint(block_of, paid):
    """r = progress * factor + T: the factor of 0.5 holds, and the collision costs 1."""
    factor = rw.where(rw.threshold(at=0.0), 1, 0.5) | rw.hold(steps=1.0)
    reward = rw.env() * factor + rw.terminal()
    out = paid(reward, block_of([2.0, -1.0, 4.0, 6.0, 1.0]))
    np.testing.assert_allclose(out, [2.0, -0.5, 2.0, 6.0, 1.0 - 1.0])
    on_time = paid(rw.terminal(), block_of([1.0, 1.0], truncated=True))
    np.testing.assert_allclose(on_time, [0.0, 0.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tanh(scale=0)", "above 0"),
        ("proximity(density=-1)", "above 0"),
        ("par(reference='x')", "a number or numbers"),
    ],
)
def test_bad_input_is_one_line(text, message):
    with pytest.raises(rw.RewardSyntaxError, match=message):
        rw.parse(text)
