"""SubPO: its estimators by enumeration, sweeps against loops, what it refuses and learns."""

import itertools
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, training
from jaxrl_reward.agents.common import rollout
from jaxrl_reward.agents.on_policy import subpo
from jaxrl_reward.submodular import oracles
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
ENVS = {2: "gymnax:CartPole-v1", 3: "gymnax:MountainCar-v0"}  # by their number of actions

# ---- estimators, by enumeration ----------------------------------------------------------


class World(NamedTuple):
    """All trajectories of a tiny MDP, K of them, T steps each.

    Attributes:
      row: (time, state) as one number, `[K, T]`.
      action: what was done there, `[K, T]`.
      chance: the probability of the transitions, the policy apart, `[K]`.
      gain: of each step, with F of the first state in the first, `[K, T]`.
      single: the value of each next state by itself, `[K, T]`.
    """

    row: np.ndarray
    action: np.ndarray
    chance: np.ndarray
    gain: np.ndarray
    single: np.ndarray


def line():
    """Stay, or go right with probability 0.8: example D of three cells that cover others."""
    covers, weights = ({0}, {0, 1}, {1, 2}), (1.0, 2.0, 4.0)
    value = lambda states: sum(weights[i] for i in set().union(*(covers[s] for s in states)))  # noqa: E731
    rows = []
    for moves in itertools.product(range(3), repeat=3):  # stay, right, right but it fails
        states, chance = [0], 1.0
        for move in moves:
            chance *= (1.0, 0.8, 0.2)[move]
            states.append(min(states[-1] + (move == 1), 2))
        worth = [value(states[: i + 1]) for i in range(4)]
        gain = np.diff([0.0, *worth[1:]])
        row = [3 * t + states[t] for t in range(3)]
        single = [value([s]) for s in states[1:]]
        rows.append((row, [int(move > 0) for move in moves], chance, gain, single))
    return World(*map(np.array, zip(*rows, strict=True)))


def bandit():
    """Two picks among three sets Z = {1, 3, 5}, X = {1, 2}, Y = {3, 4}: example C."""
    covers = ({1, 3, 5}, {1, 2}, {3, 4})
    value = lambda picks: sum(  # noqa: E731
        0.01 if i == 5 else 1.0 for i in set().union(*(covers[p] for p in picks))
    )
    rows = []
    for first, second in itertools.product(range(3), repeat=2):
        gain = [value([first]), value([first, second]) - value([first])]
        single = [value([first]), value([second])]
        rows.append(([0, 1 + first], [first, second], 1.0, gain, single))
    return World(*map(np.array, zip(*rows, strict=True)))


@cache
def learner(choices, **overrides):
    """An agent's functions with a table for a policy: a row of logits for each input."""
    agent = agents.make("subpo", ENVS[choices], hidden=(), num_steps=2, num_envs=2, **overrides)
    return subpo.Learner(agent.config, agent.env.action_space)


def probability(world, logits):
    """Of each trajectory, `[K]`; differentiable."""
    log_probs = jax.nn.log_softmax(logits)[world.row, world.action]
    return world.chance.astype(np.float32) * jnp.exp(log_probs.sum(1))


def estimates(world, logits, credit, *, paid=None, baseline="none", group=1):
    """The gradient that the agent ascends, for every group of trajectories, `[G, R, A]`.

    All of it is the agent's: the credit, the baseline and the gradient of its loss.
    """
    made, steps = learner(logits.shape[1]), world.row.shape[1]
    paid = world.gain if paid is None else paid
    groups = np.array(list(itertools.product(range(len(world.row)), repeat=group)))
    layer = {"kernel": logits, "bias": jnp.zeros(logits.shape[1])}
    params = {"actor": {"params": {"Dense_0": layer}}}

    def one(members):
        pick = lambda x: jnp.asarray(x)[members].swapaxes(0, 1)  # noqa: E731, [T, group]
        alive = jnp.ones((steps, group), bool)
        weight = subpo.credit(credit, pick(paid).astype(jnp.float32), alive, 1.0)
        weight = subpo.without_baseline(baseline, weight, alive)
        batch = subpo.Batch(
            inputs=jax.nn.one_hot(pick(world.row), logits.shape[0]),
            raw=pick(world.action),
            noise=jnp.zeros((steps, group)),
            weight=weight,
            alive=alive.astype(jnp.float32),
        )
        loss = lambda params: made.loss(made.config, params, batch)[0]  # noqa: E731
        return -steps * jax.grad(loss)(params)["actor"]["params"]["Dense_0"]["kernel"]

    return jax.vmap(one)(groups), jnp.prod(probability(world, logits)[groups], axis=1)


