"""Any finite MDP can be played, and plays as its tables say."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs, tabular
from jaxrl_reward.tabular import worlds
from jaxrl_reward.types import UserError


@pytest.mark.parametrize("name", worlds.WORLDS)
def test_the_worlds_are_mdps(name):
    mdp = worlds.make(name)
    np.testing.assert_allclose(mdp.probability.sum(-1), 1.0, atol=1e-6)
    env = envs.make(f"tabular:{name}")
    assert env.observation_space.shape == (mdp.states,)
    assert env.action_space.n == mdp.actions


def test_frequencies_are_probabilities():
    rng = np.random.default_rng(0)
    mdp = tabular.from_tables(rng.dirichlet(np.ones(3), (3, 2)), rng.normal(size=(3, 2, 3)))
    env = envs.from_mdp(mdp, max_steps=7)

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    @jax.vmap
    def play(key):
        key_reset, key_step = jax.random.split(key)
        obs, state = env.reset(key_reset)
        next_obs, _, reward, terminated, truncated, _ = env.step(key_step, state, jnp.int32(1))
        return obs, next_obs, reward, terminated, truncated

    obs, next_obs, reward, terminated, truncated = play(jax.random.split(jax.random.key(1), 4000))
    assert not terminated.any() and not truncated.any() and env.max_steps == 7
    np.testing.assert_allclose(obs.mean(0), mdp.start, atol=0.04)
    for s in range(3):
        here = np.asarray(obs[:, s]) == 1
        frequency = np.asarray(next_obs)[here].mean(0)
        np.testing.assert_allclose(frequency, mdp.transition()[s, 1], atol=0.06)
        mean = np.asarray(reward)[here].mean()
        np.testing.assert_allclose(mean, mdp.expected_reward()[s, 1], atol=0.15)


def test_ends_and_vectors():
    env = envs.make("tabular:lotteries")
    key = jax.random.key(0)
    _, state = env.reset(key)
    flags = []
    for _ in range(2):
        _, state, reward, terminated, truncated, info = env.step(key, state, jnp.int32(0))
        flags.append((bool(terminated), bool(truncated)))
    assert flags == [(False, False), (True, False)] and reward == 4.0 and info == {}
    env = envs.make("tabular:homeostasis,max_steps_in_episode=1")
    *_, reward, terminated, truncated, info = env.step(key, env.reset(key)[1], jnp.int32(1))
    assert (reward, bool(terminated), bool(truncated)) == (1.0, False, True)
    np.testing.assert_array_equal(info["rewards"], [-1.0, 2.0])


def test_options_are_the_worlds_own():
    env = envs.make("tabular:windy_cliff,wind=0.3")
    np.testing.assert_allclose(env.params.mdp.probability[0, 0], [0.7, 0.3], atol=1e-6)
    with pytest.raises(UserError, match="did you mean 'wind'"):
        envs.make("tabular:windy_cliff,wnd=0.3")
    with pytest.raises(UserError, match="lotteries"):
        envs.make("tabular:lottery")
