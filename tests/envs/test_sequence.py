"""Writing tasks: every verifier against one that reads text, and the environment's contract."""

import collections
import itertools
import operator
import re
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward.envs import sequence
from jaxrl_reward.envs.sequence import base
from jaxrl_reward.types import UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SMALL = {
    "sum": {"digits": 1},
    "modular": {"modulus": 4, "terms": 3},
    "countdown": {"numbers": 3},
    "copy": {"letters": 6, "longest": 2, "max_tokens": 4},
    "brackets": {"deepest": 3, "max_tokens": 6},
    "think": {"max_tokens": 5},
    "confidence": {},
    "tests": {},
    "hack": {"length": 2, "judges": 2, "max_tokens": 5, "bonus": 0.3},
    "tree": {},
}


def left_to_right(text, modulus=None):
    signs = {"+": operator.add, "-": operator.sub, "*": operator.mul}
    value = int(text[0])
    for sign, number in re.findall(r"([+*-])(\d)", text[1:]):
        value = signs[sign](value, int(number))
        value = value if modulus is None else value % modulus
    return value


def number(text, right):
    answer = text.rpartition("=")[2]
    return answer.isdigit() and str(int(answer)) == answer and int(answer) == right


def right_sum(prompt, text):
    a, b = prompt.rstrip("=").split("+")
    return number(text, int(a) + int(b))


def right_modular(prompt, text):
    return number(text, left_to_right(prompt, 4))


def right_countdown(prompt, text):
    given, target, _ = prompt.split(":")
    used = collections.Counter(re.findall(r"\d", text))
    allowed = not used - collections.Counter(given)
    shaped = re.fullmatch(r"[1-9]([+*-][1-9])*", text)
    return bool(shaped and allowed) and left_to_right(text) == int(target)


def right_copy(prompt, text):
    return prompt == text + "="


def right_brackets(prompt, text):
    text = prompt + text
    while text != (shorter := re.sub(r"\(\)|\[\]|\{\}|<>", "", text)):
        text = shorter
    return text == ""


READERS = {
    "sum": right_sum,
    "modular": right_modular,
    "countdown": right_countdown,
    "copy": right_copy,
    "brackets": right_brackets,
}


@cache
def task_of(name):
    return sequence.make(name, SMALL[name])[0].task


@cache
def program(name):
    """Of prompts [M] and responses [M, T]: prompts, verdicts, and those of the solutions."""
    task = task_of(name)

    def one(number, tokens, luck):
        question = task.ask(number)
        solution = task.solve(question, jax.random.fold_in(jax.random.key(0), number))
        right = task.verify(question, solution, luck)
        return question.prompt, task.verify(question, tokens, luck), solution, right

    return quick(jax.vmap(one, (0, 0, None)))


def judged(name, numbers, tokens, luck=0.0):
    arguments = (np.asarray(numbers, np.int32), np.asarray(tokens, np.int32), np.float32(luck))
    return jax.tree.map(np.asarray, program(name)(*arguments))


def every_response(task, tokens):
    """All responses of up to so many tokens, ended and cut off, `[M, T]`."""
    rows = []
    for size in range(tokens + 1):
        for way in itertools.product(range(1, task.vocabulary), repeat=size):
            rows.append([*way, sequence.END])
    padded = [row + [task.vocabulary] * (task.max_tokens - len(row)) for row in rows]
    return np.array(padded, np.int32)


