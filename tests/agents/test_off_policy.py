"""What every agent that learns from replay must do, whatever it learns."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import replay
from jaxrl_reward.types import UserError

AGENTS = ("dqn", "sac")
DISCRETE, CONTINUOUS = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
SMALL = {
    "num_envs": 4,
    "num_steps": 2,
    "updates": 2,
    "batch_size": 16,
    "buffer_size": 64,
    "learning_starts": 16,
    "hidden": (8,),
    "layer_norm": False,
    "n_step": 1,
}

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small(name, reward=None, env=None, **overrides):
    env = env or {"dqn": DISCRETE, "sac": CONTINUOUS}[name]
    return agents.make(name, env, reward, **{**SMALL, **overrides})


def begin(agent, key=0):
    """Compiled: step by step it takes seconds."""
    return quick(agent.init)(jax.random.key(key))


def repeat(iterate, times):
    return lambda state: jax.lax.fori_loop(0, times, lambda _, s: iterate(s)[0], state)


def close(a, b, rtol=1e-3, atol=1e-4):
    def compare(x, y):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)

    jax.tree.map(compare, a, b)


# ---- rewards that change ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name,placement",
    [("sac", "block"), ("dqn", "step"), pytest.param("sac", "step", marks=pytest.mark.slow)],
)
def test_replayed_rewards_are_todays(name, placement):
    """A stage that remembers as recorded, those that learn as they are now."""

    class rising(rw.Causal):  # noqa: N801
        """Doubles the reward of every other step of an episode, and adds to it."""

        def begin_one(self, shared, obs):
            return jnp.float32(0.0)

        def step(self, shared, local, transition):
            return local + 1, rw.Affine(1.0 + local % 2, 0.1 * local)

        def view(self, local):
            return local[None]

    reward = rw.parse("rnd(width=4, features=2)") | rising() | rw.parse("normalize() | clip(-5, 5)")
    agent = small(name, reward, placement=placement, learning_starts=64, buffer_size=64)
    made, state = agent.init.__self__, begin(agent)
    iterate = quick(agent.iterate)
    first, _ = iterate(state)
    state = first
    for _ in range(3):
        state, _ = iterate(state)
    items = state.replay.items
    # By hand below, every episode must still be the first.
    assert not np.asarray(items["step"].last)[:7].any()
    window = replay.Window(
        jax.tree.map(lambda x: x.reshape(1, 64, *x.shape[2:]), items), jnp.ones((1, 64), bool)
    )
    rewards = quick(made.recorder.rewards)
    now = np.asarray(rewards(state.reward, state.reward_state.shared, window)).reshape(16, 4)
    then = np.asarray(rewards(state.reward, first.reward_state.shared, window)).reshape(16, 4)
    assert np.abs(now - then)[:8].max() > 1e-2  # learning moves what is stored

    # By hand: novelty of each step as it is now, its place in the episode, the scale.
    novelty, _, scale, _ = state.reward.parts
    shared = state.reward_state.shared
    flat = jax.tree.map(lambda x: x[0], window.items["step"])
    bonus = jax.vmap(lambda t: novelty.reward(shared[0].params, t))(flat.replace(reward=()))
    bonus = np.asarray(bonus).reshape(16, 4)
    variance = float(shared[2].squares / shared[2].count)
    for t in range(8):  # four blocks of two steps
        expected = (bonus[t] * (1 + t % 2) + 0.1 * t) / math.sqrt(variance + scale.epsilon)
        np.testing.assert_allclose(now[t], np.clip(expected, -5, 5), rtol=1e-3)


@pytest.mark.parametrize("name", AGENTS)
def test_rewards_that_replay_cannot_give_are_refused(name):
    class unrepeatable(rw.RewardTransform):  # noqa: N801
        def apply(self, state, block):
            return rw.env().apply(state, block)

    @rw.episodic
    def total_return(block, episodes):
        return episodes.sum(block.reward)

    for reward, message in (
        (total_return(), f"{name} plays fixed blocks, and total_return.. needs whole episodes"),
        ("rnd() | delay()", f"{name} learns from replay, and delay.. remembers rewards of a stage"),
        (unrepeatable(), f"{name} learns from replay, and unrepeatable cannot be recomputed"),
    ):
        with pytest.raises(UserError, match=message) as error:
            small(name, reward)
        assert "\n" not in str(error.value)
    small(name, "delay() | rnd()")  # nothing before the delay changes


# ---- many at once ----------------------------------------------------------------------


def observable(state):
    return state.replace(env_state=state.env_state.replace(spare=(), used=()))


@pytest.mark.parametrize(
    "name,env",
    [
        pytest.param("dqn", DISCRETE, marks=pytest.mark.slow),
        ("sac", DISCRETE),
        pytest.param("sac", CONTINUOUS, marks=pytest.mark.slow),
    ],
)
def test_several_seeds_at_once_are_as_many_single_runs(name, env):
    """From before the first update until after the ring is full."""
    reward = "env + 0.1*counts(buckets=8) | normalize()"
    agent = small(name, reward, env, n_step=2, buffer_size=32)
    keys = jnp.stack([jax.random.key(i) for i in range(3)])
    many = quick(jax.vmap(repeat(agent.iterate, 7)))(quick(jax.vmap(agent.init))(keys))
    one = quick(repeat(agent.iterate, 7))
    for i in range(3):
        alone = observable(one(begin(agent, i)))
        close(jax.tree.map(lambda x, i=i: x[i], observable(many)), alone)
    first = many.params["online" if name == "dqn" else "actor"]["params"]["Dense_0"]["kernel"]
    assert np.ptp(np.asarray(first), axis=0).max() > 0


@pytest.mark.parametrize("name", AGENTS)
def test_a_sweep_over_numbers_is_one_program(name):
    agent, count = small(name, "0.5*env"), []
    key = jax.random.key(0)

    def run(config, reward):
        count.append(1)
        state = repeat(agent.iterate, 5)(agent.init(key, config, reward))
        return state.params, state.episode_reward

    configs = [agent.config.replace(learning_rate=r, gamma=g) for r, g in ((1e-3, 0.9), (0.1, 0.5))]
    if name == "dqn":  # so that the first follows what it learns, and the second plays at random
        ends = ((0.0, 1.0), (1.0, 1e9))
        pairs = zip(configs, ends, strict=True)
        configs = [c.replace(epsilon_start=e, epsilon_steps=n) for c, (e, n) in pairs]
    stacked = jax.tree.map(lambda *x: jnp.array(x), *configs)
    rewards = jax.tree.map(lambda x: jnp.array([x, 3 * x]), agent.reward)
    many, totals = quick(jax.vmap(run))(stacked, rewards)
    assert len(count) == 1
    count.clear()
    one = quick(run)
    for i in range(2):
        params, total = one(configs[i], jax.tree.map(lambda x, i=i: x[i], rewards))
        close(jax.tree.map(lambda x, i=i: x[i], many), params, 1e-2, 1e-3)
        np.testing.assert_allclose(total, totals[i], rtol=1e-2)
    assert len(count) == 1


@pytest.mark.parametrize("name", [pytest.param("dqn", marks=pytest.mark.slow), "sac"])
def test_a_store_costs_no_copies(name):
    """Nor with several seeds, whose predicates and rows are arrays."""
    agent = small(name, buffer_size=80_000)
    state = jax.eval_shape(jax.vmap(agent.init), jax.random.split(jax.random.key(0), 2))
    ring = jax.tree.leaves(state.replay)
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in ring)
    iterate = repeat(jax.vmap(agent.iterate), 3)
    program = jax.jit(iterate, donate_argnums=0).lower(state).compile()
    assert program.memory_analysis().temp_size_in_bytes < size / 5


# ---- runs ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AGENTS)
def test_a_resumed_run_ends_as_one_that_was_never_cut(name, tmp_path):
    """The store and what it holds are in the checkpoint."""
    agent = small(name, "env + 0.1*counts(buckets=8)", buffer_size=48, updates=1)
    settings = {"seeds": 2, "total_steps": 80, "evals": 2, "eval_episodes": 1, "log_points": 4}

    class Stop:
        def write(self, *args, **kwargs):
            raise KeyboardInterrupt

        def close(self):
            pass

    whole = training.train(agent, out=tmp_path / "whole", progress=False, **settings)
    with pytest.raises(KeyboardInterrupt):
        training.train(agent, out=tmp_path / "cut", progress=False, sinks=[Stop()], **settings)
    resumed = training.train(agent, out=tmp_path / "cut", progress=False, resume=True, **settings)
    data = lambda x: (  # noqa: E731
        jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(data(a), data(b)), whole.state, resumed.state
    )
    assert resumed.curves == whole.curves
    assert whole.state.replay.filled.tolist() == [12, 12]


@pytest.mark.parametrize("name", AGENTS)
def test_a_warm_up_beyond_the_run_is_refused(name, tmp_path):
    agent = small(name, learning_starts=64)
    with pytest.raises(UserError) as error:
        training.train(agent, seeds=2, total_steps=50, out=tmp_path / "run")
    # Rounded up to whole iterations, as the run is.
    assert str(error.value) == (
        f"{name}'s learning_starts=64 is beyond the run's 56 steps per seed: "
        "lower it, or raise total_steps"
    )
    assert not (tmp_path / "run").exists()
