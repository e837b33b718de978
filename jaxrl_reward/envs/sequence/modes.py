"""A task in which one writer solves, judges, compares and mends, and items of its own responses.

After "SPARK: Synergistic Policy And Reward Co-Evolving Framework" (2025): what the verifier has
said of a batch of responses makes further questions with known answers, for the same model.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.envs.sequence import base
from jaxrl_reward.envs.sequence.base import Modes, Question, Score, Task
from jaxrl_reward.types import Array

MODES = ("solve", "judge", "compare", "fix")
SOLVE, JUDGE, COMPARE, FIX = range(4)
VERDICTS = ("no", "yes")
SHOWN = 2  # responses that a prompt has room for
POINTWISE = 0.3  # of groups with right and wrong responses, the share that is not compared


class Asked(NamedTuple):
    """What the verifier needs to know of a question in a mode.

    Attributes:
      mode: a number, int32.
      plain: the question of the task without modes.
      verdict: the right one, 0 no or 1 yes, int32; of no meaning where an answer is written.
    """

    mode: Array
    plain: Question
    verdict: Array


class Items(NamedTuple):
    """M questions about responses.

    Attributes:
      question: leaves `[M, ...]`.
      use: which of them there are, `[M]` bool.
    """

    question: Question
    use: Array


def with_modes(task: Task) -> Task:
    """The task whose prompts end in a mode, and may show responses before it.

    `solve` asks the question; its prompts are all that are drawn and numbered. `judge` shows a
    response and asks whether it is right; `compare` shows two and asks whether the first is the
    better one, of which one is right; `fix` shows a wrong one and asks the question again.
    To `judge` and `compare` the answer is one token, yes or no, and the end. There are six
    tokens more, the modes and the verdicts; an answer that has one of them in it is worth
    nothing. `mode` is its number, and other facts are 0 of verdicts, but `answer`: the verdict,
    -1 of none.
    """
    ours, length = task.vocabulary, task.max_tokens
    added = tuple(f"<{name}>" for name in (*MODES, *VERDICTS))
    first_mode, no, nothing = ours, ours + len(MODES), ours + len(added)

    def widened(tokens: Array) -> Array:
        return jnp.where(tokens >= ours, nothing, tokens).astype(jnp.int32)

    def put(question: Question, mode: Array, responses: Array, verdict: Array) -> Question:
        asked = Asked(jnp.int32(mode), question, jnp.int32(verdict))
        last = (first_mode + asked.mode)[None]
        parts = (widened(question.prompt), responses.reshape(-1), last)
        prompt = base.to_right(jnp.concatenate(parts), nothing)
        return Question(prompt.astype(jnp.int32), question.level, asked)

    def ask(number: Array) -> Question:
        blank = jnp.full((SHOWN, length), nothing, jnp.int32)
        return put(task.ask(number), jnp.int32(SOLVE), blank, jnp.int32(0))

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        asked: Asked = question.truth
        score = task.score(asked.plain, jnp.where(tokens >= ours, ours, tokens), luck)
        writes = _writes(asked.mode)
        clean = ~((tokens >= ours) & (tokens < nothing)).any()
        alone = (tokens[0] >= no) & (tokens[0] < nothing) & (tokens[1] == base.END)
        said: Array = jnp.where(alone, tokens[0] - no, -1)
        facts: dict[str, Array] = {k: jnp.where(writes, x, 0.0) for k, x in score.facts.items()}
        if "answer" in facts:
            facts["answer"] = jnp.where(writes, facts["answer"], 1.0 * said)
        facts["mode"] = asked.mode.astype(jnp.float32)
        right: Array = 1.0 * (said == asked.verdict)
        outcome: Array = jnp.where(writes, jnp.where(clean, score.outcome, 0.0), right)
        steps = {name: jnp.where(writes, value, 0.0) for name, value in score.steps.items()}
        return Score(outcome, facts, steps)

    def told(asked: Asked, written: Array) -> Array:
        verdict = base.response(no + asked.verdict[None], length, nothing)
        return jnp.where(_writes(asked.mode), widened(written), verdict)

    def solve(question: Question, key: Array) -> Array:
        return told(question.truth, task.solve(question.truth.plain, key))

    def answer(question: Question) -> Array:
        assert task.answer is not None
        return told(question.truth, task.answer(question.truth.plain))

    def show(question: Question, other: Question, wrong: Array, key: Array) -> tuple:
        key_mode, key_right, key_other, key_coin, key_luck = jax.random.split(key, 5)
        plain: Question = question.truth.plain
        right = task.solve(plain, key_right)
        against = task.solve(other.truth.plain, key_other)
        mode = jax.random.randint(key_mode, (), 0, len(MODES))
        yes = jax.random.bernoulli(key_coin) & (mode != FIX)
        pair = widened(jnp.stack([right, against]))
        pair = jnp.where(yes, pair, pair[::-1])
        # Another prompt may have the same answer.
        also = task.score(plain, against, jax.random.uniform(key_luck)).outcome >= 0.5
        verdict = yes | ((mode == JUDGE) & also)
        slots = jnp.stack([mode != SOLVE, mode == COMPARE])
        asked = put(plain, mode, jnp.where(slots[:, None], pair, nothing), verdict)
        given = asked.truth._replace(verdict=jnp.int32(verdict ^ wrong))
        return asked, told(given, jnp.where(wrong, against, right))

    return Task(
        (*task.symbols, *added),
        task.prompt_length + SHOWN * length + 1,
        length,
        task.levels,
        ask,
        verify,
        solve,
        task.rephrase,
        answer if task.answer else None,
        Modes(task, put, show, (no, no + 1)),
    )


def _writes(mode: Array) -> Array:
    """Whether what is asked for is an answer to the question, not a verdict."""
    return (mode == SOLVE) | (mode == FIX)


# ---- items ------------------------------------------------------------------------------


def judged(task: Task, question: Question, tokens: Array) -> Question:
    """The question of each response whether it is right; the verdict is not known, and told as no.

    Args:
      task: with modes.
      question: leaves `[N, ...]`, in any mode.
      tokens: the responses, `[N, T]`.
    """
    blank = jnp.full_like(tokens, task.vocabulary)
    return _put(task, question, jnp.int32(JUDGE), jnp.stack([tokens, blank], 1), jnp.int32(0))


def mending(task: Task, question: Question, tokens: Array) -> Question:
    """The question of each response to write a right one; the arguments are those of `judged`."""
    blank = jnp.full_like(tokens, task.vocabulary)
    return _put(task, question, jnp.int32(FIX), jnp.stack([tokens, blank], 1), jnp.int32(0))


def compared(task: Task, question: Question, first: Array, second: Array) -> Question:
    """The question whether the first of two responses is the better one, likewise."""
    shown = jnp.stack([first, second], 1)
    return _put(task, question, jnp.int32(COMPARE), shown, jnp.int32(0))


def recycle(
    key: Array,
    task: Task,
    question: Question,
    tokens: Array,
    right: Array,
    scratch: Array,
    group: Array,
    count: int,
    known: Array | None = None,
) -> Items:
    """SPARK's items of a batch of verified responses: to judge, then to mend.

    Of a prompt whose responses are all right, one of them is to be judged, yes; all wrong, no.
    Where they differ, one of random polarity is to be judged with a chance of 0.3, else a right
    and a wrong one are to be compared, in random order. Of a prompt with a wrong response, one
    of these is to be mended, of which half the time the answer alone is shown.

    Args:
      key: of the draws.
      task: with modes.
      question: what was asked, leaves `[N, ...]`.
      tokens: the responses, `[N, T]`.
      right: which of them the verifier accepts, `[N]` bool.
      scratch: how many tokens come before the answer, `[N]`.
      group: those to one prompt have the same number, `[N]` int.
      count: the cap: at most so many are to be judged or compared, and so many to be mended,
        of prompts drawn without replacement; at most N.
      known: the responses of which the verifier can tell, `[N]` bool; by default all.

    Returns:
      `2 * count` items.
    """
    rows = jnp.arange(group.shape[0])
    told = jnp.ones(rows.shape, bool) if known is None else known
    same = (group[:, None] == group[None]) & told[None]
    first = told & ~(same & (rows[None] < rows[:, None])).any(1)
    keys = jax.random.split(key, 8)

    def prompts(key: Array, where: Array) -> tuple[Array, Array]:
        """A row of each of some groups, and whether there are so many."""
        place = jnp.where(where, jax.random.uniform(key, where.shape), -1.0)
        best, at = jax.lax.top_k(place, count)
        return at, best >= 0.0

    def one(key: Array, at: Array, where: Array) -> Array:
        """Any response beside each of these rows of which something holds."""
        beside = same[at] & where[None]
        return jnp.where(beside, jax.random.uniform(key, beside.shape), -1.0).argmax(1)

    at, use_judge = prompts(keys[0], first)
    some, good = (same[at] & ~right[None]).any(1), (same[at] & right[None]).any(1)
    mixed = some & good
    coin = jax.random.bernoulli(keys[1], shape=mixed.shape)
    yes = jnp.where(mixed, coin, good)
    pair = mixed & (jax.random.uniform(keys[2], mixed.shape) >= POINTWISE)
    accepted, refused = tokens[one(keys[3], at, right)], tokens[one(keys[4], at, ~right)]
    shown = jnp.stack([accepted, refused], 1)
    shown = jnp.where(yes[:, None, None], shown, shown[:, ::-1])
    shown = shown.at[:, 1].set(jnp.where(pair[:, None], shown[:, 1], task.vocabulary))
    take = lambda at: jax.tree.map(lambda x: x[at], question)  # noqa: E731
    judging = _put(task, take(at), jnp.where(pair, COMPARE, JUDGE), shown, yes)

    at, use_fix = prompts(keys[5], first & (same & ~right[None]).any(1))
    which = one(keys[6], at, ~right)
    bare = jax.random.bernoulli(keys[7], shape=which.shape)
    before = jnp.arange(tokens.shape[1])[None] < (scratch[which] * bare)[:, None]
    fixing = mending(task, take(at), jnp.where(before, task.vocabulary, tokens[which]))
    question = jax.tree.map(lambda *x: jnp.concatenate(x), judging, fixing)
    return Items(question, jnp.concatenate([use_judge, use_fix]))


def _put(task: Task, question: Question, mode: Array, shown: Array, verdict: Any) -> Question:
    assert task.modes is not None
    count = shown.shape[0]
    mode, verdict = (jnp.broadcast_to(x, (count,)).astype(jnp.int32) for x in (mode, verdict))
    return jax.vmap(task.modes.put)(question.truth.plain, mode, shown, verdict)


# ---- what is said -------------------------------------------------------------------------


def verdict(task: Task, logits: Array) -> Array:
    """The chance of yes, of yes and no, by the logits `[..., V]` of the first token, `[...]`."""
    assert task.modes is not None
    no, yes = task.modes.verdicts
    return jax.nn.sigmoid(logits[..., yes] - logits[..., no])
