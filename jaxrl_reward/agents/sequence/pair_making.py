"""Pairs for `pair_pg`: written by a policy, judged by a rater; or read from a file."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.agents.sequence import writing
from jaxrl_reward.envs.sequence import Task
from jaxrl_reward.rewards.pairs.ways import Side
from jaxrl_reward.types import Array


class Rows(struct.PyTreeNode):
    """M pairs that are learned from, chosen and rejected along the second axis.

    Attributes:
      text: prompts and responses, `[M, 2, P + T]` int32.
      there: which responses there are, `[M, 2]` bool.
      label: the probability that the chosen is better, `[M]`.
      reward: of both responses, `[M, 2]`.
      agreement: of two policies on the ranking, `[M]`.
      reference: log-probabilities of tokens under the reference, `[M, 2, T]`.
      old: under the policy that wrote them.
      credit: of tokens, by a signal of the task's; empty if none is named.
      calibration: responses that the reference wrote to the same prompts, as texts
        `[M, P + T]`; empty where no term reads them.
      objective: by which of several the pair was judged, `[M]` int32; empty of one.
    """

    text: Array
    there: Array
    label: Array
    reward: Array
    agreement: Array
    reference: Array
    old: Array
    credit: Any
    calibration: Any
    objective: Any = ()


def places(pairing: str, candidates: int) -> tuple[np.ndarray, np.ndarray]:
    """Which candidates of a prompt are the first and the second of its pairs, as numbers.

    Of `extremes`, 0 and 1 stand for the best and the worst.
    """
    if pairing == "all":
        first, second = np.triu_indices(candidates, 1)
        return first, second
    return np.array([0]), np.array([1])


class Judged(NamedTuple):
    """Candidates of B prompts, G each, with what a rater makes of them.

    Attributes:
      score: by which they are compared, `[B, G]`.
      agreement: see `Rows`, `[B]`.
    """

    score: Array
    agreement: Array


def paired_up(pairing: str, judged: Judged) -> tuple[Array, Array]:
    """The rows of candidates `[B * G]` that are the first and the second of each pair, `[M]`."""
    prompts, candidates = judged.score.shape
    first, second = places(pairing, candidates)
    if pairing == "extremes":
        # Of equals the earliest is the best and the latest the worst.
        best = judged.score.argmax(1)
        worst = candidates - 1 - judged.score[:, ::-1].argmin(1)
        sides = [best[:, None], worst[:, None]]
    else:
        sides = [jnp.broadcast_to(jnp.asarray(x)[None], (prompts, len(x))) for x in (first, second)]
    start = candidates * jnp.arange(prompts)[:, None]
    return (start + sides[0]).reshape(-1), (start + sides[1]).reshape(-1)


def chance(kind: str, first: Array, second: Array, temperature: Any) -> Array:
    """The probability that a rater prefers the first of two scores."""
    if kind == "wins":  # of the first against the second, and the other way round
        return jnp.clip(0.5 * (1.0 + first - second), 0.0, 1.0)
    if kind == "better":
        return jnp.where(first == second, 0.5, (first > second).astype(jnp.float32))
    return jax.nn.sigmoid((first - second) / temperature)


def kendall(first: Array, second: Array) -> Array:
    """Kendall's tau of two scores of G things `[..., G]`: concordant less discordant pairs.

    Over all pairs (tau-a), so that a pair that is tied in either counts as 0.
    """
    above, below = np.triu_indices(first.shape[-1], 1)
    signs = [jnp.sign(x[..., above] - x[..., below]) for x in (first, second)]
    return (signs[0] * signs[1]).mean(-1)


def side_of(task: Task, rows: Rows, which: int, log_probs: Array, guide: Any, credit: Any) -> Side:
    """One response of each pair, with the policy's log-probabilities of all tokens.

    Args:
      task: whose texts they are.
      rows: the pairs.
      which: 0 for the chosen, 1 for the rejected.
      log_probs: of all tokens, `[B, T, V]`.
      guide: log-probabilities of the tokens under the guide, `[B, T]`; the reference's if ().
      credit: of the tokens, `[B, T]`; 0 if ().
    """
    tokens = rows.text[:, which, task.prompt_length :]
    alive = (tokens < task.vocabulary) & rows.there[:, which, None]
    policy = jnp.where(alive, writing.token_log_probs(log_probs, tokens), 0.0)
    reference = rows.reference[:, which]
    return Side(
        alive=alive,
        log_prob=policy,
        reference=reference,
        old=rows.old[:, which],
        guide=reference if isinstance(guide, tuple) else guide,
        credit=jnp.zeros_like(policy) if isinstance(credit, tuple) else credit,
        collision=jax.nn.logsumexp(2.0 * log_probs, axis=-1),
        reward=rows.reward[:, which],
        there=rows.there[:, which],
    )
