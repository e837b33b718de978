"""XLand-MiniGrid beside xminigrid alone: the goal, the clock and what is seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward.testing import check_env

xminigrid = pytest.importorskip("xminigrid")

QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
TO_THE_GOAL = (0, 0, 1, 0, 0)  # of a room of 5 x 5: forward, forward, right, forward, forward


def play(env, actions):
    """Observations `[T + 1]`, rewards, flags and info `[T]`, also past the end."""

    def step(state, action):
        obs, state, *rest = env.step(KEY, state, action)
        return state, (obs, *rest)

    def run(actions):
        obs, state = env.reset(KEY)
        after, *rest = jax.lax.scan(step, state, actions)[1]
        return jnp.concatenate([obs[None], after]), *rest

    return jax.jit(run, compiler_options=QUICK)(jnp.array(actions))


def play_theirs(made, actions):
    """xminigrid's own time steps `[T]`, and its first observation."""
    env, params = made

    def step(now, action):
        now = env.step(params, now, action)
        return now, now

    def run(actions):
        first = env.reset(params, KEY)
        return first.observation, jax.lax.scan(step, first, actions)[1]

    return jax.jit(run, compiler_options=QUICK)(jnp.array(actions))


def test_steps_are_those_of_xminigrid():
    env = envs.make("xminigrid:MiniGrid-DoorKey-5x5")
    actions = jax.random.randint(jax.random.key(3), (40,), 0, 6)
    obs, reward, terminated, truncated, _ = play(env, actions)
    first, theirs = play_theirs(xminigrid.make("MiniGrid-DoorKey-5x5"), actions)
    ids = np.concatenate([first[None], theirs.observation])
    tiles, colours = obs[..., :13], obs[..., 13:]
    np.testing.assert_array_equal(np.stack([tiles.argmax(-1), colours.argmax(-1)], -1), ids)
    assert (tiles.sum(-1) == 1).all() and (colours.sum(-1) == 1).all()
    np.testing.assert_array_equal(reward, theirs.reward)
    np.testing.assert_array_equal(terminated, theirs.discount == 0)
    assert not truncated.any()


def test_the_goal_terminates_and_the_clock_truncates_from_its_step_on():
    env = envs.make("xminigrid:MiniGrid-Empty-5x5,max_steps=7")
    _, reward, terminated, truncated, info = play(env, (*TO_THE_GOAL, 1, 1, 1, 1))
    np.testing.assert_allclose(reward[4], 1.0 - 0.9 * 5 / 7, rtol=1e-6)
    np.testing.assert_array_equal(terminated, np.arange(9) == 4)
    np.testing.assert_array_equal(info["success"], np.arange(9) == 4)
    np.testing.assert_array_equal(truncated, np.arange(1, 10) >= 7)
    env, params = xminigrid.make("MiniGrid-Empty-5x5")
    _, theirs = play_theirs((env, params.replace(max_steps=7)), (*TO_THE_GOAL, 1, 1, 1, 1))
    assert theirs.step_type.tolist() == [1, 1, 1, 1, 2, 1, 2, 1, 1]  # on one step alone


def test_the_goal_at_the_limit_terminates():
    env = envs.make("xminigrid:MiniGrid-Empty-5x5,max_steps=5")
    _, reward, terminated, truncated, _ = play(env, TO_THE_GOAL)
    np.testing.assert_allclose(reward[4], 0.1, rtol=1e-5)
    assert terminated.tolist() == truncated.tolist() == [False] * 4 + [True]


def test_a_wrong_end_is_no_success():
    env = envs.make("xminigrid:MiniGrid-MemoryS8")
    _, reward, terminated, _, info = play(env, jax.random.randint(KEY, (400,), 0, 3))
    assert (info["success"] == (terminated & (reward > 0))).all()


def test_the_limit_is_a_number():
    env = envs.make("xminigrid:MiniGrid-Empty-5x5")

    def paid(limit):
        params = dataclasses.replace(env.params, max_steps_in_episode=limit)
        known = dataclasses.replace(env, params=params)
        return play(known, TO_THE_GOAL)[1][-1]

    found = jax.vmap(paid)(jnp.array([10, 100]))
    np.testing.assert_allclose(found, [1 - 0.45, 1 - 0.045], rtol=1e-6)


def test_a_pair_that_was_made_elsewhere_is_adapted():
    env, params = xminigrid.make("MiniGrid-Empty-5x5")
    agent = agents.make("ppo", (env, params.replace(max_steps=9)))
    assert agent.env.max_steps == 9 and agent.env.observation_space.shape == (7, 7, 25)


def test_the_tasks_of_xminigrid_are_all_named():
    assert set(envs.suites.names("xminigrid")) == set(xminigrid.registered_environments())


def test_the_laws_hold_of_the_suites_own_numbers():
    check_env("xminigrid:MiniGrid-Empty-5x5,one_hot=false", beside=False)
