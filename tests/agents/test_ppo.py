"""PPO: its loss by hand, sweeps against loops, what it refuses, what it learns."""

import math
from functools import cache, partial

import _shared
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.environments import spaces

from jaxrl_reward import agents, envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import actions, base
from jaxrl_reward.agents.on_policy import ppo
from jaxrl_reward.nn.distributions import Categorical
from jaxrl_reward.types import UserError

SMALL = {"num_envs": 4, "num_steps": 16, "hidden": (8,), "epochs": 2, "minibatches": 2}
DISCRETE, CONTINUOUS = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
METRICS = {
    "episode_return",
    "episode_length",
    "episode_reward",
    "reward",
    "policy_loss",
    "value_loss",
    "entropy",
    "approx_kl",
    "clip_fraction",
    "explained_variance",
}

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small(env=DISCRETE, reward=None, **overrides):
    return agents.make("ppo", env, reward, **{**SMALL, **overrides})


@cache
def after(env=DISCRETE, iterations=3, reward=None, **overrides):
    """An agent, its state after some iterations, and the metrics of the last."""
    agent = small(env, reward, **overrides)
    state, iterate = agent.init(jax.random.key(0)), quick(agent.iterate)
    for _ in range(iterations):
        state, metrics = iterate(state)
    return agent, state, metrics


def repeat(iterate, times):
    return lambda state: jax.lax.fori_loop(0, times, lambda _, s: iterate(s)[0], state)


close = partial(_shared.close, rtol=2e-4, atol=2e-5)


# ---- one iteration ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "env,overrides",
    [
        (DISCRETE, {"anneal": True, "anneal_steps": 1e6, "clip_value": True}),
        (CONTINUOUS, {"normalize_obs": True}),
        (CONTINUOUS, {"distribution": "tanh_normal", "placement": "step"}),
    ],
)
def test_an_iteration_keeps_shapes_and_stays_finite(env, overrides):
    agent, state, metrics = after(env, 3, "env + 0.1*counts() | normalize()", **overrides)
    before = jax.eval_shape(agent.init, jax.random.key(0))
    assert jax.tree.structure(state) == jax.tree.structure(before)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(state)] == [
        (x.shape, x.dtype) for x in jax.tree.leaves(before)
    ]
    assert set(metrics) == METRICS | {"reward/normalize/std"}
    for name, mean in metrics.items():
        assert mean.total.shape == mean.count.shape == ()
        assert np.isfinite(mean.total) and (mean.count > 0 or "episode" in name), name
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert all(np.isfinite(x).all() for x in floats)
    assert state.iteration == 3 and agent.steps_per_iteration == 64


def test_named_terms_are_logged_by_their_name():
    _, _, metrics = after(reward="named('bonus', 2) + env")
    bonus = metrics["reward/bonus"]
    assert bonus.value == 2.0 and "reward/bonus/share" in metrics


def test_the_same_key_gives_the_same_bits():
    agent, state, _ = after()
    other, iterate = agent.init(jax.random.key(0)), quick(agent.iterate)
    for _ in range(3):
        other, _ = iterate(other)
    key = lambda s: s.replace(key=jax.random.key_data(s.key), env_state=())  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, key(state), key(other))
    different = agent.init(jax.random.key(1))
    assert not np.array_equal(different.env_state.obs, agent.init(jax.random.key(0)).env_state.obs)


def test_the_state_holds_every_number_as_a_float32_array():
    agent = small(reward="0.5*env + 1", learning_rate=1)
    state = agent.init(jax.random.key(0))
    numbers = [*jax.tree.leaves(state.config), *jax.tree.leaves(state.reward)]
    assert len(numbers) == 8 + 2 and all(x.dtype == jnp.float32 for x in numbers)


# ---- the update by hand ----------------------------------------------------------------


