"""Tilted laws and the best of n: the numbers of a small alphabet, and every draw counted."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.tabular import tilted
from jaxrl_reward.types import UserError

P, RHO = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.0, 0.5, 1.0, 2.0])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_the_tilted_law_of_an_alphabet():
    found = tilted.tilt(P, RHO, 1.0)
    np.testing.assert_allclose(found.law, [0.183724, 0.227182, 0.249707, 0.339387], atol=6e-7)
    np.testing.assert_allclose(found.divergence, 0.264042, atol=6e-7)
    np.testing.assert_allclose(found.reward, 1.042072, atol=6e-7)


def test_no_law_earns_more_at_its_divergence():
    best = tilted.tilt(P, RHO, 1.0)
    laws = np.random.default_rng(0).dirichlet(np.ones(4), 20_000)
    nearer = (laws * np.log(laws / P)).sum(1) <= best.divergence
    assert nearer.sum() > 1_000
    assert (laws[nearer] @ RHO).max() <= best.reward
    assert (laws[nearer] @ RHO).max() > best.reward - 0.02  # and it is no loose bound


@pytest.mark.parametrize("strength", [0.01, 1.0, 7.0])
def test_a_divergence_is_met(strength):
    aim = tilted.tilt(P, RHO, strength)
    found, at = tilted.tilt_to(P, RHO, aim.divergence)
    np.testing.assert_allclose(at, strength, rtol=1e-6)
    np.testing.assert_allclose(found.law, aim.law, rtol=1e-6)


def test_divergences_at_the_ends():
    none, strength = tilted.tilt_to(P, RHO, 0.0)
    assert strength == 0
    np.testing.assert_allclose(none.law, P, rtol=1e-12)
    beyond = tilted.tilt_to(P, RHO, 5.0)[0]  # only log 10 can be spent
    np.testing.assert_allclose(beyond.law, [0, 0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(beyond.divergence, math.log(10), rtol=1e-12)


@pytest.mark.parametrize(
    "length, reward, apart",
    [
        (2, 0.729141, 0.103156),
        (4, 0.804625, 0.072527),
        (6, 0.849254, 0.058918),
        (8, 0.879601, 0.051386),
    ],
)
def test_the_best_of_enough_responses_comes_to_the_tilted_law(length, reward, apart):
    law, total = tilted.responses(P, RHO, length)
    count = jnp.exp(length * tilted.tilt(P, RHO, 1.0).divergence)
    best, aim = tilted.best_of(law, total, count), tilted.tilt(law, total, 1.0)
    np.testing.assert_allclose(best.reward / length, reward, atol=6e-7)
    np.testing.assert_allclose(tilted.kl(best.law, aim.law) / length, apart, atol=6e-7)
    assert best.divergence < math.log(count) - (count - 1) / count


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_best_of_n_with_ties_is_every_draw_counted(count):
    law, reward = np.array([0.1, 0.25, 0.15, 0.3, 0.2]), np.array([1.0, 0.0, 1.0, 0.5, 0.5])
    counted = np.zeros(5)
    for draw in itertools.product(range(5), repeat=count):
        best = [y for y in draw if reward[y] == max(reward[list(draw)])]
        for y in best:
            counted[y] += law[list(draw)].prod() / len(best)
    found = tilted.best_of(law, reward, count)
    np.testing.assert_allclose(found.law, counted, rtol=1e-12)
    np.testing.assert_allclose(
        found.divergence, (counted * np.log(counted / law)).sum(), atol=1e-12
    )


def test_the_usual_divergence_is_that_of_scores_without_ties_or_weights():
    law, usual = np.full(20_000, 1 / 20_000), math.log(8) - 7 / 8
    each = tilted.best_of(law, np.arange(20_000.0), 8)
    np.testing.assert_allclose(each.divergence, usual, rtol=1e-3)
    halves = tilted.best_of(law, np.arange(20_000) // 10_000 * 1.0, 8)
    # Better half but for one in 256: KL of two numbers.
    a, b = 255 / 256, 1 / 256
    np.testing.assert_allclose(halves.divergence, a * math.log(2 * a) + b * math.log(2 * b))
    assert halves.divergence < usual / 1.7


def test_near_scores_can_count_as_equal():
    law, reward = np.array([0.5, 0.5]), np.array([0.3, 0.1 + 0.2])
    np.testing.assert_allclose(tilted.best_of(law, reward, 2).law, [0.25, 0.75])
    np.testing.assert_allclose(tilted.best_of(law, reward, 2, tolerance=1e-9).law, law)


def test_new_numbers_need_no_new_program():
    @jax.jit
    def both(law, reward, strength, count):
        traced.append(1)
        return tilted.tilt(law, reward, strength), tilted.best_of(law, reward, count)

    traced = []
    for strength in (0.5, 1.0):
        both(P, RHO, strength, 2.0 + strength)
    assert len(traced) == 1
    many = jax.vmap(lambda s: tilted.tilt(P, RHO, s).divergence)(jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(many, [0.0, 0.264042], atol=6e-7)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: tilted.tilt([0.5, 0.6], [0.0, 1.0], 1.0), "law sums to 1.1"),
        (lambda: tilted.tilt([0.5, 0.5], [0.0, np.nan], 1.0), "reward is not finite"),
        (lambda: tilted.tilt([0.5, 0.5], [0.0], 1.0), "must be [Y]"),
        (lambda: tilted.best_of(P, RHO, 0.5), "count must be at least 1"),
        (lambda: tilted.tilt_to(P, RHO, -1.0), "divergence must be at least 0"),
        (lambda: tilted.responses(P, RHO, 40), "too many"),
    ],
)
def test_what_makes_no_sense_is_said(call, words):
    with pytest.raises(UserError) as error:
        call()
    assert words in str(error.value)
