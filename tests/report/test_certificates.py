"""Promises under attack: the exact worst case in one dimension, and exact intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxrl_reward.report import certificates
from jaxrl_reward.types import UserError


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
def test_the_interval_is_scipys_exact_one(confidence):
    for n in (1, 7, 40):
        for k in range(n + 1):
            exact = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
            found = certificates.clopper_pearson(k, n, confidence)
            np.testing.assert_allclose(found, (exact.low, exact.high), atol=1e-12)
            one = stats.binomtest(k, n, alternative="greater").proportion_ci(confidence)
            np.testing.assert_allclose(certificates.lower(k, n, confidence), one.low, atol=1e-12)


def test_the_bound_is_right_as_often_as_it_says():
    """The chance of each count, summed where the bound is right."""
    counts = np.arange(31)
    bounds = certificates.lower(counts, 30, 0.9)
    for p in np.linspace(0.02, 0.98, 25):
        right = stats.binom.pmf(counts, 30, p)[bounds <= p].sum()
        assert right >= 0.9 - 1e-12
        assert stats.binom.pmf(counts, 30, p)[counts / 30 <= p].sum() < 0.9  # the mean is not


def test_one_dimension_attains_it():
    """`1[o + xi > 0]` of o = .4, sigma = 1: no attack of .6 does worse than `eps = -.6`."""
    chance = stats.norm.cdf(0.4)
    np.testing.assert_allclose(chance, 0.655422, atol=6e-7)
    left = certificates.under_attack(chance, 0.6, 1.0)
    np.testing.assert_allclose(left, 0.420740, atol=6e-7)
    attacks = stats.norm.cdf(0.4 + np.linspace(-0.6, 0.6, 101))
    np.testing.assert_allclose(attacks.min(), left, atol=1e-12)
    scaled = certificates.under_attack(chance, 1.8, 3.0)  # only the ratio counts
    np.testing.assert_allclose(scaled, left)


def test_a_certificate_by_hand():
    """Eight of ten episodes return 1 and two 0: the bound of 8 in 10, moved by B / sigma."""
    found = certificates.certify(
        [1.0] * 8 + [0.0] * 2, 0.5, [0.0, 0.25], thresholds=[1.0], lowest=0
    )
    sure = stats.binomtest(8, 10, alternative="greater").proportion_ci(0.95).low
    np.testing.assert_allclose(found.chance[0, 0], sure)
    np.testing.assert_allclose(found.chance[1, 0], stats.norm.cdf(stats.norm.ppf(sure) - 0.5))
    np.testing.assert_allclose(found.expected, found.chance[:, 0])


def test_levels_add_up_and_share_what_may_go_wrong():
    found = certificates.certify(np.arange(100.0), 1.0, 0.0, thresholds=[50, 20], lowest=0.0)
    np.testing.assert_allclose(found.threshold, [20, 50])
    sure = [
        stats.binomtest(k, 100, alternative="greater").proportion_ci(0.975).low for k in (80, 50)
    ]
    np.testing.assert_allclose(found.chance[0], sure)
    np.testing.assert_allclose(found.expected, [20 * sure[0] + 30 * sure[1]])
    assert found.expected[0] < np.arange(100.0).mean()


def test_ends():
    assert (
        certificates.under_attack(0.0, 1.0, 1.0) == 0
        and certificates.under_attack(1.0, 1.0, 1.0) == 1
    )
    assert certificates.lower(0, 5) == 0
    np.testing.assert_allclose(certificates.lower(5, 5, 0.95), 0.05 ** (1 / 5))
    assert not math.isnan(certificates.under_attack(0.5, 1e6, 1.0))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: certificates.lower(3, 2), "cannot be"),
        (lambda: certificates.lower(1, 2, 1.0), "confidence"),
        (lambda: certificates.under_attack(0.5, 1.0, 0.0), "sigma must be above 0"),
        (lambda: certificates.under_attack(1.5, 1.0, 1.0), "between 0 and 1"),
        (lambda: certificates.under_attack(0.5, -1.0, 1.0), "budget"),
        (lambda: certificates.certify([1.0], 1.0, 0.0, thresholds=[1.0], lowest=2.0), "lowest=2"),
        (lambda: certificates.certify([], 1.0, 0.0, thresholds=[1.0], lowest=0.0), "at least one"),
    ],
)
def test_what_makes_no_sense_is_said(call, words):
    with pytest.raises(UserError, match=words):
        call()
