"""The rally: every second score can be had, by returning balls or letting them through."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward.envs.worlds.rally import SIZE
from jaxrl_reward.types import UserError


def follow(obs, towards):
    """An action towards where the ball will be, or one that will not be there."""
    ball = obs[..., 1].sum(0).argmax()
    paddle = obs[..., 2].sum(0).argmax()
    away = jnp.where(paddle == ball, jnp.where(paddle > 0, 0, 2), 1)
    return jnp.where(towards, 1 + jnp.sign(ball - paddle), away)


@pytest.mark.parametrize("caught", [0, 2, 3])
def test_scores_can_be_chosen(caught):
    env = envs.make("arcade:rally,balls=3")
    assert env.observation_space.shape == (SIZE, SIZE, 4) and env.action_space.n == 3

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    @jax.vmap
    def play(key):
        key_reset, key_steps = jax.random.split(key)
        obs, state = env.reset(key_reset)

        def step(carry, key):
            obs, state = carry
            action = follow(obs, state.played < caught)
            obs, state, reward, terminated, truncated, _ = env.step(key, state, action)
            return (obs, state), (obs, reward, terminated, truncated)

        length = 3 * (SIZE - 1)
        return jax.lax.scan(step, (obs, state), jax.random.split(key_steps, length))[1]

    obs, reward, terminated, truncated = play(jax.random.split(jax.random.key(0), 50))
    np.testing.assert_array_equal(reward.sum(1), 2 * caught - 3)
    np.testing.assert_array_equal(terminated.sum(1), 1)
    assert terminated[:, -1].all() and not truncated.any()
    np.testing.assert_array_equal(obs[..., 0].sum((2, 3)), 1)  # one ball
    np.testing.assert_array_equal(obs[:, -1, ..., 3].sum((1, 2)), SIZE * SIZE)


def test_options():
    with pytest.raises(UserError, match="did you mean 'balls'"):
        envs.make("arcade:rally,bals=3")
    with pytest.raises(UserError, match="balls must be at least 1"):
        envs.make("arcade:rally,balls=0")
    with pytest.raises(UserError, match="did you mean 'arcade:rally'"):
        envs.make("arcade:raly")