def expected(*args, **kwargs):
    gradients, chance = estimates(*args, **kwargs)
    return jnp.tensordot(chance, gradients, 1)


def true_gradient(world, logits):
    value = world.gain.sum(1).astype(np.float32)
    return jax.grad(lambda logits: (probability(world, logits) * value).sum())(logits)


def test_the_gradients_of_example_d():
    """To go, and the full return, are the gradient; cumulative is immediate, and biased."""
    world, uniform = line(), jnp.zeros((9, 2))
    value = (probability(world, uniform) * world.gain.sum(1).astype(np.float32)).sum()
    np.testing.assert_allclose(value, 3.976, atol=1e-5)
    right = lambda gradient: np.asarray(gradient)[:, 1].reshape(3, 3)[:, :2]  # noqa: E731
    exact = [[0.528, 0.0], [0.336, 0.192], [0.144, 0.384]]
    immediate = [[0.400, 0.0], [0.240, 0.320], [0.144, 0.384]]
    np.testing.assert_allclose(right(true_gradient(world, uniform)), exact, atol=1e-5)
    known = {"to_go": exact, "full": exact, "immediate": immediate, "cumulative": immediate}
    found = quick(lambda logits: {kind: expected(world, logits, kind) for kind in known})(uniform)
    for kind, gradient in known.items():
        np.testing.assert_allclose(right(found[kind]), gradient, atol=1e-5, err_msg=kind)


def test_the_variances_of_example_d():
    world = line()
    # With F of the first state, as the authors' program has it, or without.
    without = world.gain - np.array([[1.0, 0.0, 0.0]])
    known = {
        ("full", "all"): (world.gain, 30.83),
        ("cumulative", "all"): (world.gain, 18.06),
        ("to_go", "gains"): (without, 12.18),
        ("immediate", "gains"): (without, 3.41),
        ("to_go", "modular"): (world.single, 71.79),
    }

    @quick
    def variances(logits):
        found = {}
        for (kind, paid), (reward, _) in known.items():
            gradients, chance = estimates(world, logits, kind, paid=reward)
            off = gradients - jnp.tensordot(chance, gradients, 1)[None]
            found[kind, paid] = (chance * jnp.square(off).sum((1, 2))).sum()
        return found

    for which, variance in variances(jnp.zeros((9, 2))).items():
        np.testing.assert_allclose(variance, known[which][1], atol=0.005, err_msg=str(which))


def test_the_mean_of_the_others_is_a_baseline_without_bias():
    """Over all pairs of episodes: the same mean, and less variance than two without."""
    world, logits = line(), jax.random.normal(jax.random.key(0), (9, 2))

    @quick
    def moments(logits):
        found = {}
        for baseline in ("none", "mean"):
            pairs, chance = estimates(world, logits, "to_go", baseline=baseline, group=2)
            mean = jnp.tensordot(chance, pairs, 1)
            found[baseline] = mean, (chance * jnp.square(pairs - mean[None]).sum((1, 2))).sum()
        return found, true_gradient(world, logits)

    found, exact = moments(logits)
    for mean, _ in found.values():
        np.testing.assert_allclose(mean, exact, atol=1e-4)
    assert found["mean"][1] < 0.8 * found["none"][1]


def test_where_gradient_ascent_ends_in_example_c():
    """Only the gains to come lead to the optimum; the others are greedy, or stay at one set."""
    world, inits = bandit(), 0.1 * jax.random.normal(jax.random.key(0), (3, 4, 3))
    returned = world.gain.sum(1).astype(np.float32)
    value = lambda logits: (probability(world, logits) * returned).sum()  # noqa: E731
    np.testing.assert_allclose(value(jnp.zeros((4, 3))), 2.89444, atol=1e-5)
    known = {
        ("to_go", "gain"): 4.0,
        ("immediate", "gain"): 3.01,
        ("cumulative", "gain"): 3.01,
        ("to_go", "single"): 2.01,
    }

    @quick
    @jax.vmap
    def ascend(logits):
        def climb(kind, paid):
            step = partial(expected, world, credit=kind, paid=getattr(world, paid))
            return value(jax.lax.fori_loop(0, 3000, lambda _, x: x + 10.0 * step(x), logits))

        return {which: climb(*which) for which in known}

    for which, ends_at in ascend(inits).items():
        np.testing.assert_allclose(ends_at, known[which], atol=0.01, err_msg=str(which))


