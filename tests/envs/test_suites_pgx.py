"""pgx's games beside pgx alone: the same steps, Freeway's clock, MinAtar's sticky actions."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward.testing import check_env
from jaxrl_reward.training.devices.sharding import Programs
from jaxrl_reward.types import UserError

pgx = pytest.importorskip("pgx")

QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)


def keys_and_actions(env, steps):
    keys = jax.random.split(jax.random.key(1), steps)
    actions = jax.random.randint(jax.random.key(2), (steps,), 0, env.action_space.n)
    return keys, actions


def play(env, steps):
    """Observations, rewards, flags and info `[T]`, also past the end."""

    def step(state, given):
        obs, state, *rest = env.step(given[0], state, given[1])
        return state, (obs, *rest)

    def run(keys, actions):
        _, state = env.reset(KEY)
        return jax.lax.scan(step, state, (keys, actions))[1]

    return jax.jit(run, compiler_options=QUICK)(*keys_and_actions(env, steps))


def play_pgx(game, env, steps):
    """pgx's own states `[T]`."""

    def step(state, given):
        state = game.step(state, given[1], given[0])
        return state, state

    def run(keys, actions):
        return jax.lax.scan(step, game.init(KEY), (keys, actions))[1]

    return jax.jit(run, compiler_options=QUICK)(*keys_and_actions(env, steps))


def test_minatar_is_pgx():
    game = pgx.make("minatar-breakout")
    env = envs.make("pgx:minatar-breakout")
    obs, reward, terminated, truncated, info = play(env, 200)
    theirs = play_pgx(game, env, 200)
    np.testing.assert_array_equal(obs, theirs.observation)
    np.testing.assert_array_equal(reward, theirs.rewards[:, 0])
    np.testing.assert_array_equal(terminated, theirs.terminated)
    assert reward.shape == (200,) and obs.dtype == jnp.float32
    assert 0 < terminated.argmax() < 199 and not truncated.any() and info == {}


def test_freeways_clock_truncates_and_may_be_longer():
    game, env = pgx.make("minatar-freeway"), envs.make("pgx:minatar-freeway")
    ended = play_pgx(game, env, 2502).terminated
    _, _, terminated, truncated, _ = play(env, 2502)
    assert not terminated.any()
    np.testing.assert_array_equal(truncated, ended)
    assert truncated.argmax() == 2500
    longer = envs.make("pgx:minatar-freeway,max_steps_in_episode=2600")
    obs, _, terminated, truncated, _ = play(longer, 2600)
    assert not terminated.any() and truncated.argmax() == 2599
    assert (obs[-1] != obs[-2]).any()  # cars go on where pgx would have stopped


def test_sticky_actions_are_a_number():
    env = envs.make("pgx:minatar-freeway,sticky_action_prob=0")

    def moved(stickiness):
        params = dataclasses.replace(env.params, sticky_action_prob=stickiness)
        known = dataclasses.replace(env, params=params)
        _, state = known.reset(KEY)
        up = jnp.int32(1)
        for i in range(12):
            _, state, *_ = known.step(jax.random.key(i), state, up)
        return state.pgx._pos

    run = jax.jit(jax.vmap(moved), compiler_options=QUICK)
    free, stuck = run(jnp.array([0.0, 1.0]))
    assert free < 9 and stuck == 9  # repeats the first action, which is none


def test_2048_tells_which_moves_are_allowed():
    env = envs.make("pgx:2048")
    obs, _, terminated, truncated, info = play(env, 60)
    theirs = play_pgx(pgx.make("2048"), env, 60)
    np.testing.assert_array_equal(obs[:, :4], theirs.legal_action_mask)
    np.testing.assert_array_equal(obs[:, 4:], theirs.observation.reshape(60, -1))
    np.testing.assert_array_equal(terminated, theirs.terminated)
    np.testing.assert_array_equal(info["highest_tile"], 2.0 ** np.max(theirs._board, axis=1))
    assert terminated.any() and not truncated.any()


@pytest.mark.parametrize("name", ["minatar-breakout", "2048"])
def test_a_game_that_was_made_elsewhere_is_adapted(name):
    agent = agents.make("ppo", pgx.make(name))
    assert agent.env.name == name and agent.env.max_steps is None
    same = envs.make(f"pgx:{name}").observation_space
    assert agent.env.observation_space.shape == same.shape


def test_a_game_of_two_that_was_made_elsewhere_is_refused():
    with pytest.raises(UserError, match="pgx:tic_tac_toe is left out: it needs an opponent"):
        agents.make("ppo", pgx.make("tic_tac_toe"))


def test_the_games_of_pgx_are_all_named():
    known = set(envs.suites.names("pgx"))
    absent = {name.partition(":")[2] for name in envs.suites.left_out("pgx")}
    assert known | absent == set(pgx.available_envs()) and not known & absent


def test_the_laws_hold():
    check_env("pgx:minatar-breakout,max_steps_in_episode=50")


@pytest.mark.parametrize("name", ["minatar-breakout", "2048"])
def test_a_run_asks_for_spaces_within_a_program_for_a_mesh(name):
    agent = agents.make("ppo", f"pgx:{name}", num_envs=2, num_steps=2, minibatches=1)
    programs = Programs(agent, seeds=2, seed=0, episodes=1)  # traces how a run begins
    assert programs.lanes == 2
