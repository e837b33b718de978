"""Of `judges`: what all judges of a seed are asked, and what their answers are worth."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.preferences import judges, scores
from jaxrl_reward.types import Array

LENGTH, PROMPTS = 4, 3


class Responses(NamedTuple):
    """Responses to each prompt, and what they are worth: `[P, R, L]` and `[P, R]`."""

    text: Array
    gold: Array


class Exam(NamedTuple):
    """What all judges of a seed are asked: texts `[Q, n, L]`, the right one first.

    Attributes:
      rivals: a response and nine to its prompt that are worth less.
      prompts: a response behind its own prompt, and behind one to which it is worth less.
      responses: a response, and one that is worth more to another prompt.
      pairs: two responses to a prompt of which the first is worth more.
      letters: responses and whether each place has the right letter, `[N, L]`, `[N, places]`.
    """

    rivals: Array
    prompts: Array
    responses: Array
    pairs: Array
    letters: tuple[Array, Array]


def exam(agent: Any, key: Array, known: Responses) -> Exam:
    """Questions made of held-out responses, and nothing that a judge was fitted to."""
    task = agent.env.environment.task
    flat = known.text.reshape(-1, known.text.shape[-1])
    gold, prompt = known.gold.reshape(-1), flat[:, 0]
    count, keys = flat.shape[0], jax.random.split(key, 4)
    asked = jax.vmap(task.ask)(jnp.arange(PROMPTS))
    score = jax.vmap(lambda q, t: task.score(q, t, jnp.float32(0)).outcome, (None, 0))
    ended = (flat[:, 1:] == 0).any(1)
    # What each response would be worth to each prompt, [P, N].
    worth = (
        jax.vmap(lambda i: score(jax.tree.map(lambda x: x[i], asked), flat[:, 1:]))(
            jnp.arange(PROMPTS)
        )
        * ended[None]
    )

    def chosen(key: Array, allowed: Array, k: int) -> tuple[Array, Array]:
        """k of those allowed `[N, M]` for each row, and whether there are so many."""
        luck = jnp.where(allowed, jax.random.gumbel(key, allowed.shape), -jnp.inf)
        value, index = jax.lax.top_k(luck, k)
        return index, jnp.isfinite(value).all(1)

    def kept(enough: Array, size: int) -> Array:
        """Rows with enough, repeated if they are fewer than `size`."""
        order = jnp.argsort(~enough, stable=True)
        return order[jnp.arange(size) % jnp.maximum(enough.sum(), 1)]

    less = (prompt[:, None] == prompt[None]) & (gold[None] < gold[:, None])
    wrong, enough = chosen(keys[0], less, 9)
    rows = kept(enough, count // 2)
    rivals = jnp.concatenate([flat[rows][:, None], flat[wrong[rows]]], 1)
    # The same response behind another prompt, to which it is worth less.
    elsewhere, enough = chosen(keys[1], (worth < gold[None]).T, 1)
    rows = kept(enough, count // 2)
    moved = flat[rows].at[:, 0].set(asked.prompt[elsewhere[rows, 0], 0])
    prompts = jnp.stack([flat[rows], moved], 1)
    # Another's right answer behind this prompt.
    other, enough = chosen(
        keys[2],
        (prompt[:, None] != prompt[None])
        & (gold[None] >= gold[:, None])
        & (worth[prompt - asked.prompt[0, 0]] < gold[:, None]),
        1,
    )
    rows = kept(enough, count // 2)
    foreign = flat[other[rows, 0]].at[:, 0].set(prompt[rows])
    responses = jnp.stack([flat[rows], foreign], 1)
    worse, enough = chosen(keys[3], less, 1)
    rows = kept(enough, count // 2)
    pairs = jnp.stack([flat[rows], flat[worse[rows, 0]]], 1)
    truth = asked.truth[prompt - asked.prompt[0, 0]]
    letters = flat, flat[:, 1 : 1 + LENGTH] == truth
    return Exam(rivals, prompts, responses, pairs, letters)


def measures(model: judges.ResponseModel, asked: Exam) -> dict[str, Array]:
    """Each metric of one judge, a scalar."""

    def said(text: Array) -> Array:
        return model.scores(text.reshape(-1, text.shape[-1]))[0].reshape(text.shape[:-1])

    rivals, pairs = said(asked.rivals), said(asked.pairs)
    gap = pairs[:, 0] - pairs[:, 1]
    both = jnp.concatenate([gap, -gap])  # both orders
    truth = jnp.concatenate([jnp.ones_like(gap), jnp.zeros_like(gap)])
    text, there = asked.letters
    features = model.judge(text).features[0]
    probe = partial(scores.probe_accuracy, features, train=text.shape[0] // 2)
    right, wrong = rivals[:, 0], rivals[:, 1:]
    contrasts = {
        "response contrast": scores.response_contrast(*said(asked.responses).T),
        "prompt contrast": scores.instruction_contrast(*said(asked.prompts).T),
        "pairwise": scores.pairwise(*pairs.T),
        "1 against 3": scores.one_against(right, wrong[:, :3]),
        "1 against 9": scores.one_against(right, wrong),
    }
    return {name: each.right.mean() for name, each in contrasts.items()} | {
        "best of 4": scores.best_of(right, wrong[:, :3]).mean(),
        "reciprocal rank": scores.reciprocal_rank(right, wrong).mean(),
        "probes": jax.vmap(probe, 1)(there).mean(),
        "calibration": -scores.calibration(jax.nn.sigmoid(both), truth).error,
    }