def logits_of(params, x):
    hidden = np.tanh(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"][None])
    return hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"][None]


@pytest.mark.parametrize("clip_value,normalize", [(False, True), (True, False)])
def test_the_loss_is_the_papers(clip_value, normalize):
    agent = small(clip_value=clip_value, normalize_advantage=normalize, clip=0.1)
    state = agent.init(jax.random.key(0))
    params = jax.tree.map(lambda x: x + 0.3, state.params)
    rng = np.random.default_rng(0)
    batch = ppo.Batch(
        inputs=rng.normal(size=(32, 4)).astype(np.float32),
        raw=rng.integers(0, 2, 32).astype(np.int32),
        noise=np.zeros(32, np.float32),
        log_prob=np.log(rng.uniform(0.3, 0.7, 32)).astype(np.float32),
        value=rng.normal(size=32).astype(np.float32),
        advantage=rng.normal(size=32).astype(np.float32),
        target=rng.normal(size=32).astype(np.float32),
        context={"actor": (), "critic": ()},
    )
    made = ppo.Learner(agent.config, agent.env.action_space)
    fair = made.standardize(state.config, batch, np.arange(32))
    loss, metrics = made.loss(state.config, params, fair)

    actor, critic = (jax.tree.map(np.asarray, params[k]["params"]) for k in ("actor", "critic"))
    logits, value = logits_of(actor, batch.inputs), logits_of(critic, batch.inputs)[:, 0]
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    advantage = batch.advantage
    if normalize:
        advantage = (advantage - advantage.mean()) / advantage.std()
    policy_losses, value_losses, clipped = [], [], 0
    for i in range(32):
        ratio = probs[i, batch.raw[i]] / np.exp(batch.log_prob[i])
        policy_losses.append(-min(ratio * advantage[i], np.clip(ratio, 0.9, 1.1) * advantage[i]))
        # What is beyond a bound counts where that lowers it: elsewhere its slope is kept.
        clipped += np.clip(ratio, 0.9, 1.1) * advantage[i] < ratio * advantage[i]
        error = (value[i] - batch.target[i]) ** 2
        if clip_value:
            near = batch.value[i] + np.clip(value[i] - batch.value[i], -0.1, 0.1)
            error = max(error, (near - batch.target[i]) ** 2)
        value_losses.append(error / 2)
    entropy = -(probs * np.log(probs)).sum(1).mean()
    expected = np.mean(policy_losses) + 0.5 * np.mean(value_losses) - 0.01 * entropy
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose(metrics["policy_loss"], np.mean(policy_losses), rtol=1e-4)
    np.testing.assert_allclose(metrics["value_loss"], np.mean(value_losses), rtol=1e-4)
    np.testing.assert_allclose(metrics["entropy"], entropy, rtol=1e-4)
    assert 0 < clipped < 32 and metrics["clip_fraction"] == clipped / 32


ONE_STEP = [
    ({"num_envs": 1, "num_steps": 8, "minibatches": 8}, "use minibatches=4, or normalize"),
    ({"num_envs": 3, "num_steps": 1, "minibatches": 3}, "use minibatches=1, or normalize"),
    ({"num_envs": 1, "num_steps": 1, "minibatches": 1}, "use a larger num_envs or num_steps, or"),
    ({"num_envs": 6, "num_steps": 1, "minibatches": 6, "network": "gru"}, "use minibatches=3, or"),
]


@pytest.mark.parametrize("size,fix", ONE_STEP)
def test_one_advantage_cannot_be_normalised(size, fix):
    """Its mean is itself: the actor would never move, and nothing would be said."""
    with pytest.raises(UserError, match=f"leaves one step in each, .* always 0; {fix}"):
        small(**size)
    assert small(**size, normalize_advantage=False).config.minibatches == size["minibatches"]


def test_a_minibatch_of_one_environment_may_hold_several_steps():
    size = {"num_envs": 2, "num_steps": 2, "minibatches": 2}
    assert small(**size, network="gru").config.normalize_advantage
    # Of two different advantages one is above the mean by the deviation, one below.
    agent = small(**size)
    made = ppo.Learner(agent.config, agent.env.action_space)
    batch = ppo.Batch(*[()] * 5, advantage=jnp.array([3.0, 7.0, 5.0, 4.0]), target=())
    fair = made.standardize(agent.config, batch, jnp.array([1, 3]))
    np.testing.assert_allclose(fair.advantage[jnp.array([1, 3])], [1.0, -1.0], rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e4])
