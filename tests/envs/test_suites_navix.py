"""NAVIX beside NAVIX alone: the goal, the clock, and what is seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward.testing import check_env

navix = pytest.importorskip("navix")

pytestmark = pytest.mark.loose_shapes
QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
TO_THE_GOAL = (2, 2, 1, 2, 2)  # of a room of 5 x 5: forward, forward, right, forward, forward


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


def play_theirs(env, actions):
    """NAVIX's own time steps `[T]`, and its first observation."""

    def step(now, action):
        now = env.step(now, action)
        return now, now

    def run(actions):
        first = jax.tree.map(lambda x: jnp.asarray(x, x.dtype), env.reset(KEY))
        return first.observation, jax.lax.scan(step, first, actions)[1]

    return jax.jit(run, compiler_options=QUICK)(jnp.array(actions))


def test_steps_are_those_of_navix():
    env = envs.make("navix:Navix-DoorKey-5x5-v0")
    actions = jax.random.randint(jax.random.key(3), (60,), 0, 7)
    obs, reward, terminated, truncated, _ = play(env, actions)
    first, theirs = play_theirs(navix.make("Navix-DoorKey-5x5-v0"), actions)
    ids = np.concatenate([first[None], theirs.observation])
    planes = (obs[..., :11], obs[..., 11:17], obs[..., 17:])
    np.testing.assert_array_equal(np.stack([each.argmax(-1) for each in planes], -1), ids)
    assert all((each.sum(-1) == 1).all() for each in planes)
    np.testing.assert_array_equal(reward, theirs.reward)
    np.testing.assert_array_equal(terminated, theirs.is_termination())
    np.testing.assert_array_equal(truncated, theirs.is_truncation())


def test_the_goal_terminates_the_clock_truncates_and_nothing_resets():
    env = envs.make("navix:Navix-Empty-5x5-v0,max_steps=7,penalty_coeff=0.5")
    obs, reward, terminated, truncated, info = play(env, (*TO_THE_GOAL, 1, 1, 1, 1))
    np.testing.assert_allclose(reward[4], 1.0 - 0.5 * 5 / 7, rtol=1e-6)
    assert terminated.argmax() == 4 and not terminated[:4].any()
    assert info["success"][4] == 1.0 and not info["success"][:4].any()
    np.testing.assert_array_equal(truncated, np.arange(1, 10) >= 7)
    assert (obs[5, 3, 3, :11].argmax() == 10).all()  # the player stands at the goal
    assert (obs[6, 3, 3, :11].argmax() == 10).all()  # and is still there a step later


def test_the_limit_and_the_penalty_are_numbers():
    env = envs.make("navix:Navix-Empty-5x5-v0")

    def paid(limit, cost):
        params = dataclasses.replace(env.params, max_steps_in_episode=limit, penalty_coeff=cost)
        return play(dataclasses.replace(env, params=params), TO_THE_GOAL)[1][-1]

    found = jax.vmap(paid)(jnp.array([10, 100]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(found, [0.5, 1.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("view", "shape"),
    [("categorical", (5, 5, 11)), ("symbolic_first_person", (7, 7, 21)), ("rgb", (40, 40, 3))],
)
def test_other_views(view, shape):
    env = envs.make(f"navix:Navix-Empty-5x5-v0,observation_fn={view}")
    check_env(env, beside=False)
    obs, _ = env.reset(KEY)
    assert obs.shape == shape == env.observation_space.shape
    plain = envs.make(f"navix:Navix-Empty-5x5-v0,observation_fn={view},one_hot=false")
    ids, _ = plain.reset(KEY)
    space = plain.observation_space
    assert ((space.low <= ids) & (ids <= space.high)).all()
    np.testing.assert_allclose(obs.sum(), {"rgb": ids.sum() / 255}.get(view, ids.size), rtol=1e-5)


def test_an_environment_that_was_made_elsewhere_is_adapted():
    agent = agents.make("ppo", navix.make("Navix-Empty-5x5-v0", max_steps=9))
    assert agent.env.max_steps == 9 and agent.env.environment.suite.disable_autoreset


def test_the_tasks_of_navix_are_all_named():
    assert list(envs.suites.names("navix")) == sorted(navix.registry())
