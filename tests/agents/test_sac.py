"""SAC: probes with known values, its update by hand, rewards that change, what it refuses."""

import math
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import replay, sac_losses
from jaxrl_reward.agents.base import as_leaves
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
SLOPES = {"q_slope", "reward_slope"}  # where they are asked for
# All kinds of stages: remembers, learned, moving statistics, bounded.
MIXED = "(env + 0.5*counts(buckets=8) + rnd(width=4, features=2)) | normalize() | clip(-5, 5)"

# The two agents that most tests share, whose programs are compiled once.
RICH = {
    CONTINUOUS: {"normalize_obs": True, "n_step": 3, "layer_norm": True, "slopes": True},
    DISCRETE: {"placement": "step", "critics": 3, "policy_delay": 2, "slopes": True},
}

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small(env=CONTINUOUS, reward=None, **overrides):
    return agents.make("sac", env, reward, **{**SMALL, **overrides})


def inside(agent):
    """The functions behind an agent."""
    return agent.init.__self__


@cache
def rich(env):
    """An agent, and its `init` and `iterate`, compiled."""
    agent = small(env, MIXED, **RICH[env])
    return agent, quick(agent.init), quick(agent.iterate)


@cache
def after(env, iterations):
    """A rich agent, its state after some iterations, and the metrics of the last."""
    agent, init, iterate = rich(env)
    if iterations == 0:
        return agent, init(jax.random.key(0), as_leaves(agent.config), as_leaves(agent.reward)), {}
    return agent, *iterate(after(env, iterations - 1)[1])


def repeat(iterate, times):
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


# ---- probes ----------------------------------------------------------------------------


PROBE = {
    **SMALL,
    "num_envs": 8,
    "updates": 4,
    "batch_size": 64,
    "buffer_size": 2048,
    "hidden": (32,),
}
NUMBERS = {
    "learning_rate": 3e-3,
    "critic_learning_rate": 1e-2,
    "target_rate": 0.05,
    "gamma": GAMMA,
    "temperature": 1e-3,
}


@cache
def trainer(name, **settings):
    """An agent, and one program that trains it, whatever its numbers are."""
    agent = agents.make("sac", f"probe:{name}", **PROBE, **settings)

    @quick
    def train(config, iterations):
        return repeat(agent.iterate, iterations)(agent.init(jax.random.key(0), config))

    return agent, train


def trained(name, iterations=250, settings=(), **numbers):
    """An agent, its state, and the metrics of the last iteration."""
    agent, train = trainer(name, **{"tune_temperature": False, **dict(settings)})
    state, metrics = train(agent.config.replace(**{**NUMBERS, **numbers}), iterations)
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
    agent, state, _ = trained("constant")
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0, atol=0.03)