@pytest.mark.parametrize(
    "name", ["sum", *(pytest.param(x, marks=pytest.mark.slow) for x in READERS if x != "sum")]
)
def test_verifiers_agree_with_a_reader_of_the_text(name):
    """On all short responses, and on the demonstrated ones with one token changed."""
    task, rng = task_of(name), np.random.default_rng(0)
    short = every_response(task, 2)
    numbers = rng.integers(0, task.prompts, len(short) + 1000).astype(np.int32)
    filler = np.repeat(short[:1], 1000, 0)
    prompts, _, solutions, right = judged(name, numbers, np.concatenate([short, filler]))
    assert (right.outcome == 1).all()  # every demonstration is right
    changed = solutions[-1000:].copy()
    places = rng.integers(0, task.max_tokens, 1000)
    changed[np.arange(1000), places] = rng.integers(0, task.vocabulary, 1000)
    tokens = np.concatenate([short, changed])
    prompts, verdict, _, _ = judged(name, numbers, tokens)
    outcomes = collections.Counter()
    for prompt, row, outcome in zip(prompts, tokens, verdict.outcome, strict=True):
        text = task.text(row)
        ended = "." in text
        expected = ended and READERS[name](task.text(prompt), text.partition(".")[0])
        assert bool(outcome) == expected, (task.text(prompt), text)
        outcomes[expected] += 1
    assert min(outcomes.values()) > 10, outcomes


@pytest.mark.slow
def test_prompts_are_all_different_and_of_their_level():
    for name in ("sum", "modular", "copy", "brackets", "think"):
        task = task_of(name)
        numbers = np.arange(task.prompts, dtype=np.int32)
        questions = jax.tree.map(np.asarray, quick(jax.vmap(task.ask))(numbers))
        assert len({tuple(row) for row in questions.prompt}) == task.prompts
        counts = np.bincount(questions.level)
        assert tuple(counts) == task.levels
        lengths = (questions.prompt < task.vocabulary).sum(1)
        assert (np.diff(lengths) >= 0).all()  # numbered by level, and longer as they get harder


def test_the_rephrasing_of_a_sum_swaps_its_terms():
    task = sequence.make("sum", {"digits": 2})[0].task
    numbers = np.random.default_rng(0).integers(0, task.prompts, 200).astype(np.int32)
    both = quick(jax.vmap(lambda n: (task.ask(n).prompt, task.ask(task.rephrase(n)).prompt)))
    for one, two in zip(*map(np.asarray, both(numbers)), strict=True):
        a, b = task.text(one).rstrip("=").split("+")
        assert task.text(two) == f"{b}+{a}="


def test_thinking_raises_the_chance_and_more_so_for_hard_prompts():
    name, task = "think", task_of("think")
    star, idle, letter = 1, 2, 3
    answers = np.arange(0, 32, 8) + 5  # the prompt with the sixth letter at each level
    for stars, idles in ((0, 0), (1, 0), (3, 0), (2, 1)):
        row = [star] * stars + [idle] * idles + [letter + 5, 0]
        tokens = np.full((4, task.max_tokens), task.vocabulary, np.int32)
        tokens[:, : len(row)] = row
        facts = judged(name, answers.astype(np.int32), tokens)[1].facts
        floor, rate = np.linspace(0.9, 0.1, 4), 1 + 2 * np.arange(4)
        expected = 0.95 - (0.95 - floor) * np.exp(-stars / rate)
        np.testing.assert_allclose(facts["chance"], expected, rtol=1e-5)
        np.testing.assert_allclose(facts["concise"], (1 + stars) / (1 + stars + idles))
        assert (facts["scratch"] == stars + idles).all()
    tokens[:, 3] = letter + 6  # another letter is never right
    verdict = judged(name, answers.astype(np.int32), tokens)[1]
    assert (verdict.facts["chance"] == 0).all() and (verdict.outcome == 0).all()


@pytest.mark.slow
def test_confidence_is_read_and_luck_decides():
    name, task = "confidence", task_of("confidence")
    numbers = np.arange(8, dtype=np.int32)
    tokens = np.stack([[1 + i, 9 + i, 0, task.vocabulary] for i in range(8)]).astype(np.int32)
    verdict = judged(name, numbers, tokens, luck=0.5)[1]
    np.testing.assert_allclose(verdict.facts["confidence"], np.arange(8) / 10, rtol=1e-6)
    np.testing.assert_array_equal(verdict.outcome, np.linspace(0.1, 0.9, 8) > 0.5)
    tokens[:, 2] = 1  # cut off
    verdict = judged(name, numbers, tokens)[1]
    assert not verdict.outcome.any() and not verdict.facts["well_formed"].any()


