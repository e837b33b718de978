"""Tasks with modes: how they ask and judge, and SPARK's items against their law."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward.envs import sequence
from jaxrl_reward.envs.sequence import modes

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SOLVE, JUDGE, COMPARE, FIX = range(4)


@pytest.fixture(scope="module")
def plain():
    return envs.make("sequence:sum,digits=1,max_tokens=4").environment.task


@pytest.fixture(scope="module")
def task():
    return envs.make("sequence:sum,digits=1,max_tokens=4,modes=True").environment.task


def tokens_of(task, text):
    """Of a text in one-letter symbols and words in angles, then nothing, `[T]`."""
    words = text.replace("<", " <").replace(">", "> ").split()
    found = [x for word in words for x in ([word] if word[0] == "<" else word)]
    numbers = [task.symbols.index(x) for x in found]
    return jnp.array(numbers + [task.vocabulary] * (task.max_tokens - len(numbers)), jnp.int32)


def put(task, mode, number, first, second="", verdict=0):
    shown = jnp.stack([tokens_of(task, first), tokens_of(task, second)])
    return task.modes.put(task.modes.plain.ask(jnp.int32(number)), mode, shown, verdict)


def worth(task, question, text):
    return float(task.score(question, tokens_of(task, text), jnp.float32(0.5)).outcome)


# ---- how it asks and judges ----------------------------------------------------------------


def test_prompts_say_what_was_asked_what_was_written_and_the_mode(plain, task):
    assert task.text(task.ask(jnp.int32(75)).prompt) == plain.text(plain.ask(75).prompt) + "<solve>"
    assert task.text(put(task, JUDGE, 75, "12.").prompt) == "7+5=12.<judge>"
    assert task.text(put(task, FIX, 75, "=13.").prompt) == "7+5==13.<fix>"
    assert task.text(put(task, COMPARE, 75, "1.", "12.").prompt) == "7+5=1.12.<compare>"
    # One that is cut off has no end.
    assert task.text(put(task, COMPARE, 75, "1111", "12.").prompt) == "7+5=111112.<compare>"
    assert task.prompts == plain.prompts and task.levels == plain.levels


def test_a_verdict_is_one_token_and_the_end(task):
    """Of all that may be written with up to three of five symbols, one is right."""
    some = (".", "1", "<yes>", "<no>", "<judge>")
    texts = ["", *some, *(a + b for a in some for b in some)]
    texts += [a + b + c for a in some for b in some for c in some]
    for mode in (JUDGE, COMPARE):
        for verdict, right in ((1, "<yes>."), (0, "<no>.")):
            question = put(task, mode, 75, "12.", "1." * (mode == COMPARE), verdict)
            rows = jnp.stack([tokens_of(task, text) for text in texts])
            found = quick(jax.vmap(lambda x, q=question: task.score(q, x, 0.5).outcome))(rows)
            # What comes behind the end is not there: both write the same response.
            same = [text == right or text.startswith(right) for text in texts]
            np.testing.assert_array_equal(found, np.array(same, np.float32))


@pytest.mark.parametrize("mode", [SOLVE, FIX])
@pytest.mark.parametrize("name", ["sum,digits=1,max_tokens=4", "hack,length=2", "brackets"])
def test_an_answer_is_judged_as_ever(name, mode):
    plain, task = (
        envs.make(f"sequence:{name}{more}").environment.task for more in ("", ",modes=True")
    )
    rng = np.random.default_rng(mode)
    rows = rng.integers(0, plain.vocabulary, (40, plain.max_tokens))
    rows[:20] = quick(jax.vmap(lambda n: plain.solve(plain.ask(n), jax.random.key(0))))(
        jnp.arange(20) % plain.prompts
    )
    ends = (rows == 0).argmax(1)
    behind = (np.arange(plain.max_tokens) > ends[:, None]) & (rows == 0).any(1)[:, None]

    @quick
    @jax.vmap
    def both(number, theirs, ours):
        question = plain.ask(number)
        blank = jnp.full((2, plain.max_tokens), task.vocabulary)
        asked = task.modes.put(question, jnp.int32(mode), blank, jnp.int32(0))
        return plain.score(question, theirs, 0.5), task.score(asked, ours, 0.5)

    there = [np.where(behind, each.vocabulary, rows) for each in (plain, task)]
    numbers = jnp.arange(40) % plain.prompts
    theirs, ours = both(numbers, *there)
    assert float(theirs.outcome.max()) == 1.0
    np.testing.assert_array_equal(theirs.outcome, ours.outcome)
    for fact, value in theirs.facts.items():
        np.testing.assert_array_equal(value, ours.facts[fact])
    assert set(np.asarray(ours.facts["mode"])) == {float(mode)}
    # A mode's token in the middle makes any answer worthless.
    marked = np.where(np.arange(plain.max_tokens)[None] == 0, plain.vocabulary, there[1])
    assert not both(numbers, there[0], marked)[1].outcome.any()


def test_what_is_shown_is_right_unless_it_is_to_be_wrong(task):
    """Demonstrations: a verdict fits what is shown, an answer the question; else neither does."""
    question, other = task.ask(jnp.int32(75)), task.ask(jnp.int32(11))

    @quick
    def drawn(wrong):
        keys = jax.random.split(jax.random.key(1), 200)
        asked, response = jax.vmap(lambda key: task.modes.show(question, other, wrong, key))(keys)
        worth = jax.vmap(lambda q, x: task.score(q, x, 0.5).outcome)(asked, response)
        return asked, response, worth

    for wrong in (False, True):
        asked, response, worth = drawn(jnp.bool_(wrong))
        assert set(np.asarray(worth)) == {0.0 if wrong else 1.0}
        seen = {}
        for i in range(200):
            prompt, said = task.text(asked.prompt[i]), task.text(response[i])
            seen.setdefault(prompt, set()).add(said)
        yes, no = ("<no>.", "<yes>.") if wrong else ("<yes>.", "<no>.")
        answer = "2." if wrong else "12."
        assert seen == {
            "7+5=<solve>": {answer},
            "7+5=12.<judge>": {yes},
            "7+5=2.<judge>": {no},
            "7+5=12.2.<compare>": {yes},
            "7+5=2.12.<compare>": {no},
            "7+5=2.<fix>": {answer},
        }


# ---- items ---------------------------------------------------------------------------------


def batch(task):
    """Four responses to each of four prompts: all right, all wrong, one right, three right."""
    numbers = jnp.repeat(jnp.array([11, 22, 75, 33]), 4)
    texts = [
        "2.",
        "=2.",
        "1=2.",
        "+=2.",
        "1.",
        "3.",
        "5.",
        "6.",
        "12.",
        "1.",
        "2.",
        "3=4.",
        "6.",
        "=6.",
        "1=6.",
        "1=7.",
    ]
    right = jnp.array([1] * 4 + [0] * 4 + [1, 0, 0, 0] + [1, 1, 1, 0], bool)
    tokens = jnp.stack([tokens_of(task, text) for text in texts])
    question = jax.vmap(task.ask)(numbers)
    scratch = jax.vmap(lambda q, x: task.score(q, x, 0.5).facts["scratch"])(question, tokens)
    outcome = jax.vmap(lambda q, x: task.score(q, x, 0.5).outcome)(question, tokens)
    np.testing.assert_array_equal(outcome, right)
    # Groups may have any numbers and lie apart.
    order = np.random.default_rng(0).permutation(16)
    group = jnp.repeat(jnp.array([3, 0, 9, 7]), 4)
    rows = jax.tree.map(lambda x: x[order], (question, tokens, right, scratch, group))
    return rows, dict(zip(range(16), texts, strict=True))


def drawn(task, count, keys, known=None):
    (question, tokens, right, scratch, group), _ = batch(task)

    @quick
    def many(keys):
        one = lambda key: modes.recycle(  # noqa: E731
            key, task, question, tokens, right, scratch, group, count, known
        )
        return jax.vmap(one)(keys)

    items = many(jax.random.split(jax.random.key(2), keys))
    prompts, use = np.asarray(items.question.prompt), np.asarray(items.use)
    verdict = np.asarray(items.question.truth.verdict)
    return [
        [
            (task.text(prompts[i, j]), int(verdict[i, j])) if use[i, j] else None
            for j in range(2 * count)
        ]
        for i in range(keys)
    ]


def test_sparks_items_and_how_often_each_is_made(task):
    """Chances of the rule, and within four standard errors of them in 2,000 draws."""
    draws = 2000
    found = {}
    for items in drawn(task, 4, draws):
        judged, fixed = items[:4], items[4:]
        assert all(judged) and sum(x is None for x in fixed) == 1 and fixed[3] is None
        assert len({x[0][:4] for x in judged if x}) == 4
        assert len({x[0][:4] for x in fixed if x}) == 3
        for item in filter(None, judged + fixed):
            found[item] = found.get(item, 0) + 1
    expected = {(f"1+1={x}<judge>", 1): 1 / 4 for x in ("2.", "=2.", "1=2.", "+=2.")}
    expected |= {(f"2+2={x}<judge>", 0): 1 / 4 for x in ("1.", "3.", "5.", "6.")}
    expected |= {("7+5=12.<judge>", 1): 0.15, ("3+3=1=7.<judge>", 0): 0.15}
    for x in ("1.", "2.", "3=4."):
        expected[f"7+5={x}<judge>", 0] = 0.15 / 3
        expected[f"7+5=12.{x}<compare>", 1] = expected[f"7+5={x}12.<compare>", 0] = 0.35 / 3
    for x in ("6.", "=6.", "1=6."):
        expected[f"3+3={x}<judge>", 1] = 0.15 / 3
        expected[f"3+3={x}1=7.<compare>", 1] = expected[f"3+3=1=7.{x}<compare>", 0] = 0.35 / 3
    # Half of what is to be mended is the answer alone.
    expected |= {(f"2+2={x}<fix>", 0): 1 / 4 for x in ("1.", "3.", "5.", "6.")}
    expected |= {(f"7+5={x}<fix>", 0): 1 / 3 for x in ("1.", "2.")}
    expected |= {(f"7+5={x}<fix>", 0): 1 / 6 for x in ("3=4.", "4.")}
    expected |= {(f"3+3={x}<fix>", 0): 1 / 2 for x in ("1=7.", "7.")}
    assert found.keys() == expected.keys()
    for item, chance in expected.items():
        assert abs(found[item] / draws - chance) < 4 * (chance * (1 - chance) / draws) ** 0.5, item


def test_the_cap_takes_any_prompts_alike_and_unknown_ones_never(task):
    (*_, group), _ = batch(task)
    counts = {}
    for items in drawn(task, 2, 1000):
        assert all(items)
        for text, _ in filter(None, items[:2]):
            counts[text[:4]] = counts.get(text[:4], 0) + 1
    assert all(abs(x / 1000 - 0.5) < 4 * 0.5 / 1000**0.5 for x in counts.values())
    assert set(counts) == {"1+1=", "2+2=", "7+5=", "3+3="}
    for items in drawn(task, 3, 50, known=(group != 9) & (group != 0)):
        told = [x and x[0][:4] for x in items]
        assert set(told[:3]) == {"1+1=", "3+3=", None} and told[3:] == ["3+3=", None, None]


def test_a_verdict_is_the_logistic_of_yes_less_no(task):
    logits = jnp.zeros(task.vocabulary).at[task.symbols.index("<yes>")].set(1.5)
    logits = logits.at[task.symbols.index("<no>")].set(0.5).at[0].set(9.0)
    np.testing.assert_allclose(modes.verdict(task, logits), 1 / (1 + np.exp(-1.0)), rtol=1e-6)


def test_a_task_of_ones_own_may_have_modes():
    assert set(sequence.TASKS) >= {"lookup", "local", "compass", "choice"}
    for name in ("local", "compass", "choice", "tree", "tests", "confidence", "think"):
        task = envs.make(f"sequence:{name},modes=True").environment.task
        score = task.score(task.ask(jnp.int32(0)), jnp.zeros(task.max_tokens, jnp.int32), 0.5)
        assert score.facts["mode"] == 0.0
