"""What many responses to the same prompts tell: pass@k, calibration, the entropy law, support."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxrl_reward.agents.sequence import writing
from jaxrl_reward.envs.sequence import Task
from jaxrl_reward.nn import language_models
from jaxrl_reward.report.calibration import Calibration, calibration
from jaxrl_reward.types import Array, Transition

__all__ = [
    "Calibration",
    "EntropyLaw",
    "Support",
    "calibration",
    "entropy_law",
    "pass_at",
    "responses",
    "support",
]


def responses(
    model: language_models.LanguageModel,
    task: Task,
    params: Any,
    key: Array,
    numbers: Array,
    count: int,
) -> Transition:
    """The block of `count` drawn responses to each prompt, `[T, B * count, ...]`.

    Args:
      model: the network.
      task: what is written.
      params: the network's.
      key: of the luck and the draws.
      numbers: of the prompts, `[B]`.
      count: responses of each, side by side.
    """
    key_luck, key_write = jax.random.split(key)
    group = jnp.arange(numbers.shape[0] * count) // count
    prompts = writing.ask(task, key_luck, numbers, group)
    prompt = prompts.question.prompt
    return writing.block_of(
        task, prompts, language_models.generate(model, params, prompt, task.max_tokens, key_write)
    )


def pass_at(k: int, right: Array) -> Array:
    """The chance that one of k responses is right, from `right[..., n]`, `[...]`.

    `1 - C(n - c, k) / C(n, k)`, c of them right: unbiased (Chen et al. 2021, "Evaluating
    Large Language Models Trained on Code", equation 1).
    """
    n, c = float(right.shape[-1]), right.sum(-1).astype(jnp.float32)
    wrong = n - c
    some = jnp.maximum(wrong, k)  # where fewer are wrong, one of k is right
    log_none = gammaln(some + 1.0) - gammaln(some - k + 1.0) - gammaln(n + 1.0) + gammaln(n - k + 1)
    return jnp.where(wrong < k, 1.0, -jnp.expm1(log_none))


class EntropyLaw(NamedTuple):
    """The fit of `R = -a exp(H) + b`, and the share of R's variance that it explains."""

    a: Array
    b: Array
    explained: Array


def entropy_law(entropy: Array, reward: Array) -> EntropyLaw:
    """Fits the law of "The Entropy Mechanism of Reinforcement Learning for Reasoning Language
    Models" (2025) to the course of a run, `[P]` each, by least squares.
    """
    x = jnp.exp(entropy)
    x_centred, r_centred = x - x.mean(), reward - reward.mean()
    spread = (x_centred**2).sum()
    slope = (x_centred * r_centred).sum() / jnp.maximum(spread, 1e-12)
    left = ((r_centred - slope * x_centred) ** 2).sum()
    explained = 1.0 - left / jnp.maximum((r_centred**2).sum(), 1e-12)
    return EntropyLaw(-slope, reward.mean() - slope * x.mean(), explained)


class Support(NamedTuple):
    """Shares: of what was reached that still is, and of what is reached that is new."""

    kept: Array
    new: Array
    net: Array


def support(before: Array, after: Array) -> Support:
    """How what is reached has changed, from `before[B]` and `after[B]` bool.

    "The Invisible Leash" (2025): with P reached both times, E only after and S only
    before, `kept = P / (P + S)`, `new = E / (P + E)`, `net = (E - S) / (P + E + S)`; 0
    where nothing is reached.
    """
    both, gained, lost = (
        x.sum(dtype=jnp.float32) for x in (before & after, after & ~before, before & ~after)
    )
    share = lambda part, whole: part / jnp.maximum(whole, 1.0)  # noqa: E731
    return Support(
        share(both, both + lost),
        share(gained, both + gained),
        share(gained - lost, both + gained + lost),
    )
