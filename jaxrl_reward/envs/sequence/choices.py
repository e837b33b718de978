"""What preferences are studied on: one choice of a few, a string of which little matters, and
one that is asked for by a direction between two rewards."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.envs.sequence import base
from jaxrl_reward.envs.sequence.base import Question, Score, Task
from jaxrl_reward.types import Array, UserError

LETTERS = 8
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def choice(options: int = 3, shown: str = "", max_tokens: int = 2) -> Task:
    """One letter of a few: a bandit. The k-th is worth `k / (options - 1)`, from 0.

    `answer` is its number, -1 of what is no single letter. Demonstrations show all alike,
    or as often as `shown` says, as in `shown=5:3:2`.
    """
    base.check_option("choice", "options", options, 2, 26)
    base.check_tokens("choice", max_tokens, 2)
    symbols, nothing = (".", *_ALPHABET[:options], "?"), options + 2
    weights = _weights(shown, options)

    def ask(number: Array) -> Question:
        return Question((number + options + 1)[None].astype(jnp.int32), jnp.int32(0), ())

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del question, luck
        length, ended = base.written(tokens)
        well = ended & (length == 1) & (tokens[0] <= options)
        answer = jnp.where(well, tokens[0] - 1, -1).astype(jnp.float32)
        return Score(jnp.maximum(answer, 0.0) / (options - 1.0), {"answer": answer})

    def solve(question: Question, key: Array) -> Array:
        del question
        letter = jax.random.categorical(key, jnp.log(jnp.asarray(weights, jnp.float32))) + 1
        return base.response(letter[None], max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (1,), ask, verify, solve)


def _weights(shown: str, options: int) -> np.ndarray:
    if not shown:
        return np.ones(options)
    try:
        weights = np.array([float(each) for each in shown.split(":")])
    except ValueError:
        weights = np.zeros(0)
    if len(weights) != options or not (np.isfinite(weights) & (weights > 0)).all():
        wanted = f"{options} numbers above 0 with : between"
        raise UserError(f"sequence:choice: shown must be {wanted}, not {shown!r}")
    return weights


def local(length: int = 10, matter: int = 2, max_tokens: int = 12) -> Task:
    """A string of letters of which a few places matter, and the prompt says which and how.

    The outcome is the share of those places with the right letter. `credit` is what each
    token is worth by itself: half at a place that matters with the right letter, minus half
    there with a wrong one, and 0 elsewhere.
    """
    base.check_option("local", "length", length, 2, 40)
    base.check_option("local", "matter", matter, 1, length)
    base.check_tokens("local", max_tokens, length + 1)
    symbols, nothing = (".", *_ALPHABET[:LETTERS]), LETTERS + 1
    rng = np.random.default_rng(3)
    matters = np.zeros((LETTERS, max_tokens), bool)
    for row in matters:
        row[rng.permutation(length)[:matter]] = True
    wanted = rng.integers(1, LETTERS + 1, (LETTERS, max_tokens))

    def ask(number: Array) -> Question:
        truth = jnp.asarray(matters)[number], jnp.asarray(wanted, jnp.int32)[number]
        return Question((number + 1)[None].astype(jnp.int32), jnp.int32(0), truth)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        counts, right = question.truth
        length, _ = base.written(tokens)
        there = counts & (jnp.arange(tokens.shape[0]) < length)
        good = there & (tokens == right)
        credit = 0.5 * good - 0.5 * (there & ~good)
        return Score(good.sum() / jnp.float32(matter), {}, {"credit": credit})

    def solve(question: Question, key: Array) -> Array:
        counts, right = question.truth
        any_letter = jax.random.randint(key, (max_tokens,), 1, LETTERS + 1)
        shown = counts * right + ~counts * any_letter
        shown = shown.at[length:].set(nothing)
        return base.response(shown, max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (LETTERS,), ask, verify, solve)


def lookup(length: int = 3, known: int = 32, marks: int = 2, max_tokens: int = 8) -> Task:
    """A string that each of 64 prompts has of its own, and a rule that knows some of the prompts.

    The outcome is the share of places with the right letter, less 0.1 for every further token,
    at least 0. `precise` is 1 of just the right string, where the rule knows the prompt: of
    level 0, the first `known`. So it is never wrong about what it accepts. `marks` of no use may
    be written, each a token too many; `marked` is how many are.
    """
    base.check_option("lookup", "length", length, 1, 20)
    base.check_option("lookup", "known", known, 1, LETTERS**2 - 1)
    base.check_option("lookup", "marks", marks, 0, 8)
    base.check_tokens("lookup", max_tokens, length + 1)
    symbols = (".", *_ALPHABET[:LETTERS], *"!?#%&@$^"[:marks])
    nothing, rng = 1 + LETTERS + marks, np.random.default_rng(4)
    order = rng.permutation(LETTERS**2)
    wanted = rng.integers(1, LETTERS + 1, (LETTERS**2, length))

    def ask(number: Array) -> Question:
        at = jnp.asarray(order, jnp.int32)[number]
        prompt = jnp.stack([at // LETTERS, at % LETTERS]) + 1
        level = (number >= known).astype(jnp.int32)
        return Question(prompt.astype(jnp.int32), level, jnp.asarray(wanted, jnp.int32)[at])

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        right: Array = question.truth
        size, ended = base.written(tokens)
        matched = ((tokens[:length] == right) & (jnp.arange(length) < size)).sum()
        gold = matched / length - 0.1 * jnp.maximum(size - length, 0)
        well = ended & (size == length) & (matched == length)
        marked = ((tokens > LETTERS) & (tokens < nothing)).sum()
        facts = {"precise": well & (question.level == 0), "marked": marked}
        facts = {name: each.astype(jnp.float32) for name, each in facts.items()}
        return Score(jnp.maximum(gold, 0.0), facts)

    def answer(question: Question) -> Array:
        return base.response(question.truth, max_tokens, nothing)

    levels = (known, LETTERS**2 - known)
    shape = (symbols, 2, max_tokens, levels)
    return Task(*shape, ask, verify, base.shown(answer), answer=answer)


def compass(length: int = 8, angles: int = 5, max_tokens: int = 10) -> Task:
    """A string of which two rewards judge, and the prompt says how much each is wanted.

    The prompt is a direction, the k-th of some angles t from 0 to 90 degrees. Rewards are
    `sqrt(n_a / length)` and `sqrt(n_b / length)`, of how many letters are a and b among the
    first `length`, and what the direction has of both, `cos t` of the first and `sin t` of
    the second, is the outcome. Its best is about 1 for all directions: the front is a circle.
    Demonstrations are strings of both letters in any share. `rewards` are the two.
    """
    base.check_option("compass", "length", length, 2, 40)
    base.check_option("compass", "angles", angles, 2, 26)
    base.check_tokens("compass", max_tokens, length + 1)
    symbols, nothing = (".", "a", "b", "c", *"0123456789ABCDEFGHIJKLMNOP"[:angles]), 4 + angles
    directions = np.linspace(0.0, np.pi / 2, angles)
    shares = np.stack([np.cos(directions), np.sin(directions)], 1)

    def ask(number: Array) -> Question:
        wanted = jnp.asarray(shares, jnp.float32)[number]
        return Question((4 + number)[None].astype(jnp.int32), jnp.int32(0), wanted)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        size, _ = base.written(tokens)
        there = jnp.arange(tokens.shape[0]) < jnp.minimum(size, length)
        counts = jnp.stack([(there & (tokens == letter)).sum() for letter in (1, 2)])
        rewards = jnp.sqrt(counts / jnp.float32(length))
        return Score((question.truth * rewards).sum(), {"rewards": rewards})

    def solve(question: Question, key: Array) -> Array:
        del question
        key_share, key_letters = jax.random.split(key)
        is_b = jax.random.uniform(key_letters, (length,)) < jax.random.uniform(key_share)
        return base.response(jnp.where(is_b, 2, 1), max_tokens, nothing)

    return Task(symbols, 1, max_tokens, (angles,), ask, verify, solve)
