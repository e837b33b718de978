"""Copying a string, and closing what brackets are open."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.envs.sequence import base
from jaxrl_reward.envs.sequence.base import Question, Score, Task
from jaxrl_reward.types import Array, UserError


def copy(letters: int = 8, longest: int = 6, reverse: bool = False, max_tokens: int = 8) -> Task:
    """A string of level + 1 letters and `=`; right is the same string, or backwards."""
    base.check_option("copy", "letters", letters, 6, 26)
    base.check_option("copy", "longest", longest, 1, 20)
    base.check_tokens("copy", max_tokens, longest + 1)
    levels = _strings("copy", letters, longest)
    symbols = (".", *"abcdefghijklmnopqrstuvwxyz"[:letters], "=")
    equals, nothing = letters + 1, letters + 2

    def ask(number: Array) -> Question:
        level, at = base.place(number, levels)
        string = _string(at, level, letters, longest, nothing)
        prompt = base.to_right(jnp.concatenate([string, jnp.array([equals])]), nothing)
        wanted = base.to_left(string[::-1], nothing) if reverse else string
        return Question(prompt.astype(jnp.int32), level, wanted)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        wanted, size = question.truth, question.level + 1
        length, ended = base.written(tokens)
        at = jnp.arange(longest)
        matched = ((tokens[:longest] == wanted) & (at < size) & (at < length)).sum()
        outcome = (ended & (length == size) & (matched == size)).astype(jnp.float32)
        facts = {"matched": matched / size, "answer": _number(tokens, length, letters + 2)}
        return Score(outcome, {**facts, "scratch": jnp.float32(0.0)})

    def answer(question: Question) -> Array:
        return base.response(question.truth, max_tokens, nothing)

    shape = (symbols, longest + 1, max_tokens, levels)
    return Task(*shape, ask, verify, base.shown(answer), answer=answer)


def brackets(kinds: int = 4, deepest: int = 5, max_tokens: int = 12) -> Task:
    """Level + 1 open brackets of several kinds; right is what balances the whole.

    Closing them in order is the shortest way; more may be opened and closed.
    """
    base.check_option("brackets", "kinds", kinds, 4, 4)
    base.check_option("brackets", "deepest", deepest, 1, 12)
    base.check_tokens("brackets", max_tokens, deepest + 1)
    levels = _strings("brackets", kinds, deepest)
    symbols = (".", *"([{<", *")]}>")
    nothing = 2 * kinds + 1

    def ask(number: Array) -> Question:
        level, at = base.place(number, levels)
        opened = _string(at, level, kinds, deepest, nothing)
        return Question(base.to_right(opened, nothing).astype(jnp.int32), level, opened)

    def verify(question: Question, tokens: Array, luck: Array) -> Score:
        del luck
        length, ended = base.written(tokens)
        room = jnp.full(max_tokens, nothing)
        stack = jnp.concatenate([question.truth, room]).astype(jnp.int32)

        def step(carry: tuple[Array, Array, Array], xs: tuple[Array, Array]) -> tuple:
            stack, open_, well = carry
            token, at = xs
            there = at < length
            opens = there & (token >= 1) & (token <= kinds)
            closes = there & (token > kinds) & (token <= 2 * kinds)
            top = stack[jnp.maximum(open_ - 1, 0)]
            well &= ~closes | ((open_ > 0) & (top + kinds == token))
            stack = stack.at[open_].set(jnp.where(opens, token, stack[open_]))
            return (stack, open_ + opens - closes, well & (~there | opens | closes)), None

        start = (stack, question.level + 1, jnp.bool_(True))
        (_, open_, well), _ = jax.lax.scan(step, start, (tokens, jnp.arange(max_tokens)))
        outcome = (ended & well & (open_ == 0)).astype(jnp.float32)
        facts = {"answer": _number(tokens, length, nothing), "scratch": jnp.float32(0.0)}
        return Score(outcome, {**facts, "open": open_.astype(jnp.float32)})

    def solve(question: Question, key: Array) -> Array:
        del key
        opened: Array = question.truth
        closing = jnp.where(opened == nothing, nothing, opened + kinds)[::-1]
        return base.response(closing, max_tokens, nothing)

    return Task(symbols, deepest, max_tokens, levels, ask, verify, solve)


def _strings(name: str, letters: int, longest: int) -> tuple[int, ...]:
    """How many strings of each length there are."""
    if letters**longest > 2**29:
        raise UserError(f"sequence:{name}: {longest} of {letters} kinds are too many prompts")
    return tuple(letters**k for k in range(1, longest + 1))


def _string(at: Array, level: Array, letters: int, longest: int, nothing: int) -> Array:
    """The string number `at` of level + 1 letters, `[longest]`, nothing behind."""
    powers = jnp.asarray(letters ** np.arange(longest), jnp.int32)
    there = jnp.arange(longest) <= level
    return jnp.where(there, at // powers % letters + 1, nothing)


def _number(tokens: Array, length: Array, radix: int) -> Array:
    """A hash by which responses are told apart, below 2**24, float32."""
    at = jnp.arange(tokens.shape[0])
    kept = jnp.where(at < length, tokens + 1, 0).astype(jnp.uint32)
    odd = np.uint32(2 * radix + 1)
    weights = np.cumprod(np.full(tokens.shape[0], odd, np.uint32), dtype=np.uint32)
    return ((kept * weights).sum(dtype=jnp.uint32) % jnp.uint32(2**24 - 3)).astype(jnp.float32)
