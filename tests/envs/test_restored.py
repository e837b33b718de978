"""What restores the originals of gymnax's environments, beside these where they are installed."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward.envs import promises
from jaxrl_reward.types import UserError

KEY = jax.random.key(0)
RECORD = Path(__file__).parents[2] / "scripts/bench/record/originals.json"


@pytest.mark.parametrize("wall", ["true", "false"])
def test_a_car_stops_at_the_left_wall_as_gymnasium_has_it(wall):
    gymnasium = pytest.importorskip("gymnasium")
    env = envs.make(f"gymnax:MountainCarContinuous-v0,wall={wall}")
    theirs = gymnasium.make("MountainCarContinuous-v0").unwrapped
    theirs.reset(seed=0)
    theirs.state = np.array([-1.1, -0.05])
    expected = [np.asarray(theirs.step(np.ones(1, np.float32))[0]) for _ in range(12)]
    _, state = env.reset(KEY)
    state = state.replace(position=jnp.float32(-1.1), velocity=jnp.float32(-0.05))
    step = jax.jit(lambda state: env.step(KEY, state, jnp.ones(1)))
    ours = []
    for _ in range(12):
        obs, state, *_ = step(state)
        ours.append(np.asarray(obs))
    apart = np.abs(np.stack(ours) - np.stack(expected)).max()
    assert apart < 1e-5 if wall == "true" else apart > 0.02


def test_a_sticky_game_repeats_what_was_done_last():
    """The state that follows is that of the action done, which is the one asked for or the last."""
    env = envs.make("gymnax:Breakout-MinAtar,sticky=0.5")
    bare = envs.make("gymnax:Breakout-MinAtar")
    actions = jnp.array([1, 2, 0, 2, 1, 1, 0, 2] * 8)

    def run(key):
        _, state = env.reset(key)
        _, game = bare.reset(key)

        def step(carry, each):
            state, game = carry
            action, key = each
            obs, after, *_ = env.step(key, state, action)
            same, game, *_ = bare.step(key, game, after.action)
            return (after, game), (after.action, obs, same)

        keys = jax.random.split(key, len(actions))
        return jax.lax.scan(step, (state, game), (actions, keys))[1]

    done, obs, expected = jax.jit(run)(KEY)
    done = np.asarray(done)
    np.testing.assert_array_equal(obs, expected)
    last = np.concatenate([[0], done[:-1]])
    repeated = done != np.asarray(actions)
    np.testing.assert_array_equal(done[repeated], last[repeated])
    could = np.asarray(actions) != last
    assert 0.3 < repeated[could].mean() < 0.7


def test_stickiness_and_the_limit_are_numbers_of_a_sweep():
    env = envs.make("gymnax:Freeway-MinAtar,sticky=0.1,max_steps_in_episode=5")
    assert env.max_steps == 5
    state = env.environment.reset_env(KEY, env.params)[1]
    for time in (4, 5):
        later = state.replace(game=state.game.replace(time=time))
        assert bool(env.environment.is_truncated(later, env.params)) == (time == 5)

    def first(sticky):
        params = env.params.replace(sticky=sticky)
        state = env.environment.reset_env(KEY, params)[1]
        return env.environment.step_env(KEY, state, jnp.int32(2), params)[1].action

    np.testing.assert_array_equal(jax.vmap(first)(jnp.array([0.0, 1.0])), [2, 0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Breakout-MinAtar,sticky=1", r"sticky must be in \[0, 1\), not 1.0"),
        ("CartPole-v1,sticky=0.1", "no option 'sticky'"),
        ("MountainCarContinuous-v0,wall=maybe", "wall must be true or false"),
    ],
)
def test_what_cannot_be_restored_is_one_line(name, words):
    with pytest.raises(UserError, match=words):
        envs.make(f"gymnax:{name}")


def test_a_promise_is_what_the_record_says():
    assert set(promises.NOTES) <= set(envs.names())
    found = json.loads(RECORD.read_text())
    assert found["gymnax:MountainCarContinuous-v0,wall=true at the left wall"]["same"]
    assert not found["gymnax:MountainCarContinuous-v0 at the left wall"]["same"]
    told = {name: row["same"] for name, row in found.items() if name in promises.NOTES}
    assert len(told) == 11
    told["gymnax:MountainCarContinuous-v0"] = False  # but for the wall
    for name, same in told.items():
        assert promises.note(name).startswith("same" if same else "differs"), name
    for name, row in found.items():
        if name.startswith("brax:") and not row["same"]:
            assert promises.note(name).startswith("differs"), name
    assert promises.note("gymnax:CartPole-v1,max_steps_in_episode=9") == "same as Gymnasium's"
