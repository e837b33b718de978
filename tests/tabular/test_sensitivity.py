"""How far policies move with their reward: two actions by hand, and random MDPs under the bound."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular import sensitivity
from jaxrl_reward.types import UserError


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def bandit(*rewards):
    """One state, which ends whatever is done."""
    return tabular.from_outcomes([[[(1.0, None, r)] for r in rewards]])


def test_the_numbers_of_two_actions():
    d, alpha = 0.05, 0.3
    found = sensitivity.soft_shift(bandit(d / 2, -d / 2), bandit(-d / 2, d / 2), 0.0, alpha)
    np.testing.assert_allclose(found.moved, 0.083141, atol=6e-7)
    np.testing.assert_allclose(found.by_values, 0.083141, atol=6e-7)  # it is attained
    np.testing.assert_allclose(found.by_rewards, 0.083333, atol=6e-7)


def test_random_rewards_stay_under_both_bounds():
    rng = np.random.default_rng(0)
    gamma, ratios = 0.8, []
    for seed in range(12):
        mdp = tabular.garnet(jax.random.key(seed), 5, 3, 2)
        size, alpha = rng.uniform(0.01, 0.5), rng.uniform(0.1, 1.0)
        nudge = rng.uniform(-size, size, (5, 3, 1)) * np.ones((5, 3, 2))
        other = mdp.replace(reward=mdp.reward + jnp.asarray(nudge, mdp.reward.dtype))
        found = sensitivity.soft_shift(mdp, other, gamma, alpha)
        assert 0 < found.moved <= found.by_values + 1e-9 and found.by_values < 1
        np.testing.assert_allclose(
            found.by_rewards, np.abs(nudge).max() / (2 * alpha * 0.2), rtol=1e-5
        )
        assert found.moved <= found.by_rewards
        ratios.append(float(found.moved / found.by_rewards))
    assert max(ratios) > 0.05  # the bound is of the right size, not infinite


@pytest.mark.parametrize("change", [1e-1, 1e-3, 1e-6])
def test_greedy_policies_jump_at_ties_however_small_the_change(change):
    tied = bandit(1.0, 1.0, 0.0)
    left, right = bandit(1.0 + change, 1.0, 0.0), bandit(1.0, 1.0 + change, 0.0)
    jump = lambda a, b: float(sensitivity.greedy_shift(a, b, 0.0, tolerance=1e-9)[0])  # noqa: E731
    assert jump(left, right) == 1.0
    assert jump(tied, right) == 0.5
    assert jump(left, bandit(1.0 + 2 * change, 1.0, 0.0)) == 0.0
    soft = sensitivity.soft_shift(left, right, 0.0, 0.3)
    assert soft.moved <= change / 0.6 + 1e-12


def test_a_mixture_can_tie_what_each_task_decides():
    rewards = np.array([[1.0, 0.0], [0.0, 1.0]])
    mixed = sensitivity.effective_reward(rewards, np.array([0.5, 0.5]))
    np.testing.assert_allclose(mixed, [0.5, 0.5])
    tipped = sensitivity.effective_reward(rewards, np.array([0.51, 0.49]))
    shift = sensitivity.greedy_shift(bandit(*mixed.tolist()), bandit(*tipped.tolist()), 0.0)
    np.testing.assert_allclose(shift, [0.5])


def test_it_maps_over_temperatures():
    first, second = bandit(0.025, -0.025), bandit(-0.025, 0.025)
    alphas = jnp.array([0.1, 0.3, 1.0])
    found = jax.vmap(lambda a: sensitivity.soft_shift(first, second, 0.0, a).moved)(alphas)
    np.testing.assert_allclose(found, [math.tanh(0.025 / a) for a in (0.1, 0.3, 1.0)], rtol=1e-6)


def test_what_makes_no_sense_is_said():
    with pytest.raises(UserError, match="one MDP with two rewards"):
        sensitivity.soft_shift(bandit(1.0, 2.0), bandit(1.0, 2.0, 3.0), 0.0, 0.3)
    with pytest.raises(UserError, match="temperature must be above 0"):
        sensitivity.soft_shift(bandit(1.0, 2.0), bandit(1.0, 2.0), 0.0, 0.0)
    with pytest.raises(UserError, match="gamma must be"):
        sensitivity.bound(0.1, 1.0, 0.3)
    with pytest.raises(UserError, match="weights sums to"):
        sensitivity.effective_reward(np.eye(2), np.array([0.5, 0.6]))