def test_equal_advantages_are_none(unit):
    """Seven times 0.1 is not quite 0.7: a difference by rounding is not made a full-sized one."""
    agent = small()
    made = ppo.Learner(agent.config, agent.env.action_space)
    sums = np.float32(unit) * np.array([0.7, np.float32(0.1) * 7, sum([np.float32(0.1)] * 7), 0.7])
    batch = ppo.Batch(*[()] * 5, advantage=jnp.asarray(sums, jnp.float32), target=())
    assert len(set(np.asarray(batch.advantage).tolist())) > 1
    fair = made.standardize(agent.config, batch, jnp.arange(4))
    np.testing.assert_array_equal(fair.advantage, 0.0)


def test_without_a_learning_rate_nothing_is_learned():
    """And so every ratio is 1: what is replayed is what was played."""
    agent, state, metrics = after(learning_rate=0.0)
    before = agent.init(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, state.params, before.params)
    assert abs(metrics["approx_kl"].total) < 1e-5 and metrics["clip_fraction"].total == 0


@pytest.mark.parametrize("overrides", [{}, {"distribution": "tanh_normal"}])
def test_replayed_ratios_are_one_for_continuous_actions(overrides):
    _, _, metrics = after(CONTINUOUS, 2, learning_rate=0.0, normalize_obs=True, **overrides)
    assert abs(metrics["approx_kl"].value) < 1e-5


def test_the_learning_rate_is_annealed_to_zero():
    agent = small(anneal=True, anneal_steps=128.0)  # two iterations
    state, iterate = agent.init(jax.random.key(0)), quick(agent.iterate)
    moved = []
    for _ in range(3):
        new, _ = iterate(state)
        change = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), new.params, state.params)
        moved.append(max(map(float, jax.tree.leaves(change))))
        state = new
    # Adam's first steps are of the length of the learning rate each.
    assert 4.1e-3 > moved[0] > 5e-4 and moved[1] > 0 and moved[2] == 0.0


def test_the_policys_loss_gives_the_reward_no_gradient():
    """The advantage is a number, also where the reward has parameters and a weight."""
    agent = small(reward="env + 0.5*rnd(width=4, features=2)")
    state = agent.init(jax.random.key(0))
    made = ppo.Learner(agent.config, agent.env.action_space)
    shape, player = (16, 4), agent.init.__self__.player
    noise, keys = jnp.full(shape, 0.5), jax.random.split(jax.random.key(1), shape)

    def loss(weights, shared):
        reward_state = state.reward_state.replace(shared=shared)
        given = state.replace(reward=weights, reward_state=reward_state)
        played = player.rollout(given, made, state.memory, noise, keys)[2]
        batch = made.batch(state, played, noise)
        return made.loss(state.config, state.params, batch)[0], played.block.reward.sum()

    gradient = jax.grad(loss, argnums=(0, 1), allow_int=True, has_aux=True)
    grads, total = quick(gradient)(state.reward, state.reward_state.shared)
    floats = [g for g in jax.tree.leaves(grads) if g.dtype != jax.dtypes.float0]
    assert len(floats) > 5 and all((np.asarray(g) == 0.0).all() for g in floats)
    assert total > 64.0  # the bonus is there


