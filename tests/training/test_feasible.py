"""Optimistic feasible search: choices by hand, and the best feasible arm found by trying."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.training import feasible

REWARD = np.array([0.9, 0.6, 0.5, 0.2])
RESIDUAL = np.array([[0.3, -0.5], [-0.3, -0.1], [-0.4, -0.4], [-0.5, 0.4]])


def known(reward, residual, count=1.0):
    reward, residual = jnp.array(reward), jnp.array(residual)
    return feasible.Tried(jnp.full(len(reward), count), reward * count, residual * count)


def test_choices_by_hand():
    assert feasible.choose(known(REWARD, RESIDUAL), 0.0) == 1  # the best that keeps both
    assert feasible.choose(known(REWARD, RESIDUAL + 0.5), 0.0) == 2  # .1: the least violation
    assert feasible.choose(known(REWARD, RESIDUAL), 1.0) == 0  # it may keep them, for all one knows
    assert feasible.choose(feasible.nothing(4, 2), 1.0) == 0
    once = feasible.tell(feasible.nothing(4, 2), 0, 1.0, jnp.zeros(2))
    assert feasible.choose(once, 1.0) == 1


@jax.jit
def search(key, reward, residual):
    """How often each arm is tried in 4,000 tries with noise."""

    def step(tried, key):
        arm = feasible.choose(tried, 0.3)
        noise = 0.3 * jax.random.normal(key, (3,))
        return feasible.tell(tried, arm, reward[arm] + noise[0], residual[arm] + noise[1:]), arm

    tried = feasible.nothing(*residual.shape)
    return jax.lax.scan(step, tried, jax.random.split(key, 4000))[1]


def test_it_ends_at_the_best_feasible_arm_of_all():
    rng, found = np.random.default_rng(0), []
    for seed in range(8):
        reward, residual = rng.permutation(6) / 5, rng.choice([-0.3, 0.3], (6, 2), p=[0.7, 0.3])
        residual[rng.integers(6)] = -0.3  # one at least keeps them
        best = max((reward[k], k) for k in range(6) if (residual[k] <= 0).all())[1]
        arms = np.asarray(search(jax.random.key(seed), jnp.array(reward), jnp.array(residual)))
        found.append((arms[-1000:] == best).mean())
    assert min(found) > 0.8
