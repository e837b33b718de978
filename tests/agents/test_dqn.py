"""DQN: probes with known values, its targets and losses by hand, exploration, bad settings."""

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _shared import STORING

from jaxrl_reward import agents
from jaxrl_reward.agents.common import replay
from jaxrl_reward.agents.common.base import as_leaves
from jaxrl_reward.agents.off_policy import dqn, q_learning
from jaxrl_reward.types import UserError

GAMMA = 0.9
CARTPOLE = "gymnax:CartPole-v1"
SMALL = {
    **STORING,
    "layer_norm": False,
    "n_step": 1,
}
METRICS = {"episode_return", "episode_length", "episode_reward", "reward", "epsilon", *dqn.LOSSES}
HISTORY = "delay(2) + 0.5*counts(buckets=8)"  # the policy sees what is delayed
# All kinds of stages: remembers, learned, moving statistics, bounded.
MIXED = "(delay(2) + 0.5*counts(buckets=8) + rnd(width=4, features=2)) | normalize() | clip(-5, 5)"

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small(env=CARTPOLE, reward=None, **overrides):
    return agents.make("dqn", env, reward, **{**SMALL, **overrides})


def inside(agent):
    """What an agent has of its own."""
    return agent.init.__self__.learner


def begin(agent, key=0):
    """Compiled: step by step it takes seconds."""
    return quick(agent.init)(jax.random.key(key))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def jittered(agent):
    """Random parameters of the networks, without compiling `init`."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(agent.init, jax.random.key(0)).params
    # With small biases: else one action is best almost everywhere.
    scale = lambda x: 1.0 if x.ndim > 1 else 0.2  # noqa: E731
    return jax.tree.map(lambda x: jnp.float32(scale(x) * rng.normal(size=x.shape)), shapes)


class Looks(NamedTuple):
    """As much of a state as a policy reads."""

    config: dqn.Config
    params: Any
    iteration: Any = 0


# ---- probes ----------------------------------------------------------------------------


@cache
def trained(name, iterations=200, **overrides):
    """The values `[A]` that an agent has learned, of an observation, and itself."""
    settings = {
        **SMALL,
        "num_envs": 8,
        "updates": 4,
        "batch_size": 64,
        "buffer_size": 2048,
        "hidden": (32,),
        "learning_rate": 1e-2,
        "target_rate": 0.05,
        "gamma": GAMMA,
        "epsilon_end": 0.2,
        "epsilon_steps": 100.0,
    }
    agent = agents.make("dqn", name, **{**settings, **overrides})

    def run(state):
        return jax.lax.fori_loop(0, iterations, lambda _, s: agent.iterate(s)[0], state)

    made, state = inside(agent), quick(run)(begin(agent))

    def quantiles(obs):
        return np.asarray(made.quantiles(state.params["online"], jnp.array([obs])))

    return agent, state, quantiles


def test_the_value_of_either_action_depends_on_the_observation():
    """Else a loss moves the wrong action, or rows are mixed up."""
    agent, state, quantiles = trained("probe:both")
    np.testing.assert_allclose(quantiles(-1.0), [[1.0, -1.0]], atol=0.05)
    np.testing.assert_allclose(quantiles(1.0), [[-1.0, 1.0]], atol=0.05)
    assert agent.act(state, jnp.array([[-1.0], [1.0]])).tolist() == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name,values", [("constant", [1.0, 1.0]), ("action", [-1.0, 1.0])])
def test_one_step(name, values):
    np.testing.assert_allclose(trained(f"probe:{name}")[2](0.0)[0], values, atol=0.03)


@pytest.mark.slow
def test_reward_of_the_observation():
    _, _, quantiles = trained("probe:observation")
    np.testing.assert_allclose(quantiles(-1.0)[0], [-1.0, -1.0], atol=0.05)
    np.testing.assert_allclose(quantiles(1.0)[0], [1.0, 1.0], atol=0.05)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"n_step": 3, "target_every": 20, "target_rate": 1.0},
    ],
)
def test_delayed_reward(overrides):
    """The first value is the discounted second: else bootstrapping is broken."""
    _, _, quantiles = trained("probe:delayed", **overrides)
    np.testing.assert_allclose(quantiles(0.0)[0], [GAMMA, GAMMA], atol=0.03)
    np.testing.assert_allclose(quantiles(1.0)[0], [1.0, 1.0], atol=0.03)


@pytest.mark.parametrize(
    "n_step,quantiles,double",
    [
        pytest.param(1, 1, True, marks=pytest.mark.slow),
        pytest.param(3, 1, False, marks=pytest.mark.slow),
        (3, 4, True),
    ],
)
def test_a_time_limit_does_not_end_the_value(n_step, quantiles, double):
    """1 / (1 - gamma), at each quantile, only by bootstrapping from where the clock stopped."""
    settings = {"n_step": n_step, "quantiles": quantiles, "double": double}
    _, _, of = trained("probe:truncation", 600, target_rate=0.1, **settings)
    np.testing.assert_allclose(of(0.0), np.full((quantiles, 2), 1 / (1 - GAMMA)), rtol=0.03)


# ---- one iteration ---------------------------------------------------------------------


@cache
def rich(reward=HISTORY):
    """An agent, and its `init` and `iterate`, compiled."""
    rich = {"placement": "step", "quantiles": 3, "normalize_obs": True, "n_step": 3}
    agent = small(CARTPOLE, reward, epsilon_steps=20.0, **rich)
    return agent, quick(agent.init), quick(agent.iterate)


def numbers(agent, i):
    """Of the agent and of the reward, others for each i."""
    config = agent.config.replace(learning_rate=[1e-3, 1e-2][i % 2], huber_delta=1.0 + i)
    return as_leaves(config), jax.tree.map(lambda x: x * (1 - 0.1 * i), as_leaves(agent.reward))


@pytest.mark.parametrize("reward", [HISTORY, pytest.param(MIXED, marks=pytest.mark.slow)])
def test_an_iteration_keeps_shapes_and_stays_finite(reward):
    agent, init, iterate = rich(reward)
    before = state = init(jax.random.key(0), *numbers(agent, 0))
    for _ in range(3):
        state, metrics = iterate(state)
    assert jax.tree.structure(state) == jax.tree.structure(before)
    shapes = lambda tree: [(x.shape, x.dtype) for x in jax.tree.leaves(tree)]  # noqa: E731
    assert shapes(state) == shapes(before)
    logged = {"reward/normalize/std", "reward/rnd/loss"} if reward == MIXED else set()
    assert set(metrics) == METRICS | logged
    for name, mean in metrics.items():
        assert mean.total.shape == mean.count.shape == ()
        assert np.isfinite(mean.total) and (mean.count > 0 or "episode" in name), name
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(np.isfinite(x).all() for x in floats)
    # Two updates an iteration from the second block on: 16 steps are then stored.
    assert state.iteration == 3 and state.opt_state[1] == 4 and agent.steps_per_iteration == 8
    # After 16 and 20 of the 20 steps in which it falls from 1 to 0.05.
    np.testing.assert_allclose(metrics["epsilon"].total, 4 * (0.24 + 0.05), rtol=1e-5)
    memory = state.replay.items["memory"]
    assert memory.shape[-1] > 0 and np.ptp(memory) > 0
    assert state.params["online"]["params"]["Dense_0"]["kernel"].shape == (4 + memory.shape[-1], 8)


@pytest.mark.slow
def test_several_seeds_and_numbers_at_once_are_as_many_single_runs():
    """In one program, from before the first update until after the ring is full."""
    agent, init, iterate = rich()
    traces = []

    @quick
    @jax.vmap
    def run(key, config, reward):
        traces.append(1)
        state = agent.init(key, config, reward)
        return jax.lax.fori_loop(0, 9, lambda _, s: agent.iterate(s)[0], state).params

    keys = jnp.stack([jax.random.key(i) for i in (0, 0, 2)])
    many = run(keys, *jax.tree.map(lambda *x: jnp.stack(x), *(numbers(agent, i) for i in range(3))))
    assert len(traces) == 1
    same = partial(np.testing.assert_allclose, rtol=1e-2, atol=1e-3)
    for i in range(3):
        alone = init(keys[i], *numbers(agent, i))
        for _ in range(9):
            alone, _ = iterate(alone)
        jax.tree.map(lambda x, y, i=i: same(x[i], y), many, alone.params)
    kernels = np.asarray(many["online"]["params"]["Dense_0"]["kernel"])
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3  # the same seed, other numbers
    assert np.abs(kernels[0] - kernels[2]).max() > 0.1


# ---- exploration -----------------------------------------------------------------------


def test_epsilon_falls_linearly_over_steps_of_the_environments():
    agent = small(epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=100.0)
    made, config = inside(agent), agent.config
    falling = [made.epsilon(config, jnp.int32(i)) for i in range(20)]
    steps = 4 * np.arange(40)
    expected = np.interp(steps, [0, 100], [0.9, 0.1])
    np.testing.assert_allclose(np.concatenate(falling), expected, rtol=1e-6)
    late = made.epsilon(config, jnp.int32(2**31 - 1))
    np.testing.assert_allclose(late, [0.1, 0.1], rtol=1e-6)


def test_so_many_actions_are_random():
    agent = small(epsilon_start=0.4, epsilon_steps=1e9)
    made, obs = inside(agent), normal(1000, 4)
    state = Looks(agent.config, jittered(agent), jnp.int32(0))
    best = np.asarray(made.quantiles(state.params["online"], obs)[:, 0].argmax(-1))
    greedy = agent.act(state, obs)
    assert greedy.dtype == jnp.int32 and 0.1 < best.mean() < 0.9
    np.testing.assert_array_equal(greedy, best)  # without a key
    drawn = np.asarray(agent.act(state, obs, jax.random.key(1)))
    for action in (0, 1):
        other = (drawn != best)[best == action].mean()
        assert abs(other - 0.2) < 0.07  # half of the random ones


def test_what_rewards_may_know_of_the_choice():
    made = inside(small())
    q = jnp.array([[1.0, 2.0]] * 3)
    choice = q_learning.Choice(jnp.array([1, 0, 1]), q, jnp.array([0.2, 0.2, 0.0]))
    known = made.policy_info(None, None, choice)
    probs = [0.9, 0.1, 1.0]
    np.testing.assert_allclose(known["log_prob"], np.log(probs), atol=1e-6)
    mixed = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    np.testing.assert_allclose(known["entropy"], [mixed, mixed, 0.0], atol=1e-6)
    np.testing.assert_allclose(known["value"], [2.0, 1.0, 2.0])


# ---- targets and losses ----------------------------------------------------------------


def learner(quantiles, **overrides):
    """An agent, jittered parameters, a batch, and what the networks say of it, in NumPy."""
    agent = small(quantiles=quantiles, **overrides)
    params, rng = jittered(agent), np.random.default_rng(3)
    weight = np.where(rng.uniform(size=16) < 0.3, 0.0, GAMMA**3).astype(np.float32)
    choice = rng.integers(0, 2, 16).astype(np.int32)
    batch = replay.Batch(normal(16, 4, seed=1), choice, normal(16, seed=2), weight, normal(16, 4))

    def out(params, inputs):
        layers = jax.tree.map(np.asarray, params["params"])
        first, second = layers["Dense_0"], layers["Dense_1"]
        hidden = np.maximum(inputs @ first["kernel"] + first["bias"][None], 0.0)
        return (hidden @ second["kernel"] + second["bias"][None]).reshape(16, quantiles, 2)

    now, slow = out(params["online"], batch.inputs), out(params["target"], batch.next_inputs)
    choose = out(params["online"], batch.next_inputs) if agent.config.double else slow
    return agent, params, batch, (now, slow, choose)


@pytest.mark.parametrize("double", [True, False])
def test_the_error_is_that_of_q_learning(double):
    agent, params, batch, (now, slow, choose) = learner(1, double=double)
    made, config = inside(agent), agent.config
    target = np.asarray(made.target(config, params, batch))
    assert (slow.argmax(2) != choose.argmax(2)).any() or not double  # so that it matters
    best = choose[:, 0].argmax(1)
    expected = batch.reward + batch.weight * slow[np.arange(16), 0, best]
    np.testing.assert_allclose(target[:, 0], expected, rtol=1e-4, atol=1e-4)
    chosen = now[np.arange(16), 0, batch.choice]
    size = np.abs(expected - chosen)
    ended = batch.weight == 0
    assert ended.any() and np.array_equal(target[ended, 0], batch.reward[ended])
    loss, mean = made.loss(config, params["online"], batch, target)
    np.testing.assert_allclose(mean, chosen.mean(), rtol=1e-4)
    huber = np.where(size <= 1.0, size**2 / 2, size - 0.5)
    np.testing.assert_allclose(loss, huber.mean(), rtol=1e-4)


def test_against_rlax():
    rlax = pytest.importorskip("rlax")
    agent, params, batch, (now, slow, choose) = learner(1, double=True)
    target = np.asarray(inside(agent).target(agent.config, params, batch))
    error = jax.vmap(rlax.double_q_learning)(
        now[:, 0], batch.choice, batch.reward, batch.weight, slow[:, 0], choose[:, 0]
    )
    chosen = now[np.arange(16), 0, batch.choice]
    np.testing.assert_allclose(target[:, 0] - chosen, error, rtol=1e-4, atol=1e-4)

    agent, params, batch, (now, slow, choose) = learner(5, huber_delta=0.3)
    target = np.asarray(inside(agent).target(agent.config, params, batch))
    loss, _ = inside(agent).loss(agent.config, params["online"], batch, target)
    levels = np.tile((np.arange(5, dtype=np.float32) + 0.5) / 5, (16, 1))
    theirs = jax.vmap(partial(rlax.quantile_q_learning, huber_param=0.3))
    args = (now, levels, batch.choice, batch.reward, batch.weight, choose, slow)
    np.testing.assert_allclose(loss, theirs(*args).mean(), rtol=1e-4)


@pytest.mark.parametrize("delta", [1.0, 0.3])
def test_the_loss_is_that_of_quantile_regression(delta):
    agent, params, batch, (now, slow, choose) = learner(5, huber_delta=delta)
    made, config = inside(agent), agent.config
    target = np.asarray(made.target(config, params, batch))
    loss, _ = made.loss(config, params["online"], batch, target)
    by_hand = 0.0
    for b in range(16):
        best = choose[b].mean(0).argmax()
        for i in range(5):
            for j in range(5):
                goal = batch.reward[b] + batch.weight[b] * slow[b, j, best]
                error = goal - now[b, i, batch.choice[b]]
                size = abs(error)
                huber = error**2 / 2 if size <= delta else delta * (size - delta / 2)
                by_hand += abs((i + 0.5) / 5 - (error < 0)) * huber / 5 / 16
    np.testing.assert_allclose(loss, by_hand, rtol=1e-4)


def test_quantiles_are_those_of_the_return():
    """A return of 0 or 1, the latter with 70 %: one of four levels is below 30 %."""
    agent = small(quantiles=4, huber_delta=0.05, learning_rate=3e-3)
    made, params = inside(agent), jittered(agent)
    reward = (np.random.default_rng(0).uniform(size=(1000, 32)) < 0.7).astype(np.float32)
    zeros = np.zeros((1000, 32, 4), np.float32)
    batches = replay.Batch(zeros, np.zeros((1000, 32), np.int32), reward, 0 * reward, zeros)
    start = (params, (dqn.optimiser(agent.config).init(params["online"]), jnp.int32(0)))
    (params, (_, updates)), _ = quick(made.update)(agent.config, start, batches)
    learned = np.asarray(made.quantiles(params["online"], jnp.zeros(4)))
    np.testing.assert_allclose(learned[:, 0], [0.0, 1.0, 1.0, 1.0], atol=0.15)
    assert updates == 1000


def test_targets_of_several_steps_by_hand():
    """From what is stored: within episodes, whose end by the clock ends no value."""
    agent, n, rng = small(n_step=3, gamma=GAMMA), 3, np.random.default_rng(0)
    made, params, recorder = inside(agent), jittered(agent), agent.init.__self__.recorder
    params["target"] = params["online"]
    state = jax.eval_shape(agent.init, jax.random.key(0))
    items = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), state.replay.items)
    terminated, truncated = rng.uniform(size=(2, 16, 4)) < 0.15
    step = items["step"].replace(
        obs=normal(16, 4, 4, seed=1),
        next_obs=normal(16, 4, 4, seed=2),
        env_reward=normal(16, 4, seed=3),
        terminated=terminated,
        truncated=truncated,
    )
    stored = replay.ReplayState({**items, "step": step}, jnp.int32(0), jnp.int32(16))
    state = state.replace(config=agent.config, reward=agent.reward)
    batches, _ = quick(partial(recorder.batches, state, ()))(stored, jax.random.key(7))
    batch = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batches)
    target = np.asarray(made.target(agent.config, params, batch))[:, 0]
    after = np.asarray(made.quantiles(params["online"], step.next_obs))[:, :, 0].max(-1)
    seen = set()
    for b in range(32):
        ((t, env),) = np.argwhere((step.obs == np.asarray(batch.inputs)[b][None, None]).all(-1))
        total = 0.0
        for k in range(n):
            total += GAMMA**k * step.env_reward[t + k, env]
            if terminated[t + k, env] or truncated[t + k, env] or t + k == 15:
                break
        if not terminated[t + k, env]:  # which wins, where both are true
            total += GAMMA ** (k + 1) * after[t + k, env]
        ends = "terminated" if terminated[t + k, env] else "truncated"
        seen.add(ends if step.last[t + k, env] else k)
        np.testing.assert_allclose(target[b], total, rtol=1e-4, atol=1e-5)
    assert {"terminated", "truncated", n - 1} <= seen


@pytest.mark.parametrize("every,rate", [(1, 0.25), (3, 1.0)])
def test_when_the_target_network_moves(every, rate):
    agent = small(target_every=every, target_rate=rate)
    made, config = inside(agent), agent.config
    _, params, batch, _ = learner(1)
    batches = jax.tree.map(lambda x: x[None], batch)
    update = quick(lambda now: made.update(config, now, batches)[0])
    bias = lambda p: np.asarray(p["params"]["Dense_1"]["bias"])  # noqa: E731
    now = (params, (dqn.optimiser(config).init(params["online"]), jnp.int32(0)))
    expected = bias(now[0]["target"])
    for i in range(1, 7):
        now = update(now)
        if i % every == 0:
            expected = expected + rate * (bias(now[0]["online"]) - expected)
        np.testing.assert_allclose(bias(now[0]["target"]), expected, rtol=1e-5, atol=1e-7)
    assert np.abs(expected).max() > 0 and now[1][1] == 6


# ---- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides,message",
    [
        (
            {"buffer_size": 12, "learning_starts": 0},
            "dqn's buffer_size=12 has no room for a batch of 16 steps "
            "(num_envs=4 x num_steps=2 at a time); use at least 16",
        ),
        ({"learning_starts": 65}, "dqn's learning_starts must be between 0 and 64, not 65"),
        ({"n_step": 0}, "dqn's n_step must be a positive integer, not 0"),
        ({"quantiles": 0}, "dqn's quantiles must be a positive integer, not 0"),
        ({"target_every": 0}, "dqn's target_every must be a positive integer, not 0"),
        ({"epsilon_end": 1.5}, "dqn's epsilon_end must be between 0 and 1, not 1.5"),
        ({"epsilon_steps": 0.0}, "dqn's epsilon_steps must be at least 1, not 0.0"),
        ({"huber_delta": -1.0}, "dqn's huber_delta must be at least 0, not -1.0"),
        ({"placement": "steps"}, "dqn has no placement 'steps', did you mean 'step'?"),
        ({"quantile": 3}, "dqn has no setting 'quantile', did you mean 'quantiles'?"),
        (
            {"env": "gymnax:Pendulum-v1"},
            "dqn needs Discrete actions; gymnax:Pendulum-v1 has Box: use sac or ppo",
        ),
    ],
)
def test_bad_settings_name_their_fix(overrides, message):
    with pytest.raises(UserError) as error:
        small(**overrides)
    assert str(error.value) == message


# ---- learning --------------------------------------------------------------------------


def learned(agent, seeds, iterations, episodes=16):
    """The greedy return of each seed, sorted."""

    def run(state):
        return jax.lax.fori_loop(0, iterations, lambda _, s: jax.vmap(agent.iterate)(s)[0], state)

    states = jax.jit(jax.vmap(agent.init))(jnp.stack([jax.random.key(i) for i in range(seeds)]))
    states = jax.jit(run, donate_argnums=0)(states)
    keys = jax.random.split(jax.random.key(99), seeds)
    evaluate = jax.jit(jax.vmap(partial(agent.evaluate, num_episodes=episodes)))
    return np.sort(np.asarray(evaluate(states, keys)[0]).mean(1))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_cartpole_is_learned():
    """With the defaults, in 80,000 steps: the interquartile mean over 8 seeds."""
    returns = learned(agents.make("dqn", CARTPOLE), 8, 10_000)
    assert returns[2:6].mean() >= 475, returns


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_breakout_is_learned():
    """In 80,000 steps: ten times the 0.41 bricks of a random policy, by the mean of the middle."""
    sizes = {"num_envs": 16, "hidden": (128, 128), "buffer_size": 40_000, "n_step": 3}
    agent = agents.make("dqn", "gymnax:Breakout-MinAtar", epsilon_steps=50_000.0, **sizes)
    returns = learned(agent, 4, 5_000)
    assert returns[1:3].mean() >= 4.0, returns
