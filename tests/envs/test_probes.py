"""Each probe has the dynamics that it promises, and so the values."""

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxrl_reward import envs
from jaxrl_reward.envs.worlds import probes


def episode(name, actions, seed=0):
    """Observations, rewards and both flags of one episode."""
    env = envs.make(f"probe:{name}")
    key = jax.random.key(seed)
    obs, state = env.reset(key)
    seen, rewards, flags = [obs.item()], [], []
    for action in actions:
        obs, state, reward, terminated, truncated, _ = env.step(key, state, jnp.asarray(action))
        seen.append(obs.item())
        rewards.append(reward.item())
        flags.append((bool(terminated), bool(truncated)))
    return seen, rewards, flags


def signs():
    """A seed that starts with each sign."""
    return {int(episode("both", [], seed)[0][0]): seed for seed in range(12)}


def test_each_probe_is_documented_and_made():
    assert [f"probe:{name}" for name in sorted(probes.PROBES)] == [
        name for name in envs.names() if name.startswith("probe:")
    ]


@pytest.mark.parametrize("name", probes.PROBES)
def test_the_spaces_hold_what_is_seen_and_done(name):
    env = envs.make(f"probe:{name}")
    obs, state = env.reset(jax.random.key(0))
    action = env.action_space.sample(jax.random.key(1))
    next_obs, after, reward, *_ = env.step(jax.random.key(2), state, action)
    assert env.observation_space.contains(obs) and env.observation_space.contains(next_obs)
    assert obs.shape == env.observation_space.shape == (1,)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, after)
    assert reward.dtype == jnp.float32


@pytest.mark.parametrize("action", [0, 1])
def test_constant(action):
    assert episode("constant", [action]) == ([0, 0], [1], [(True, False)])


@pytest.mark.parametrize("action", [0, 1])
def test_observation(action):
    for sign, seed in signs().items():
        assert episode("observation", [action], seed) == ([sign, sign], [sign], [(True, False)])


@pytest.mark.parametrize("action", [0, 1])
def test_delayed(action):
    expected = ([0, 1, 1], [0, 1], [(False, False), (True, False)])
    assert episode("delayed", [action, action]) == expected


@pytest.mark.parametrize(("action", "reward"), [(0, -1), (1, 1)])
def test_action(action, reward):
    assert episode("action", [action]) == ([0, 0], [reward], [(True, False)])


@pytest.mark.parametrize(("action", "reward"), [(0.5, 1.0), (-0.5, 0.0), (1.0, 0.75)])
def test_action_continuous(action, reward):
    assert episode("action_continuous", [[action]]) == ([0, 0], [reward], [(True, False)])


@pytest.mark.parametrize("action", [0, 1])
def test_both(action):
    assert set(signs()) == {-1, 1}
    for sign, seed in signs().items():
        reward = 1 if (action == 1) == (sign == 1) else -1
        assert episode("both", [action], seed) == ([sign, sign], [reward], [(True, False)])


@pytest.mark.parametrize("action", [0, 1])
def test_recall(action):
    for sign, seed in signs().items():  # drawn as the other probe's
        seen, rewards, flags = episode("recall", [1 - action] * 3 + [action], seed)
        reward = 1 if (action == 1) == (sign == 1) else -1
        assert seen == [sign, 0, 0, 0, 0] and rewards == [0, 0, 0, reward]
        assert flags == [(False, False)] * 3 + [(True, False)]


def test_truncation():
    seen, rewards, flags = episode("truncation", [0, 1] * 5)
    assert seen == [0] * 11 and rewards == [1] * 10
    assert flags == [(False, False)] * 9 + [(False, True)]
