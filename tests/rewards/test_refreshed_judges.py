"""Judges that learn on from a policy's responses: what they are shown, and what that does."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_reward import agents, envs
from jaxrl_reward.agents.sequence import answers, writing
from jaxrl_reward.errors import UserError
from jaxrl_reward.nn import language_models, response_models
from jaxrl_reward.nn.response_models import Design
from jaxrl_reward.rewards.groups import refreshing
from jaxrl_reward.rewards.groups.ways import Groups, groups_of

V, T = 4, 5  # tokens 0 (the end) to 3; 4 is nothing


def written(*tokens):
    return [*tokens, 0, *([V] * (T - len(tokens) - 1))]


def edits_of(tokens):
    """All responses one edit away, by hand."""
    found = set()
    for i in range(len(tokens)):
        found.add(tuple(written(*tokens[:i], *tokens[i + 1 :])))
        for new in range(1, V):
            found.add(tuple(written(*tokens[:i], new, *tokens[i + 1 :])))
    if len(tokens) + 1 < T:
        for i, new in itertools.product(range(len(tokens) + 1), range(1, V)):
            found.add(tuple(written(*tokens[:i], new, *tokens[i:])))
    return found


@pytest.mark.parametrize("tokens", [(), (2,), (1, 3), (1, 2, 3), (3, 3, 1, 2)])
def test_one_edit_gives_all_responses_that_are_one_edit_away(tokens):
    start = jnp.array(written(*tokens))
    draw = jax.jit(jax.vmap(lambda key: refreshing.corrupted(key, start, V, 1)))
    copies = np.unique(draw(jax.random.split(jax.random.key(0), 4000)), axis=0)
    found = {tuple(map(int, x)) for x in copies}
    own = {tuple(written(*tokens))}
    assert found - own == edits_of(tokens) - own
    # Putting in what is there already, or replacing nothing: the copy may be the same only so.
    assert own & found <= own & edits_of(tokens)


def test_several_edits_go_further_and_never_lose_the_end():
    start = jnp.array(written(1, 2))
    draw = jax.jit(jax.vmap(lambda key: refreshing.corrupted(key, start, V, 3)))
    found = np.asarray(draw(jax.random.split(jax.random.key(1), 2000)))
    end = (found == 0).argmax(1)
    assert ((found == 0).sum(1) == 1).all()
    behind = np.arange(T)[None] > end[:, None]
    assert (found[behind] == V).all() and (found[~behind] < V).all()
    one = edits_of((1, 2)) | {tuple(written(1, 2))}
    assert any(tuple(map(int, x)) not in one for x in found)


TEXT = jnp.array([[9, *written(*x)] for x in [(1,), (2,), (3,), (1, 1), (2, 2), (3, 3), (1, 2)]])
GROUPS = Groups(jnp.array([0, 0, 0, 1, 1, 2, 2]), jnp.ones((T, 7), bool))
DESIGN = Design(V, 1, T, width=4)


def drawn(right, items, count=3000):
    how = {"items": items, "edits": 1, "count": count}
    right = jnp.array(right) > 0
    return refreshing.drawn(jax.random.key(2), DESIGN, TEXT, right, GROUPS, **how)


def rows_of(texts):
    return [int((np.asarray(TEXT) == row).all(1).argmax()) for row in np.asarray(texts)]


def test_groups_count_alike_and_only_those_in_which_one_is_right_and_one_is_not():
    found = drawn([1, 0, 1, 1, 1, 0, 1], "rollouts")
    counts = np.bincount(rows_of(found.right), minlength=7) / 3000
    # Group 1 has nothing wrong; of the others each has half, its right ones alike.
    np.testing.assert_allclose(counts, [0.25, 0, 0.25, 0, 0, 0, 0.5], atol=0.03)
    pairs = set(zip(rows_of(found.right), rows_of(found.wrong), strict=True))
    assert pairs == {(0, 1), (2, 1), (6, 5)}
    assert found.use.all()


def test_copies_are_of_all_right_ones_and_those_that_are_the_same_do_not_count():
    found = drawn([1, 0, 1, 1, 1, 0, 1], "corrupted")
    counts = np.bincount(rows_of(found.right), minlength=7) / 3000
    third = 1 / 3
    expected = [third / 2, 0, third / 2, third / 2, third / 2, 0, third]
    np.testing.assert_allclose(counts, expected, atol=0.03)
    same = (np.asarray(found.right) == np.asarray(found.wrong)).all(1)
    assert (np.asarray(found.wrong)[:, 0] == 9).all()
    np.testing.assert_array_equal(np.asarray(found.use), ~same)


@pytest.mark.parametrize("items", refreshing.ITEMS)
def test_where_nothing_is_right_nothing_moves(items):
    model = response_models.init(jax.random.key(0), DESIGN, 2)
    found = drawn([0] * 7, items, 8)
    assert not found.use.any()
    memory = jax.tree.map(jnp.ones_like, optax.adam(0.1).init(model.params))
    params, after, loss, _ = refreshing.step(DESIGN, items, 0.1, model.params, memory, found)
    assert float(loss) == 0.0
    for new, old in zip(
        jax.tree.leaves((params, after)), jax.tree.leaves((model.params, memory)), strict=True
    ):
        np.testing.assert_array_equal(new, old)


def test_losses_are_of_the_scores():
    model = response_models.init(jax.random.key(1), DESIGN)
    found = drawn([1, 0, 1, 0, 0, 0, 1], "rollouts", 6)
    good, bad = (np.asarray(model.scores(x)[0], np.float64) for x in (found.right, found.wrong))
    params = jax.tree.map(lambda x: x[0], model.params)
    loss, ordered = refreshing.loss(DESIGN, "rollouts", params, found)
    np.testing.assert_allclose(loss, np.log1p(np.exp(bad - good)).mean(), rtol=1e-5)
    assert float(ordered) == pytest.approx((good > bad).mean())
    points, _ = refreshing.loss(DESIGN, "points", params, found)
    expected = (np.log1p(np.exp(-good)) + np.log1p(np.exp(bad))).mean()
    np.testing.assert_allclose(points, expected, rtol=1e-5)


# ---- in an agent ---------------------------------------------------------------------

LOOKUP = "sequence:lookup,length=2,max_tokens=4"
CONFIG = {"network": "gru", "width": 16, "warmup": 300, "num_envs": 64, "group_size": 8}
JUDGE = "judge(tokens=11, width=16, reference=True, refresh=4, rule='precise', learning_rate=0.01)"


def test_the_task_has_a_rule_that_is_never_wrong_and_knows_half_of_the_prompts():
    task = envs.make(LOOKUP).environment.task
    numbers = jnp.arange(64)
    questions = jax.vmap(task.ask)(numbers)
    assert len(np.unique(questions.prompt, axis=0)) == 64
    answers = jax.vmap(task.answer)(questions)
    told = jax.vmap(task.score)(questions, answers, jnp.zeros(64))
    assert (told.outcome == 1.0).all()
    np.testing.assert_array_equal(told.facts["precise"], np.arange(64) < 32)
    extra = jnp.array([*answers[0, :2], 9, 0])
    told = task.score(jax.tree.map(lambda x: x[0], questions), extra, jnp.float32(0))
    assert float(told.outcome) == pytest.approx(0.9)
    assert (float(told.facts["precise"]), float(told.facts["marked"])) == (0.0, 1.0)


@pytest.fixture(scope="module")
def agent():
    return agents.make("group_pg", LOOKUP, JUDGE, learning_rate=0.0, **CONFIG)


def test_a_judge_learns_what_the_rule_knows(agent):
    state, iterate = jax.jit(agent.init)(jax.random.key(0)), jax.jit(agent.iterate)
    told = []
    for _ in range(40):
        state, metrics = iterate(state)
        told.append({k: float(m.value) for k, m in metrics.items() if "judge" in k})
    some = [t["reward/judge/ordered"] for t in told if t["reward/judge/accepted"] > 0]
    assert np.mean(some[-10:]) > 0.85 > 0.65 > some[0]
    assert 0 < told[0]["reward/judge/accepted"] < 0.5


def test_the_judge_reads_the_right_answer_behind_the_prompt(agent):
    task, numbers = agent.env.environment.task, jnp.array([0, 40])
    prompts = writing.ask(task, jax.random.key(0), numbers, jnp.arange(2))
    tokens = jnp.array([[3, 0, 11, 11], [9, 2, 1, 0]]).T
    known = language_models.Generated(tokens, tokens * 0.0, tokens * 0.0)
    block = writing.block_of(task, prompts, known)
    zeros = lambda text: jnp.zeros((*text[:, 2:].shape, 11))  # noqa: E731
    policy, _ = answers.signals(task, zeros, prompts, block)
    block = block.replace(policy={**block.policy, **policy})
    text = np.asarray(agent.reward.texts(block, groups_of(block)))
    for row, number in zip(text, numbers, strict=True):
        question = task.ask(number)
        answer = [*map(int, question.truth), 0]
        np.testing.assert_array_equal(row[:6], [11, *map(int, question.prompt), *answer])
    np.testing.assert_array_equal(text[:, 6:], tokens.T)


def test_what_a_judge_needs_and_does_not_get_is_said():
    with pytest.raises(UserError, match="no one right answer, as reference=True needs"):
        agents.make("group_pg", "sequence:hack,judges=2", JUDGE, **CONFIG)
    with pytest.raises(UserError, match=r"there is no rule here.*precise"):
        agent = agents.make("group_pg", LOOKUP, JUDGE.replace("'precise'", "'precis'"), **CONFIG)
        jax.eval_shape(agent.iterate, jax.eval_shape(agent.init, jax.random.key(0)))
