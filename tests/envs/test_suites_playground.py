"""MuJoCo Playground's environments: as Playground steps them, with a clock of our own."""

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrl_reward import envs, spaces
from jaxrl_reward.envs.suites import clocks, known
from jaxrl_reward.envs.suites.playground import Playground
from jaxrl_reward.types import UserError

pytest.importorskip("mujoco_playground")
pytestmark = pytest.mark.loose_shapes

QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
NAME = "CartpoleBalance"


def test_playground_names_are_those_of_playground():
    from mujoco_playground import registry

    assert sorted((*known.CONTROL, *known.ROBOTS, *known.UNLOADED)) == sorted(registry.ALL_ENVS)
    config = registry.get_default_config(NAME)
    assert config.impl == "warp" and config.episode_length == 1000


@pytest.mark.slow
def test_playground_steps_as_playground_does():
    """Also past the clock, which truncates and does not terminate."""
    from mujoco_playground import registry

    env = envs.make(f"playground:{NAME},episode_length=3")
    bare = registry.load(NAME, config_overrides={"impl": "jax"})

    def run(key):
        obs, state = env.reset(key)
        theirs = bare.reset(key)
        first = theirs.obs

        def step(carry, action):
            state, theirs = carry
            ours = env.step(key, state, action)
            cuts = [env.environment.is_truncated(ours[1], clocks.timed(n)) for n in (1, 2, 3)]
            theirs = bare.step(theirs.replace(metrics=dict(theirs.metrics)), action)
            told = theirs.obs, theirs.reward, theirs.done, theirs.metrics
            return (ours[1], theirs), (ours[0], *ours[2:], jnp.stack(cuts), told)

        actions = jax.random.uniform(key, (5, 1), minval=-1.0)
        return obs, first, jax.lax.scan(step, (state, theirs), actions)[1]

    obs, first, rows = jax.jit(run, compiler_options=QUICK)(KEY)
    seen, reward, terminated, truncated, info, cuts, told = rows
    np.testing.assert_allclose(obs, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen, told[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reward, told[1], rtol=1e-4)
    np.testing.assert_array_equal(terminated, told[2] > 0.5)
    np.testing.assert_array_equal(truncated, [False, False, True, True, True])
    np.testing.assert_array_equal(cuts, np.arange(1, 6)[:, None] >= np.arange(1, 4))
    for name, values in told[3].items():
        np.testing.assert_allclose(info[name], values, rtol=1e-4)
    assert not terminated.any() and not info["broken"].any()
    parts = [info[f"reward/{part}"] for part in ("upright", "centered", "small_control")]
    np.testing.assert_allclose(reward, np.prod([*parts, info["reward/small_velocity"]], 0), 1e-5)


def test_a_state_may_be_stepped_twice():
    """Playground's step writes into the dicts of the state that it is given."""
    env = envs.make(f"playground:{NAME}")

    def check(key):
        _, state = env.reset(key)
        before = dict(state.suite.metrics)
        afters = [env.step(key, state, jnp.full(1, each))[1] for each in (0.0, 1.0)]
        assert all(state.suite.metrics[k] is v for k, v in before.items())
        one, other = (after.suite.metrics["reward/small_control"] for after in afters)
        assert one is not other
        return afters[0].time

    jax.eval_shape(check, KEY)


@struct.dataclass
class _Made:
    data: Any
    obs: Any
    reward: Any
    done: Any
    metrics: Any
    info: Any


class _Robot:
    """Observed as Playground's robots are; writes into the state that it is given."""

    action_size = 2

    def reset(self, key):
        obs = {"state": jnp.zeros(3), "privileged_state": jnp.ones((2, 2))}
        return _Made(jnp.float32(0), obs, jnp.float32(0), jnp.float32(0), {"x": 0.0}, {"rng": key})

    def step(self, state, action):
        state.metrics["x"] = action.sum()
        obs = jax.tree.map(lambda x: x + action.sum(), state.obs)
        done = jnp.float32(action[0] > 0.5)  # a fall
        return _Made(state.data, obs, action[0], done, state.metrics, state.info)


def test_a_policy_on_a_robot_sees_what_it_can_sense():
    for privileged, size in ((False, 3), (True, 7)):
        robot = Playground("Robot", _Robot(), clocks.timed(4), privileged)
        env = envs.from_gymnax(robot)
        assert env.observation_space.shape == (size,)
        _, state = env.reset(KEY)
        obs, after, _, terminated, truncated, info = env.step(KEY, state, jnp.ones(2))
        assert obs.shape == (size,) and terminated and not truncated
        assert (float(state.suite.metrics["x"]), float(after.suite.metrics["x"])) == (0.0, 2.0)
        assert float(info["x"]) == 2.0
    obs, _, reward, terminated, truncated, info = env.step(KEY, state, jnp.full(2, jnp.nan))
    assert not obs.any() and reward == info["x"] == 0.0 and info["broken"] == 1.0
    assert terminated and not truncated  # a simulation that has exploded
    names = [part.name for part in spaces.parts(robot.observation_space(env.params))]
    assert names == ["privileged_state", "state"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CheetahRun,impl=mujoco", "no impl 'mujoco', use: jax, warp"),
        ("CheetahRun,privileged=true", "has no option 'privileged'"),
        ("CheetahRun,episode_length=0", "episode_length must be at least 1"),
        ("CheetahRun,ctrl_dt=fast", "ctrl_dt must be a number"),
        ("CheetahRum", "did you mean 'playground:CheetahRun'"),
    ],
)
def test_what_cannot_be_made_is_one_line(name, words):
    with pytest.raises(UserError, match=words) as told:
        envs.make(f"playground:{name}")
    assert "\n" not in str(told.value)


def test_models_that_do_not_come_with_playground_are_asked_for(monkeypatch, tmp_path):
    from mujoco_playground._src import mjx_env

    monkeypatch.setattr(mjx_env, "MENAGERIE_PATH", tmp_path / "models")
    with pytest.raises(UserError, match=f"git clone https://.*/mujoco_menagerie {tmp_path}"):
        envs.make("playground:Go1Getup,privileged=true")
    assert not (tmp_path / "models").exists()  # nothing was fetched


def test_an_environment_that_mujoco_does_not_load_is_left_out():
    import mujoco
    from mujoco_playground import registry

    with pytest.raises(AttributeError, match="find_body"):
        registry.load("ReacherHard", config_overrides={"impl": "jax"})
    assert mujoco.__version__.startswith("3.17.")
    with pytest.raises(UserError, match=r"ReacherEasy is left out: MuJoCo 3\.17 does not load it"):
        envs.make("playground:ReacherEasy")


def test_an_environment_made_elsewhere_keeps_its_limit():
    from mujoco_playground import registry

    made = registry.load(NAME, config_overrides={"impl": "jax", "episode_length": 7})
    env = envs.given(made)
    assert (env.max_steps, env.observation_space.shape) == (7, (5,))


@pytest.mark.slow
def test_playground_is_loaded_and_stepped_in_silence():
    code = (
        "import jax; from jaxrl_reward import envs; env = envs.make('playground:CheetahRun');"
        "k = jax.random.key(0); state = jax.jit(env.reset)(k)[1];"
        "jax.jit(env.step)(k, state, env.action_space.sample(k))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (ran.returncode, ran.stdout) == (0, "")
