"""Objectives with entropy and of visits: closed forms, brute force, and a certificate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular import objectives, planning

GAMMA = 0.8


def test_entropy_in_a_bandit_is_a_softmax():
    bandit = tabular.from_outcomes([[[(1.0, None, r)] for r in (0.0, 1.0, 0.5)]])
    found = objectives.soft_planning(bandit, GAMMA, 0.5, iterations=3)
    expected = np.exp(np.array([0.0, 1.0, 0.5]) / 0.5)
    np.testing.assert_allclose(found.policy[0], expected / expected.sum(), rtol=1e-5)
    np.testing.assert_allclose(found.values[0], 0.5 * np.log(expected.sum()), rtol=1e-5)


def test_the_soft_policy_is_better_than_its_neighbours():
    world, heat = tabular.garnet(jax.random.key(0), 5, 3, 2), 0.3
    found = objectives.soft_planning(world, GAMMA, heat)

    @jax.jit
    def value(policy):
        entropy = -(policy * jnp.log(policy)).sum(-1)
        step = jnp.einsum("sa,sat->st", policy, world.transition())
        reward = (policy * world.expected_reward()).sum(-1) + heat * entropy
        return jnp.linalg.solve(jnp.eye(5) - GAMMA * step, reward)

    np.testing.assert_allclose(value(found.policy), found.values, rtol=1e-4)
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = found.policy * np.exp(0.3 * rng.normal(size=(5, 3)))
        other = jnp.asarray(other / other.sum(-1, keepdims=True), jnp.float32)
        assert (value(other) <= found.values + 1e-5).all()


def entropy(visits):
    share = visits.sum(-1) * (1 - GAMMA)
    return -(share * jnp.log(share + 1e-6)).sum()


def total(visits):
    """Of the rewards of `loops`: a linear function."""
    return (visits * jnp.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])).sum()


def loops():
    """From the middle, to either of two states that keep who enters, or stay."""
    return tabular.from_outcomes(
        [[[(1.0, s, 0.0)] for s in range(3)], [[(1.0, 1, 1.0)]], [[(1.0, 2, 2.0)]]]
    )


@pytest.mark.slow
def test_a_linear_function_is_a_reward():
    world = loops()
    found = objectives.best_visits(world, GAMMA, total, iterations=50)
    best = planning.value_iteration(world, GAMMA).values[0]
    assert abs(float(found.value) - float(best)) < 0.1 * float(best)
    assert float(found.gap) >= float(best) - float(found.value) - 1e-3


def test_visits_are_spread_as_brute_force_finds():
    world = loops()
    found = objectives.best_visits(world, GAMMA, entropy)
    grid = [(a, b, 1 - a - b) for a in np.linspace(0, 1, 26) for b in np.linspace(0, 1 - a, 26)]
    first = jnp.asarray(np.array(grid), jnp.float32)
    rest = jnp.full((len(grid), 2, 3), 1 / 3)
    policies = jnp.concatenate([first[:, None], rest], 1)
    values = jax.vmap(lambda p: entropy(planning.occupancy(world, p, GAMMA)))(policies)
    assert float(found.value) > float(values.max()) - 2e-3
    assert -1e-4 <= float(found.gap) < 0.03
    np.testing.assert_allclose(found.policy[0, 1], found.policy[0, 2], atol=0.05)
    pure = max(
        float(entropy(planning.occupancy(world, p, GAMMA)))
        for p in jax.nn.one_hot(jnp.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]]), 3)
    )
    assert float(found.value) > pure + 0.3
