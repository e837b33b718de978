"""Octax beside Octax alone: frames turned to rows and columns, both ends, the score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs

pytest.importorskip("cv2")
octax = pytest.importorskip("octax.environments")

pytestmark = pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types")
QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)


def test_steps_are_those_of_octax():
    env = envs.make("octax:brix,max_num_steps_per_episodes=30")
    game = octax.create_environment("brix", max_num_steps_per_episodes=30)[0]
    actions = jax.random.randint(jax.random.key(1), (80,), 0, 3)

    def ours(state, action):
        obs, state, *rest = env.step(KEY, state, action)
        return state, (obs, *rest)

    def theirs(state, action):
        state, *rest = game.step(state, action)
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), state), tuple(rest)

    def run(actions):
        first, state = env.reset(KEY)
        began, seen, _ = game.reset(KEY)
        began = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), began)
        scans = (jax.lax.scan(f, s, actions)[1] for f, s in ((ours, state), (theirs, began)))
        return first, seen, *scans

    first, seen, mine, others = jax.jit(run, compiler_options=QUICK)(actions)
    obs, reward, terminated, truncated, info = mine
    frames, their_reward, their_end, their_clock, told = others
    np.testing.assert_array_equal(first, jnp.transpose(seen))
    np.testing.assert_array_equal(obs, jnp.transpose(frames, (0, 3, 2, 1)))
    assert obs.shape == (80, 32, 64, 4)
    np.testing.assert_array_equal(reward, their_reward)
    np.testing.assert_array_equal(terminated, their_end)
    np.testing.assert_array_equal(truncated, their_clock)
    np.testing.assert_array_equal(truncated, np.arange(1, 81) >= 30)
    np.testing.assert_array_equal(info["score"], told["score"])
    assert info["score"].dtype == jnp.float32


def test_a_game_that_was_made_elsewhere_is_adapted():
    agent = agents.make("ppo", octax.create_environment("brix", max_num_steps_per_episodes=9))
    assert agent.env.max_steps == 9 and agent.env.name == "brix"


def test_the_games_of_octax_are_all_named():
    import pkgutil

    known = {name.rstrip("0123456789") for name in envs.suites.names("octax")}
    assert known == {m.name for m in pkgutil.iter_modules(octax.__path__)}


@pytest.mark.parametrize("name", ["cavern6", "space_flight10", "target_shooter1"])
def test_games_of_several_levels_are_made_by_level(name):
    assert envs.make(f"octax:{name}").action_space.n > 1