@pytest.mark.slow
def test_reward_of_the_observation():
    """The value depends on the observation: else it does not reach the critics."""
    agent, state, _ = trained("observation", settings={"normalize_obs": True})
    np.testing.assert_allclose(values(agent, state, -1.0, 1.0), [-1.0, 1.0], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("n_step", [1, 3])
def test_delayed_reward(n_step):
    """The first value is the discounted second: else bootstrapping is broken."""
    agent, state, _ = trained("delayed", settings={"n_step": n_step})
    np.testing.assert_allclose(values(agent, state, 0.0, 1.0), [GAMMA, 1.0], atol=0.03)


@pytest.mark.parametrize("n_step", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_time_limit_does_not_end_the_value(n_step):
    """1 / (1 - gamma) only by bootstrapping from where the clock stopped."""
    agent, state, means = trained("truncation", 600, {"n_step": n_step})
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0 / (1.0 - GAMMA), rtol=0.03)
    assert means["episode_return"] == means["episode_length"] == 10.0


@pytest.mark.parametrize("deterministic", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_best_of_a_continuum_of_actions(deterministic):
    """The policy climbs the critics, and these know the action."""
    kind = {"deterministic": True, "policy_delay": 2} if deterministic else {}
    agent, state, _ = trained("action_continuous", settings=kind)
    np.testing.assert_allclose(agent.act(state, jnp.zeros((1, 1)))[0], 0.5, atol=0.1)
    np.testing.assert_allclose(values(agent, state, 0.0), 1.0, atol=0.05)


@pytest.mark.slow
def test_the_better_of_two_actions_depends_on_the_observation():
    agent, state, _ = trained("both")
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
    _, _, means = trained("action_continuous", temperature=0.2, learning_rate=1e-2)
    np.testing.assert_allclose(means["entropy"], soft_optimum(0.2), atol=0.1)


@pytest.mark.slow
def test_a_fixed_temperature_weighs_the_entropy_of_two_actions():
    """For rewards -1 and 1, at 0.5 nats, the worse is chosen with 1 / (1 + e^4)."""
    _, _, means = trained("both", temperature=0.5, learning_rate=2e-2)
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
    numbers = {"temperature": 0.1, "learning_rate": 1e-2, "target_entropy_scale": scale}
    _, state, means = trained(name, 400, {"tune_temperature": True}, **numbers)
    np.testing.assert_allclose(means["entropy"], goal, atol=0.12)
    assert np.exp(state.params["log_temperature"]) != np.float32(0.1)


# ---- one iteration ---------------------------------------------------------------------


@pytest.mark.parametrize("env", [CONTINUOUS, pytest.param(DISCRETE, marks=pytest.mark.slow)])
def test_an_iteration_keeps_shapes_and_stays_finite(env):
    agent, state, metrics = after(env, 4)
    before = after(env, 0)[1]
    assert jax.tree.structure(state) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(state)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(before)
    ]
    assert set(metrics) == METRICS | SLOPES | {"reward/normalize/std", "reward/rnd/loss"}
    for name, mean in metrics.items():
        assert mean.total.shape == mean.count.shape == ()
        assert np.isfinite(mean.total) and (mean.count > 0 or "episode" in name), name
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(np.isfinite(x).all() for x in floats)
    assert state.iteration == 4 and agent.steps_per_iteration == 8
    # The policy learns once in `policy_delay` updates.
    assert metrics["q_loss"].count == 2
    assert metrics["actor_loss"].count == 2 / agent.config.policy_delay


def test_nothing_is_learned_before_the_warm_up_is_over():
    """And until then actions are random, whatever the policy is."""
    _, _, iterate = rich(DISCRETE)
    start = after(DISCRETE, 0)[1]
    layers = start.params["actor"]["params"]
    last = {**layers["Dense_1"], "bias": layers["Dense_1"]["bias"].at[0].set(1e3)}
    actor = {"params": {**layers, "Dense_1": last}}  # which would always choose 0
    state, metrics = iterate(start.replace(params={**start.params, "actor": actor}))
    close(state.params, {**start.params, "actor": actor}, 0.0, 0.0)
    assert metrics["q_loss"].count == metrics["actor_loss"].count == 0
    assert int(state.replay.size) == 8
    state, metrics = iterate(state)
    assert metrics["q_loss"].count == 2 and metrics["actor_loss"].count == 1
    state, _ = iterate(state)
    actions = np.asarray(state.replay.items["step"].action)
    assert actions.shape == (16, 4)
    assert 2 < actions[:4].sum() < 14 and actions[4:6].sum() == 0


def test_warm_up_actions_fill_their_bounds():
    agent, state, _ = after(CONTINUOUS, 0)
    made, keys = inside(agent), jax.random.split(jax.random.key(3), 64)

    @quick
    @jax.vmap
    def play(key):
        return made.items(made.play(state, key, key, jnp.array(True))[2])

    items = play(keys)
    actions = np.asarray(items["step"].action)
    np.testing.assert_allclose(np.quantile(actions, [0.25, 0.5, 0.75]), [-1, 0, 1], atol=0.25)
    assert np.abs(actions).max() <= 2.0 and np.ptp(actions) > 3.9
    np.testing.assert_allclose(actions, 2.0 * np.asarray(items["choice"]), 1e-5, 1e-6)


# ---- the update by hand ----------------------------------------------------------------


def dense(params, x):
    """A network of one hidden layer, in NumPy."""
    layers = jax.tree.map(np.asarray, params["params"])
    first, second = layers["Dense_0"], layers["Dense_1"]
    hidden = np.maximum(x @ first["kernel"] + first["bias"][None], 0.0)
    return hidden @ second["kernel"] + second["bias"][None]


def one_of(params, i):
    """Critics are a tuple, or a stack where targets are of a subset."""
    return params[i] if isinstance(params, tuple) else jax.tree.map(lambda x: x[i], params)


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
    raw = (mean + np.exp(log_std) * noise).astype(np.float64)  # for the tanh's slope, if steep
    log_prob = -0.5 * (noise**2 + np.log(2 * np.pi)) - log_std - np.log(1 - np.tanh(raw) ** 2)
    pair = np.concatenate([inputs, np.tanh(raw)], 1)
    q = reduce(np.stack([dense(critic, pair)[:, 0] for critic in critics]))
    return q, -log_prob.sum(1)


@pytest.mark.parametrize("env,critics,subset", [(CONTINUOUS, 4, 2), (DISCRETE, 2, 2)])
def test_the_update_is_the_papers(env, critics, subset):
    agent = small(env, critics=critics, subset=subset, hidden=(4,))
    made, settings = inside(agent).learner, as_leaves(agent.config)

    @quick
    def start(key):
        inputs = jnp.zeros((1, *agent.env.observation_space.shape))
        return made.init(key, key, inputs, settings.temperature)

    @quick
    def steps(settings, learner, batch, key):
        return (
            made.target(settings, learner[0], batch, key),
            made.critic_step(settings, learner, (batch, key)),
            made.actor_step(settings, learner, batch.inputs, key),
        )

    first, opt_state = start(jax.random.key(0))
    key, rng = jax.random.key(3), np.random.default_rng(0)
    jitter = lambda x: x + rng.normal(size=x.shape).astype(np.float32) * 0.3  # noqa: E731
    params = {name: jax.tree.map(jitter, first[name]) for name in first}
    alpha, batch = np.exp(params["log_temperature"]), batch_of(agent, rng, 16)

    key_noise, key_subset = jax.random.split(key)
    chosen = jax.random.permutation(key_subset, critics)[:subset] if subset < critics else range(2)
    assert len(set(np.asarray(chosen).tolist())) == subset
    targets = [one_of(params["target"], int(i)) for i in chosen]
    noise = np.asarray(made.dist.noise(key_noise, (16,)))
    low = lambda q: q.min(0)  # noqa: E731
    value, entropy = soft_values(agent, params, targets, batch.next_inputs, noise, low)
    expected = batch.reward + batch.weight * (value + alpha * entropy)
    target, critic_step, actor_step = steps(settings, (params, opt_state), batch, key)
    target = np.asarray(target)
    np.testing.assert_allclose(target, expected, rtol=2e-4, atol=2e-4)
    assert np.array_equal(target[batch.weight == 0], batch.reward[batch.weight == 0])

    # The critics: the loss, and the first step of Adam, which is the gradient's sign.
    (after, _), metrics = critic_step
    pair = batch.inputs if made.discrete else np.concatenate([batch.inputs, batch.choice], 1)
    q = np.stack([dense(one_of(params["critic"], i), pair) for i in range(critics)])
    q = q[:, np.arange(16), batch.choice] if made.discrete else q[..., 0]
    np.testing.assert_allclose(
        metrics["q_loss"], 0.5 * ((q - expected) ** 2).mean(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(metrics["q_mean"], q.mean(), rtol=1e-3, atol=1e-4)
    each = lambda p: [one_of(p, i)["params"]["Dense_1"]["bias"] for i in range(critics)]  # noqa: E731
    name = lambda p: np.stack(each(p))  # noqa: E731
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
    (after, _), metrics = actor_step
    np.testing.assert_allclose(
        metrics["actor_loss"], -(value + alpha * entropy).mean(), rtol=1e-3, atol=2e-4
    )
    np.testing.assert_allclose(metrics["entropy"], entropy.mean(), rtol=1e-3, atol=1e-4)
    goal = 0.98 * math.log(2) if made.discrete else -1.0
    change = float(after["log_temperature"] - params["log_temperature"])
    np.testing.assert_allclose(change, -3e-4 * np.sign(entropy.mean() - goal), rtol=1e-2)
    close(after["critic"], params["critic"], 0.0, 0.0)


def test_a_deterministic_policy_learns_as_td3():
    """The target's clipped noise, and targets that follow when the policy learns."""
    agent = small(deterministic=True, hidden=(4,))
    made, numbers = inside(agent).learner, {"target_noise": 0.3, "noise_clip": 0.2}
    settings = as_leaves(agent.config.replace(**numbers))

    @quick
    def steps(batch, key):
        inputs = jnp.zeros((1, *agent.env.observation_space.shape))
        params, opt_state = made.init(key, key, inputs, settings.temperature)
        # Targets that are not what they follow, as after some steps.
        for name in ("target", "target_actor"):
            params[name] = jax.tree.map(lambda x: 3.0 * x, params[name])
        between, _ = made.critic_step(settings, (params, opt_state), (batch, key))
        after, _ = made.actor_step(settings, between, batch.inputs, key)
        noise = made.dist.noise(jax.random.split(key)[0], (16,))
        return made.target(settings, params, batch, key), noise, params, between[0], after[0]

    batch = batch_of(agent, np.random.default_rng(0), 16)
    target, noise, params, between, after = steps(batch, jax.random.key(1))
    noise = np.clip(0.3 * np.asarray(noise), -0.2, 0.2)
    assert np.abs(noise).max() == np.float32(0.2)
    action = np.clip(np.tanh(dense(params["target_actor"], batch.next_inputs)) + noise, -1, 1)
    pair = np.concatenate([batch.next_inputs, action], 1)
    q = np.stack([dense(one_of(params["target"], i), pair)[:, 0] for i in range(2)]).min(0)
    np.testing.assert_allclose(target, batch.reward + batch.weight * q, rtol=1e-3, atol=1e-4)
    close(between["target"], params["target"], 0.0, 0.0)
    for fast, slow in (("critic", "target"), ("actor", "target_actor")):
        goal = jax.tree.map(lambda x, y: y + 0.005 * (x - y), after[fast], params[slow])
        close(after[slow], goal, 1e-4, 1e-6)
    close(after["log_temperature"], params["log_temperature"], 0.0, 0.0)


# ---- rewards that change ---------------------------------------------------------------


class rising(rw.Causal):  # noqa: N801
    """Doubles the reward of every other step of an episode, and adds to it."""

    def begin_one(self, shared, obs):
        return jnp.float32(0.0)

    def step(self, shared, local, transition):
        return local + 1, rw.Affine(1.0 + local % 2, 0.1 * local)

    def view(self, local):
        return local[None]


class linear(rw.Learned):  # noqa: N801
    """The running reward, amplified, and a function of the successor, both learned."""

    name = "linear"

    def init_params(self, key, example):
        return jnp.zeros(example.next_obs.size)

    def reward(self, params, transition):
        return transition.reward * (1.0 + params[0]) + transition.next_obs @ params

    def loss(self, params, key, batch):
        goal = batch.next_obs @ jnp.array([1.0, -2.0, 0.5])
        return ((batch.next_obs @ params - goal) ** 2).mean()


@pytest.mark.parametrize("placement", ["block", pytest.param("step", marks=pytest.mark.slow)])
def test_replayed_rewards_are_todays(placement):
    """What remembers is as recorded, between stages that learn: as if played anew today.

    The chain is learned, history, learned, moving statistics, bounded.
    """
    text = "rnd(width=4, features=2) + 0.1*counts(buckets=8)"
    reward = rw.parse(text) | rising() | linear(learning_rate=0.1) | rw.parse("normalize()")
    reward = reward | rw.clip(-5, 5)
    agent = small(CONTINUOUS, reward, placement=placement, learning_starts=64, buffer_size=64)
    made = inside(agent)

    @quick
    def replayed(first, state):
        """Of four blocks of two steps: under `first`, today, and today in order."""
        items = state.replay.items
        window = replay.Window(
            jax.tree.map(lambda x: x[:8].reshape(1, 32, *x.shape[2:]), items),
            jnp.ones((1, 32), bool),
        )
        then, now = (
            made.recorder.transitions(state.reward, shared, window)
            for shared in (first.reward_state.shared, state.reward_state.shared)
        )
        block = jax.tree.map(lambda x: x[0].reshape(8, 4, *x.shape[2:]), now)
        fresh = state.reward.init(jax.random.key(0), made.player.example(4, 8))
        anew = fresh.replace(shared=state.reward_state.shared)
        played = state.reward.apply(anew, block.replace(reward=block.env_reward)).reward
        return then.reward.reshape(8, 4), now.reward.reshape(8, 4), played

    iterate = quick(agent.iterate)
    first, _ = iterate(quick(agent.init)(jax.random.key(0)))
    state = first
    for _ in range(3):
        state, _ = iterate(state)
    then, now, played = map(np.asarray, replayed(first, state))
    np.testing.assert_allclose(now, played, rtol=1e-4, atol=1e-5)
    assert np.abs(now - then).max() > 0.1  # learning moves what is stored
    assert np.abs(now).max() < 5.0 and np.ptp(now) > 0.1  # and the bound hides nothing


class watched(linear):  # noqa: N801
    """Also logs what it is shown."""

    def learn(self, state, key, block):
        steps = jax.tree.map(lambda x: x[0], block.replace(reward=block.env_reward))
        today = jax.vmap(lambda step: self.reward(state.shared.params, step))(steps)
        same = (steps.next_obs[:, None] == steps.next_obs[None]).all(-1)
        shown = {
            "steps": jnp.float32(block.first.size),
            "distinct": (1.0 / same.sum(1)).sum(),
            "wrong": jnp.abs(block.reward[0] - today).max(),
            "extra": block.info["discount"].min(),
        }
        state, metrics = linear.learn(self, state, key, block)
        return state, metrics | shown


def test_a_learned_reward_learns_from_the_whole_store():
    """Though one step is played at a time; it converges on a linear reward."""
    agent = small(CONTINUOUS, watched(learning_rate=0.05), num_envs=1, num_steps=1, n_step=2)
    run = quick(lambda key: repeat(agent.iterate, 200)(agent.init(key)))
    state, metrics = run(jax.random.key(0))
    weights = state.reward_state.shared.params
    np.testing.assert_allclose(weights, [1.0, -2.0, 0.5], atol=0.02)
    shown = {name: float(m.total / m.count) for name, m in metrics.items() if "reward/" in name}
    assert shown["reward/linear/loss"] < 1e-3
    # 32 draws from a store of 64, with replacement: of about 25 different steps.
    assert shown["reward/steps"] == 32 and 18 < shown["reward/distinct"] <= 32.1
    # As rewarded today; and what it reads of `info` was stored, and nothing else was.
    assert shown["reward/wrong"] < 1e-4 and shown["reward/extra"] == 1.0
    step = state.replay.items["step"]
    assert step.info["discount"].shape == (64, 1) and not jax.tree.leaves(step.policy)


def test_what_rewards_read_of_info_is_stored_and_nothing_else():
    class reader(rw.Pointwise):  # noqa: N801
        def reward(self, transition):
            return transition.info["discount"] + transition.policy["log_prob"]

    agent = small(CONTINUOUS, rw.env() + reader())
    step = jax.eval_shape(agent.init, jax.random.key(0)).replay.items["step"]
    assert step.policy["log_prob"].shape == (16, 4) and step.info["discount"].shape == (16, 4)
    assert step.policy["value"] == () and step.reward == ()
    plain = jax.eval_shape(small().init, jax.random.key(0)).replay.items["step"]
    assert not jax.tree.leaves((plain.policy, plain.info))


# ---- many at once ----------------------------------------------------------------------


def observable(state):
    return state.replace(env_state=state.env_state.replace(spare=(), used=()))


@pytest.mark.parametrize("env", [DISCRETE, pytest.param(CONTINUOUS, marks=pytest.mark.slow)])
def test_several_seeds_and_numbers_at_once_are_as_many_single_runs(env):
    """In one program, from before the first update until after the ring is full."""
    agent, init, iterate = rich(env)
    traces = []

    @quick
    @jax.vmap
    def run(key, config, reward):
        traces.append(1)
        return repeat(agent.iterate, 9)(agent.init(key, config, reward))[0]

    def scaled(i):
        """Other numbers for each: of the agent's, and of the reward's."""
        config = agent.config.replace(learning_rate=[3e-4, 3e-3][i % 2], gamma=0.9 + 0.04 * i)
        return as_leaves(config), jax.tree.map(lambda x: x * (1 - 0.1 * i), as_leaves(agent.reward))

    keys = jnp.stack([jax.random.key(i) for i in (0, 0, 2)])
    many = run(keys, *jax.tree.map(lambda *x: jnp.stack(x), *map(scaled, range(3))))
    assert len(traces) == 1
    for i in range(3):
        alone = init(keys[i], *scaled(i))
        for _ in range(9):
            alone, _ = iterate(alone)
        close(jax.tree.map(lambda x, i=i: x[i], observable(many)), observable(alone), 1e-2, 1e-3)
    actor = np.asarray(many.params["actor"]["params"]["Dense_0"]["kernel"])
    assert np.abs(actor[0] - actor[1]).max() > 1e-4  # the same seed, other numbers
    assert np.abs(actor[0] - actor[2]).max() > 0.1


# ---- acting and evaluating -------------------------------------------------------------


def test_greedy_and_drawn_actions():
    agent, state, _ = after(CONTINUOUS, 4)
    obs = jnp.zeros((1000, 3))
    assert np.abs(agent.act(state, obs)).max() < 0.2
    drawn = agent.act(state, obs, jax.random.key(1))
    assert drawn.shape == (1000, 1) and np.abs(drawn).max() <= 2.0 and np.ptp(drawn) > 3.5
    agent, state, _ = after(DISCRETE, 4)
    obs = jnp.zeros((500, 4))
    greedy = agent.act(state, obs)
    assert greedy.dtype == jnp.int32 and len(set(greedy.tolist())) == 1
    assert 150 < int(agent.act(state, obs, jax.random.key(1)).sum()) < 350


def test_evaluation_is_the_environments_own_reward():
    agent, state, _ = after(DISCRETE, 4)
    returns, lengths = quick(partial(agent.evaluate, num_episodes=3))(state, jax.random.key(5))
    assert lengths.dtype == jnp.int32
    np.testing.assert_array_equal(returns, lengths)  # CartPole pays 1 a step


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
        ({"noise_clip": -1.0}, "sac's noise_clip must be at least 0, not -1.0"),
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


# ---- learning --------------------------------------------------------------------------


def learned(agent, seeds, iterations, first=0):
    """Greedy returns, the mean of 16 episodes for each seed, sorted."""
    states = jax.vmap(agent.init)(jnp.stack([jax.random.key(first + i) for i in range(seeds)]))
    states, _ = jax.jit(jax.vmap(repeat(agent.iterate, iterations)), donate_argnums=0)(states)
    keys = jax.random.split(jax.random.key(99), seeds)
    returns, _ = jax.jit(jax.vmap(partial(agent.evaluate, num_episodes=16)))(states, keys)
    return np.sort(np.asarray(returns).mean(1))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pendulum_is_learned():
    """The interquartile mean over 4 seeds; a random policy gets -1200, a good one -150."""
    agent = agents.make("sac", CONTINUOUS, hidden=(64, 64), batch_size=128)
    returns = learned(agent, 4, 10_000)
    assert returns[1:3].mean() >= -200, returns


@pytest.mark.slow
@pytest.mark.loose_shapes
@pytest.mark.timeout(900)
def test_the_inverted_pendulum_is_balanced():
    """For most of the 1000 steps, by the middle two of 4 seeds; a random policy lasts 15."""
    pytest.importorskip("brax")
    sizes = {"hidden": (64, 64), "batch_size": 128, "num_envs": 4, "updates": 4}
    agent = agents.make("sac", "brax:inverted_pendulum", normalize_obs=True, **sizes)
    returns = learned(agent, 4, 6_000, first=300)
    assert returns[1:3].mean() >= 900, returns


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_cartpole_is_learned():
    """With two actions; a random policy lasts 22 steps."""
    sizes = {"hidden": (64, 64), "batch_size": 64, "num_envs": 4, "updates": 4}
    numbers = {"target_entropy_scale": 0.3, "learning_rate": 1e-3, "target_rate": 0.01}
    agent = agents.make("sac", DISCRETE, **sizes, **numbers)
    returns = learned(agent, 2, 7_500)
    assert returns.mean() > 300, returns
