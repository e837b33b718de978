"""Statistics of seeds: against scipy, by hand, and for coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxrl_reward.report.statistics import (
    Interval,
    difference,
    iqm,
    performance_profile,
    probability_of_improvement,
    stratified_bootstrap,
    summarize,
)
from jaxrl_reward.types import UserError

FUNCTIONS = [
    stratified_bootstrap,
    lambda x: difference(x, x),
    lambda x: probability_of_improvement(x, x),
    lambda x: performance_profile(x, [0.0]),
    summarize,
]


def normal(*shape, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, shape)


# Interquartile mean -----------------------------------------------------------


def test_iqm_by_hand():
    assert iqm([100.0, 1.0, 2.0, -50.0]) == 1.5
    assert iqm([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 900.0]) == 3.5


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 16, 33, 100])
def test_iqm_is_scipys_trimmed_mean(size):
    values = normal(size)
    np.testing.assert_allclose(iqm(values), stats.trim_mean(values, 0.25), rtol=1e-12)


def test_iqm_of_few_seeds_is_the_mean():
    for size in (1, 2, 3):
        np.testing.assert_allclose(iqm(normal(size)), normal(size).mean())


def test_iqm_axes():
    values = normal(5, 6, 7)
    flat = stats.trim_mean(values, 0.25, axis=None)
    np.testing.assert_allclose(iqm(values), flat)
    np.testing.assert_allclose(iqm(values, axis=1), stats.trim_mean(values, 0.25, axis=1))
    expected = [stats.trim_mean(each, 0.25, axis=None) for each in values]
    np.testing.assert_allclose(iqm(values, axis=(-2, -1)), expected)
    np.testing.assert_allclose(iqm(values, axis=(2, 1)), expected)


# Bootstrap --------------------------------------------------------------------


def test_bootstrap_matches_the_theory_of_the_mean():
    values = normal(400, mean=3.0)
    interval = stratified_bootstrap(values, np.mean, resamples=5000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.estimate == values.mean()
    np.testing.assert_allclose(interval[1:], values.mean() + np.array([-half, half]), atol=0.01)


def test_bootstrap_matches_scipys():
    values = normal(20)
    theirs = stats.bootstrap(
        (values,), iqm, method="percentile", n_resamples=20_000, rng=1, vectorized=True
    ).confidence_interval
    ours = stratified_bootstrap(values, resamples=20_000)
    np.testing.assert_allclose(ours[1:], (theirs.low, theirs.high), atol=0.03)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(300):
        interval = stratified_bootstrap(
            rng.normal(2.0, 1.0, 20), confidence=0.9, resamples=300, seed=seed
        )
        hits += interval.low <= 2.0 <= interval.high
    assert 0.82 < hits / 300 < 0.95  # a percentile bootstrap of 20 is a little narrow


def test_bootstrap_is_stratified():
    """Tasks of very different scales: only the spread within each counts."""
    values = np.array([[0.0] * 5, [1000.0] * 5]) + normal(2, 5)
    interval = stratified_bootstrap(values, np.mean)
    assert interval.high - interval.low < 3.0
    assert stratified_bootstrap(values.ravel(), np.mean).high > 600.0


def test_bootstrap_keeps_seeds_in_their_task():
    values = np.repeat(np.arange(4.0)[:, None], 6, axis=1)
    assert stratified_bootstrap(values, np.mean) == Interval(1.5, 1.5, 1.5)


def test_bootstrap_is_reproducible_and_leaves_numpys_state_alone():
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    first, again = stratified_bootstrap(normal(8)), stratified_bootstrap(normal(8))
    assert first == again
    assert first != stratified_bootstrap(normal(8), seed=1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index]


def test_bootstrap_in_parts_is_the_same(monkeypatch):
    whole = stratified_bootstrap(normal(3, 8))
    monkeypatch.setattr("jaxrl_reward.report.statistics._CHUNK", 100)
    assert stratified_bootstrap(normal(3, 8)) == whole


def test_confidence_orders_the_intervals():
    wide, narrow = (stratified_bootstrap(normal(12), confidence=c) for c in (0.99, 0.5))
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high


def test_other_statistics():
    assert stratified_bootstrap(normal(9), np.median).estimate == np.median(normal(9))


# Comparisons ------------------------------------------------------------------


def test_difference_against_the_theory_of_means():
    x, y = normal(300, seed=1, mean=1.0), 2.0 * normal(200, seed=2)
    interval = difference(x, y, np.mean, resamples=5000)
    np.testing.assert_allclose(interval.estimate, x.mean() - y.mean())
    half = 1.96 * np.sqrt(x.var() / 300 + y.var() / 200)
    np.testing.assert_allclose(interval.high - interval.low, 2 * half, rtol=0.06)
    assert interval.excludes(0.0)
    assert not difference(x, x).excludes(0.0)


def test_difference_is_antisymmetric():
    x, y = normal(10, seed=1), normal(10, seed=2)
    there, back = difference(x, y, resamples=20_000), difference(y, x, resamples=20_000)
    np.testing.assert_allclose(there.estimate, -back.estimate)
    np.testing.assert_allclose([there.low, there.high], [-back.high, -back.low], atol=0.03)


def test_probability_of_improvement_is_mann_whitneys():
    x, y = np.round(normal(3, 9, seed=1), 1), np.round(normal(3, 7, seed=2), 1)  # with ties
    expected = np.mean(
        [stats.mannwhitneyu(a, b).statistic / (9 * 7) for a, b in zip(x, y, strict=True)]
    )
    interval = probability_of_improvement(x, y)
    np.testing.assert_allclose(interval.estimate, expected)
    assert 0.0 <= interval.low < expected < interval.high <= 1.0
    np.testing.assert_allclose(probability_of_improvement(y, x).estimate, 1.0 - expected)


def test_probability_of_improvement_extremes():
    low, high = normal(5), 100.0 + normal(5)
    assert probability_of_improvement(high, low) == Interval(1.0, 1.0, 1.0)
    assert probability_of_improvement(low, high) == Interval(0.0, 0.0, 0.0)
    assert probability_of_improvement(np.ones(4), np.ones(4)) == Interval(0.5, 0.5, 0.5)


def test_probability_of_improvement_interval_by_drawing_pairs():
    x, y = normal(6, seed=3, mean=0.5), normal(8, seed=4)
    rng, drawn = np.random.default_rng(9), []
    for _ in range(4000):
        a, b = rng.choice(x, 6), rng.choice(y, 8)
        drawn.append((a[:, None] > b[None]).mean())
    interval = probability_of_improvement(x, y, resamples=20_000)
    np.testing.assert_allclose(interval[1:], np.quantile(drawn, [0.025, 0.975]), atol=0.03)


def test_performance_profile():
    values = np.array([[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 9.0]])
    profile = performance_profile(values, [0.0, 2.0, 3.5, 9.0])
    np.testing.assert_allclose(profile.estimate, [1.0, 3 / 8, 2 / 8, 0.0])  # above, not at
    assert (profile.low <= profile.estimate).all()
    assert (profile.high >= profile.estimate).all()
    np.testing.assert_allclose([profile.low[0], profile.high[0]], 1.0)


def test_performance_profile_interval_is_binomial():
    values, size = np.arange(40.0), 40
    profile = performance_profile(values, [9.5], resamples=20_000)
    expected = stats.binom(size, 0.75).ppf([0.025, 0.975]) / size
    np.testing.assert_allclose([profile.low[0], profile.high[0]], expected, atol=1 / 40)


# Edges ------------------------------------------------------------------------


def test_one_seed_has_no_interval():
    for values in ([3.0], [[3.0], [4.0]]):
        interval = stratified_bootstrap(values)
        assert interval.estimate == np.mean(values)
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)
        assert not interval.excludes(0.0)
    assert not difference([3.0], [1.0, 1.1, 1.2]).excludes(0.0)
    assert math.isnan(probability_of_improvement([3.0], [1.0, 2.0]).low)
    assert np.isnan(performance_profile([3.0], [1.0, 2.0]).high).all()


@pytest.mark.parametrize("size", [2, 3])
def test_two_and_three_seeds(size):
    values = normal(size)
    interval = stratified_bootstrap(values)
    assert values.min() <= interval.low < interval.estimate < interval.high <= values.max()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_bad_values_are_refused(function):
    for bad in (np.nan, np.inf):
        with pytest.raises(UserError, match=r"1 of 3 values are not finite .*seed 1 of task 0"):
            function([1.0, bad, 2.0])
    with pytest.raises(UserError, match="at least one seed"):
        function([])
    with pytest.raises(UserError, match=r"\[tasks, seeds\]"):
        function(np.zeros((2, 3, 4)))


def test_other_errors():
    with pytest.raises(UserError, match="2 tasks against 3"):
        difference(np.zeros((2, 4)), np.zeros((3, 4)))
    with pytest.raises(UserError, match="confidence 95 must"):
        stratified_bootstrap([1.0, 2.0], confidence=95)
    with pytest.raises(UserError, match="no values"):
        iqm([])
    with pytest.raises(UserError, match="an arm's values"):
        summarize(np.zeros((2, 3)))


def test_summary_entry():
    entry = summarize([1.0, 2.0, 3.0, 10.0], "return")
    assert list(entry) == ["metric", "iqm", "ci_low", "ci_high", "seeds", "per_seed"]
    assert entry["iqm"] == 2.5
    assert entry["seeds"] == 4
    assert entry["per_seed"] == [1.0, 2.0, 3.0, 10.0]
    assert 1.0 <= entry["ci_low"] <= 2.5 <= entry["ci_high"] <= 10.0
    assert summarize([1.0])["ci_low"] is None


def test_against_rliable():
    metrics = pytest.importorskip("rliable.metrics")
    scores = normal(10, 4)  # rliable has runs first
    np.testing.assert_allclose(iqm(scores.T), metrics.aggregate_iqm(scores))
    x, y = normal(10, 4, seed=1), normal(12, 4, seed=2)
    np.testing.assert_allclose(
        probability_of_improvement(x.T, y.T).estimate, metrics.probability_of_improvement(x, y)
    )
