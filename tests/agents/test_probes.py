"""Environments so small that each tests one thing an agent must do, with known values."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.on_policy import ppo
from jaxrl_reward.nn import networks

GAMMA = 0.9
CONFIG = ppo.Config(
    num_envs=16, num_steps=16, hidden=(16,), learning_rate=1e-2, gamma=GAMMA, entropy_coef=0.0
)


def trained(name, iterations=60, reward=None, **overrides):
    """An agent after some iterations, and the metrics of the last one."""
    agent = ppo.make(CONFIG.replace(**overrides), envs.make(name), reward)
    state = agent.init(jax.random.key(0))

    # What runs for milliseconds need not be compiled for seconds.
    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def train(state):
        shapes = jax.eval_shape(agent.iterate, state)
        start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes[1])
        iterate = lambda _, carry: agent.iterate(carry[0])  # noqa: E731
        return jax.lax.fori_loop(0, iterations, iterate, (state, start))

    state, metrics = train(state)
    means = {k: float(m.value) for k, m in metrics.items() if m.count > 0}
    assert all(np.isfinite(value) for value in means.values()), means
    return agent, state, means


def values(state, *observations):
    critic = networks.mlp((*state.config.hidden, 1), state.config.activation)
    return np.asarray(critic.apply(state.params["critic"], jnp.array(observations)[:, None])[:, 0])


def actions(agent, state, *observations):
    return np.asarray(agent.act(state, jnp.array(observations)[:, None])).tolist()


def test_constant_reward():
    """The value of one reward: anything else is a broken loss or optimiser."""
    _, state, _ = trained("probe:constant")
    np.testing.assert_allclose(values(state, 0.0), 1.0, atol=0.02)


def test_reward_of_the_observation():
    """The value depends on the observation: else it does not reach the critic."""
    _, state, metrics = trained("probe:observation")
    np.testing.assert_allclose(values(state, -1.0, 1.0), [-1.0, 1.0], atol=0.02)
    assert metrics["explained_variance"] > 0.99


def test_delayed_reward():
    """The first value is the discounted second: else bootstrapping is broken."""
    _, state, _ = trained("probe:delayed")
    np.testing.assert_allclose(values(state, 0.0, 1.0), [GAMMA, 1.0], atol=0.02)


def test_reward_of_the_action():
    """The policy prefers the better action: else its advantage or loss is broken."""
    agent, state, metrics = trained("probe:action")
    assert actions(agent, state, 0.0) == [1]
    np.testing.assert_allclose(values(state, 0.0), 1.0, atol=0.05)
    assert metrics["entropy"] < 0.1 and metrics["episode_return"] > 0.95


def test_reward_of_both():
    """The better action depends on the observation: else rows are mixed up."""
    agent, state, metrics = trained("probe:both")
    assert actions(agent, state, -1.0, 1.0) == [0, 1]
    np.testing.assert_allclose(values(state, -1.0, 1.0), 1.0, atol=0.05)
    assert metrics["episode_return"] > 0.95


@pytest.mark.parametrize("placement", ["block", "step"])
def test_a_time_limit_does_not_end_the_value(placement):
    """1 / (1 - gamma) only by bootstrapping from where the clock stopped.

    A cut there would give the mean over ten steps of (1 - gamma^k) / (1 - gamma),
    which is 4.1, and one at the next episode's start the same value by accident;
    `test_next_inputs_continue_as_inputs_except_after_an_ending` excludes that.
    """
    _, state, metrics = trained("probe:truncation", 120, placement=placement)
    np.testing.assert_allclose(values(state, 0.0), 1.0 / (1.0 - GAMMA), rtol=0.02)
    assert metrics["episode_return"] == metrics["episode_length"] == 10.0


class Alternate(rw.Causal):
    """Pays 1 where action 1 and 0 alternate, from 1 on; the memory is whose turn it is."""

    def begin_one(self, shared, obs):
        return jnp.float32(1.0)

    def step(self, shared, local, transition):
        return 1.0 - local, (transition.action == local).astype(jnp.float32)

    def view(self, local):
        return local[None]


@pytest.mark.parametrize("placement,low,high", [("step", 0.97, 1.0), ("block", 0.0, 0.65)])
def test_a_policy_that_sees_the_memory_of_the_reward_can_follow_it(placement, low, high):
    """With the memory the reward is Markov; without, no policy earns more than half."""
    _, _, metrics = trained("probe:truncation", 40, Alternate(), placement=placement)
    assert low <= metrics["reward"] <= high
    np.testing.assert_allclose(metrics["episode_reward"], 10 * metrics["reward"], rtol=0.2)
    assert metrics["episode_return"] == 10.0


def test_normalised_observations_change_no_value():
    """Values are of the observation itself, wherever its statistics stand."""
    _agent, state, metrics = trained("probe:observation", normalize_obs=True)
    assert metrics["explained_variance"] > 0.99
    np.testing.assert_allclose(state.obs_stats.mean, 0.0, atol=0.05)
    np.testing.assert_allclose(state.obs_stats.std, 1.0, atol=0.01)