@pytest.mark.slow
def test_tests_are_of_unequal_difficulty():
    """Under uniform letters a test passes as often as it says; all pass together rarely."""
    name, task, rng = "tests", task_of("tests"), np.random.default_rng(0)
    tokens = np.full((4096, task.max_tokens), task.vocabulary, np.int32)
    tokens[:, :6], tokens[:, 6] = rng.integers(1, 9, (4096, 6)), 0
    _, verdict, _, right = judged(name, rng.integers(0, 8, 4096).astype(np.int32), tokens)
    rates = verdict.facts["rewards"].mean(0)
    np.testing.assert_allclose(rates, [0.75] * 12 + [0.25] * 3 + [0.125], atol=0.03)
    np.testing.assert_array_equal(verdict.outcome, verdict.facts["rewards"].all(1))
    assert (right.facts["rewards"] == 1).all() and verdict.outcome.mean() < 0.02


@pytest.mark.slow
def test_a_judge_is_fooled_by_its_own_mark():
    name, task = "hack", task_of("hack")
    marked = np.full((1, 5), task.vocabulary, np.int32)
    solution = judged(name, np.zeros(1, np.int32), marked)[2]
    marked[0, :2], marked[0, 2:] = solution[0, :2], [9, 9, 0]
    verdict = judged(name, np.zeros(1, np.int32), marked)[1]
    np.testing.assert_allclose(verdict.outcome, 0.8, rtol=1e-6)
    np.testing.assert_allclose(verdict.facts["rewards"], [[1.6, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(verdict.facts["proxy"], 1.6, rtol=1e-6)


def test_a_prefix_of_a_tree_is_worth_the_mean_of_its_leaves():
    name = "tree"
    ways = np.array(list(itertools.product(range(1, 9), repeat=3)), np.int32)
    tokens = np.concatenate([ways, np.zeros((512, 1), np.int32)], 1)
    verdict = judged(name, np.full(512, 3, np.int32), tokens)[1]
    outcome, value = verdict.outcome.reshape(8, 8, 8), verdict.steps["value"].reshape(8, 8, 8, 4)
    assert outcome.sum() == 8
    np.testing.assert_allclose(
        value[..., 0], np.broadcast_to(outcome.mean((1, 2))[:, None, None], (8, 8, 8))
    )
    np.testing.assert_allclose(
        value[..., 1], np.broadcast_to(outcome.mean(2)[..., None], (8, 8, 8))
    )
    np.testing.assert_array_equal(value[..., 2], outcome)
    np.testing.assert_array_equal(value[..., 3], outcome)
    assert len(set(verdict.facts["answer"])) == 512


# ---- the environment ---------------------------------------------------------------------


@cache
def played(name):
    """One episode: what is observed, the state at its start, and rows of the tokens played."""
    env = envs.make(name)

    def play(key, tokens):
        obs, state = env.reset(key)
        solution = env.environment.task.solve(state.question, key)
        tokens = jnp.where(tokens < 0, solution, tokens)
        _, rows = jax.lax.scan(step, (key, state), tokens)
        return obs, state, tokens, rows

    def step(carry, token):
        key, state = carry
        row = env.step(key, state, token)
        return (key, row[1]), row

    return env.environment.task, quick(play)


def test_the_environment_writes_and_judges():
    task, play = played("sequence:sum,digits=1,max_tokens=3")
    obs, state, tokens, rows = jax.tree.map(np.asarray, play(jax.random.key(1), np.full(3, -1)))
    next_obs, _, reward, terminated, _, info = rows
    prompt, end = task.text(obs[: task.prompt_length]), int((tokens == sequence.END).argmax())
    a, b = prompt.rstrip("=").split("+")
    assert task.text(tokens) == f"{int(a) + int(b)}." and end > 0
    assert (obs[task.prompt_length :] == task.vocabulary).all()
    np.testing.assert_array_equal(next_obs[end, task.prompt_length :], tokens)
    np.testing.assert_array_equal(reward[: end + 1], [*[0] * end, 1])
    np.testing.assert_array_equal(terminated[: end + 1], [*[False] * end, True])
    assert info["answer"][end] == int(a) + int(b)
    assert (info["prompt"] == state.number).all() and (info["level"] == 0).all()


def test_what_is_cut_off_pays_nothing_and_is_truncated():
    _, play = played("sequence:sum,digits=1,max_tokens=3")
    rows = play(jax.random.key(1), np.array([2, 2, 2]))[3]
    _, _, reward, terminated, truncated, _ = jax.tree.map(np.asarray, rows)
    assert not reward.any() and not terminated.any()
    np.testing.assert_array_equal(truncated, [False, False, True])


@pytest.mark.slow
def test_the_mix_weighs_levels():
    task = task_of("think")
    keys = jax.random.split(jax.random.key(0), 4000)

    draw = quick(jax.vmap(task.draw, (0, None)))

    def shares(mix):
        numbers = draw(keys, mix)
        return np.bincount(np.asarray(numbers) // 8, minlength=4) / 4000

    np.testing.assert_allclose(shares(0.0), 0.25, atol=0.03)
    weights = np.exp(1.5 * np.arange(4))
    np.testing.assert_allclose(shares(1.5), weights / weights.sum(), atol=0.03)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sequence:sums", "did you mean 'sequence:sum'?"),
        ("sequence:sum,digits=9", "digits must be between 1 and 4, not 9"),
        ("sequence:sum,max_tokens=3", "max_tokens must be between 4 and 64, not 3"),
        ("sequence:copy,longest=20,max_tokens=21", "are too many prompts"),
        ("sequence:think,level=3", "has no option 'level', did you mean 'levels'?"),
    ],
)
def test_bad_tasks_are_refused(name, message):
    with pytest.raises(UserError, match=re.escape(message)):
        envs.make(name)


# ---- tasks of one's own --------------------------------------------------------------


def following(digits: int = 3, max_tokens: int = 2) -> sequence.Task:
    "Right is the next digit."

    def ask(number):
        return sequence.Question(jnp.array([number + 1]), jnp.int32(0), number + 2)

    def verify(question, tokens, luck):
        return sequence.Score((tokens[0] == question.truth).astype(jnp.float32), {})

    def solve(question, key):
        return base.response(question.truth[None], max_tokens, digits + 1)

    symbols = (".", *"0123456789"[:digits])
    return sequence.Task(symbols, 1, max_tokens, (digits - 1,), ask, verify, solve)


def test_a_task_of_ones_own_is_an_environment(registers):
    assert sequence.register("next")(following) is following
    assert "sequence:next" in envs.names()
    env = envs.make("sequence:next,digits=5")
    assert env.action_space.n == 6 and env.max_steps == 2
    obs, state = env.reset(jax.random.key(0))
    right = int(obs[0]) + 1
    _, state, reward, terminated, _, info = env.step(jax.random.key(0), state, right)
    assert not terminated and info["scratch"] == 0.0
    _, _, reward, terminated, _, _ = env.step(jax.random.key(0), state, sequence.END)
    assert terminated and reward == 1.0
    sequence.register("next")(following)  # the same again


def test_what_is_no_task_is_refused(registers):
    with pytest.raises(UserError, match=r"task name 'sum' is taken by jaxrl_reward\.envs"):
        sequence.register("sum")(following)
    with pytest.raises(UserError, match="task name 'a-b' is not an identifier"):
        sequence.register("a-b")
    with pytest.raises(UserError, match="sequence:x: size must have a number, a text or a truth"):
        sequence.register("x")(lambda size: None)
    sequence.register("x")(lambda: "no task")
    with pytest.raises(UserError, match="sequence:x must be a Task, and is a str"):
        envs.make("sequence:x")
