"""Of `group_normalisation`: gradients that rules give for the same batches, and how they vary.

The gradient of a batch is linear in what a rule gives each response, so the scores of the
responses, the gradients of their log-probabilities, are made once for all rules.
"""

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrl_reward import rewards as rw
from jaxrl_reward.nn import language_models
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.types import Array, Transition

if TYPE_CHECKING:
    from jaxrl_reward.envs.sequence import Task


RULES = {
    "REINFORCE": rw.env() | rw.reinforce(),
    "Dr. GRPO": rw.env() | rw.centred(),
    "RLOO": rw.env() | rw.rloo(),
    "GRPO": rw.env() | rw.grpo() | rw.by_length(),
    "GRPO's std alone": rw.env() | rw.grpo(),
    "whitened": rw.env() | rw.whitened(),
    "BNPO": rw.env() | rw.bnpo(),
}
SPECIAL = {
    "BNPO (1, 1)": rw.env() | rw.bnpo(alpha=1.0, beta=1.0),
    "BNPO (3/2, 3/2)": rw.env() | rw.bnpo(alpha=1.5, beta=1.5),
}
UNBIASED = "RLOO"


class Spread(NamedTuple):
    """Of each of K rules, `[K]`.

    Attributes:
      variance: the trace of the gradient's covariance.
      noise: the same over the squared length of the mean gradient, whatever its scale.
      cosine: of the mean gradient with that of the success rate.
    """

    variance: Array
    noise: Array
    cosine: Array


def spread(gradients: Array, unbiased: int) -> Spread:
    """How gradients of independent batches, `[B, K, D]`, vary.

    Products of means are estimated by all pairs of different batches, without bias; a mean
    that B batches cannot tell from nothing counts as one with a noise of 10 B.

    Args:
      gradients: by batch and rule.
      unbiased: the rule whose mean is the gradient of the success rate.
    """
    count = gradients.shape[0]
    total = gradients.sum(0)
    own = jnp.einsum("bkd,bjd->kj", gradients, gradients)
    products = (total @ total.T - own) / (count * (count - 1))
    apart = gradients - gradients.mean(0, keepdims=True)
    variance = (apart**2).sum((0, 2)) / (count - 1)
    size = jnp.maximum(jnp.maximum(jnp.diag(products), variance / (10 * count)), 1e-20)
    cosine = products[:, unbiased] / (jnp.sqrt(size) * jnp.sqrt(size[unbiased]))
    return Spread(variance, variance / size, cosine)


def scores(model: language_models.LanguageModel, task: "Task", params: Any, text: Array) -> Array:
    """The gradient of each response's log-probability, `[N, D]`, of texts `[N, P + T]`."""
    from jaxrl_reward.agents.sequence import writing

    vector, tree_of = ravel_pytree(params)

    def log_prob(vector: Array, row: Array) -> Array:
        log_probs = jax.nn.log_softmax(model.logits(tree_of(vector), row[None]))
        tokens = row[None, task.prompt_length :]
        chosen = writing.token_log_probs(log_probs, tokens)
        return jnp.where(tokens < task.vocabulary, chosen, 0.0).sum()

    return jax.vmap(jax.grad(log_prob), (None, 0))(vector, text)


def gradients(
    model: language_models.LanguageModel,
    task: "Task",
    params: Any,
    key: Array,
    mix: Any,
    size: int,
    group: int,
) -> tuple[Array, Array]:
    """The gradients of one batch by all rules, `[K, D]`, and the rate of success.

    Args:
      model: the network.
      task: what is written.
      params: the network's, held fixed.
      key: of the prompts and the draws.
      mix: the weight of harder prompts.
      size: responses of the batch, N.
      group: responses of a prompt.
    """
    from jaxrl_reward.agents.sequence import (
        writing,  # starts JAX: not where an experiment is loaded
    )

    key_draw, key_luck, key_write = jax.random.split(key, 3)
    numbers = jax.vmap(partial(task.draw, mix=mix))(jax.random.split(key_draw, size // group))
    prompts = writing.ask(task, key_luck, numbers, jnp.arange(size) // group)
    written = language_models.generate(
        model, params, prompts.question.prompt, task.max_tokens, key_write
    )
    block, text = writing.block_of(task, prompts, written), writing.text_of(prompts, written)
    return ascent(model, task, params, block, text), groups_of(block).total(block.env_reward).mean()


def ascent(
    model: language_models.LanguageModel, task: "Task", params: Any, block: Transition, text: Array
) -> Array:
    """The gradients by all rules at a block of responses, `[K, D]`, up the surrogate."""
    groups = groups_of(block)
    credit = jnp.stack([groups.total(_given(rule, block)) for rule in _all_rules()])
    steps, responses = block.first.shape
    return credit @ scores(model, task, params, text) / (responses * steps)


def names() -> list[str]:
    """The rules in their order."""
    return [*RULES, *SPECIAL]


def _all_rules() -> list[rw.RewardTransform]:
    return [*RULES.values(), *SPECIAL.values()]


def _given(rule: rw.RewardTransform, block: Transition) -> Array:
    return rule.apply(rule.init(jax.random.key(0), block), block).reward
