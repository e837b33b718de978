"""Craftax beside Craftax alone: the same steps, deaths, the clock and achievements."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs

pytest.importorskip("craftax")

QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
NAME = "Craftax-Classic-Symbolic-v1"
NOTHING, TABLE = jnp.int32(0), jnp.int32(8)  # actions


@functools.cache
def compiled():
    """Ours and Craftax's step, after one another on the same state."""
    from craftax.craftax_env import make_craftax_env_from_name

    env = envs.make(f"craftax:{NAME},max_timesteps=20")
    game = make_craftax_env_from_name(NAME, auto_reset=False)
    params = game.default_params.replace(max_timesteps=20)

    def both(key, state, action):
        return env.step(key, state, action), game.step_env(key, state, action, params)

    reset = jax.jit(env.reset, compiler_options=QUICK)
    return env, reset(KEY), jax.jit(both, compiler_options=QUICK)


def test_steps_are_those_of_craftax_and_its_clock_truncates():
    env, (_, state), both = compiled()
    assert env.max_steps == 20
    for t in range(1, 23):
        key = jax.random.key(t)
        action = jax.random.randint(key, (), 0, 17)
        mine, theirs = both(key, state, action)
        obs, state, reward, terminated, truncated, _ = mine
        np.testing.assert_array_equal(obs, theirs[0])
        assert reward == theirs[2] and not terminated
        assert truncated == theirs[3] == (t >= 20)


def test_a_death_terminates_on_its_step():
    _, (_, state), both = compiled()
    for health, dies in ((0, True), (9, False)):
        (_, _, _, terminated, truncated, _), theirs = both(
            KEY, state.replace(player_health=jnp.int32(health)), NOTHING
        )
        assert terminated == theirs[3] == dies and not truncated


def test_an_achievement_is_told_on_the_step_that_earns_it():
    _, (_, state), both = compiled()
    state = state.replace(inventory=state.inventory.replace(wood=jnp.int32(5)))
    (_, after, reward, _, _, info), _ = both(KEY, state, TABLE)
    assert info["achievement/place_table"] == 1.0 == info["achievements"] and reward == 1.0
    assert sum(info[k] for k in info if k.startswith("achievement/")) == 1.0
    assert sum(k.startswith("achievement/") for k in info) == 22
    again = both(KEY, after, NOTHING)[0][5]
    assert again["achievement/place_table"] == 0.0 and again["achievements"] == 1.0


def test_an_environment_that_was_made_elsewhere_is_adapted():
    from craftax.craftax_env import make_craftax_env_from_name

    agent = agents.make("ppo", make_craftax_env_from_name(NAME, auto_reset=True))
    assert agent.env.max_steps == 10_000 and agent.env.observation_space.shape == (1345,)
