"""Ways to keep a policy's entropy: which tokens are held back, and what is added to the loss.

The covariance of a token, `(log pi - mean)(A - mean)` over the batch, tells what an
update by it does to the entropy. Arrays are `[N, T]`, `alive` says which tokens there
are. What depends on the policy is of the one that played: for the first of an
iteration's updates this is what the papers do, who compute it anew at each.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array

# The papers' settings: strength, low, high; see `group_pg.Config`.
PAPERS = {
    "none": (0.0, 0.0, 0.0),
    "clip_cov": (2e-4, 1.0, 5.0),
    "kl_cov": (2e-3, 1.0, 0.0),
    "steer": (0.8, 0.0, 0.0),
    "siren": (0.005, 0.0, 0.0),
    "corridor": (1e-3, 0.8, 1.2),
}


def entropy_change(log_prob: Array, advantage: Array) -> Array:
    """`-Cov(log pi, pi A)` over the actions of one softmax, `[..., A]` to `[...]`.

    The change of the entropy per unit of learning rate, to first order, when the logits
    move along the exact policy gradient, `d z_a = pi_a (A_a - sum_b pi_b A_b)`: what "The
    Entropy Mechanism of Reinforcement Learning for Reasoning Language Models" (2025)
    builds on. A is centred; the covariance is under pi.
    """
    prob = jnp.exp(log_prob)
    step = prob * (advantage - (prob * advantage).sum(-1, keepdims=True))
    gap = log_prob - (prob * log_prob).sum(-1, keepdims=True)
    return -(prob * gap * step).sum(-1)


def covariance(log_prob: Array, advantage: Array, alive: Array) -> Array:
    """Each token's part of the covariance of the two over the batch, `[N, T]`."""
    count = jnp.maximum(alive.sum(), 1)
    means = [jnp.where(alive, x, 0.0).sum() / count for x in (log_prob, advantage)]
    return jnp.where(alive, (log_prob - means[0]) * (advantage - means[1]), 0.0)


def clip_cov(key: Array, cov: Array, alive: Array, low: Array, high: Array, share: Array) -> Array:
    """Tokens that learn nothing, `[N, T]` bool: Clip-Cov, of the same paper.

    Of those with a covariance between `low` and `high`, at random, as many as are
    `share` of all tokens, and at least one. The paper's 1, 5 and 0.0002 are for language
    models.
    """
    candidates = alive & (cov > low) & (cov < high)
    wanted = jnp.maximum(jnp.floor(share * alive.sum()), 1.0)
    draws = jnp.where(candidates, jax.random.uniform(key, cov.shape), 2.0).reshape(-1)
    place = jnp.zeros(draws.shape).at[jnp.argsort(draws)].set(jnp.arange(draws.size) * 1.0)
    return candidates & (place.reshape(cov.shape) < wanted)


def highest(cov: Array, alive: Array, share: Array) -> Array:
    """The `share` of the tokens with the largest covariance, at least one: KL-Cov's, `[N, T]`.

    They get a penalty `|log pi - log pi_old|` on top of an unclipped surrogate.
    """
    order = jnp.argsort(jnp.where(alive, -cov, jnp.inf).reshape(-1))
    place = jnp.zeros(order.shape).at[order].set(jnp.arange(order.size) * 1.0)
    wanted = jnp.maximum(jnp.floor(share * alive.sum()), 1.0)
    return alive & (place.reshape(cov.shape) < wanted)


def steer(log_prob: Array, entropy: Array, advantage: Array, alive: Array, least: Array) -> Array:
    """Weights of tokens in [least, 1], smaller where the entropy would change more, `[N, T]`.

    STEER ("Rethinking Entropy Interventions in RLVR", 2025): the change is estimated by
    `W = |A (1 - pi) (log pi + H)|`, and the weight is `exp(-k W)` with k such that the
    largest W of the batch (at least 0.02) has the weight `least`.
    """
    change = jnp.abs(advantage * -jnp.expm1(log_prob) * (log_prob + entropy))
    change = jnp.where(alive, change, 0.0)
    rate = -jnp.log(least) / jnp.maximum(change.max(), 0.02)
    return jnp.clip(jnp.exp(-rate * change), least, 1.0)


