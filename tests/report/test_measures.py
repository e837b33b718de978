"""The field's measures, by hand, by counting, and by their reference libraries."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.report import measures, statistics
from jaxrl_reward.types import UserError

POINTS = np.array([[3.0, 1.0], [1.0, 2.0], [2.0, 1.0], [3.0, 1.0], [0.0, 3.0], [2.5, 1.0]])
SCORES = np.random.default_rng(0).normal(0.8, 0.5, (4, 10))


def test_the_gap_by_hand():
    assert measures.optimality_gap([0.5, 1.5, 0.9]) == pytest.approx((0.5 + 0.0 + 0.1) / 3)
    assert measures.optimality_gap([3.0, 2.0]) == 0.0
    assert measures.optimality_gap([1.0, 3.0], gamma=2.0) == pytest.approx(0.5)
    np.testing.assert_allclose(
        measures.optimality_gap([[0.5, 2.0], [0.0, 1.0]], axis=1), [0.25, 0.5]
    )
    found = statistics.stratified_bootstrap(SCORES, measures.optimality_gap, resamples=200)
    assert found.low < found.estimate < found.high


def test_the_gap_is_rliables():
    """`metrics.aggregate_optimality_gap` of rliable 1.2.0."""
    for gamma, theirs in ((1.0, 0.29814506736712565), (0.5, 0.05361882922552075)):
        np.testing.assert_allclose(measures.optimality_gap(SCORES, gamma=gamma), theirs)


def test_the_front_by_hand_and_by_its_definition():
    found = measures.non_dominated(POINTS)
    np.testing.assert_array_equal(found, [True, True, False, False, True, False])
    grid = np.random.default_rng(1).integers(0, 4, (40, 3)).astype(float)
    kept = {tuple(p) for p in grid[measures.non_dominated(grid)]}
    wanted = set()
    for p in grid:
        if not any(all(q >= p) and any(q > p) for q in grid):
            wanted.add(tuple(p))
    assert kept == wanted and measures.non_dominated(grid).sum() == len(wanted)


def test_the_front_and_its_volume_are_moocores():
    """`is_nondominated(maximise=True, keep_weakly=False)` and `hypervolume` of moocore 0.3.2."""
    points = np.random.default_rng(2).integers(0, 6, (60, 3)).astype(float)
    front = measures.non_dominated(points)
    np.testing.assert_array_equal(np.flatnonzero(front), [4, 10, 11, 25, 52])
    volume = rw.hypervolume(jnp.asarray(points[front], jnp.float32), jnp.full(3, -1.0))
    np.testing.assert_allclose(volume, 199.0)


def test_expected_utility_by_hand():
    weights = [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]
    assert measures.expected_utility(POINTS, weights) == pytest.approx((3 + 3 + 2) / 3)
    front = POINTS[measures.non_dominated(POINTS)]  # what is dominated is never asked for
    assert measures.expected_utility(front, weights) == measures.expected_utility(POINTS, weights)


def test_what_makes_no_sense_is_said():
    with pytest.raises(UserError, match="points must be"):
        measures.non_dominated([1.0, 2.0])
    with pytest.raises(UserError, match="not finite"):
        measures.non_dominated([[1.0, np.nan]])
    with pytest.raises(UserError, match="weights of 3"):
        measures.expected_utility(POINTS, np.ones((1, 3)))
