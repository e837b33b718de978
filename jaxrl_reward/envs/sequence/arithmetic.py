"""Sums, chains modulo a number, and countdown: the answer is one number or expression.

What follows the last `=` of a response is its answer, all of it if there is none:
tokens before are scratch.
"""

import jax.numpy as jnp
import numpy as np

from jaxrl_reward.envs.sequence import base
from jaxrl_reward.envs.sequence.base import Question, Score, Task
from jaxrl_reward.types import Array, UserError

WIDEST = 7  # digits of a number that is read


def spell(value: Array, width: int, nothing: int) -> Array:
    """The decimal digits of `value >= 0` as tokens (digit d is d + 1), `[width]`.

    Nothing comes before the first digit that counts.
    """
    powers = jnp.asarray(10 ** np.arange(width - 1, -1, -1), jnp.int32)
    digits = value // powers % 10
    counts = (value >= powers) | (powers == 1)
    return jnp.where(counts, digits + 1, nothing)


def read(tokens: Array, start: Array, stop: Array, radix: int = 10) -> tuple[Array, Array]:
    """The number written in `tokens[start:stop]`, and whether it is one.

    It has at most seven digits, and no zero before the first that counts.
    """
    at = jnp.arange(tokens.shape[0])
    inside = (at >= start) & (at < stop)
    digits = (tokens >= 1) & (tokens <= radix)
    powers = jnp.asarray(radix ** np.arange(WIDEST), jnp.int32)
    power = powers[jnp.clip(stop - 1 - at, 0, WIDEST - 1)]
    value = jnp.where(inside & digits, (tokens - 1) * power, 0).sum()
    size = stop - start
    short = (size >= 1) & (size <= WIDEST)
    plain = (size == 1) | (tokens[jnp.clip(start, 0, tokens.shape[0] - 1)] != 1)
    return value, short & plain & (digits | ~inside).all()


def judge_number(tokens: Array, equals: int, right: Array, radix: int) -> Score:
    """Whether the number behind the last `equals` is the right one."""
    length, ended = base.written(tokens)
    at = jnp.arange(tokens.shape[0])
    scratch = jnp.where((tokens == equals) & (at < length), at + 1, 0).max()
    value, known = read(tokens, scratch, length, radix)
    outcome = (ended & known & (value == right)).astype(jnp.float32)
    answer = jnp.where(ended & known, value, -1).astype(jnp.float32)
    return Score(outcome, {"answer": answer, "scratch": scratch.astype(jnp.float32)})


def total(digits: int = 2, max_tokens: int = 8) -> Task:
    """`a+b=`, both of as many digits as the level says, from 1 to `digits`.

    Every prompt has its rephrasing: `b+a=`.
    """
    base.check_option("sum", "digits", digits, 1, 4)
    base.check_tokens("sum", max_tokens, digits + 2)
    symbols = (".", *"0123456789", "+", "=")
    plus, equals, nothing = 11, 12, 13
    lows = np.array([0, *(10**d for d in range(1, digits))])
    counts = 10 ** np.arange(1, digits + 1) - lows
    levels = tuple(int(n * n) for n in counts)
    width = 2 * digits + 2

    def operands(number: Array) -> tuple[Array, Array, Array]:
        level, at = base.place(number, levels)
        low, count = jnp.asarray(lows)[level], jnp.asarray(counts)[level]
        return level, low + at // count, low + at % count

    def ask(number: Array) -> Question:
        level, a, b = operands(number)
        parts = (spell(a, digits, nothing), jnp.array([plus]))
        parts = (*parts, spell(b, digits, nothing), jnp.array([equals]))
        prompt = base.to_right(jnp.concatenate(parts), nothing)[-width:]
        return Question(prompt.astype(jnp.int32), level, a + b)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        return judge_number(tokens, equals, question.truth, 10)

    def answer(question: Question) -> Array:
        return base.response(spell(question.truth, digits + 1, nothing), max_tokens, nothing)

    def rephrase(number: Array) -> Array:
        level, a, b = operands(number)
        low, count = jnp.asarray(lows)[level], jnp.asarray(counts)[level]
        before = jnp.cumsum(jnp.asarray(levels)) - jnp.asarray(levels)
        return before[level] + (b - low) * count + a - low

    solve = base.shown(answer)
    return Task(symbols, width, max_tokens, levels, ask, verify, solve, rephrase, answer)


