"""brax's bare environments, behind the same interface as all the others."""

import functools
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.envs import brax as adapter
from jaxrl_reward.types import UserError

pytest.importorskip("brax")
# brax's fluid forces (swimmer) call `clip` by names that JAX is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Passing arguments 'a':DeprecationWarning")

# Compiling physics takes seconds, and twice as many with XLA's optimisations.
QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)
made = functools.cache(envs.make)


def play(env, actions):
    """Observations `[T + 1]`, rewards and flags `[T]`, also past the end."""
    obs, state = env.reset(KEY)

    def step(state, action):
        next_obs, state, reward, terminated, truncated, _ = env.step(KEY, state, action)
        return state, (next_obs, reward, terminated, truncated)

    _, (next_obs, *rest) = jax.lax.scan(step, state, actions)
    return jnp.concatenate([obs[None], next_obs]), *rest


def play_brax(name, backend, actions):
    """The same with brax alone: observations, rewards and brax's end flags."""
    from brax import envs as theirs

    env = theirs.get_environment(name, backend=backend)

    def run(actions):
        state = env.reset(KEY)
        rows = [(state.obs, state.reward, state.done)]
        types = jax.tree.map(jnp.result_type, state)

        def step(state, action):
            state = jax.tree.map(jnp.asarray, env.step(state, action), types)
            return state, (state.obs, state.reward, state.done)

        _, trace = jax.lax.scan(step, state, actions)
        return jnp.concatenate([rows[0][0][None], trace[0]]), *trace[1:]

    return jax.jit(run, compiler_options=QUICK)(actions)


def assert_physics_of_brax(name, backend, steps):
    env = envs.make(f"brax:{name},backend={backend},episode_length=12")
    shape = (steps, *env.action_space.shape)
    actions = jax.random.uniform(jax.random.key(1), shape, minval=-1.0)
    run = jax.jit(lambda actions: play(env, actions), compiler_options=QUICK)
    obs, reward, terminated, truncated = run(actions)
    their_obs, their_reward, ended = play_brax(name, backend, actions)
    # The same operations, compiled apart: chaos makes the last digits grow.
    np.testing.assert_allclose(obs, their_obs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(reward, their_reward, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(terminated, ended > 0.5)
    np.testing.assert_array_equal(truncated, np.arange(1, steps + 1) >= 12)
    return obs, terminated


def described(name):
    """Shapes and types agree with the spaces, and a scan can carry the state."""
    env = made(name)

    def shapes(key):
        obs, state = env.reset(key)
        return obs, state, *env.step(key, state, env.action_space.sample(key))

    obs, state, next_obs, after, reward, *flags, info = jax.eval_shape(shapes, KEY)
    assert obs.shape == next_obs.shape == env.observation_space.shape
    assert (reward.shape, reward.dtype) == ((), jnp.float32)
    assert {(each.shape, each.dtype) for each in info.values()} <= {((), jnp.dtype("float32"))}
    assert [(flag.shape, flag.dtype) for flag in flags] == [((), bool)] * 2
    assert jax.tree.structure(state) == jax.tree.structure(after)
    for before, now in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert (before.shape, before.dtype, False) == (now.shape, now.dtype, now.weak_type)


FAST = ("fast", "reacher", "inverted_pendulum")


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in adapter.NAMES]
)
def test_brax_environments_are_made_by_name(name):
    described(f"brax:{name}")


@pytest.mark.slow
@pytest.mark.parametrize("backend", adapter.BACKENDS)
@pytest.mark.parametrize("name", ["hopper", "reacher"])
def test_brax_backends_are_built(name, backend):
    described(f"brax:{name},backend={backend}")


def test_brax_defaults():
    assert adapter.NAMES["ant"][0] == "spring" and adapter.NAMES["hopper"][0] == "generalized"
    env = made("brax:inverted_pendulum")
    assert env.environment.brax.backend == "generalized" and env.max_steps == 1000
    other = envs.make("brax:inverted_pendulum", backend="spring", episode_length=7)
    assert other.environment.brax.backend == "spring" and other.max_steps == 7
    assert other.name == "brax:inverted_pendulum,backend=spring,episode_length=7"
    assert (other.action_space.low, other.action_space.high) == (-1.0, 1.0)


