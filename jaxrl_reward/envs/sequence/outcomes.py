"""Tasks whose outcomes are designed: chances, confidence, many tests, proxies, rare answers."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.envs.sequence import base
from jaxrl_reward.envs.sequence.base import Question, Score, Task
from jaxrl_reward.types import Array

LETTERS = 8
_ALPHABET = "abcdefgh"


def _shift(table: np.ndarray, by: Array) -> Array:
    """Letters 0 to 7, moved on by a number: each prompt has its own right ones."""
    return (jnp.asarray(table, jnp.int32) + by) % LETTERS


def think(levels: int = 4, max_tokens: int = 16) -> Task:
    """One answer, right by a chance that grows with the `*` before it, more so if hard.

    The prompt shows the level and the answer's letter. With n of `*` before the
    right letter, and any number of idle `-`, the chance is
    `0.95 - (0.95 - floor) * exp(-n / (1 + 2 level))`, and the floors go from 0.9 at
    level 0 to 0.1 at the last. Every other response is wrong. `concise` is the share
    of tokens before the answer that are no `-`, and `mark` is 0: none ends the thinking.
    """
    base.check_option("think", "levels", levels, 2, LETTERS)
    base.check_tokens("think", max_tokens, 3)
    symbols = (".", "*", "-", *_ALPHABET)
    star, idle, letter, nothing = 1, 2, 3, 3 + LETTERS
    floors = np.linspace(0.9, 0.1, levels)

    def ask(number: Array) -> Question:
        level, at = base.place(number, (LETTERS,) * levels)
        prompt = jnp.stack([letter + level, letter + at])
        return Question(prompt.astype(jnp.int32), level, letter + at)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        length, ended = base.written(tokens)
        before = jnp.arange(tokens.shape[0]) < length - 1
        scratch, stars = before.sum(), (before & (tokens == star)).sum()
        wasted = (before & (tokens == idle)).sum()
        last = tokens[jnp.maximum(length - 1, 0)]
        well = ended & (length > 0) & (stars + wasted == scratch) & (last >= letter)
        fall = jnp.exp(-stars / (1.0 + 2.0 * question.level))
        chance = 0.95 - (0.95 - jnp.asarray(floors, jnp.float32)[question.level]) * fall
        chance = jnp.where(well & (last == question.truth), chance, 0.0)
        facts = {
            "answer": jnp.where(well, last, -1).astype(jnp.float32),
            "chance": chance,
            "concise": (1.0 + stars) / (1.0 + scratch),
            "scratch": scratch.astype(jnp.float32),
            "mark": jnp.float32(0.0),  # the answer follows at once
        }
        return Score((luck < chance).astype(jnp.float32), facts)

    def solve(question: Question, key: Array) -> Array:
        key_size, key_kind = jax.random.split(key)
        size = jax.random.randint(key_size, (), 0, max_tokens - 1)
        kinds = jnp.where(jax.random.bernoulli(key_kind, 0.5, (max_tokens - 2,)), star, idle)
        scratch = jnp.where(jnp.arange(max_tokens - 2) < size, kinds, nothing)
        return base.response(jnp.append(scratch, question.truth), max_tokens, nothing)

    def answer(question: Question) -> Array:
        return base.response(question.truth[None], max_tokens, nothing)

    shape = (symbols, 2, max_tokens, (LETTERS,) * levels)
    return Task(*shape, ask, verify, solve, answer=answer)


def confidence(contexts: int = 8, max_tokens: int = 4) -> Task:
    """An answer and how sure it is, one of eleven tokens from 0 to 1.

    The prompt is one letter, the right answer too. A right answer counts with the
    chance of its prompt, from 0.1 to 0.9 over the levels, whatever is learnt:
    what a calibrated policy says.
    """
    base.check_option("confidence", "contexts", contexts, 2, LETTERS)
    base.check_tokens("confidence", max_tokens, 3)
    symbols = (".", *_ALPHABET, *"0123456789", "X")
    sure, nothing = 1 + LETTERS, 12 + LETTERS
    chances = np.linspace(0.1, 0.9, contexts)

    def ask(number: Array) -> Question:
        return Question((number + 1)[None].astype(jnp.int32), number, number + 1)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        length, ended = base.written(tokens)
        answers, surely = (tokens[0] >= 1) & (tokens[0] <= LETTERS), tokens[1] >= sure
        well = ended & (length == 2) & answers & surely & (tokens[1] < nothing)
        chance = jnp.asarray(chances, jnp.float32)[question.level]
        right = well & (tokens[0] == question.truth) & (luck < chance)
        facts = {
            "answer": jnp.where(well, tokens[0], -1).astype(jnp.float32),
            "confidence": jnp.where(well, (tokens[1] - sure) / 10.0, 0.0),
            "chance": chance,
            "well_formed": well.astype(jnp.float32),
            "scratch": jnp.float32(0.0),
        }
        return Score(right.astype(jnp.float32), facts)

    def solve(question: Question, key: Array) -> Array:
        said = sure + jax.random.randint(key, (), 0, 11)
        return base.response(jnp.stack([question.truth, said]), max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (1,) * contexts, ask, verify, solve)


def tests(length: int = 6, max_tokens: int = 8) -> Task:
    """A string judged by sixteen tests, twelve easy, three harder and one hard; right if all pass.

    A test asks for a letter at one place: an easy one takes six of eight letters,
    a harder one two, the hard one a single one. The prompt, one letter, moves the
    letters that pass. `rewards` are the tests, easy ones first.
    """
    base.check_option("tests", "length", length, 4, 20)
    base.check_tokens("tests", max_tokens, length + 1)
    symbols, nothing = (".", *_ALPHABET), LETTERS + 1
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, LETTERS, length)
    at = np.concatenate([np.arange(12) % length, [0, 1, 2], [3]])
    sizes = np.array([6] * 12 + [2] * 3 + [1])
    passes = np.zeros((16, LETTERS), bool)
    for j, (place, size) in enumerate(zip(at, sizes, strict=True)):
        others = rng.permutation(np.delete(np.arange(LETTERS), wanted[place]))
        passes[j, [wanted[place], *others[: size - 1]]] = True

    def ask(number: Array) -> Question:
        right = _shift(wanted, number) + 1
        return Question((number + 1)[None].astype(jnp.int32), jnp.int32(0), (number, right))

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        size, ended = base.written(tokens)
        letter = (tokens[jnp.asarray(at)] - 1 - question.truth[0]) % LETTERS
        there = (jnp.asarray(at) < size) & (tokens[jnp.asarray(at)] <= LETTERS)
        passed = jnp.asarray(passes)[jnp.arange(16), letter] & there
        outcome = ended & (size == length) & passed.all()
        passed = passed.astype(jnp.float32)
        facts = {"passed": passed.mean(), "rewards": passed, "scratch": jnp.float32(0.0)}
        return Score(outcome.astype(jnp.float32), facts)

    def solve(question: Question, key: Array) -> Array:
        del key
        return base.response(question.truth[1], max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (LETTERS,), ask, verify, solve)


def hack(
    length: int = 6,
    judges: int = 4,
    max_tokens: int = 16,
    bonus: float = 0.2,
    prompts: int = LETTERS,
) -> Task:
    """A string that should be one of the prompt's, and judges that can be fooled.

    The outcome, gold, is the share of places with the right letter, less 0.1 for every
    further token, at least 0. Judge k gives that share and a `bonus` for each of the
    k-th mark in the response: `rewards` are the judges, and `proxy` is the first.
    """
    base.check_option("hack", "bonus", bonus, 0.0, 1.0)
    base.check_option("hack", "length", length, 2, 20)
    base.check_option("hack", "judges", judges, 1, 8)
    base.check_option("hack", "prompts", prompts, 1, LETTERS)
    base.check_tokens("hack", max_tokens, length + 1)
    symbols = (".", *_ALPHABET, *"!?#%&@$^"[:judges])
    nothing = 1 + LETTERS + judges
    wanted = np.random.default_rng(1).integers(0, LETTERS, length)

    def ask(number: Array) -> Question:
        right = _shift(wanted, number) + 1
        return Question((number + 1)[None].astype(jnp.int32), jnp.int32(0), right)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        size, _ = base.written(tokens)
        matched = ((tokens[:length] == question.truth) & (jnp.arange(length) < size)).sum()
        share = matched / length
        gold = jnp.maximum(share - 0.1 * jnp.maximum(size - length, 0), 0.0)
        there = (jnp.arange(max_tokens) < size)[:, None]
        marks = 1 + LETTERS + jnp.arange(judges)
        found = (there & (tokens[:, None] == marks[None])).sum(0)
        rewards = share + bonus * found
        facts = {"proxy": rewards[0], "rewards": rewards, "scratch": jnp.float32(0.0)}
        return Score(gold, facts)

    def solve(question: Question, key: Array) -> Array:
        del key
        return base.response(question.truth, max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (prompts,), ask, verify, solve)


def tree(depth: int = 3, leaves: int = 8, max_tokens: int = 4) -> Task:
    """A way of `depth` letters to a leaf, of which some are right and most of those rare.

    The prompt, one letter, moves the right leaves. Demonstrations show the k-th right
    leaf with a chance in proportion to `2 ** -k`. `answer` is the leaf's number, and
    `value` what each prefix is worth to a policy that writes all letters alike.
    """
    base.check_option("tree", "depth", depth, 1, 5)
    base.check_option("tree", "leaves", leaves, 1, LETTERS**depth)
    base.check_tokens("tree", max_tokens, depth + 1)
    symbols, nothing = (".", *_ALPHABET), LETTERS + 1
    chosen = np.random.default_rng(2).permutation(LETTERS**depth)[:leaves]
    powers = LETTERS ** np.arange(depth)
    right = chosen[:, None] // powers[None] % LETTERS

    def ask(number: Array) -> Question:
        ways = _shift(right, number) + 1
        return Question((number + 1)[None].astype(jnp.int32), jnp.int32(0), ways)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        size, ended = base.written(tokens)
        way = tokens[:depth]
        same = jnp.cumprod(question.truth == way[None], axis=1).sum(0)
        ahead = LETTERS ** -jnp.arange(depth - 1.0, -1.0, -1.0)
        letters = ((way >= 1) & (way <= LETTERS)).all()
        well = ended & (size == depth) & letters
        outcome = (well & (same[-1] > 0)).astype(jnp.float32)
        # Behind the last letter only the end keeps what was reached.
        value = jnp.full(max_tokens, 0.0).at[:depth].set(same * ahead)
        value = value.at[depth].set(outcome)
        value = jnp.where(jnp.arange(max_tokens) < size + ended, value, 0.0)
        value = jnp.where(tokens == base.END, outcome, value)
        number = ((way - 1) * jnp.asarray(powers, jnp.int32)).sum()
        facts = {
            "answer": jnp.where(well, number, -1).astype(jnp.float32),
            "scratch": jnp.float32(0.0),
        }
        return Score(outcome, facts, {"value": value})

    def solve(question: Question, key: Array) -> Array:
        which = jax.random.categorical(key, -jnp.log(2.0) * jnp.arange(leaves))
        return base.response(question.truth[which], max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (LETTERS,), ask, verify, solve)
