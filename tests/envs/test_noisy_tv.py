"""The corridor and its TV."""

import jax
import numpy as np
import pytest

from jaxrl_reward import UserError, envs


def test_the_remote_changes_the_picture_alone_and_the_last_cell_ends():
    env = envs.make("tv:corridor,length=3")
    step = jax.jit(env.step)
    obs, state = jax.jit(env.reset)(jax.random.key(0))
    np.testing.assert_array_equal(obs[:3], [1, 0, 0])
    seen, state, reward, terminated, _, _ = step(jax.random.key(1), state, 2)
    np.testing.assert_array_equal(seen[:3], obs[:3])
    assert not np.isclose(seen[3:], obs[3:]).any() and reward == 0 and not terminated
    ways = env.environment.ways
    assert len(ways) == 3 and set(envs.make("tv:corridor").environment.ways) == {0, 1}
    moved, state, reward, terminated, _, _ = step(jax.random.key(2), state, ways[0])
    np.testing.assert_array_equal(moved[3:], seen[3:])
    np.testing.assert_array_equal(moved[:3], [0, 1, 0])
    back = step(jax.random.key(3), state, 1 - ways[1])[0]
    np.testing.assert_array_equal(back[:3], [1, 0, 0])
    _, _, reward, terminated, truncated, _ = step(jax.random.key(3), state, ways[1])
    assert reward == 1 and terminated and not truncated


def test_the_set_may_be_off():
    off = envs.make("tv:corridor,brightness=0")
    np.testing.assert_array_equal(off.reset(jax.random.key(0))[0][30:], np.zeros(8))
    with pytest.raises(UserError, match="at least 2"):
        envs.make("tv:corridor,length=1")
