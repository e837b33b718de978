"""Rewards from how likely a known answer is after what a response has thought, not from a draw.

`signal('answer_log_probs')`, which `group_pg` gives, are the log-probabilities of the tokens of
the reference answer behind a response's scratch, `[A]`; 1 where there is no token. No answer is
drawn, so nothing is left to chance but the scratch, and what cannot be verified can be
scored. The gradient has two parts, of the scratch and of the answer:

  reward="signal('answer_log_probs') | likelihood()" teach="probability"
  advantage="stack(rloo(), signal('scratch')) | on_scratch()"
"""

from typing import Annotated

import jax.numpy as jnp

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import OneOf
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, totals
from jaxrl_reward.types import Array, Transition

FORMS = ("probability", "mean_probability", "log", "mean_log")


def score(form: str, log_probs: Array) -> Array:
    """What an answer's tokens `[..., A]` are worth, `[...]`; numbers above 0 are no tokens."""
    there = log_probs <= 0.0
    count = jnp.maximum(there.sum(-1), 1)
    total = jnp.where(there, log_probs, 0.0).sum(-1)
    if form == "mean_probability":
        return jnp.where(there, jnp.exp(jnp.minimum(log_probs, 0.0)), 0.0).sum(-1) / count
    return {"log": total, "mean_log": total / count, "probability": jnp.exp(total)}[form]


def shares(form: str, log_probs: Array, groups: Groups) -> Array:
    """The slope of the score in each token's log-probability, `[N, A]`.

    Weights of a cross-entropy whose gradient is that of the score, at the policy that
    `log_probs` are of. `group` is that of G times the group's bound, see `jepo`.
    """
    there = log_probs <= 0.0
    if form == "log":
        weight = jnp.ones_like(log_probs)
    elif form == "mean_log":
        weight = jnp.ones_like(log_probs) / jnp.maximum(there.sum(-1, keepdims=True), 1)
    elif form == "probability":
        weight = jnp.broadcast_to(score(form, log_probs)[:, None], log_probs.shape)
    elif form == "mean_probability":
        count = jnp.maximum(there.sum(-1, keepdims=True), 1)
        weight = jnp.exp(jnp.minimum(log_probs, 0.0)) / count
    else:
        total = score("log", log_probs)
        likely = jnp.exp(total - groups.max(total))
        softmax = likely / groups.sum(likely)
        weight = jnp.broadcast_to((groups.size() * softmax)[:, None], log_probs.shape)
    return jnp.where(there, weight, 0.0)


@register("likelihood", {"form": "mean_log"}, {"form": "mean_probability"})
class likelihood(Grouped):  # noqa: N801
    """Of `signal('answer_log_probs')`, how likely the reference answer is behind the scratch.

    "Likelihood-Based Reward Designs for General LLM Reasoning" (2026), with a the answer's
    tokens and z the scratch: `probability`, `pi(a | z)` (Zhou et al. 2025, "Reinforcing General
    Reasoning without Verifiers", VeriFree); `mean_probability`, the mean of
    `pi(a_t | z, a_<t)` over tokens (Yu et al. 2025, RLPR); `log` and `mean_log`, the log of the
    first, and its mean over tokens. Of long answers the probability is 0 for all
    scratch, where the others still tell. RLPR takes off what the answer is worth without
    any scratch: `(signal('answer_log_probs') | likelihood(form='mean_probability')) -
    (signal('bare_answer_log_probs') | likelihood(form='mean_probability')) | clip(0, 1)`.
    """

    form: Annotated[str, OneOf(FORMS)] = static(default="probability")

    def rule(self, block: Transition, groups: Groups) -> Array:
        return score(self.form, totals(block, groups))


@register("jepo")
class jepo(Grouped):  # noqa: N801
    """Of `signal('answer_log_probs')`, `log mean_G pi(a | z)` less that of the others of the group.

    Tang et al. 2025, "Beyond Verifiable Rewards" (JEPO, the bound of several draws): an
    advantage, whose baseline leaves the episode out; 0 in a group of one. Where all others
    are far less likely it is large: `| clip(low=-10, high=10)` bounds it.
    """

    def rule(self, block: Transition, groups: Groups) -> Array:
        total, size = score("log", totals(block, groups)), groups.size()
        whole = groups.logsumexp(total) - jnp.log(size)
        others = groups.logsumexp(total, others=True) - jnp.log(jnp.maximum(size - 1.0, 1.0))
        return jnp.where(size > 1, whole - others, 0.0)


@register("on_scratch")
class on_scratch(Grouped):  # noqa: N801
    """Of `stack(advantage, scratch)`, the advantage at each of the first `scratch` steps, else 0.

    What is judged by the reference answer is the thinking, not the answer that was
    written behind it. As in `stack(rloo(), signal('scratch')) | on_scratch()`.
    """

    own_step = True

    def rule(self, block: Transition, groups: Groups) -> Array:
        advantage, scratch = checks.parts(self, totals(block, groups), 2)
        step = jnp.arange(groups.alive.shape[0])[:, None]
        return jnp.where(step < scratch[None], advantage[None], 0.0)
