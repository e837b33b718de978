"""SAC: probes with known values, its update by hand, rewards that change, what it refuses."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import replay, sac_losses
from jaxrl_reward.agents.state import normalize
from jaxrl_reward.types import UserError

GAMMA = 0.9
DISCRETE, CONTINUOUS = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
SMALL = {
    "num_envs": 4,
    "num_steps": 2,
    "updates": 2,
    "batch_size": 16,
    "buffer_size": 64,
    "learning_starts": 16,
    "hidden": (8,),
}
METRICS = {"episode_return", "episode_length", "episode_reward", "reward", *sac_losses.LOSSES}
# All kinds of stages: remembers, learned, moving statistics, bounded.
MIXED = "(env + 0.5*counts(buckets=8) + rnd(width=4, features=2)) | normalize() | clip(-5, 5)"

REPLACED = "0*env + 3"

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small(env=CONTINUOUS, reward=None, **overrides):
    return agents.make("sac", env, reward, **{**SMALL, **overrides})


def inside(agent):
    """The functions behind an agent."""
    return agent.init.__self__


def begin(agent, key=0):
    """Compiled: step by step it takes seconds."""
    return quick(agent.init)(jax.random.key(key))


def repeat(iterate, times):
    return lambda state: jax.lax.fori_loop(0, times, lambda _, s: iterate(s)[0], state)


def repeat_with_metrics(iterate, times):
    """Also the metrics of the last time."""

    def run(state):
        shapes = jax.eval_shape(iterate, state)[1]
        metrics = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.fori_loop(0, times, lambda _, carry: iterate(carry[0]), (state, metrics))

    return run


def close(a, b, rtol=1e-3, atol=1e-4):
    def compare(x, y):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)

    jax.tree.map(compare, a, b)


@cache
def after(env=CONTINUOUS, iterations=4, reward=None, **overrides):
    """An agent, its state after some iterations, and the metrics of the last."""
    agent = small(env, reward, **overrides)
    state, iterate = begin(agent), quick(agent.iterate)
    for _ in range(iterations):
        state, metrics = iterate(state)
    return agent, state, metrics


# ---- probes ----------------------------------------------------------------------------


@cache
def trained(name, iterations=250, **overrides):
    """An agent, its state, and the metrics of the last iteration."""
    settings = {
        **SMALL,
        "num_envs": 8,
        "updates": 4,
        "batch_size": 64,
        "buffer_size": 2048,
        "hidden": (32,),
        "learning_rate": 3e-3,
        "critic_learning_rate": 1e-2,
        "target_rate": 0.05,
        "gamma": GAMMA,
        "tune_temperature": False,
        "temperature": 1e-3,
    }
    agent = agents.make("sac", name, **{**settings, **overrides})
    state = begin(agent)
    state, metrics = quick(repeat_with_metrics(agent.iterate, iterations))(state)
    means = {k: float(m.total / m.count) for k, m in metrics.items() if m.count > 0}
    assert all(np.isfinite(value) for value in means.values()), means
    return agent, state, means


def values(agent, state, *observations):
    """Of the greedy action, by the lower critic."""
    made, learner = inside(agent), inside(agent).learner
    inputs = jnp.array(observations)[:, None]
    choice = learner.dist.to_action(learner.dist.mode(made.policy(state, inputs)))
    q = learner.value_of(state.params["critic"], normalize(state, inputs), choice)
    return np.asarray(q.min(0))


@pytest.mark.slow
def test_constant_reward():
    """The value of one reward: anything else is a broken loss or optimiser."""
    agent, state, _ = trained("probe:constant")
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0, atol=0.03)


def test_reward_of_the_observation():
    """The value depends on the observation: else it does not reach the critics."""
    agent, state, _ = trained("probe:observation", normalize_obs=True)
    np.testing.assert_allclose(values(agent, state, -1.0, 1.0), [-1.0, 1.0], atol=0.05)


@pytest.mark.parametrize("n_step", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_delayed_reward(n_step):
    """The first value is the discounted second: else bootstrapping is broken."""
    agent, state, _ = trained("probe:delayed", n_step=n_step)
    np.testing.assert_allclose(values(agent, state, 0.0, 1.0), [GAMMA, 1.0], atol=0.03)


@pytest.mark.parametrize("n_step", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_time_limit_does_not_end_the_value(n_step):
    """1 / (1 - gamma) only by bootstrapping from where the clock stopped."""
    agent, state, means = trained("probe:truncation", 600, n_step=n_step)
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0 / (1.0 - GAMMA), rtol=0.03)
    assert means["episode_return"] == means["episode_length"] == 10.0


def test_the_best_of_a_continuum_of_actions():
    """The policy climbs the critics, and these know the action."""
    agent, state, _ = trained("probe:action_continuous")
    np.testing.assert_allclose(agent.act(state, jnp.zeros((1, 1)))[0], 0.5, atol=0.1)
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0, atol=0.05)


def test_the_better_of_two_actions_depends_on_the_observation():
    agent, state, _ = trained("probe:both")
    assert agent.act(state, jnp.array([[-1.0], [1.0]])).tolist() == [0, 1]
    np.testing.assert_allclose(values(agent, state, -1.0, 1.0), 1.0, atol=0.05)


def soft_optimum(temperature):
    """The entropy of the tanh-normal that is best for a reward 1 - (a - 0.5)^2."""
    z = np.linspace(-6, 6, 401)
    weight = np.exp(-0.5 * z**2) / np.exp(-0.5 * z**2).sum()
    best = (-np.inf, 0.0)
    for mean in np.linspace(0.0, 1.2, 61):
        for log_std in np.linspace(-3, 0, 61):
            x = mean + np.exp(log_std) * z
            slope = 2 * (np.log(2) - x - np.logaddexp(0, -2 * x))
            entropy = log_std + 0.5 * np.log(2 * np.pi * np.e) + weight @ slope
            value = weight @ (1 - (np.tanh(x) - 0.5) ** 2) + temperature * entropy
            best = max(best, (value, entropy))
    return best[1]


def test_a_fixed_temperature_weighs_the_entropy_of_a_continuum():
    _, _, means = trained("probe:action_continuous", temperature=0.2, learning_rate=1e-2)
    np.testing.assert_allclose(means["entropy"], soft_optimum(0.2), atol=0.1)


def test_a_fixed_temperature_weighs_the_entropy_of_two_actions():
    """For rewards -1 and 1, at 0.5 nats, the worse is chosen with 1 / (1 + e^4)."""
    _, _, means = trained("probe:action", temperature=0.5, learning_rate=2e-2)
    p = 1.0 / (1.0 + math.exp(4.0))
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    np.testing.assert_allclose(means["entropy"], expected, atol=0.03)


@pytest.mark.parametrize(
    "name,goal",
    [
        ("action_continuous", -1.0),
        pytest.param("action", 0.49 * math.log(2), marks=pytest.mark.slow),
    ],
)
def test_a_tuned_temperature_meets_the_target_entropy(name, goal):
    scale = 1.0 if name == "action_continuous" else 0.5
    settings = {"tune_temperature": True, "temperature": 0.1, "learning_rate": 1e-2}
    _, state, means = trained(f"probe:{name}", 400, target_entropy_scale=scale, **settings)
    np.testing.assert_allclose(means["entropy"], goal, atol=0.12)
    assert np.exp(state.params["log_temperature"]) != np.float32(0.1)


# ---- one iteration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "env,overrides",
    [
        (CONTINUOUS, {"normalize_obs": True, "n_step": 3, "layer_norm": True}),
        (DISCRETE, {"placement": "step", "critics": 3, "policy_delay": 2}),
    ],
)
def test_an_iteration_keeps_shapes_and_stays_finite(env, overrides):
    agent, state, metrics = after(env, 4, MIXED, **overrides)
    before = jax.eval_shape(agent.init, jax.random.key(0))
    assert jax.tree.structure(state) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(state)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(before)
    ]
    assert set(metrics) == METRICS | {"reward/normalize/std", "reward/rnd/loss"}
    for name, mean in metrics.items():
        assert mean.total.shape == mean.count.shape == ()
        assert np.isfinite(mean.total) and (mean.count > 0 or "episode" in name), name
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(np.isfinite(x).all() for x in floats)
    assert state.iteration == 4 and agent.steps_per_iteration == 8


def test_nothing_is_learned_before_the_warm_up_is_over():
    """And until then actions are uniform, whatever the policy is."""
    agent = small(DISCRETE, num_steps=8, learning_starts=50)
    state, iterate = begin(agent), quick(agent.iterate)
    bias = state.params["actor"]["params"]["Dense_1"]["bias"]
    state.params["actor"]["params"]["Dense_1"]["bias"] = bias.at[0].set(1e3)
    start = state
    state, metrics = iterate(state)
    close(state.params, start.params, 0.0, 0.0)
    assert metrics["q_loss"].count == 0 and int(state.replay.size) == 32
    state, metrics = iterate(state)
    assert metrics["q_loss"].count == 2 and metrics["actor_loss"].count == 2
    state, _ = iterate(state)
    actions = np.asarray(state.replay.items["step"].action)
    assert actions.shape == (16, 4)
    # The ring of 16 rows holds the second block and, written over the first, the third.
    assert 6 < actions[8:].sum() < 26 and actions[:8].sum() == 0


def test_warm_up_actions_fill_their_bounds():
    agent = small(num_envs=64, num_steps=8, buffer_size=512, learning_starts=512)
    state, _ = quick(agent.iterate)(begin(agent))
    actions = np.asarray(state.replay.items["step"].action)
    np.testing.assert_allclose(np.quantile(actions, [0.25, 0.5, 0.75]), [-1, 0, 1], atol=0.25)
    assert np.abs(actions).max() <= 2.0 and np.ptp(actions) > 3.9
    np.testing.assert_allclose(actions, 2.0 * np.asarray(state.replay.items["choice"]), rtol=1e-5)


# ---- the update by hand ----------------------------------------------------------------


def dense(params, x):
    """A network of one hidden layer, in NumPy."""
    layers = jax.tree.map(np.asarray, params["params"])
    first, second = layers["Dense_0"], layers["Dense_1"]
    hidden = np.maximum(x @ first["kernel"] + first["bias"][None], 0.0)
    return hidden @ second["kernel"] + second["bias"][None]


def one_of(params, i):
    return jax.tree.map(lambda x: x[i], params)


def batch_of(agent, rng, size):
    made = inside(agent).learner
    width = agent.env.observation_space.shape[0]
    if made.discrete:
        choice = rng.integers(0, made.dist.num_actions, size).astype(np.int32)
    else:
        choice = rng.uniform(-1, 1, (size, made.dist.dim)).astype(np.float32)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    weight = np.where(rng.uniform(size=size) < 0.3, 0.0, GAMMA).astype(np.float32)
    return replay.Batch(normal(size, width), choice, normal(size), weight, normal(size, width))


def soft_values(agent, params, critics, inputs, noise, reduce):
    """Value and entropy of the policy, row by row."""
    made, out = inside(agent).learner, dense(params["actor"], inputs)
    if made.discrete:
        probs = np.exp(out) / np.exp(out).sum(1, keepdims=True)
        q = reduce(np.stack([dense(critic, inputs) for critic in critics]))
        return (probs * q).sum(1), -(probs * np.log(probs)).sum(1)
    mean, log_std = np.split(out, 2, axis=1)
    raw = mean + np.exp(log_std) * noise
    log_prob = -0.5 * (noise**2 + np.log(2 * np.pi)) - log_std - np.log(1 - np.tanh(raw) ** 2)
    pair = np.concatenate([inputs, np.tanh(raw)], 1)
    q = reduce(np.stack([dense(critic, pair)[:, 0] for critic in critics]))
    return q, -log_prob.sum(1)


@pytest.mark.parametrize("env,critics,subset", [(CONTINUOUS, 4, 2), (DISCRETE, 2, 2)])
def test_the_update_is_the_papers(env, critics, subset):
    agent = small(env, critics=critics, subset=subset, hidden=(4,))
    made, state = inside(agent).learner, begin(agent)
    key, rng = jax.random.key(3), np.random.default_rng(0)
    jitter = lambda x: x + rng.normal(size=x.shape).astype(np.float32) * 0.3  # noqa: E731
    params = {name: jax.tree.map(jitter, state.params[name]) for name in state.params}
    alpha, batch = np.exp(params["log_temperature"]), batch_of(agent, rng, 16)

    key_noise, key_subset = jax.random.split(key)
    chosen = jax.random.permutation(key_subset, critics)[:subset] if subset < critics else range(2)
    assert len(set(np.asarray(chosen).tolist())) == subset
    targets = [one_of(params["target"], int(i)) for i in chosen]
    noise = np.asarray(made.dist.noise(key_noise, (16,)))
    low = lambda q: q.min(0)  # noqa: E731
    value, entropy = soft_values(agent, params, targets, batch.next_inputs, noise, low)
    expected = batch.reward + batch.weight * (value + alpha * entropy)
    target = np.asarray(quick(made.target)(state.config, params, batch, key))
    np.testing.assert_allclose(target, expected, rtol=2e-4, atol=2e-4)
    assert np.array_equal(target[batch.weight == 0], batch.reward[batch.weight == 0])

    # The critics: the loss, and the first step of Adam, which is the gradient's sign.
    learner = (params, state.opt_state)
    (after, _), metrics = quick(made.critic_step)(state.config, learner, (batch, key))
    pair = batch.inputs if made.discrete else np.concatenate([batch.inputs, batch.choice], 1)
    q = np.stack([dense(one_of(params["critic"], i), pair) for i in range(critics)])
    q = q[:, np.arange(16), batch.choice] if made.discrete else q[..., 0]
    np.testing.assert_allclose(
        metrics["q_loss"], 0.5 * ((q - expected) ** 2).mean(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(metrics["q_mean"], q.mean(), rtol=1e-3, atol=1e-4)
    name = lambda p: np.asarray(p["params"]["Dense_1"]["bias"])  # noqa: E731
    moved = name(after["critic"]) - name(params["critic"])
    gradient = (q - expected)[:, :, None] * (
        np.eye(made.dist.num_actions)[batch.choice] if made.discrete else np.ones((16, 1))
    )
    np.testing.assert_allclose(moved, -1e-3 * np.sign(gradient.sum(1)), rtol=1e-2)
    slow = name(params["target"]) + 0.005 * (name(after["critic"]) - name(params["target"]))
    np.testing.assert_allclose(name(after["target"]), slow, rtol=1e-4, atol=1e-6)
    close(after["actor"], params["actor"], 0.0, 0.0)

    # The policy and the temperature.
    noise = np.asarray(made.dist.noise(key, (16,)))
    all_critics = [one_of(params["critic"], i) for i in range(critics)]
    over = low if subset == critics else lambda q: q.mean(0)
    value, entropy = soft_values(agent, params, all_critics, batch.inputs, noise, over)
    (after, _), metrics = quick(made.actor_step)(state.config, learner, batch.inputs, key)
    np.testing.assert_allclose(
        metrics["actor_loss"], -(value + alpha * entropy).mean(), rtol=1e-3, atol=2e-4
    )
    np.testing.assert_allclose(metrics["entropy"], entropy.mean(), rtol=1e-3, atol=1e-4)
    goal = 0.98 * math.log(2) if made.discrete else -1.0
    change = float(after["log_temperature"] - params["log_temperature"])
    np.testing.assert_allclose(change, -3e-4 * np.sign(entropy.mean() - goal), rtol=1e-2)
    close(after["critic"], params["critic"], 0.0, 0.0)


def test_the_policy_learns_once_in_a_while():
    agent = small(updates=4, policy_delay=2)
    _, _, metrics = after(updates=4, policy_delay=2)
    assert metrics["q_loss"].count == 4 and metrics["actor_loss"].count == 2
    assert agent.config.updates == 4


# ---- rewards that change ---------------------------------------------------------------


@pytest.mark.parametrize("placement", ["block", pytest.param("step", marks=pytest.mark.slow)])
def test_replayed_rewards_are_todays(placement):
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
    agent = small(CONTINUOUS, reward, placement=placement, learning_starts=64, buffer_size=64)
    made, state = inside(agent), begin(agent)
    iterate = quick(agent.iterate)
    first, _ = iterate(state)
    state = first
    for _ in range(3):
        state, _ = iterate(state)
    items = state.replay.items
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
    for t in range(8):  # four blocks of two steps: no episode of Pendulum ends
        expected = (bonus[t] * (1 + t % 2) + 0.1 * t) / math.sqrt(variance + scale.epsilon)
        np.testing.assert_allclose(now[t], np.clip(expected, -5, 5), rtol=1e-3)


def test_what_rewards_read_of_info_is_stored_and_nothing_else():
    class reader(rw.Pointwise):  # noqa: N801
        def reward(self, transition):
            return transition.info["discount"] + transition.policy["log_prob"]

    agent = small(CONTINUOUS, rw.env() + reader())
    state, _ = quick(agent.iterate)(begin(agent))
    step = state.replay.items["step"]
    assert step.policy["log_prob"].shape == (16, 4) and step.info["discount"].shape == (16, 4)
    assert step.policy["value"] == () and step.reward == ()
    assert np.abs(step.policy["log_prob"][:2]).min() > 0.0
    plain = jax.eval_shape(small().init, jax.random.key(0)).replay.items["step"]
    assert not jax.tree.leaves((plain.policy, plain.info))


# ---- many at once ----------------------------------------------------------------------


def observable(state):
    return state.replace(env_state=state.env_state.replace(spare=(), used=()))


@pytest.mark.parametrize("env", [DISCRETE, pytest.param(CONTINUOUS, marks=pytest.mark.slow)])
def test_several_seeds_at_once_are_as_many_single_runs(env):
    """From before the first update until after the ring is full."""
    agent = small(env, "env + 0.1*counts(buckets=8) | normalize()", n_step=2, buffer_size=32)
    keys = jnp.stack([jax.random.key(i) for i in range(3)])
    many = quick(jax.vmap(repeat(agent.iterate, 7)))(quick(jax.vmap(agent.init))(keys))
    one = quick(repeat(agent.iterate, 7))
    for i in range(3):
        alone = observable(one(begin(agent, i)))
        close(jax.tree.map(lambda x, i=i: x[i], observable(many)), alone)
    assert np.ptp(np.asarray(many.params["log_temperature"])) >= 0.0
    assert np.ptp(np.asarray(many.params["actor"]["params"]["Dense_0"]["kernel"]), axis=0).max() > 0


def test_a_sweep_over_numbers_is_one_program():
    agent, count = small(reward="0.5*env"), []
    key = jax.random.key(0)

    def run(config, reward):
        count.append(1)
        state = agent.init(key, config, reward)
        state, metrics = repeat_with_metrics(agent.iterate, 5)(state)
        return state.params, metrics["reward"].total

    configs = [agent.config.replace(learning_rate=r, gamma=g) for r, g in ((1e-3, 0.9), (0.1, 0.5))]
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


def test_a_store_costs_no_copies():
    """Nor with several seeds, whose predicates and rows are arrays."""
    agent = small(buffer_size=80_000)
    state = jax.eval_shape(jax.vmap(agent.init), jax.random.split(jax.random.key(0), 2))
    ring = jax.tree.leaves(state.replay)
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in ring)
    iterate = repeat(jax.vmap(agent.iterate), 3)
    program = jax.jit(iterate, donate_argnums=0).lower(state).compile()
    assert program.memory_analysis().temp_size_in_bytes < size / 5


# ---- acting, evaluating, resuming ------------------------------------------------------


def test_greedy_and_drawn_actions():
    agent, state, _ = after(CONTINUOUS, 1)
    obs = jnp.zeros((1000, 3))
    assert np.abs(agent.act(state, obs)).max() < 0.1
    drawn = agent.act(state, obs, jax.random.key(1))
    assert drawn.shape == (1000, 1) and np.abs(drawn).max() <= 2.0 and np.ptp(drawn) > 3.5
    agent, state, _ = after(DISCRETE, 1, REPLACED)
    obs = jnp.zeros((500, 4))
    greedy = agent.act(state, obs)
    assert greedy.dtype == jnp.int32 and len(set(greedy.tolist())) == 1
    assert 150 < int(agent.act(state, obs, jax.random.key(1)).sum()) < 350


def test_evaluation_is_the_environments_own_reward():
    agent, state, _ = after(DISCRETE, 1, REPLACED)
    returns, lengths = quick(partial(agent.evaluate, num_episodes=3))(state, jax.random.key(5))
    assert lengths.dtype == jnp.int32
    np.testing.assert_array_equal(returns, lengths)  # CartPole pays 1 a step


def test_a_resumed_run_ends_as_one_that_was_never_cut(tmp_path):
    """The store and what it holds are in the checkpoint."""
    agent = small(CONTINUOUS, "env + 0.1*counts(buckets=8)", buffer_size=48, updates=1)
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
    assert whole.state.replay.filled.tolist() == [12, 12]


# ---- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides,message",
    [
        (
            {"buffer_size": 12, "learning_starts": 0},
            "sac's buffer_size=12 has no room for a batch of 16 steps "
            "(num_envs=4 x num_steps=2 at a time); use at least 16",
        ),
        ({"learning_starts": 65}, "sac's learning_starts must be between 0 and 64, not 65"),
        # In whole blocks of eight, the ring holds 56.
        (
            {"learning_starts": 60, "buffer_size": 63},
            "sac's learning_starts must be between 0 and 56, not 60",
        ),
        ({"policy_delay": 3}, "sac's policy_delay=3 must divide updates=2"),
        ({"subset": 3}, "sac's subset=3 must not exceed critics=2"),
        ({"n_step": 0}, "sac's n_step must be a positive integer, not 0"),
        ({"hidden": (8, 0)}, "sac's hidden must be a positive integer, not 0"),
        ({"gamma": 1.5}, "sac's gamma must be between 0 and 1, not 1.5"),
        ({"temperature": -1.0}, "sac's temperature must be at least 0, not -1.0"),
        ({"placement": "steps"}, "sac has no placement 'steps', did you mean 'step'?"),
        ({"batchsize": 3}, "sac has no setting 'batchsize', did you mean 'batch_size'?"),
    ],
)
def test_bad_settings_name_their_fix(overrides, message):
    with pytest.raises(UserError) as error:
        small(**overrides)
    assert str(error.value) == message


def test_rewards_that_replay_cannot_give_are_refused():
    class unrepeatable(rw.RewardTransform):  # noqa: N801
        def apply(self, state, block):
            return rw.env().apply(state, block)

    @rw.episodic
    def total_return(block, episodes):
        return episodes.sum(block.reward)

    for reward, message in (
        (total_return(), "sac plays fixed blocks, and total_return.. needs whole episodes"),
        ("rnd() | delay()", "sac learns from replay, and delay.. remembers rewards of a stage"),
        (unrepeatable(), "sac learns from replay, and unrepeatable cannot be recomputed"),
    ):
        with pytest.raises(UserError, match=message) as error:
            small(reward=reward)
        assert "\n" not in str(error.value)
    small(reward="delay() | rnd()")  # nothing before the delay changes


# ---- learning --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pendulum_is_learned():
    """The interquartile mean over 4 seeds; a random policy gets -1200, a good one -150."""
    agent = agents.make("sac", CONTINUOUS, hidden=(64, 64), batch_size=128)
    states = jax.vmap(agent.init)(jnp.stack([jax.random.key(i) for i in range(4)]))
    states = jax.jit(jax.vmap(repeat(agent.iterate, 10_000)), donate_argnums=0)(states)
    keys = jax.random.split(jax.random.key(99), 4)
    returns, _ = jax.jit(jax.vmap(partial(agent.evaluate, num_episodes=16)))(states, keys)
    returns = np.sort(np.asarray(returns).mean(1))
    assert returns[1:3].mean() >= -200, returns


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cartpole_is_learned():
    """With two actions; a random policy lasts 22 steps."""
    agent = agents.make(
        "sac",
        DISCRETE,
        hidden=(64, 64),
        batch_size=64,
        num_envs=4,
        updates=4,
        target_entropy_scale=0.3,
        learning_rate=1e-3,
        target_rate=0.01,
    )
    states = jax.vmap(agent.init)(jnp.stack([jax.random.key(i) for i in range(2)]))
    states = jax.jit(jax.vmap(repeat(agent.iterate, 7_500)), donate_argnums=0)(states)
    keys = jax.random.split(jax.random.key(99), 2)
    returns, _ = jax.jit(jax.vmap(partial(agent.evaluate, num_episodes=16)))(states, keys)
    assert np.asarray(returns).mean() > 300, returns