def test_observation_statistics_are_those_of_all_that_was_seen():
    agent = small(normalize_obs=True)
    state, iterate = agent.init(jax.random.key(0)), quick(agent.iterate)
    made = ppo.Learner(agent.config, agent.env.action_space)
    seen, player = [], agent.init.__self__.player

    @quick
    def play(state):
        _, key_noise, key_env, *_ = jax.random.split(state.key, 5)
        noise = made.dist.noise(key_noise, (16, 4))
        keys = jax.random.split(key_env, (16, 4))
        return player.rollout(state, made, state.memory, noise, keys)[2].inputs

    for _ in range(3):
        seen.append(np.asarray(play(state)).reshape(-1, 4))
        state, _ = iterate(state)
    seen = np.concatenate(seen)
    np.testing.assert_allclose(state.obs_stats.mean, seen.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(state.obs_stats.std, seen.std(0), rtol=1e-4, atol=1e-5)


# ---- acting and evaluating -------------------------------------------------------------


def test_greedy_and_drawn_actions():
    agent = small()
    state = agent.init(jax.random.key(0))
    obs = jnp.zeros((500, 4))
    greedy = agent.act(state, obs)
    assert greedy.shape == (500,) and greedy.dtype == jnp.int32 and len(set(greedy.tolist())) == 1
    drawn = agent.act(state, obs, jax.random.key(1))
    assert 150 < int(drawn.sum()) < 350


@pytest.mark.parametrize("distribution", ["normal", "tanh_normal"])
def test_continuous_actions_fill_their_bounds(distribution):
    agent = small(CONTINUOUS, distribution=distribution)
    state = agent.init(jax.random.key(0))
    obs = jnp.zeros((1000, 3))
    assert np.abs(agent.act(state, obs)).max() < 0.1
    drawn = agent.act(state, obs, jax.random.key(1))
    assert drawn.shape == (1000, 1) and np.abs(drawn).max() <= 2.0 and np.ptp(drawn) > 3.5


def test_evaluation_is_a_plain_loop_of_greedy_episodes():
    agent, state, _ = after()
    returns, lengths = quick(partial(agent.evaluate, num_episodes=3))(state, jax.random.key(5))
    assert returns.shape == lengths.shape == (3,) and lengths.dtype == jnp.int32
    np.testing.assert_array_equal(returns, lengths)  # CartPole pays 1 a step
    key_reset, key_step, _ = jax.random.split(jax.random.key(5), 3)
    act, step = jax.jit(agent.act), jax.jit(agent.env.step)
    obs, inner = agent.env.reset(jax.random.split(key_reset, 3)[1])
    for t in range(500):
        action = act(state, obs[None])[0]
        key = jax.random.split(jax.random.fold_in(key_step, t), 3)[1]
        obs, inner, _, terminated, truncated, _ = step(key, inner, action)
        if terminated or truncated:
            break
    assert lengths[1] == t + 1


@pytest.mark.slow
def test_evaluation_of_several_seeds_is_that_of_each():
    agent = small()
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(agent.init)(keys)
    evaluate = partial(agent.evaluate, num_episodes=2)
    many = quick(jax.vmap(evaluate))(states, keys)
    one = quick(evaluate)
    for i in range(3):
        single = one(jax.tree.map(lambda x, i=i: x[i], states), keys[i])
        np.testing.assert_array_equal(many[0][i], single[0])


# ---- many at once ----------------------------------------------------------------------


def observable(state):
    """A state without its stock of initial states: when that is refilled depends
    on the seeds beside it, and what it will give does not."""
    return state.replace(env_state=state.env_state.replace(spare=(), used=()))


def compare_seeds(agent, seeds, iterations):
    keys = jnp.stack([jax.random.key(i) for i in range(seeds)])
    many = quick(jax.vmap(repeat(agent.iterate, iterations)))(jax.vmap(agent.init)(keys))
    one = quick(repeat(agent.iterate, iterations))
    for i in range(seeds):
        alone = observable(one(agent.init(keys[i])))
        close(jax.tree.map(lambda x, i=i: x[i], observable(many)), alone, 1e-3, 1e-4)
    spread = np.ptp(np.asarray(many.params["actor"]["params"]["Dense_0"]["kernel"]), axis=0)
    assert spread.max() > 0.1


@pytest.mark.slow  # `test_lanes` does so too
def test_four_seeds_at_once_are_four_single_runs():
    """Long enough for resets, and so for the refill that the seeds share."""
    compare_seeds(small(reward="env + 0.1*counts(buckets=16) | normalize()", num_steps=32), 4, 3)


# Rounding differs between the programs, and an unstable pendulum lets it grow.
@pytest.mark.slow
@pytest.mark.parametrize("env,iterations", [(DISCRETE, 4), (CONTINUOUS, 2)])
def test_sixteen_seeds_at_once_are_sixteen_single_runs(env, iterations):
    compare_seeds(small(env, normalize_obs=True, num_steps=32), 16, iterations)


def traced(agent, iterations=2):
    """A run as a function of key, config and reward, and how often it was traced."""
    count = []

    def run(key, config, reward):
        count.append(1)
        state = agent.init(key, config, reward)
        state, metrics = repeat_with_metrics(agent.iterate, iterations)(state)
        return state.params, metrics["reward"].total

    return run, count


def repeat_with_metrics(iterate, times):
    def run(state):
        for _ in range(times - 1):
            state, _ = iterate(state)
        return iterate(state)

    return run


@pytest.mark.slow  # `test_lanes` does so too
def test_a_sweep_over_numbers_is_one_program():
    """Learning rates and reward weights: vmap equals a loop, and both compile once."""
    agent = small(reward="env + 0.5*counts(buckets=16)")
    rates, weights = jnp.array([1e-3, 1e-2]), jnp.array([0.0, 2.0])
    configs = agent.config.replace(learning_rate=rates)
    rewards = jax.tree.map(lambda x: jnp.full(2, x), agent.reward)
    where = [i for i, x in enumerate(jax.tree.leaves(agent.reward)) if x == 0.5]
    leaves, tree = jax.tree.flatten(rewards)
    leaves[where[0]] = weights
    rewards = jax.tree.unflatten(tree, leaves)
    axes = agent.config.replace(**{f: None for f in FLOATS}).replace(learning_rate=0)
    key = jax.random.key(0)

    run, count = traced(agent)
    many, totals = quick(jax.vmap(run, in_axes=(None, axes, 0)))(key, configs, rewards)
    assert len(count) == 1
    run, count = traced(agent)
    one = quick(run)
    for i in range(2):
        config = agent.config.replace(learning_rate=float(rates[i]))
        params, total = one(key, config, jax.tree.map(lambda x, i=i: x[i], rewards))
        close(jax.tree.map(lambda x, i=i: x[i], many), params)
        np.testing.assert_allclose(totals[i], total, rtol=1e-4)
    # Python floats or arrays, either value: the program is the same.
    assert len(count) == 1
    assert abs(totals[1] - totals[0]) > 1.0


FLOATS = [
    "learning_rate",
    "gamma",
    "gae_lambda",
    "clip",
    "entropy_coef",
    "value_coef",
    "max_grad_norm",
    "anneal_steps",
]


def test_one_iteration_serves_every_number():
    agent, state, _ = after()
    count = []

    def iterate(state):
        count.append(1)
        return agent.iterate(state)

    jitted = quick(iterate)
    for rate, gamma in ((1e-3, 0.9), (1e-2, 0.5)):
        config = agent.config.replace(learning_rate=rate, gamma=gamma)
        state, _ = jitted(agent.init(jax.random.key(1), config))
    assert len(count) == 1 and state.config.gamma == np.float32(0.5)


# ---- what is refused -------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides,message",
    [
        (
            {"num_envs": 5, "num_steps": 100, "minibatches": 3},
            "ppo's minibatches=3 does not divide a batch of 500 steps "
            "(num_envs=5 x num_steps=100); use 2 or 4",
        ),
        (
            {"num_envs": 2, "num_steps": 4, "minibatches": 9},
            "ppo's minibatches=9 does not divide a batch of 8 steps "
            "(num_envs=2 x num_steps=4); use 8",
        ),
        ({"num_envs": 0}, "ppo's num_envs must be a positive integer, not 0"),
        ({"epochs": -1}, "ppo's epochs must be a positive integer, not -1"),
        ({"num_steps": 2.5}, "ppo's num_steps must be of type int, like 64: 2.5"),
        ({"num_steps": True}, "ppo's num_steps must be of type int, like 64: True"),
        ({"gamma": "high"}, "ppo's gamma must be of type float, like 0.99: 'high'"),
        ({"hidden": (64, 0)}, "ppo's hidden must be a positive integer, not 0"),
        ({"hidden": 64}, "ppo's hidden must be of type tuple, like (64, 64): 64"),
        ({"gamma": 1.5}, "ppo's gamma must be between 0 and 1, not 1.5"),
        ({"learning_rate": math.nan}, "ppo's learning_rate must be at least 0, not nan"),
        ({"learning_rte": 1.0}, "ppo has no setting 'learning_rte', did you mean 'learning_rate'?"),
        ({"activation": "tanj"}, "ppo has no activation 'tanj', did you mean 'tanh'?"),
        ({"distribution": "beta"}, "ppo has no distribution 'beta', known: normal, tanh_normal"),
        ({"placement": "steps"}, "ppo has no placement 'steps', did you mean 'step'?"),
        ({"reset": "fres"}, "ppo has no reset 'fres', did you mean 'fresh'?"),
    ],
)
def test_bad_settings_name_their_fix(overrides, message):
    with pytest.raises(UserError) as error:
        agents.make("ppo", DISCRETE, **overrides)
    assert str(error.value) == message


