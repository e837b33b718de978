"""Several heads on one network (MAH-DPO): whose pairs move what, and how heads are mixed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import pair_pg
from jaxrl_reward.errors import UserError
from jaxrl_reward.nn import language_models

TINY = {"network": "gru", "width": 4, "warmup": 8, "warmup_batch": 8, "look": 4}
TINY |= {"pairs": 16, "batch_size": 8, "updates": 3, "labels": "better"}
HACK = "sequence:hack,length=3,max_tokens=5"
TWO = "stack(env, signal('proxy')) | dpo(beta=0.5)"


def at(tree, which):
    """The leaves' rows."""
    return jax.tree.map(lambda x: x[which], tree)


def functions(reward, **settings):
    config = pair_pg.Config().replace(**(TINY | settings))
    return pair_pg.PairPG(config, rw.parse(reward), envs.make(HACK), None)


@pytest.fixture(scope="module")
def two():
    """An agent with two heads that are not alike any more, and with the pairs of both."""
    agent = functions(TWO, objectives=2)
    state = jax.jit(agent.init)(jax.random.key(1))
    moved = jax.tree.map(
        lambda x: x + 0.2 * jnp.sin(1.0 * jnp.arange(x.size)).reshape(x.shape), state.params
    )
    return agent, state.replace(params={**moved, "mix": state.params["mix"]})


@pytest.mark.parametrize("network", ["gru", "transformer"])
def test_one_head_is_dpo_to_the_bit(network):
    """The loss and its slope; Adam's bound on a norm then sums that in another order."""
    plain = functions("dpo(beta=0.5)", network=network)
    state = jax.jit(plain.init)(jax.random.key(0))
    params = jax.tree.map(
        lambda x: x + 0.1 * jnp.cos(1.0 * jnp.arange(x.size)).reshape(x.shape), state.params
    )
    headed = dataclasses.replace(plain)
    headed.__dict__["model"] = language_models.headed(plain.model, 1)
    one, reference = (language_models.several(p, 1) for p in (params, state.reference))

    def slope(agent, state, params):
        loss = lambda p: agent.loss(state, rw.dpo(beta=0.5), p, state.rows)[0]  # noqa: E731
        return jax.jit(jax.value_and_grad(loss))(params)

    cost, wanted = slope(plain, state, params)
    same, found = slope(headed, state.replace(reference=reference), one)
    assert float(cost) == float(same) and float(found["mix"][0]) == 0.0
    found = {**found["trunk"], "head": at(found["heads"], 0)}
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(x, y)
        assert np.abs(x).max() > 0


def test_a_head_learns_from_its_own_pairs_alone(two):
    """Its slope is that of DPO with that head on its share of the pairs, and 0 without any."""
    agent, state = two
    plain = dataclasses.replace(agent, config=agent.config.replace(objectives=1))
    loss = rw.dpo(beta=0.5)

    @jax.jit
    def slope(params, rows):
        return jax.grad(lambda p: agent.loss(state, loss, p, rows)[0])(params)

    @jax.jit
    def alone(params, rows):
        rows, one = rows.replace(objective=()), state.replace(reference=params)
        return jax.grad(lambda p: plain.loss(one, loss, p, rows)[0])(params)

    which = np.asarray(state.rows.objective)
    assert set(which) == {0, 1}
    found, trunk = slope(state.params, state.rows), 0.0
    for k in (0, 1):
        rows = at(state.rows, which == k)
        own = at(state.params["heads"], k)
        wanted = alone({**state.params["trunk"], "head": own}, rows)
        share = (which == k).mean()
        for one, same in zip(
            jax.tree.leaves(at(found["heads"], k)),
            jax.tree.leaves(wanted.pop("head")),
            strict=True,
        ):
            np.testing.assert_allclose(one, share * same, atol=1e-6)
            assert np.abs(same).max() > 1e-3
        trunk += share * jax.flatten_util.ravel_pytree(wanted)[0]
        other = at(slope(state.params, rows)["heads"], 1 - k)
        assert all((np.asarray(x) == 0.0).all() for x in jax.tree.leaves(other))
    np.testing.assert_allclose(jax.flatten_util.ravel_pytree(found["trunk"])[0], trunk, atol=1e-6)
    np.testing.assert_array_equal(found["mix"], 0.0)


def test_heads_are_dialled(two):
    agent, state = two
    plain = dataclasses.replace(agent, config=agent.config.replace(objectives=1)).model
    text = state.rows.text[:, 0]
    weights = np.array([0.3, 0.7])
    each = [
        plain.logits(
            {**state.params["trunk"], "head": at(state.params["heads"], k)},
            text,
        )
        for k in (0, 1)
    ]
    wanted = weights[0] * each[0] + weights[1] * each[1]
    dialled = language_models.dial(state.params, weights)
    np.testing.assert_allclose(agent.model.logits(dialled, text), wanted, atol=1e-5)
    assert np.abs(each[0] - each[1]).max() > 0.05
    start = agent.task.prompt_length
    memory, logits = agent.model.read(dialled, text[:, :start])
    for place in range(2):
        np.testing.assert_allclose(logits, wanted[:, place], atol=1e-5)
        memory, logits = agent.model.step(dialled, memory, text[:, start + place], jnp.int32(place))
    shown = agent.act(state.replace(params=dialled), text.at[:, start:].set(agent.task.vocabulary))
    np.testing.assert_array_equal(shown, wanted[:, 0].argmax(1))


def test_pairs_are_judged_by_their_objective(two):
    agent, state = two
    rows = state.rows
    for row in range(len(rows.label)):
        scores = []
        for which in (0, 1):
            tokens = rows.text[row, which, agent.task.prompt_length :]
            question = agent.task.ask(rows.text[row, which, 0] - 1)
            told = agent.task.score(question, tokens, jnp.float32(0))
            ended = bool((tokens == 0).any())
            both = (float(told.outcome) * ended, float(told.facts["proxy"]))
            scores.append(both[int(rows.objective[row])])
        np.testing.assert_allclose(rows.reward[row], scores, atol=1e-6)
        assert scores[0] >= scores[1] - 1e-6
    # All heads are the warm-up's yet.
    fresh = jax.jit(agent.init)(jax.random.key(1))
    first, second = (at(fresh.params["heads"], k) for k in (0, 1))
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("reward", "settings", "words"),
    [
        ("env | dpo()", {}, "has objectives=2, and env gives one number"),
        ("stack(env, env, env) | dpo()", {}, r"gives 3 numbers a token"),
        ("stack(env, env) | kto()", {}, "kto is not for several objectives"),
        (TWO, {"guide": 2}, "objectives=2 need guide=0"),
        (TWO, {"objectives": 1}, "add a scalariser"),
    ],
)
def test_what_does_not_fit_is_one_line(reward, settings, words):
    with pytest.raises(UserError, match=words):
        agents.make("pair_pg", HACK, reward, **(TINY | {"objectives": 2} | settings))