def nucleus_entropy(log_probs: Array, mass: float | Array = 0.8) -> Array:
    """The entropy of the likeliest tokens that make up `mass`, `[..., V]` to `[...]`.

    Of SIREN ("Rethinking Entropy Regularization in Large Reasoning Models", 2025): those
    needed to reach the mass, at least one, with their probabilities scaled to sum to 1.
    """
    ordered = -jnp.sort(-log_probs, axis=-1)
    before = jnp.cumsum(jnp.exp(ordered), axis=-1) - jnp.exp(ordered)
    inside = before < mass
    inside = inside.at[..., 0].set(True)
    kept = jnp.where(inside, ordered, -jnp.inf)
    scaled = kept - jax.nn.logsumexp(kept, axis=-1, keepdims=True)
    return -jnp.where(inside, jnp.exp(scaled) * jnp.where(inside, scaled, 0.0), 0.0).sum(-1)


def peaks(entropy: Array, alive: Array, quantile: float = 0.8) -> Array:
    """The tokens whose entropy is at least the quantile of their response, `[N, T]` bool."""
    bound = jnp.nanquantile(jnp.where(alive, entropy, jnp.nan), quantile, axis=1, keepdims=True)
    return alive & (entropy >= bound)


def corridor(entropy: Array, history: Array, low: Array, high: Array) -> Array:
    """`max(0, low h - H) + max(0, H - high h)`: outside of a corridor around the past, `[N, T]`.

    One of the three mechanisms of EPO ("Entropy-regularized Policy Optimization for LLM
    Agents", 2025), with a slope: the published penalty is a constant chosen by a comparison,
    and so has no gradient. Its entropy bonus is `entropy_coef`; its weight over training is
    not here.
    """
    return jax.nn.relu(low * history - entropy) + jax.nn.relu(entropy - high * history)


# ---- in an agent ---------------------------------------------------------------------


def settings(config: Any) -> list[Array]:
    """Strength, low and high of a config: the paper's where they are 0."""
    given = (config.control_strength, config.control_low, config.control_high)
    arrays = [jnp.asarray(x, jnp.float32) for x in given]
    papers = PAPERS[config.control]
    return [jnp.where(x == 0, y, x) for x, y in zip(arrays, papers, strict=True)]


def held_back(config: Any, key: Array, batch: Any, entropy: Array) -> tuple[Array, Array]:
    """What each token's surrogate is multiplied by, and the weight of its change, `[N, T]`."""
    strength, low, high = settings(config)
    gain: Array = batch.gain
    if config.control == "steer":
        return steer(batch.old, entropy, batch.credit, batch.alive, strength), batch.penalty
    if config.control not in ("clip_cov", "kl_cov"):
        return gain, batch.penalty
    cov = covariance(batch.old, batch.credit, batch.alive)
    if config.control == "clip_cov":
        held = clip_cov(key, cov, batch.alive, low, high, strength)
        return jnp.where(held, 0.0, gain), batch.penalty
    return gain, jnp.where(highest(cov, batch.alive, strength), low, 0.0)


def follow(kind: str, state: Any, entropy: Array, log_probs: Any, alive: Array) -> Array:
    """What is compared with, `[2]`, once a block is written.

    `siren`: the mean peak of the first block, and of this one. `corridor`: the mean
    entropy of the blocks so far, and their number.
    """
    history: Array = state.history
    first: Array = state.iteration == 0
    if kind == "siren":
        now = mean_peak(log_probs, alive).mean()
        return jnp.stack([jnp.where(first, now, history[0]), now])
    if kind == "corridor":
        now = jnp.where(alive, entropy, 0.0).sum() / jnp.maximum(alive.sum(), 1)
        return jnp.stack([(history[0] * history[1] + now) / (history[1] + 1), history[1] + 1])
    return history


def mean_peak(log_probs: Array, alive: Array) -> Array:
    """The mean nucleus entropy of each response's peaks, `[N]`."""
    entropy = nucleus_entropy(log_probs)
    kept = jax.lax.stop_gradient(peaks(entropy, alive))
    return jnp.where(kept, entropy, 0.0).sum(1) / jnp.maximum(kept.sum(1), 1)


def added_loss(config: Any, history: Array, entropy: Array, log_probs: Array, batch: Any) -> Array:
    """What `siren` and `corridor` add to the loss, a mean over responses."""
    strength, low, high = settings(config)
    if config.control == "siren":
        # (H - anchor)^2 to first order around the H of this block: a mean over rows,
        # with the same gradient.
        return strength * 2.0 * (history[1] - history[0]) * mean_peak(log_probs, batch.alive).mean()
    if config.control == "corridor":
        weight: Array = batch.weight
        outside = corridor(entropy, history[0], low, high) * weight
        return strength * jnp.where(weight > 0, outside, 0.0).sum(1).mean()
    return jnp.float32(0.0)
