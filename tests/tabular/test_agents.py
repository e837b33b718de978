"""An ordinary agent that is paid the stock's utility learns what the exact solver finds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, tabular
from jaxrl_reward.tabular import worlds
from jaxrl_reward.tabular.returns import functionals

GAMBLE = 1


@pytest.mark.slow
@pytest.mark.parametrize("placement", ["step", "block"])
def test_ppo_learns_to_react_to_luck(placement):
    """CVaR_0.75 of two lotteries: gamble after losing the first, not after winning it.

    Without the stock in sight (`block`) it cannot tell the two, and does one of both.
    """
    reward = "env | stock_utility(c0=-14, gamma=1, scale=10, left=1, right=0) | scale(0.1)"
    settings = {"num_envs": 64, "num_steps": 16, "hidden": (32,), "learning_rate": 1e-2}
    agent = agents.make(
        "ppo",
        "tabular:lotteries",
        reward,
        **settings,
        gamma=1.0,
        entropy_coef=0.0,
        placement=placement,
    )

    @jax.jit
    def train(key):
        return jax.lax.fori_loop(0, 60, lambda _, s: agent.iterate(s)[0], agent.init(key))

    state = train(jax.random.key(0))
    stocks = tabular.grid(-21.0, 11.0, 33)
    plan = tabular.solve(worlds.lotteries(), functionals.shortfall(), stocks, gamma=1.0, horizon=2)
    best = [int(plan.q[1, c + 21].argmax()) for c in (-14, -4)]
    assert best == [GAMBLE, 1 - GAMBLE]
    inputs = jnp.array([[0.0, 1.0, -1.4], [0.0, 1.0, -0.4]])
    inputs = inputs if placement == "step" else inputs[:, :2]
    learned = np.asarray(agent.act(state, inputs)).tolist()
    assert (learned == best) == (placement == "step")
