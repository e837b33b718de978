"""Proxy against gold: the best of n by enumeration, a climb to its closed form, fitted laws."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.preferences import overoptimization
from jaxrl_reward.types import UserError


def test_best_of_n_is_that_of_all_draws():
    proxy, gold = np.array([2.0, -1.0, 0.5]), np.array([10.0, 20.0, 60.0])
    counts = [1, 2, 3]
    found = overoptimization.best_of(jnp.asarray(proxy), jnp.asarray(gold), jnp.array(counts))
    for i, n in enumerate(counts):
        best = [max(draw, key=lambda j: proxy[j]) for draw in itertools.product(range(3), repeat=n)]
        np.testing.assert_allclose(found.gold[i], gold[best].mean(), rtol=1e-5)
        np.testing.assert_allclose(found.proxy[i], proxy[best].mean(), rtol=1e-4)
        np.testing.assert_allclose(found.root_kl[i] ** 2, np.log(n) - (n - 1) / n, atol=1e-6)


def test_a_climb_ends_at_the_tilted_reference():
    """`E[r] - b KL` of a sum over tokens is largest for `reference * exp(worth / b)`."""
    worth, weight = jnp.array([0.0, 1.0, 0.5]), 0.5
    reference = jnp.log(jnp.array([[0.6, 0.1, 0.3], [0.2, 0.3, 0.5]]))
    found = jax.jit(
        lambda key: overoptimization.climb(
            key,
            rw.parse("2*objective(1)"),  # twice the score and the penalty: the same optimum
            lambda tokens: worth[tokens].sum(-1)[:, None],
            lambda tokens: worth[tokens].sum(-1),
            reference,
            points=4,
            updates=100,
            batch_size=256,
            kl_weight=2 * weight,
            samples=4096,
        )
    )(jax.random.key(0))
    start, end = np.exp(reference), np.exp(reference + worth[None] / weight)
    end = end / end.sum(-1, keepdims=True)
    np.testing.assert_allclose(found.gold[0], (start @ worth).sum(), atol=0.05)
    np.testing.assert_allclose(found.gold[-1], (end @ worth).sum(), atol=0.06)
    np.testing.assert_allclose(found.proxy[-1], 2 * found.gold[-1], rtol=1e-4)
    assert found.root_kl[0] == 0.0
    divergence = (end * np.log(end / start)).sum()
    np.testing.assert_allclose(found.root_kl[-1] ** 2, divergence, rtol=0.1)


def test_laws_are_fitted_to_their_own_curves():
    d = jnp.linspace(0.0, 3.0, 7)
    for form, gold in (
        ("best_of", d * (2.0 - 0.4 * d)),
        ("gradient", d * (2.0 - 0.4 * jnp.log(jnp.maximum(d, 1e-9)))),
    ):
        law = overoptimization.scaling(d, gold, form)
        np.testing.assert_allclose(law, [2.0, 0.4, 1.0], rtol=1e-3)
    wrong: Any = "best_off"
    with pytest.raises(UserError, match="did you mean 'best_of'"):
        overoptimization.scaling(d, d, wrong)


def test_what_is_lost_is_a_share_of_what_was_gained():
    gold = jnp.array([[1.0, 3.0, 2.0], [0.0, 1.0, 2.0], [0.0, 1.0, -1.0], [0.0, -1.0, -2.0]])
    np.testing.assert_allclose(overoptimization.fall(gold), [0.5, 0.0, 2.0, 0.0])
