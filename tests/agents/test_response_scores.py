"""Scores of many responses, against enumeration, loops and NumPy's fit."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.agents.sequence import response_scores as scores


def test_pass_at_k_is_the_share_of_subsets_with_a_right_one():
    n = 6
    right = np.array([[i < c for i in range(n)] for c in range(n + 1)])
    for k in (1, 2, 4, 6):
        subsets = list(itertools.combinations(range(n), k))
        expected = [np.mean([row[list(s)].any() for s in subsets]) for row in right]
        np.testing.assert_allclose(scores.pass_at(k, jnp.asarray(right)), expected, atol=1e-5)


def test_calibration_by_a_loop():
    rng = np.random.default_rng(0)
    sure = rng.integers(0, 11, 200) / 10
    right = (rng.random(200) < sure**2).astype(np.float32)
    found = scores.calibration(jnp.asarray(sure), jnp.asarray(right))
    error = 0.0
    for value in np.unique(sure):
        here = sure == value
        error += here.mean() * abs(value - right[here].mean())
    np.testing.assert_allclose(found.error, error, rtol=1e-4)
    np.testing.assert_allclose(found.brier, ((sure - right) ** 2).mean(), rtol=1e-5)
    perfect = scores.calibration(jnp.asarray(right), jnp.asarray(right))
    assert perfect.error == perfect.brier == 0.0


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_entropy_law_is_fitted_by_least_squares(noise):
    rng = np.random.default_rng(1)
    entropy = np.linspace(2.0, 0.1, 30)
    reward = -0.1 * np.exp(entropy) + 0.9 + noise * rng.normal(size=30)
    law = jax.tree.map(float, scores.entropy_law(jnp.asarray(entropy), jnp.asarray(reward)))
    slope, start = np.polyfit(np.exp(entropy), reward, 1)
    np.testing.assert_allclose([law.a, law.b], [-slope, start], rtol=1e-3)
    explained = np.corrcoef(np.exp(entropy), reward)[0, 1] ** 2
    np.testing.assert_allclose(law.explained, explained, rtol=1e-3)


def test_support():
    before = jnp.array([True, True, True, False, False])
    after = jnp.array([True, False, True, True, False])
    np.testing.assert_allclose(scores.support(before, after), [2 / 3, 1 / 3, 0.0])
    nothing = jnp.zeros(5, bool)
    np.testing.assert_array_equal(scores.support(nothing, nothing), [0, 0, 0])
