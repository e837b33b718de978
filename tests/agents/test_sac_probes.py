"""SAC: probes with known values, and tasks that it learns."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _sac import CONTINUOUS, DISCRETE, GAMMA, inside, quick, repeat
from _shared import STORING

from jaxrl_reward import agents
from jaxrl_reward.agents.common.state import normalize

# ---- probes ----------------------------------------------------------------------------


PROBE = {
    **STORING,
    "num_envs": 8,
    "updates": 4,
    "batch_size": 64,
    "buffer_size": 2048,
    "hidden": (32,),
}
NUMBERS = {
    "learning_rate": 3e-3,
    "critic_learning_rate": 1e-2,
    "target_rate": 0.05,
    "gamma": GAMMA,
    "temperature": 1e-3,
}


@cache
def trainer(name, **settings):
    """An agent, and one program that trains it, whatever its numbers are."""
    agent = agents.make("sac", f"probe:{name}", **PROBE, **settings)

    @quick
    def train(config, iterations):
        return repeat(agent.iterate, iterations)(agent.init(jax.random.key(0), config))

    return agent, train


def trained(name, iterations=250, settings=(), **numbers):
    """An agent, its state, and the metrics of the last iteration."""
    agent, train = trainer(name, **{"tune_temperature": False, **dict(settings)})
    state, metrics = train(agent.config.replace(**{**NUMBERS, **numbers}), iterations)
    means = {k: float(m.value) for k, m in metrics.items() if m.count > 0}
    assert all(np.isfinite(value) for value in means.values()), means
    return agent, state, means


def values(agent, state, *observations):
    """Of the greedy action, by the lower critic."""
    learner = inside(agent).learner
    inputs = jnp.array(observations)[:, None]
    memory, first = (), jnp.ones(len(observations), bool)
    _, _, extra = learner.act(state, memory, inputs, first, None)
    choice = learner.choice(extra)
    q = learner.value_of(state.params["critic"], normalize(state, inputs), choice)
    return np.asarray(q.min(0))


@pytest.mark.slow
def test_constant_reward():
    """The value of one reward: anything else is a broken loss or optimiser."""
    agent, state, _ = trained("constant")
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0, atol=0.03)


@pytest.mark.slow
def test_reward_of_the_observation():
    """The value depends on the observation: else it does not reach the critics."""
    agent, state, _ = trained("observation", settings={"normalize_obs": True})
    np.testing.assert_allclose(values(agent, state, -1.0, 1.0), [-1.0, 1.0], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n_step", [1, 3])
def test_delayed_reward(n_step):
    """The first value is the discounted second: else bootstrapping is broken."""
    agent, state, _ = trained("delayed", settings={"n_step": n_step})
    np.testing.assert_allclose(values(agent, state, 0.0, 1.0), [GAMMA, 1.0], atol=0.03)


@pytest.mark.parametrize("n_step", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_time_limit_does_not_end_the_value(n_step):
    """1 / (1 - gamma) only by bootstrapping from where the clock stopped."""
    agent, state, means = trained("truncation", 600, {"n_step": n_step})
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0 / (1.0 - GAMMA), rtol=0.03)
    assert means["episode_return"] == means["episode_length"] == 10.0


def test_the_best_of_a_continuum_of_actions():
    """The policy climbs the critics, and these know the action."""
    agent, state, _ = trained("action_continuous")
    np.testing.assert_allclose(agent.act(state, jnp.zeros((1, 1)))[0], 0.5, atol=0.1)
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0, atol=0.05)


@pytest.mark.slow
def test_the_better_of_two_actions_depends_on_the_observation():
    agent, state, _ = trained("both")
    assert agent.act(state, jnp.array([[-1.0], [1.0]])).tolist() == [0, 1]
    np.testing.assert_allclose(values(agent, state, -1.0, 1.0), 1.0, atol=0.05)


def soft_optimum(temperature):
    """The entropy of the tanh-normal that is best for a reward 1 - (a - 0.5)^2."""
    z = np.linspace(-6, 6, 401)
    weight = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    best = (-np.inf, 0.0)
    for mean in np.linspace(0.0, 1.2, 61):
        for log_std in np.linspace(-3, 0, 61):
            x = mean + np.exp(log_std) * z
            slope = 2 * (np.log(2) - x - np.logaddexp(0, -2 * x))
            entropy = log_std + 0.5 * np.log(2 * np.pi * np.e) + weight @ slope
            value = weight @ (1 - (np.tanh(x) - 0.5) ** 2) + temperature * entropy
            best = max(best, (value, entropy))
    return best[1]


def test_a_fixed_temperature_weighs_the_entropy_of_a_continuum():
    _, _, means = trained("action_continuous", temperature=0.2, learning_rate=1e-2)
    np.testing.assert_allclose(means["entropy"], soft_optimum(0.2), atol=0.1)


@pytest.mark.slow
def test_a_fixed_temperature_weighs_the_entropy_of_two_actions():
    """For rewards -1 and 1, at 0.5 nats, the worse is chosen with 1 / (1 + e^4)."""
    _, _, means = trained("both", temperature=0.5, learning_rate=2e-2)
    p = 1.0 / (1.0 + math.exp(4.0))
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    np.testing.assert_allclose(means["entropy"], expected, atol=0.03)


@pytest.mark.parametrize(
    "name,goal",
    [
        ("action_continuous", -1.0),
        pytest.param("action", 0.49 * math.log(2), marks=pytest.mark.slow),
    ],
)
def test_a_tuned_temperature_meets_the_target_entropy(name, goal):
    scale = 1.0 if name == "action_continuous" else 0.5
    numbers = {"temperature": 0.1, "learning_rate": 1e-2, "target_entropy_scale": scale}
    _, state, means = trained(name, 400, {"tune_temperature": True}, **numbers)
    np.testing.assert_allclose(means["entropy"], goal, atol=0.12)
    assert np.exp(state.params["log_temperature"]) != np.float32(0.1)


# ---- learning --------------------------------------------------------------------------


def learned(agent, seeds, iterations, first=0):
    """Greedy returns, the mean of 16 episodes for each seed, sorted."""
    states = jax.vmap(agent.init)(jnp.stack([jax.random.key(first + i) for i in range(seeds)]))
    states, _ = jax.jit(jax.vmap(repeat(agent.iterate, iterations)), donate_argnums=0)(states)
    keys = jax.random.split(jax.random.key(99), seeds)
    returns, _ = jax.jit(jax.vmap(partial(agent.evaluate, num_episodes=16)))(states, keys)
    return np.sort(np.asarray(returns).mean(1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pendulum_is_learned():
    """The interquartile mean over 4 seeds; a random policy gets -1200, a good one -150."""
    agent = agents.make("sac", CONTINUOUS, hidden=(64, 64), batch_size=128)
    returns = learned(agent, 4, 10_000)
    assert returns[1:3].mean() >= -200, returns


@pytest.mark.slow
@pytest.mark.loose_shapes
@pytest.mark.timeout(900)
def test_the_inverted_pendulum_is_balanced():
    """For most of the 1000 steps, by the middle two of 4 seeds; a random policy lasts 15."""
    pytest.importorskip("brax")
    sizes = {"hidden": (64, 64), "batch_size": 128, "num_envs": 4, "updates": 4}
    agent = agents.make("sac", "brax:inverted_pendulum", normalize_obs=True, **sizes)
    returns = learned(agent, 4, 6_000, first=300)
    assert returns[1:3].mean() >= 900, returns


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cartpole_is_learned():
    """With two actions; a random policy lasts 22 steps."""
    sizes = {"hidden": (64, 64), "batch_size": 64, "num_envs": 4, "updates": 4}
    numbers = {"target_entropy_scale": 0.3, "learning_rate": 1e-3, "target_rate": 0.01}
    agent = agents.make("sac", DISCRETE, **sizes, **numbers)
    returns = learned(agent, 2, 7_500)
    assert returns.mean() > 300, returns