def test_credits_by_hand():
    """Two columns: one episode of three steps and more after it, one that is cut."""
    reward = np.array([[1.0, 2.0], [0.5, 4.0], [8.0, 6.0], [99.0, 8.0]], np.float32)
    last = np.array([[False, False], [False, False], [True, False], [True, False]])
    alive = rollout.first_episode(jnp.asarray(last))
    np.testing.assert_array_equal(alive[:, 0], [True, True, True, False])
    assert alive[:, 1].all()
    known = {
        "to_go": [[1.0 + 0.25 + 2.0, 0.5 + 4.0, 8.0, 0.0], [2.0 + 2.0 + 1.5 + 1.0, 9.0, 10.0, 8.0]],
        "immediate": [[1.0, 0.5, 8.0, 0.0], [2.0, 4.0, 6.0, 8.0]],
        "cumulative": [[1.0, 1.5, 9.5, 0.0], [2.0, 6.0, 12.0, 20.0]],
        "full": [[3.25, 3.25, 3.25, 0.0], [6.5, 6.5, 6.5, 6.5]],
    }
    for kind, columns in known.items():
        weight = subpo.credit(kind, jnp.asarray(reward), alive, 0.5)
        weight = subpo.without_baseline("none", weight, alive)
        np.testing.assert_allclose(weight, np.array(columns).T, err_msg=kind)
    # The others' mean: the other column's credit, and nothing where there is no other.
    weight = subpo.without_baseline("mean", jnp.asarray(reward), alive)
    np.testing.assert_allclose(weight[:, 0], [-1.0, -3.5, 2.0, 0.0])
    np.testing.assert_allclose(weight[:, 1], [1.0, 3.5, -2.0, 8.0])


# ---- the agent ---------------------------------------------------------------------------

SMALL = {"num_envs": 4, "hidden": (8,)}
SHORT = "gymnax:CartPole-v1,max_steps_in_episode=24"  # some fall before, some do not


def repeat(iterate, times):
    return lambda state: jax.lax.fori_loop(0, times, lambda _, s: iterate(s)[0], state)


def cartpole():
    return agents.make("subpo", SHORT, "env + 0.1*counts(buckets=16)", placement="step", **SMALL)


def test_every_block_begins_with_an_episode():
    """Where another one is running, it is given up, and so is what it has earned."""
    agent = cartpole()
    assert agent.config.num_steps == 24 and agent.steps_per_iteration == 96
    made = agent.init.__self__
    running = np.array([True, False, True, False])

    @quick
    def begin(key):
        state = agent.init(key)
        inside = state.env_state.replace(first=~running, length=3 * running.astype(np.int32))
        state = state.replace(env_state=inside, episode_reward=jnp.where(running, 7.0, 0.0))
        return state, made.from_the_start(state)

    state, begun = begin(jax.random.key(0))
    assert begun.env_state.first.all() and (begun.env_state.length == 0).all()
    assert (begun.episode_reward == 0.0).all()
    fresh = np.asarray(begun.env_state.resets - state.env_state.resets)
    np.testing.assert_array_equal(fresh, running)  # who has just begun, stays
    moved = np.abs(begun.env_state.obs - state.env_state.obs).max(1) > 0
    np.testing.assert_array_equal(moved, running)


@pytest.mark.slow
def test_seeds_and_rates_at_once_are_each_alone():
    agent = cartpole()

    def run(key, rate):
        state = agent.init(key, agent.config.replace(learning_rate=rate))
        return repeat(agent.iterate, 3)(state).params

    keys, rates = jax.random.split(jax.random.key(0), 2), jnp.array([1e-3, 1e-1])
    many, one = quick(jax.vmap(run))(keys, rates), quick(run)
    for i in range(2):
        alone = one(keys[i], rates[i])
        jax.tree.map(
            lambda x, y, i=i: np.testing.assert_allclose(x[i], y, rtol=1e-3, atol=1e-4), many, alone
        )


