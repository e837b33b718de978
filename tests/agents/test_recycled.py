"""`group_pg` that learns to judge and mend from its own responses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
ENV = "sequence:choice,modes=True"
SMALL = {"network": "gru", "num_envs": 32, "group_size": 8, "width": 8, "warmup_batch": 16}


def made(reward=None, env=ENV, **settings):
    return agents.make("group_pg", env, reward, **{**SMALL, "recycle": 2, **settings})


def test_items_stand_behind_the_responses_and_are_paid_what_the_verifier_says():
    """Whatever the reward is; and what one of an item's answers is worth is told in its group."""
    agent = made("0.5 - env", warmup=30)
    inner = agent.init.__self__
    state = quick(agent.init)(jax.random.key(3))

    @quick
    def drafts(state):
        prompts = inner.ask(state, jax.random.key(1))
        draft = inner.write(state, prompts, jax.random.key(2))
        paid = state.reward.apply(state.reward_state, draft.block).reward
        draft = draft._replace(block=draft.block.replace(reward=paid))
        both, use = inner.with_items(state, prompts, draft)
        credit = inner.credit(state, both.block)[1]
        weight = inner.batch(state, jax.random.key(4), both, credit, use)[1].weight
        return draft, both, use, credit, weight

    draft, both, use, credit, weight = drafts(state)
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y[:, :32]), draft.block, both.block)
    block = both.block
    np.testing.assert_array_equal(block.reward[:, 32:], block.env_reward[:, 32:])
    mode = np.asarray(block.info["mode"][0])
    assert (mode[:32] == 0).all() and set(mode[32:48]) <= {1, 2} and (mode[48:] == 3).all()
    group = np.asarray(block.info["group"][0])
    assert len(set(group[:32])) == 4 and list(group[32:]) == [32 + i // 8 for i in range(32)]
    earned = np.asarray(groups_of(block).total(block.reward))
    centred = earned.reshape(8, 8) - earned.reshape(8, 8).mean(1, keepdims=True)
    grpo = centred / (earned.reshape(8, 8).std(1, keepdims=True) + 1e-4)
    alive = np.asarray(groups_of(block).alive.T)
    np.testing.assert_allclose(credit[:, 0], grpo.reshape(-1), atol=2e-3)
    assert use[:32].all() and use[32:48].all()
    np.testing.assert_array_equal(np.asarray(weight) > 0, alive & np.asarray(use)[:, None])


def test_where_nothing_is_wrong_nothing_is_mended():
    """The last is worth 1: who writes nothing else is judged yes, and no item is to be mended."""
    agent = made(warmup=0)
    inner = agent.init.__self__
    state = quick(agent.init)(jax.random.key(0))

    @quick
    def found(state):
        prompts = inner.ask(state, jax.random.key(1))
        draft = inner.write(state, prompts, jax.random.key(2))
        # As if the verifier had said so.
        ones = draft.block.replace(env_reward=jnp.where(draft.block.last, 1.0, 0.0))
        both, use = inner.with_items(state, prompts, draft._replace(block=ones))
        return use, both.block.info["mode"][0]

    use, mode = found(state)
    assert use[:48].all() and not use[48:].any() and set(np.asarray(mode[32:48])) == {1.0}


def test_a_writer_that_is_paid_for_items_alone_learns_to_judge():
    """Nothing is paid for responses themselves: three letters, of which b and c are right."""
    settings = {"warmup": 150, "warmup_wrong": 0.5, "warmup_rate": 0.01, "width": 16}
    agent = made("0*env", recycle=4, learning_rate=0.01, **settings)
    state = quick(agent.init)(jax.random.key(5))
    iterate = quick(agent.iterate)
    judged = []
    for _ in range(100):
        state, metrics = iterate(state)
        mean = metrics["recycled/judge"]
        judged.append((float(mean.total), float(mean.count)))
    early, late = (np.sum(part, 0) for part in (judged[:20], judged[-20:]))
    assert early[0] / early[1] < 0.75 and late[0] / late[1] > 0.9


def test_without_items_modes_cost_nothing():
    """`recycle=0` is the program that it was: no response more is written."""
    agent = made(recycle=0, warmup=1)
    state = jax.eval_shape(agent.init, jax.random.key(0))
    assert not any("recycled" in name for name in jax.eval_shape(agent.iterate, state)[1])
    text = str(jax.make_jaxpr(agent.iterate)(state))
    assert f"[{SMALL['num_envs']}," in text and f"[{SMALL['num_envs'] + 32}," not in text


@pytest.mark.parametrize(
    ("env", "settings", "line"),
    [
        ("sequence:choice", {}, "give it modes=True, or recycle=0"),
        (ENV, {"recycle": 5}, "recycle must be at most the 4 prompts"),
        (ENV, {"advantage": "env"}, "recycle needs an advantage of groups"),
        (ENV, {"minibatches": 3, "num_envs": 24, "recycle": 2}, "and what recycle adds"),
        (ENV, {"recycle_rule": "precis"}, "recycle_rule='precis' is no fact here"),
        (ENV, {"recycle": -1}, "recycle"),
    ],
)
def test_what_cannot_be_recycled_is_refused(env, settings, line):
    with pytest.raises(UserError, match=line):
        made(env=env, **settings)


def test_a_rule_and_levels_say_what_is_recycled():
    """Of `lookup` the rule knows level 0; items are of its prompts alone."""
    env = "sequence:lookup,length=1,max_tokens=3,modes=True"
    agent = made(env=env, recycle_rule="precise", recycle_levels=1, warmup=30, recycle=4)
    assert isinstance(agent.reward, rw.RewardTransform)
    inner = agent.init.__self__
    state = quick(agent.init)(jax.random.key(3))

    @quick
    def found(state, key):
        prompts = inner.ask(state, key)
        draft = inner.write(state, prompts, jax.random.key(2))
        both, use = inner.with_items(state, prompts, draft)
        return prompts.question.level, both.block.info["level"][0], use

    for i in range(3):
        level, of_items, use = found(state, jax.random.key(i))
        known = int((level[::8] == 0).sum())
        assert set(np.asarray(of_items[32:][use[32:]])) <= {0}
        assert int(use[32:64].sum()) == 8 * known


def test_rewards_are_mixed_by_source_and_a_verdict_is_the_chance_of_yes():
    """The rule's word of prompts that it knows; of others how likely the writer says yes."""
    mixed = "stack(signal('precise'), signal('verdict')) | by_source('level')"
    settings = {"warmup": 150, "warmup_rate": 0.01, "width": 16}
    env = "sequence:lookup,length=1,max_tokens=3,modes=True"
    agent = made(mixed, env, recycle=0, **settings)
    inner, task = agent.init.__self__, agent.env.environment.task
    state = quick(agent.init)(jax.random.key(3))
    moved = jax.tree.map(lambda x: x * 1.5, state.params)
    state = state.replace(params=moved)

    @quick
    def found(state):
        prompts = inner.ask(state, jax.random.key(1))
        draft = inner.write(state, prompts, jax.random.key(2))
        groups = groups_of(draft.block)
        paid = state.reward.apply(state.reward_state, draft.block).reward
        asked = [
            task.modes.put(task.modes.plain.ask(number), 1, jnp.stack([tokens, blank]), 0).prompt
            for number, tokens in zip(prompts.number, draft.text[:, -3:], strict=True)
        ]
        told = {name: draft.block.policy[name][0] for name in ("verdict", "reference_verdict")}
        logits = [inner.model.read(x, jnp.stack(asked))[1] for x in (state.params, state.reference)]
        return groups.total(paid), draft.block.info, told, logits

    blank = jnp.full(3, task.vocabulary)
    paid, info, told, logits = found(state)
    yes, no = (task.symbols.index(f"<{name}>") for name in ("yes", "no"))
    for name, each in zip(("verdict", "reference_verdict"), np.asarray(logits), strict=True):
        chance = np.exp(each[:, yes]) / (np.exp(each[:, yes]) + np.exp(each[:, no]))
        np.testing.assert_allclose(told[name], chance, rtol=1e-4)
    assert float(jnp.abs(told["verdict"] - told["reference_verdict"]).max()) > 0.01
    level, precise = np.asarray(info["level"][0]), np.asarray(info["precise"][0])
    assert set(level) == {0, 1} and set(precise) == {0.0, 1.0}
    np.testing.assert_allclose(paid, np.where(level == 0, precise, told["verdict"]), rtol=1e-6)
