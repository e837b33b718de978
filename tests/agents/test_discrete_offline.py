"""Agents that learn from data of Discrete actions: exact answers on a table of states."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs, tabular
from jaxrl_reward import data as datasets
from jaxrl_reward.agents.common import base, replay
from jaxrl_reward.agents.from_data import cql
from jaxrl_reward.envs import spaces
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

STATES, ACTIONS, GAMMA = 5, 3, 0.8
_draw = np.random.default_rng(3)
AFTER = _draw.integers(0, STATES, (STATES, ACTIONS))
PAID = _draw.normal(size=(STATES, ACTIONS)).round(1)
ENDS = _draw.random((STATES, ACTIONS)) < 0.2
# How often the data has each action in each state; some it never has.
COUNTS = _draw.integers(1, 6, (STATES, ACTIONS)) * (_draw.random((STATES, ACTIONS)) < 0.75)
COUNTS[:, 0] += COUNTS.sum(1) == 0
TABLE = {"hidden": (), "learning_rate": 2e-2, "batch_size": 64, "gamma": GAMMA}


def world():
    rows = [
        [
            [(1.0, None if ENDS[s, a] else int(AFTER[s, a]), float(PAID[s, a]))]
            for a in range(ACTIONS)
        ]
        for s in range(STATES)
    ]
    return envs.from_mdp(tabular.from_outcomes(rows))


def dataset(counts=COUNTS, **changes):
    """Each step as often as `counts` says, one-hot states, an episode each."""
    state, action = (
        np.repeat(each, counts.ravel()) for each in np.indices(counts.shape).reshape(2, -1)
    )
    one_hot = np.eye(STATES, dtype=np.float32)
    arrays = {
        "obs": one_hot[state],
        "action": action,
        "reward": PAID[state, action],
        "next_obs": one_hot[AFTER[state, action]],
        "terminated": ENDS[state, action],
        "truncated": ~ENDS[state, action],
    }
    return datasets.make({**arrays, **changes})


def trained(name, data, steps, **settings):
    """An agent and its state, networks without a hidden layer: tables.

    After so many steps at each of three rates, the last so low that batches matter little.
    """
    made = agents.make(name, world(), data=data, **{**TABLE, "updates": steps, **settings})
    iterate, state = quick(made.iterate), quick(made.init)(jax.random.key(0))
    for rate in (2e-2, 3e-3, 3e-4):
        config = base.as_leaves(made.config.replace(learning_rate=rate))
        state, _ = iterate(state.replace(config=config), made.data)
    return made, state


def best(known, value):
    """One step of value iteration over the actions of the data."""
    q = PAID + GAMMA * ~ENDS * value[AFTER]
    return q, np.where(known, q, -np.inf).max(1)


def test_cql_without_its_term_is_fitted_q_iteration():
    """By brute force; the data have every action in every state."""
    counts = COUNTS + 1
    made, state = trained("cql", dataset(counts), 1500, alpha=0.0, target_rate=0.05)
    value = np.zeros(STATES)
    for _ in range(300):
        q, value = best(counts > 0, value)
    found = made.init.__self__.learner.policy(state.params, jnp.eye(STATES))
    np.testing.assert_allclose(found, q, atol=2e-3)
    assert made.act(state, jnp.eye(STATES)).tolist() == q.argmax(1).tolist()


def test_cqls_fixed_point_is_where_its_gradient_vanishes():
    """`count (Q - y) + alpha (count_s softmax(Q) - count) = 0` in each state and action."""
    counts = COUNTS + 1
    data = dataset(counts)
    settings = {"alpha": 0.3, "huber_delta": 0.0, "double": False, "target_rate": 0.05}
    made, state = trained("cql", data, 2000, **settings)
    q = np.asarray(made.init.__self__.learner.policy(state.params, jnp.eye(STATES)), np.float64)
    y = PAID + GAMMA * ~ENDS * q.max(1)[AFTER]
    soft = np.exp(q) / np.exp(q).sum(1, keepdims=True)
    slope = counts * (q - y) + 0.3 * (counts.sum(1, keepdims=True) * soft - counts)
    np.testing.assert_allclose(slope / counts.sum(1, keepdims=True), 0.0, atol=0.03)


def test_cqls_loss_is_the_papers():
    """By NumPy's formula, and as d3rlpy 2.8.1's `DiscreteCQLImpl` prints of the same numbers."""
    online = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], np.float32)
    after = np.array([[0.1, 0.9, -0.3], [2.0, 1.0, 0.0]], np.float32)
    slow_after = np.array([[1.0, 3.0, 5.0], [-2.0, 4.0, 1.0]], np.float32)
    learner = cql.Learner(cql.Config(hidden=()), spaces.Discrete(3))

    def params(now, later):
        """A linear network of inputs one-hot in four rows."""
        kernel = jnp.asarray(np.concatenate([now, later]))
        return {"params": {"Dense_0": {"kernel": kernel, "bias": jnp.zeros(3)}}}

    batch = replay.Batch(
        inputs=jnp.eye(4)[:2],
        choice=jnp.array([2, 1]),
        reward=jnp.array([0.5, -1.0]),
        weight=jnp.array([0.9, 0.0]),
        next_inputs=jnp.eye(4)[2:],
    )
    learned = {"online": params(online, after), "target": params(online, slow_after)}
    target = learner.target(learned, batch)
    np.testing.assert_allclose(target, [0.5 + 0.9 * 3.0, -1.0], rtol=1e-6)
    loss, metrics = learner.loss(cql.Config(alpha=2.0), learned["online"], batch, target)
    # Huber: errors 1.2 and -1.25, so 0.7 and 0.75. Gaps: 0.241311 and 1.583701.
    gaps = np.log(np.exp(online).sum(1)) - online[[0, 1], [2, 1]]
    np.testing.assert_allclose(metrics["conservative_gap"], gaps.mean(), rtol=1e-6)
    np.testing.assert_allclose(loss, 0.725 + 2.0 * gaps.mean(), rtol=1e-6)
    printed = [loss, metrics["q_loss"], metrics["conservative_gap"]]
    np.testing.assert_allclose(printed, [2.5470, 0.7250, 0.9110], atol=5e-5)
    squared, _ = learner.loss(
        cql.Config(alpha=0.0, huber_delta=0.0), learned["online"], batch, target
    )
    np.testing.assert_allclose(squared, 0.5 * (1.2**2 + 1.25**2) / 2, rtol=1e-6)
    # Without `double` the slow copy chooses its own best.
    plain = cql.Learner(cql.Config(hidden=(), double=False), spaces.Discrete(3))
    np.testing.assert_allclose(plain.target(learned, batch), [0.5 + 0.9 * 5.0, -1.0], rtol=1e-6)


def expectile(values, weights, tau):
    """The tau-expectile of weighed values, by bisection."""
    low, high = values.min(), values.max()
    for _ in range(80):
        mid = (low + high) / 2
        above = tau * (weights * np.maximum(values - mid, 0)).sum()
        below = (1 - tau) * (weights * np.maximum(mid - values, 0)).sum()
        low, high = (mid, high) if above > below else (low, mid)
    return low


def test_iql_reaches_the_fixed_point_of_its_expectile_which_nears_the_samples_optimum():
    """By brute force over the actions that the data has, and by value iteration over these."""
    known = COUNTS > 0
    made, state = trained(
        "iql", dataset(), 2000, expectile=0.95, beta=10.0, target_rate=0.05, policy_decay=0.0
    )
    value = np.zeros(STATES)
    for _ in range(200):
        q = PAID + GAMMA * ~ENDS * value[AFTER]
        value = np.array(
            [expectile(q[s][known[s]], COUNTS[s][known[s]], 0.95) for s in range(STATES)]
        )
    learner = made.init.__self__.learner
    found = learner.value.apply(state.params["value"], jnp.eye(STATES))[:, 0]
    np.testing.assert_allclose(found, value, atol=0.03)
    critics = learner.critic.apply(state.params["critic"], jnp.eye(STATES))
    np.testing.assert_allclose(
        np.where(known, critics.mean(0), 0), np.where(known, q, 0), atol=0.03
    )
    top = np.zeros(STATES)
    for _ in range(200):
        every, top = best(known, top)
    assert np.all(value <= top + 1e-6) and np.abs(top - value).max() < 0.25
    chosen = made.act(state, jnp.eye(STATES))
    assert chosen.tolist() == np.where(known, every, -np.inf).argmax(1).tolist()


def test_bc_is_how_often_each_action_was_taken():
    made, state = trained("bc", dataset(), 1500, policy_decay=0.0)
    logits = made.init.__self__.learner.policy(state.params, jnp.eye(STATES))
    share = COUNTS / COUNTS.sum(1, keepdims=True)
    np.testing.assert_allclose(jax.nn.softmax(logits), share, atol=0.02)
    drawn = made.act(state, jnp.eye(STATES)[jnp.zeros(4000, int)], jax.random.key(1))
    seen = np.bincount(np.asarray(drawn), minlength=ACTIONS) / 4000
    np.testing.assert_allclose(seen, share[0], atol=0.04)


def test_actions_are_checked():
    for changes, line in (
        ({"action": np.full(COUNTS.sum(), 3)}, "action 3 in row 0, and those of finite are whole"),
        ({"action": np.full(COUNTS.sum(), 0.5)}, "action 0.5 in row 0, .* from 0 to 2"),
    ):
        with pytest.raises(UserError, match=line):
            agents.make("iql", world(), data=dataset(**changes))
    pendulum = "gymnax:Pendulum-v1"
    line = "cql needs Discrete actions; .*Pendulum-v1 has Box: use bc, edac, iql or riql"
    with pytest.raises(UserError, match=line):
        agents.make("cql", pendulum)
    with pytest.raises(UserError, match="edac needs Box actions; finite has Discrete"):
        agents.make("edac", world(), data=dataset())


@pytest.mark.parametrize("name", ["bc", "cql", "iql"])
def test_images_go_through_the_convolution(name):
    """Which tells two images apart that have the same sums, one action for each."""
    draw, rows = np.random.default_rng(0), 60
    kind = draw.integers(0, 2, rows)
    images = np.zeros((rows, 10, 10, 4), np.float32)
    images[np.arange(rows), 4, 4 + kind, 0] = 1.0
    data = datasets.make(
        {
            "obs": images,
            "next_obs": images,
            "action": kind,
            "reward": np.ones(rows),
            "terminated": np.ones(rows),
            "truncated": np.zeros(rows),
        }
    )
    made = agents.make(
        name, "gymnax:Breakout-MinAtar", data=data, hidden=(8,), updates=150, batch_size=16,
        learning_rate=1e-2,
    )  # fmt: skip
    state = quick(made.iterate)(quick(made.init)(jax.random.key(0)), made.data)[0]
    assert "front" in str(jax.tree.structure(state.params))
    assert made.act(state, images).tolist() == kind.tolist()
