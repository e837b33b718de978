"""What `group_pg` minimises: surrogates, KL to a reference, and how tokens are weighed.

All arrays are `[N, T]`: responses, tokens. Where a response is over, `alive` is
false, and every function gives 0 or is multiplied by a weight of 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.sequence import answers
from jaxrl_reward.agents.sequence import entropy_control as control
from jaxrl_reward.types import Array


class Batch(NamedTuple):
    """Responses to learn from, `[N, T]` each but for what is told.

    Attributes:
      text: prompts and responses, `[N, P + T]` int32.
      tokens: the responses, V where there is nothing.
      alive: which tokens there are.
      old, reference: log-probabilities of the tokens, of the policy that wrote them and
        of the reference.
      credit: of each token.
      weight: of each token in the loss.
      gain: of its surrogate.
      penalty: of its change from `old`.
      centred: returns less their group's mean, `[N]`.
      old_all: of all tokens, `[N, T, V]`, where it is needed, else empty.
      answered: the reference answers behind the scratch, where they are taught, else empty.
      taught: the weight of each of their tokens, `[N, A]`, likewise.
    """

    text: Array
    tokens: Array
    alive: Array
    old: Array
    reference: Array
    credit: Array
    weight: Array
    gain: Array
    penalty: Array
    centred: Array
    old_all: Any
    answered: Any
    taught: Any


def token_weights(kind: str, alive: Array, kept: Array) -> Array:
    """The weight of each token, so that the loss is a mean over responses, `[N, T]`.

    Args:
      kind: `token`, all tokens of the batch alike (DAPO); `sequence`, the mean of a
        response's tokens, then over responses (GRPO); `constant`, all tokens alike
        and over the N T there could be, so that long responses are not favoured when
        they are wrong (Dr. GRPO).
      alive: `[N, T]` bool.
      kept: responses that count, `[N]` bool; the others are as if never written.
    """
    alive = (alive & kept[:, None]).astype(jnp.float32)
    rows = jnp.float32(alive.shape[0])
    if kind == "token":
        return alive * rows / jnp.maximum(alive.sum(), 1.0)
    share = rows / jnp.maximum(kept.sum(), 1.0)
    if kind == "sequence":
        return alive * share / jnp.maximum(alive.sum(1, keepdims=True), 1.0)
    return alive * share / alive.shape[1]


def ratios(kind: str, log_prob: Array, old: Array, alive: Array) -> Array:
    """`pi / pi_old` of each token; `sequence`, the geometric mean over the response (GSPO)."""
    change = jnp.where(alive, log_prob - old, 0.0)
    if kind == "sequence":
        mean = change.sum(1, keepdims=True) / jnp.maximum(alive.sum(1, keepdims=True), 1)
        change = jnp.broadcast_to(mean, change.shape)
    return jnp.exp(change)


def surrogate(ratio: Array, advantage: Array, low: Array, high: Array, dual: Array) -> Array:
    """`min(ratio A, clip(ratio, 1 - low, 1 + high) A)`, to be maximised.

    Unequal bounds are DAPO's clip-higher. With `dual` above 1 it is at least `dual A`
    where A is negative (Ye et al. 2020), which bounds what one response can cost.
    """
    clipped = jnp.clip(ratio, 1.0 - low, 1.0 + high)
    lower = jnp.minimum(ratio * advantage, clipped * advantage)
    bounded = (dual > 1.0) & (advantage < 0.0)
    return jnp.where(bounded, jnp.maximum(lower, dual * advantage), lower)


def clipped(ratio: Array, advantage: Array, low: Array, high: Array, dual: Array) -> Array:
    """Where a bound of `surrogate` binds: it has no slope in the ratio there."""
    above = (advantage > 0.0) & (ratio > 1.0 + high)
    below = (advantage < 0.0) & (ratio < 1.0 - low)
    return above | below | ((dual > 1.0) & (advantage < 0.0) & (ratio > dual))


def kl_estimate(log_prob: Array, reference: Array) -> Array:
    """`exp(d) - d - 1`, `d = log pi_ref - log pi`: unbiased for KL(pi, pi_ref), and not negative.

    J. Schulman, "Approximating KL divergence" (2020), the third estimator. That holds of its
    value under draws from pi. Its gradient is that of the other divergence, KL(pi_ref, pi)
    on policy; times the ratio `pi / pi_old` of the draw, it is that of KL(pi, pi_ref).
    """
    difference = reference - log_prob
    return jnp.expm1(difference) - difference  # near 0 both are far smaller than 1


def to_go(reward: Array) -> Array:
    """What is paid from each token on, `[N, T]`."""
    return jnp.flip(jnp.cumsum(jnp.flip(reward, 1), 1), 1)


def rover_target(log_probs: Array, old: Array, centred: Array, alive: Array) -> Array:
    """ROVER's target of each token, `[N, T]`; no gradient flows through it.

    "Random Policy Valuation is Enough for LLM Reasoning with Verifiable Rewards" (2025):
    with `Q = log pi - log pi_old` the value of a token (a temperature of 1), a token's target is
    the centred return and the mean of Q over all next tokens, those of a uniform policy; none
    follows the last one.

    Args:
      log_probs: of all tokens, `[N, T, V]`.
      old: of the policy that played, `[N, T, V]`.
      centred: the return less its group's mean, `[N]`.
      alive: `[N, T]` bool.
    """
    value = (log_probs - old).mean(-1)
    after = jnp.concatenate([value[:, 1:], jnp.zeros_like(value[:, :1])], 1)
    follows = jnp.concatenate([alive[:, 1:], jnp.zeros_like(alive[:, :1])], 1)
    return jax.lax.stop_gradient(centred[:, None] + jnp.where(follows, after, 0.0))


def loss(
    config: Any,
    log_probs_of: Callable[[Any, Array], Array],
    history: Array,
    params: Any,
    batch: Batch,
) -> tuple[Array, dict[str, Array]]:
    """The mean over responses, to be minimised, and what to log.

    Args:
      config: that of `group_pg`.
      log_probs_of: from parameters and texts to the log-probabilities of all tokens.
      history: what entropy control compares with, `[2]`.
      params: the network's.
      batch: some responses.
    """
    log_probs, alive = log_probs_of(params, batch.text), batch.alive
    at = jnp.minimum(batch.tokens, log_probs.shape[-1] - 1)[..., None]
    log_prob = jnp.where(alive, jnp.take_along_axis(log_probs, at, -1)[..., 0], 0.0)
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
    ratio = ratios(config.ratio, log_prob, batch.old, alive)
    bounds = (config.clip_low, config.clip_high, config.dual_clip)
    bound = jnp.zeros_like(alive)
    if config.objective == "rover":
        target = rover_target(log_probs, batch.old_all, batch.centred, alive)
        policy_loss = (log_prob - batch.old - target) ** 2
    elif config.control == "kl_cov":  # whose surrogate has no bounds
        policy_loss = -ratio * batch.credit + batch.penalty * jnp.abs(log_prob - batch.old)
    else:
        bound = clipped(ratio, batch.credit, *bounds)
        policy_loss = -batch.gain * surrogate(ratio, batch.credit, *bounds)
    divergence = kl_estimate(log_prob, batch.reference)
    token_loss = policy_loss - config.entropy_coef * entropy
    if config.kl == "loss":
        token_loss += config.kl_coef * divergence
    elif config.kl == "unbiased_loss":
        token_loss += config.kl_coef * ratios("token", log_prob, batch.old, alive) * divergence
    total = mean_of_tokens(token_loss, batch.weight)
    total += control.added_loss(config, history, entropy, log_probs, batch)
    if config.teach != "none":
        everything = log_probs_of(params, batch.answered.text)
        known = answers.log_probs(everything, batch.answered)
        total -= config.teach_coef * (batch.taught * known).sum(1).mean()
    return total, {
        "policy_loss": mean_of_tokens(policy_loss, batch.weight),
        "kl": mean_of_tokens(divergence, batch.weight),
        "clip_fraction": mean_of_tokens(bound * 1.0, batch.weight),
    }


def mean_of_tokens(values: Array, weight: Array) -> Array:
    """The weighted sum over tokens, and the mean over responses, a scalar."""
    return jnp.where(weight > 0, values * weight, 0.0).sum(1).mean()