def test_brax_terminates_by_its_flag_and_truncates_by_the_clock():
    obs, terminated = assert_physics_of_brax("inverted_pendulum", "spring", 40)
    angle = np.abs(np.asarray(obs[1:, 1]))
    clear = np.abs(angle - 0.2) > 1e-4
    np.testing.assert_array_equal(np.asarray(terminated)[clear], (angle > 0.2)[clear])
    assert terminated.any() and not terminated.all()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["spring", "positional", "generalized"])
@pytest.mark.parametrize("name", ["reacher", "inverted_pendulum"])
def test_brax_physics_are_those_of_brax(name, backend):
    assert_physics_of_brax(name, backend, 20)


def test_brax_metrics_are_signals():
    """The parts of a robot's reward add up to it, and are rewards by themselves."""
    env = made("brax:reacher")

    def run(actions):
        state = env.reset(KEY)[1]

        def step(state, action):
            _, state, reward, _, _, info = env.step(KEY, state, action)
            return state, (reward, info, state.brax.metrics)

        return jax.lax.scan(step, state, actions)[1]

    actions = jax.random.uniform(KEY, (5, 2), minval=-1.0)
    reward, info, theirs = jax.jit(run, compiler_options=QUICK)(actions)
    assert set(info) == set(theirs) == {"reward_dist", "reward_ctrl"}
    for name, values in info.items():
        np.testing.assert_array_equal(values, theirs[name])
    np.testing.assert_allclose(info["reward_dist"] + info["reward_ctrl"], reward, rtol=1e-5)
    block = rw.one_step.block(jnp.zeros((5, 1)))
    block = block.replace(info=jax.tree.map(lambda x: x[None], info))
    term = rw.parse("signal('reward_ctrl', when='step')")
    paid = term.apply(term.init(KEY, block), block).reward
    np.testing.assert_array_equal(paid[0], info["reward_ctrl"])
    assert (np.asarray(paid) < 0.0).all()


def test_brax_does_not_write_into_the_state_that_it_is_given():
    env = made("brax:reacher")

    def check(key):
        _, state = env.reset(key)
        before = dict(state.brax.metrics)
        _, after, *_ = env.step(key, state, jnp.ones(2))
        assert before and all(state.brax.metrics[k] is v for k, v in before.items())
        assert all(after.brax.metrics[k] is not v for k, v in before.items())
        return after.time

    jax.eval_shape(check, KEY)


def test_brax_side_by_side_resets_at_the_clock():
    vector = envs.vectorize(envs.make("brax:fast,episode_length=3"), 2)

    def step(state, keys):
        state, transition, stats = vector.step(state, keys, jnp.ones((2, 1)))
        return state, (transition, stats)

    keys = jax.random.split(KEY, (7, 2))
    _, (t, stats) = jax.jit(lambda: jax.lax.scan(step, vector.init(KEY), keys))()
    np.testing.assert_array_equal(t.truncated[:, 0], [0, 0, 1, 0, 0, 1, 0])
    assert not t.terminated.any()
    # Velocity grows by 0.02 a step, and the reward is the place.
    place = np.cumsum(0.02 * 0.02 * np.arange(1, 4))
    np.testing.assert_allclose(t.env_reward[:3, 1], place, rtol=1e-5)
    np.testing.assert_allclose(stats.total[2], [place.sum()] * 2, rtol=1e-5)
    np.testing.assert_allclose(t.next_obs[2, 0], [place[-1], 0.06], rtol=1e-5)
    np.testing.assert_array_equal(t.obs[3], np.zeros((2, 2)))
    chex.assert_trees_all_equal(stats.length[2], jnp.array([3, 3]))


@pytest.mark.slow
def test_brax_is_loaded_in_silence():
    code = "from jaxrl_reward import envs; envs.make('brax:inverted_pendulum').max_steps"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.slow
def test_robots_may_show_where_they_are():
    """What a coverage reward reads: an ant's place in an arena."""
    env = made("brax:ant,positions=true")
    assert env.observation_space.shape == (29,)
    arena = "arena:square,half_width=20,cells=100,reach=2"
    objective = rw.marginal_gain(arena).of
    obs = jnp.zeros(29).at[:2].set(jnp.array([0.5, -0.5]))
    assert divmod(int(objective.at(obs)), 100) == (48, 51)  # cells are 0.4 wide
    assert objective.function.evaluate([int(objective.at(obs))]) == 25
    with pytest.raises(UserError, match="no option 'positions'"):
        envs.make("brax:pusher,positions=true")
