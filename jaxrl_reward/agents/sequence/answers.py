"""The reference answer put behind the scratch of a response, as likelihood rewards want it.

Arrays are `[N, A]`: responses, tokens of their answers; A is the longest response, T.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.sequence import writing
from jaxrl_reward.envs.sequence import Task
from jaxrl_reward.types import Array, Transition

NONE = 1.0  # in place of a log-probability, where an answer has no token
NO_ROOM = -13.8  # that of a token behind the longest response, a chance of 1e-6


class Answered(NamedTuple):
    """Texts that end in the reference answer.

    Attributes:
      text: prompts, scratch and answers, `[N, P + T]` int32.
      tokens: the answers', V where there is none, `[N, A]` int32.
      at: where in the response each is, `[N, A]` int32; T or more where there is no room.
    """

    text: Array
    tokens: Array
    at: Array


def answered(task: Task, prompts: writing.Prompts, tokens: Array, scratch: Array) -> Answered:
    """The answers behind the first `scratch[N]` of the tokens `[T, N]` of responses.

    The task must have an `answer`.
    """
    assert task.answer is not None
    length, nothing = task.max_tokens, task.vocabulary
    answer = jax.vmap(task.answer)(prompts.question)
    at = scratch.astype(jnp.int32)[:, None] + jnp.arange(length)[None]
    kept = jnp.where(jnp.arange(length)[None] < scratch[:, None], tokens.T, nothing)
    rows = jnp.arange(at.shape[0])[:, None]
    where = jnp.where(answer < nothing, at, length)
    response = kept.at[rows, where].set(answer, mode="drop")
    return Answered(jnp.concatenate([prompts.question.prompt, response], 1), answer, at)


def log_probs(everything: Array, found: Answered) -> Array:
    """Of the answers' tokens, `[N, A]`, from those of all tokens `[N, T, V]`; `NONE` for none."""
    length, size = everything.shape[1:]
    there = found.tokens < size
    rows = jnp.take_along_axis(everything, jnp.minimum(found.at, length - 1)[..., None], 1)
    each = writing.token_log_probs(rows, found.tokens)
    each = jnp.where(found.at < length, each, NO_ROOM)
    return jnp.where(there, each, NONE)


def signals(
    task: Task, log_probs_of: Callable[[Array], Array], prompts: writing.Prompts, block: Transition
) -> tuple[dict[str, Array], Any]:
    """What rewards may read of the right answers, `[T, N, A]` each, and the texts.

    Their tokens, `answer`, and the log-probabilities of these.

    Args:
      task: without an `answer` there is nothing to read, and no texts.
      log_probs_of: from texts `[N, P + T]` to those of all tokens, `[N, T, V]`.
      prompts: the prompts.
      block: the responses, whose `scratch` comes before the answer; the second signal has
        none before it.
    """
    if task.answer is None:
        return {}, ()
    tokens, scratch = block.action, block.info["scratch"][0]
    found = answered(task, prompts, tokens, scratch)
    bare = answered(task, prompts, tokens, jnp.zeros_like(scratch))
    policy = {"answer": jnp.broadcast_to(bare.tokens[None], (tokens.shape[0], *bare.tokens.shape))}
    for name, each in (("answer_log_probs", found), ("bare_answer_log_probs", bare)):
        known = log_probs(log_probs_of(each.text), each)
        policy[name] = jnp.broadcast_to(known[None], (tokens.shape[0], *known.shape))
    return policy, found
