"""Laws carried forwards are those of backups; a clock in the state is a horizon."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import tabular
from jaxrl_reward.tabular import planning, worlds
from jaxrl_reward.tabular.returns import distributional, forward

GRID = worlds.risky_grid()
STOCKS = tabular.grid(-30.0, 40.0, 71)


def test_a_random_policy_has_one_law():
    """Forwards and backwards, over as many steps, of a policy that reads the stock."""
    logits = jax.random.normal(jax.random.key(0), (12, 71, 4))
    policy = jax.nn.softmax(2 * logits)
    backwards = distributional.evaluate(
        GRID, policy, STOCKS, tabular.Categorical(-40.0, 0.0, 41), gamma=1.0, iterations=4
    )
    for stock in (0.0, 13.0):
        index = int(stock) + 30
        ahead = forward.law(GRID, policy, STOCKS, jnp.float32(stock), horizon=4)
        np.testing.assert_allclose(ahead.weights.sum(), 1.0, atol=1e-5)
        expected = np.asarray(backwards.weights[0, index])
        found = np.zeros(41)
        for value, weight in zip(*map(np.asarray, ahead[:2]), strict=True):
            if weight > 0:
                found[round(float(value)) + 40] += weight
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_several_rewards_and_a_start_between_points():
    """Of vectors; a stock between two points is split, which keeps the mean."""
    world = worlds.mine()
    stocks = tabular.grid((-3.0, -3.0), (5.0, 3.0), (9, 7))
    policy = jnp.broadcast_to(jnp.array([0.0, 1.0])[None, None], (1, 63, 2))
    law = forward.law(world, policy, stocks, jnp.array([0.0, 1.0]), horizon=2)
    sums = {
        tuple(np.round(value).tolist()): round(float(weight), 4)
        for value, weight in zip(*map(np.asarray, law[:2]), strict=True)
        if weight > 1e-6
    }
    assert sums == {(2.0, 0.0): 0.49, (2.0, -1.0): 0.42, (2.0, -2.0): 0.09}
    between = forward.law(world, policy, stocks, jnp.array([0.5, 0.25]), horizon=2)
    np.testing.assert_allclose(between.mean(), [2.0, -0.6], atol=1e-5)


def test_a_clock_in_the_state_is_a_horizon():
    world = worlds.risky_grid()
    clocked = tabular.with_clock(world, 8)
    assert clocked.states == 96 and bool(clocked.ends[-12:].all())
    finite = np.asarray(planning.finite_horizon(world, 8).values)
    endless = np.asarray(planning.value_iteration(clocked, 1.0).values)
    np.testing.assert_allclose(endless.reshape(8, 12), finite[::-1], atol=1e-4)
    risk = tabular.cvar(clocked, STOCKS, tau=0.9, gamma=1.0)
    np.testing.assert_allclose(risk.value[0], -43 / 9, atol=1e-4)