def modular(modulus: int = 7, terms: int = 4, max_tokens: int = 8) -> Task:
    """`a+b*c=` from left to right, modulo a number; level l has l + 2 terms, up to `terms`."""
    base.check_option("modular", "modulus", modulus, 4, 10)
    base.check_option("modular", "terms", terms, 2, 6)
    base.check_tokens("modular", max_tokens, 2)
    if (2 * modulus) ** terms > 2**30:
        raise UserError(f"sequence:modular: {terms} terms modulo {modulus} are too many prompts")
    symbols = (".", *"0123456789"[:modulus], "+", "*", "=")
    plus, times, equals, nothing = modulus + 1, modulus + 2, modulus + 3, modulus + 4
    sizes = np.arange(2, terms + 1)
    levels = tuple(int(modulus**k * 2 ** (k - 1)) for k in sizes)

    def ask(number: Array) -> Question:
        level, at = base.place(number, levels)
        values = at // jnp.asarray(modulus ** np.arange(terms), jnp.int32) % modulus
        rest = at // jnp.asarray(modulus**sizes, jnp.int32)[level]
        product = rest // jnp.asarray(2 ** np.arange(terms - 1), jnp.int32) % 2
        result, parts = values[0], [values[:1] + 1]
        for j in range(1, terms):
            there = j < level + 2
            after = jnp.where(product[j - 1] > 0, result * values[j], result + values[j]) % modulus
            result = jnp.where(there, after, result)
            pair = jnp.stack([jnp.where(product[j - 1] > 0, times, plus), values[j] + 1])
            parts.append(jnp.where(there, pair, nothing))
        prompt = base.to_right(jnp.concatenate([*parts, jnp.array([equals])]), nothing)
        return Question(prompt.astype(jnp.int32), level, result)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        return judge_number(tokens, equals, question.truth, modulus)

    def answer(question: Question) -> Array:
        return base.response(question.truth[None] + 1, max_tokens, nothing)

    shape = (symbols, 2 * terms, max_tokens, levels)
    return Task(*shape, ask, verify, base.shown(answer), answer=answer)


def countdown(numbers: int = 3, max_tokens: int = 8) -> Task:
    """Numbers and a target, which an expression of some of them must have as its value.

    Level l has l + 2 numbers from 1 to 9, shown in order; an expression goes from
    left to right (`2+3*4` is 20) and uses each at most as often as it is shown.
    """
    base.check_option("countdown", "numbers", numbers, 2, 4)
    base.check_tokens("countdown", max_tokens, 2 * numbers)
    symbols = (".", *"0123456789", "+", "-", "*", ":")
    plus, minus, colon, nothing = 11, 12, 14, 15
    sizes = np.arange(2, numbers + 1)
    levels = tuple(int(9**k * 3 ** (k - 1)) for k in sizes)
    digits = numbers  # of the largest target, 9 ** numbers < 10 ** numbers

    def calculate(value: Array, sign: Array, number: Array) -> Array:
        choices = [value + number, value - number, value * number]
        return jnp.stack(choices)[jnp.clip(sign - plus, 0, 2)]

    def ask(number: Array) -> Question:
        level, at = base.place(number, levels)
        given = at // jnp.asarray(9 ** np.arange(numbers), jnp.int32) % 9 + 1
        rest = at // jnp.asarray(9**sizes, jnp.int32)[level]
        signs = plus + rest // jnp.asarray(3 ** np.arange(numbers - 1), jnp.int32) % 3
        target, there = given[0], jnp.arange(numbers) < level + 2
        solution = jnp.full(2 * numbers - 1, nothing).at[0].set(given[0] + 1)
        for j in range(1, numbers):
            target = jnp.where(there[j], calculate(target, signs[j - 1], given[j]), target)
            pair = jnp.where(there[j], jnp.stack([signs[j - 1], given[j] + 1]), nothing)
            solution = solution.at[2 * j - 1 : 2 * j + 1].set(pair)
        shown = jnp.sort(jnp.where(there, given + 1, nothing))
        sign = jnp.where(target < 0, minus, nothing)
        parts = (shown, jnp.array([colon]), sign[None], spell(abs(target), digits, nothing))
        prompt = base.to_right(jnp.concatenate([*parts, jnp.array([colon])]), nothing)
        counts = (shown[:, None] == jnp.arange(2, 11)[None]).sum(0)
        return Question(prompt.astype(jnp.int32), level, (target, counts, solution))

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        target, counts, _ = question.truth
        length, ended = base.written(tokens)
        value, well = tokens[0] - 1, (length % 2 == 1) & (length < 2 * numbers)
        used = jnp.zeros(9, jnp.int32)
        for i in range(2 * numbers - 1):
            token, there = tokens[i], i < length
            if i % 2:
                well &= ~there | ((token >= plus) & (token <= plus + 2))
                continue
            well &= ~there | ((token >= 2) & (token <= 10))
            used += there * (token == jnp.arange(2, 11))
            if i:
                value = jnp.where(there, calculate(value, tokens[i - 1], token - 1), value)
        well &= (used <= counts).all()
        outcome = (ended & well & (value == target)).astype(jnp.float32)
        answer = jnp.where(ended & well, value, 10**4).astype(jnp.float32)
        return Score(outcome, {"answer": answer, "scratch": jnp.float32(0.0)})

    def solve(question: Question, key: Array) -> Array:
        del key
        return base.response(question.truth[2], max_tokens, nothing)

    prompt_length = numbers + digits + 3
    return Task(symbols, prompt_length, max_tokens, levels, ask, verify, solve)