def test_names_are_suggested():
    assert "ppo" in agents.names()
    with pytest.raises(UserError, match="unknown agent 'poo', did you mean 'ppo'"):
        agents.make("poo", DISCRETE)


def test_only_numbers_may_differ_at_init():
    agent = small()
    key = jax.random.key(0)
    with pytest.raises(UserError, match="config of another structure"):
        agent.init(key, agent.config.replace(num_steps=32))
    with pytest.raises(UserError, match="reward of another structure"):
        agent.init(key, None, 2.0 * rw.env())
    with pytest.raises(UserError, match="gamma must be between 0 and 1"):
        agent.init(key, agent.config.replace(gamma=-1.0))


def test_lists_and_whole_numbers_are_taken():
    agent = small(hidden=[4, 4], learning_rate=1, num_envs=np.int64(2))
    assert agent.config.hidden == (4, 4) and agent.config.num_envs == 2
    assert base.as_leaves(agent.config).learning_rate.dtype == jnp.float32


def test_a_distribution_for_each_kind_of_action():
    made = lambda env, **o: ppo.Learner(ppo.Config(**o), envs.make(env).action_space)  # noqa: E731
    assert made(DISCRETE).dist == Categorical(2) and not actions.free_std(made(DISCRETE).dist)
    assert made(CONTINUOUS).dist.param_size == 2 and actions.free_std(made(CONTINUOUS).dist)
    assert not actions.free_std(made(CONTINUOUS, distribution="tanh_normal").dist)
    assert isinstance(envs.make(CONTINUOUS).action_space, spaces.Box)