@pytest.mark.slow
def test_a_resumed_run_ends_as_one_that_was_never_cut(tmp_path):
    agent = agents.make("subpo", SHORT, "env + 0.1*counts(buckets=8)", normalize_obs=True, **SMALL)
    settings = {"seeds": 2, "total_steps": 96 * 4, "evals": 2, "eval_episodes": 1, "log_points": 4}

    class Stop:
        def write(self, *args, **kwargs):
            raise KeyboardInterrupt

        def close(self):
            pass

    whole = training.train(agent, out=tmp_path / "whole", progress=False, **settings)
    with pytest.raises(KeyboardInterrupt):
        training.train(agent, out=tmp_path / "cut", progress=False, sinks=[Stop()], **settings)
    resumed = training.train(agent, out=tmp_path / "cut", progress=False, resume=True, **settings)
    jax.tree.map(np.testing.assert_array_equal, whole.state.params, resumed.state.params)
    jax.tree.map(np.testing.assert_array_equal, whole.state.opt_state, resumed.state.opt_state)
    assert resumed.curves == whole.curves


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"credit": "togo"}, "subpo has no credit 'togo', did you mean 'to_go'?"),
        ({"baseline": "critic"}, "subpo has no baseline 'critic', known: mean, none"),
        ({"learning_rate": -1.0}, "subpo's learning_rate must be at least 0, not -1.0"),
        ({"num_steps": -2}, "subpo's num_steps must be an integer of at least 0, not -2"),
    ],
)
def test_bad_settings_name_their_fix(overrides, message):
    with pytest.raises(UserError) as error:
        agents.make("subpo", SHORT, **overrides)
    assert str(error.value) == message


# ---- learning ----------------------------------------------------------------------------


def learned(env, updates, placement="step", reward=None, seeds=4, **overrides):
    """Greedy values of F after training, `[S]`, and the best there is."""
    settings = {"num_envs": 32, "hidden": (16,), "learning_rate": 3e-2, **overrides}
    reward = reward or f"marginal_gain('{env}')"
    agent = agents.make("subpo", env, reward, placement=placement, **settings)

    @quick
    @jax.vmap
    def run(key):
        shapes = jax.eval_shape(agent.iterate, agent.init(key))[1]
        metrics = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        iterate = lambda _, carry: agent.iterate(carry[0])  # noqa: E731
        state, metrics = jax.lax.fori_loop(0, updates, iterate, (agent.init(key), metrics))
        return agent.evaluate(state, key, 64)[0].mean(), metrics

    values, metrics = run(jax.random.split(jax.random.key(0), seeds))
    means = {name: np.asarray(mean.value) for name, mean in metrics.items()}
    assert all(np.isfinite(mean).all() for mean in means.values())
    return np.asarray(values), agent.env.environment.task, means


def test_only_who_remembers_reaches_the_optimum_of_example_b():
    """Left or right by chance, a hub, then a choice: 2 with a memory, 1.5 without."""
    seen, task, means = learned("graph:history", 60)
    assert oracles.optimum(task) == 2.0
    np.testing.assert_allclose(seen, 2.0)
    # Drawn actions find it too, and every block is of whole episodes.
    assert {"policy_loss", "entropy", "reward"} <= set(means)
    assert (means["best_reward"] == 2.0).all() and (means["episode_length"] == 3.0).all()
    assert (means["episode_return"] > 1.8).all() and (means["entropy"] < 0.69).all()
    np.testing.assert_allclose(means["episode_return"], means["episode_reward"], rtol=1e-6)


@pytest.mark.slow
def test_without_a_memory_example_b_is_left_to_chance():
    blind, _, _ = learned("graph:history", 60, placement="block")
    assert abs(blind.mean() - 1.5) < 0.15  # 256 episodes: 5 standard deviations


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        "graph:three_sets",
        "graph:bandit",
        "graph:line",
        "grid:coverage,rows=3,cols=3,start=0,max_steps_in_episode=4",
    ],
)
def test_tiny_tasks_are_solved_to_the_known_share(env):
    """F of what is learned, against the enumerated optimum."""
    values, task, _ = learned(env, 100)
    assert (values >= (1.0 - 1.0 / np.e) * oracles.optimum(task)).all()
