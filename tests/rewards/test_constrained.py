"""Constrained RLHF on groups: advantages normalised apart, and weights that follow the dual."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.errors import UserError
from jaxrl_reward.types import Transition

MAIN = np.array([1.0, 3.0, -2.0, 0.0], np.float32)  # two groups of two, each 1 from its mean
FIRST = np.array([10.0, 50.0, 30.0, 30.0], np.float32)  # 20 from it, and equal
SECOND = np.array([0.1, 0.1, 0.3, 0.5], np.float32)


def block_of(*returns):
    """Responses of one token."""
    reward = np.stack(returns, -1)[None]
    count = reward.shape[1]
    row = np.zeros((1, count), np.float32)
    yes = np.ones((1, count), bool)
    group = np.repeat(np.arange(count // 2), 2)[None].astype(np.int32)
    return Transition(
        row[..., None],
        np.zeros((1, count), np.int32),
        row,
        jnp.asarray(reward),
        row[..., None],
        *(yes, yes, ~yes),
        info={"group": jnp.asarray(group)},
        policy={},
    )


def applied(term, block, state=None):
    state = term.init(jax.random.key(0), block) if state is None else state
    return term.apply(state, block)


def test_each_advantage_is_normalised_by_itself():
    term = rw.constrained((28.0, 0.25))
    out = applied(term, block_of(MAIN, FIRST, SECOND))
    # In deviations of the block: 1 of 1, 20 of sqrt(200), 0.1 of sqrt(0.005).
    main = np.array([-1.0, 1.0, -1.0, 1.0])
    first = np.array([-1.0, 1.0, 0.0, 0.0]) * 2**0.5
    second = np.array([0.0, 0.0, -1.0, 1.0]) * 2**0.5
    # Both weights are sigmoid(0): the main one has 2 - 1/2 - 1/2.
    np.testing.assert_allclose(out.reward[0], main + 0.5 * first + 0.5 * second, rtol=1e-6)
    assert float(out.metrics["constrained/return_1"]) == 30.0


def test_other_units_of_a_reward_change_nothing_but_its_threshold():
    one = applied(rw.constrained((28.0, 0.25)), block_of(MAIN, FIRST, SECOND))
    two = applied(rw.constrained((28.0, 250.0)), block_of(0.01 * MAIN, FIRST, 1000 * SECOND))
    np.testing.assert_allclose(one.reward, two.reward, rtol=1e-5)
    weighed = rw.lagrangian((28.0, 0.25), squash="sigmoid")
    block = block_of(MAIN, FIRST, SECOND)
    other = block_of(0.01 * MAIN, FIRST, 1000 * SECOND)
    kept = [applied(weighed, each).reward for each in (block, other)]
    assert not np.allclose(*kept, rtol=0.1)  # which is what the term is for


def test_weights_follow_sgd_on_the_dual():
    """Optax's SGD with momentum 0.1 on a clipped gradient, for three steps."""
    thresholds, reached = jnp.array([29.6, 0.25]), jnp.array([FIRST.mean(), SECOND.mean()])
    block = block_of(MAIN, FIRST, SECOND)
    sgd = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.1))
    for squash, weights in (("sigmoid", jax.nn.sigmoid), ("tanh", jnp.tanh)):

        def loss(dual, weights=weights):
            return (weights(dual) * (reached - thresholds)).sum()

        dual = jnp.zeros(2)
        memory = sgd.init(dual)
        term = rw.constrained(tuple(thresholds.tolist()), rate=0.1, squash=squash)
        state = term.init(jax.random.key(0), block)
        for _ in range(3):
            change, memory = sgd.update(jax.grad(loss)(dual), memory)
            dual = optax.apply_updates(dual, change)
            state = applied(term, block, state).state
        np.testing.assert_allclose(state.shared.dual, dual, rtol=1e-5)


def test_an_equality_turns_against_what_is_above_it():
    block = block_of(MAIN, FIRST, SECOND)
    for squash, sign in (("tanh", -1), ("sigmoid", 1)):
        term = rw.constrained((0.0, 0.25), rate=1.0, squash=squash)
        state = applied(term, block).state
        for _ in range(5):
            state = applied(term, block, state).state
        out = applied(term, block, state)
        assert np.sign(float(out.metrics["constrained/weight_1"])) == sign


def test_a_group_agent_learns_under_a_constraint_and_pays_for_its_divergence():
    reward = "stack(closeness(), env, signal('proxy')) | constrained(thresholds=(0.9, 0.5))"
    config = {"network": "gru", "width": 4, "warmup": 2, "num_envs": 16, "group_size": 4}
    config["advantage"] = "env"
    agent = agents.make("group_pg", "sequence:hack,length=3,max_tokens=5", reward, **config)
    state = jax.jit(agent.init)(jax.random.key(0))
    state, metrics = jax.jit(agent.iterate)(state)
    found = {k: float(m.value) for k, m in metrics.items() if "constrained" in k}
    assert found["reward/constrained/weight_1"] == 0.5
    assert 0 <= found["reward/constrained/return_1"] <= 1
    _, metrics = jax.jit(agent.iterate)(state)
    assert float(metrics["reward/constrained/weight_1"].value) > 0.5  # gold is far below 0.9


def test_closeness_is_the_log_ratio_of_what_was_done_and_needs_a_reference():
    block = block_of(MAIN)
    block = block.replace(
        reward=block.reward[..., 0],
        policy={
            "reference": jnp.log(jnp.array([[[0.5, 0.5], [0.2, 0.8], [0.9, 0.1], [0.3, 0.7]]])),
            "log_prob": jnp.log(jnp.array([[0.25, 0.2, 0.3, 0.6]])),
        },
    )
    np.testing.assert_allclose(
        applied(rw.closeness(), block).reward[0], np.log([2.0, 1.0, 3.0, 0.5]), atol=1e-6
    )
    with pytest.raises(UserError, match=r"closeness.*has no reference"):
        agents.make("ppo", "gymnax:CartPole-v1", "env + closeness()")
    with pytest.raises(UserError, match="for a stack of 3 rewards, not 2"):
        applied(rw.constrained((1.0, 2.0)), block_of(MAIN, FIRST))
