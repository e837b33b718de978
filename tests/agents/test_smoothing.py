"""Smoothed policies: the world in one dimension whose worst attack is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment

from jaxrl_reward import envs, spaces
from jaxrl_reward.agents import smoothing
from jaxrl_reward.agents.common import base, playing, policies
from jaxrl_reward.report import certificates
from jaxrl_reward.types import UserError

MANY = 4096


class Params(struct.PyTreeNode):
    place: float = 0.4
    max_steps_in_episode: int = 1


class Line(environment.Environment):
    """One step: it is seen where one is, and 1 is paid for action 1."""

    name = "line"

    def reset_env(self, key, params):
        return jnp.full(1, params.place, jnp.float32), jnp.int32(0)

    def step_env(self, key, state, action, params):
        paid = (action == 1).astype(jnp.float32)
        return jnp.full(1, params.place, jnp.float32), state + 1, paid, jnp.bool_(True), {}

    def is_truncated(self, state, params):
        return jnp.bool_(False)

    def observation_space(self, params):
        return spaces.Box(-9.0, 9.0, (1,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


def agent(place):
    env = envs.from_gymnax(Line(), Params(place=place))

    def act(state, obs, key=None):
        return (obs[:, 0] > state).astype(jnp.int32)

    policy = lambda state: policies.of_act(act, state)  # noqa: E731
    nothing = lambda *_: None  # noqa: E731
    return base.Agent("line", None, env, None, nothing, nothing, act, nothing, 1, policy=policy)


def certified(place, budget):
    settings = {"key": jax.random.key(1), "thresholds": [1.0]}
    return smoothing.certify(agent(place), jnp.float32(0.0), 1.0, budget, MANY, **settings)


def test_a_certificate_is_the_worst_attack_less_what_is_not_known():
    found = certified(0.4, [0.0, 0.6])
    error = (0.655422 * 0.344578 / MANY) ** 0.5  # the bound lies 1.64 of these below the count
    np.testing.assert_allclose(found.chance[0, 0], 0.655422 - 1.64 * error, atol=4 * error)
    np.testing.assert_allclose(found.chance[1, 0], 0.420740 - 1.64 * error, atol=5 * error)


@jax.jit
def counted(place, keys):
    """Returns of 512 smoothed episodes for each key, `[K, 512]`."""

    def play(key):
        key_noise, key_play = jax.random.split(key)
        made = agent(place)
        policy = smoothing.smoothed(made.policy(jnp.float32(0.0)), 1.0, key_noise)
        return playing.evaluate(made.env, policy, key_play, 512).returns

    return jax.vmap(play)(keys)


def test_certificates_are_below_what_the_worst_attack_leaves_as_often_as_they_say():
    returns = np.asarray(counted(0.4, jax.random.split(jax.random.key(0), 128)))
    bounds = [
        certificates.certify(each, 1.0, 0.6, thresholds=[1.0], lowest=0.0).chance[0, 0]
        for each in returns
    ]
    # 121.6 of 128 are expected; 113 is 3.5 standard deviations below.
    assert 113 <= (np.array(bounds) <= 0.420740).sum() < 128
    attacked = np.asarray(counted(0.4 - 0.6, jax.random.split(jax.random.key(1), 128)))
    np.testing.assert_allclose(attacked.mean(), 0.420740, atol=0.008)  # it is attained


def test_noise_in_the_environment_is_the_same_law():
    made = agent(0.4)
    env = envs.noisy(made.env, 1.0)
    policy = made.policy(jnp.float32(0.0))
    returns = playing.evaluate(env, policy, jax.random.key(0), MANY).returns
    np.testing.assert_allclose(returns.mean(), 0.655422, atol=0.025)


def test_noise_is_new_at_each_step_and_touches_nothing_else():
    plain, loud = envs.make("gymnax:CartPole-v1"), envs.noisy("gymnax:CartPole-v1", 0.5)
    still = envs.noisy("gymnax:CartPole-v1", 0.0)
    key, states, seen = jax.random.key(0), {}, {}
    for name, env in (("plain", plain), ("loud", loud), ("still", still)):
        obs, state = env.reset(key)
        rows = [obs]
        for step in range(3):
            obs, state, *_ = env.step(jax.random.fold_in(key, step), state, jnp.int32(1))
            rows.append(obs)
        seen[name], states[name] = np.stack(rows), state
    np.testing.assert_array_equal(seen["plain"], seen["still"])
    jax.tree.map(np.testing.assert_array_equal, states["plain"], states["loud"])
    noise = (seen["loud"] - seen["plain"]).reshape(-1)
    assert len(np.unique(noise.round(6))) == 16 and 0.25 < noise.std() < 1.0
    assert loud.max_steps == plain.max_steps


def test_what_makes_no_sense_is_said():
    with pytest.raises(UserError, match="sigma must be above 0"):
        smoothing.certify(agent(0.4), 0.0, 0.0, 0.1, 4, key=jax.random.key(0), thresholds=[1.0])
    blind = agent(0.4)._replace(policy=None)
    with pytest.raises(UserError, match="only evaluated"):
        smoothing.certify(blind, 0.0, 1.0, 0.1, 4, key=jax.random.key(0), thresholds=[1.0])
    with pytest.raises(UserError, match="sigma must be a finite number"):
        envs.noisy("gymnax:CartPole-v1", -1.0)