# ---- learning --------------------------------------------------------------------------


def greedy_returns(agent, total_steps, seeds):
    states = jax.vmap(agent.init)(jnp.stack([jax.random.key(i) for i in range(seeds)]))
    iterations = -(-total_steps // agent.steps_per_iteration)
    states = jax.jit(jax.vmap(repeat(agent.iterate, iterations)))(states)
    keys = jax.random.split(jax.random.key(99), seeds)
    returns, _ = jax.jit(jax.vmap(partial(agent.evaluate, num_episodes=16)))(states, keys)
    return np.sort(np.asarray(returns).mean(1))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_default_settings_solve_cartpole():
    """The interquartile mean over 16 seeds, of 500."""
    returns = greedy_returns(agents.make("ppo", DISCRETE), 500_000, 16)
    assert returns[4:12].mean() >= 475, returns


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pendulum_is_learned():
    """A random policy gets -1200; a good one -150, with a torque that is continuous."""
    agent = agents.make("ppo", CONTINUOUS, **PENDULUM)
    returns = greedy_returns(agent, 400_000, 4)
    assert returns.mean() > -300, returns


PENDULUM = {
    "num_envs": 16,
    "num_steps": 128,
    "epochs": 10,
    "minibatches": 16,
    "gamma": 0.9,
    "entropy_coef": 0.0,
    "normalize_obs": True,
}
