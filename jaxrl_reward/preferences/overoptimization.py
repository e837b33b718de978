"""Proxy against gold: what a hidden reward becomes of, as a policy climbs one that stands for it.

The set-up of Gao et al. 2023, "Scaling Laws for Reward Model Overoptimization": a
policy starts at a reference and is optimised against proxies, which were fitted to
few and noisy comparisons; the gold reward, which made them, is only looked at. How far
it went is the divergence from the reference, KL(policy | reference), and curves are
drawn over its square root. `best_of` searches among samples, `climb` follows the
gradient. A response is an episode of one step (`rewards.one_step`), its proxy any expression.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.rewards.core import one_step
from jaxrl_reward.rewards.core.base import RewardTransform, State
from jaxrl_reward.types import Array, UserError, nearest

FORMS = ("best_of", "gradient")


class Path(NamedTuple):
    """Where optimisation led, from the reference on, `[P]` each.

    Attributes:
      root_kl: the square root of the divergence from the reference, in nats.
      proxy: the mean of what was optimised.
      gold: the mean of what was meant.
    """

    root_kl: Array
    proxy: Array
    gold: Array


def best_of(proxy: Array, gold: Array, counts: Array) -> Path:
    """The response that the proxy finds best among n samples of the reference, for each n.

    Exact for the reference's samples given here, from which n are drawn with
    replacement. The divergence is `log n - (n - 1) / n` (Hilton 2023), which is only an upper
    bound where proxies tie; `tabular.tilted.best_of` gives the law and its divergence then.

    Args:
      proxy: of each sample, `[M]`.
      gold: the same samples', `[M]`.
      counts: n, `[P]`.
    """
    order = jnp.argsort(proxy)
    n = counts[:, None].astype(jnp.float32)
    below = jnp.arange(proxy.shape[0] + 1, dtype=jnp.float32)[None] / proxy.shape[0]
    chance = jnp.diff(below**n, axis=1)  # that the best of n is the i-th from below
    kl = jnp.log(n[:, 0]) - (n[:, 0] - 1.0) / n[:, 0]
    return Path(jnp.sqrt(kl), chance @ proxy[order], chance @ gold[order])


def climb(
    key: Array,
    term: RewardTransform,
    scores: Callable[[Array], Array],
    gold: Callable[[Array], Array],
    reference: Array,
    *,
    points: int = 20,
    updates: int = 20,
    batch_size: int = 128,
    learning_rate: float | Array = 0.05,
    kl_weight: float | Array = 0.0,
    samples: int = 1024,
) -> Path:
    """The policy gradient of `E[proxy] - kl_weight KL(policy | reference)`, by Adam.

    The policy has logits of its own for each of the L tokens of a response, so that its
    divergence is exact; the expectation is of a batch, less its mean.

    Args:
      key: typed PRNG key.
      term: the expression that judges.
      scores: from tokens `[B, L]` int to the models' scores `[B, K]`.
      gold: from tokens to what they are worth, `[B]`, or `[B, M]` in several ways.
      reference: the logits of the policy it starts from, `[L, V]`.
      points: how often it is looked at after the start.
      updates: between two points.
      batch_size: responses of an update.
      learning_rate: of Adam.
      kl_weight: of the penalty.
      samples: responses over which proxy and gold are averaged at a point.

    Returns:
      Its path, `[points + 1]`, and `[points + 1, M]` of several golds.
    """
    optimiser = optax.inject_hyperparams(optax.adam)(learning_rate=learning_rate)
    key_start, key_first, key = jax.random.split(key, 3)

    def objective(logits: Array, tokens: Array, reward: Array) -> Array:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits)[None], tokens[..., None], -1)
        gain = ((reward - reward.mean()) * chosen[..., 0].sum(-1)).mean()
        return kl_weight * divergence(logits, reference) - gain

    def update(carry: Any, key: Array) -> tuple[Any, None]:
        logits, moments, state = carry
        tokens = draw(key, logits, batch_size)
        state, reward = one_step.judge(term, state, scores(tokens))
        gradient = jax.grad(objective)(logits, tokens, jax.lax.stop_gradient(reward))
        change, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(logits, change), moments, state), None

    def look(key: Array, logits: Array, state: State) -> Path:
        tokens = draw(key, logits, samples)
        proxy = one_step.judge(term, state, scores(tokens))[1]
        root = jnp.sqrt(jnp.maximum(divergence(logits, reference), 0.0))
        return Path(root, proxy.mean(), gold(tokens).mean(0))

    def advance(carry: Any, key: Array) -> tuple[Any, Path]:
        keys = jax.random.split(key, updates + 1)
        carry, _ = jax.lax.scan(update, carry, keys[1:])
        return carry, look(keys[0], carry[0], carry[2])

    state = one_step.start(term, key_start, scores(draw(key_first, reference, batch_size)))
    carry = (reference, optimiser.init(reference), state)
    _, path = jax.lax.scan(advance, carry, jax.random.split(key, points))
    begun = look(key_first, reference, state)
    return jax.tree.map(lambda x, xs: jnp.concatenate([x[None], xs]), begun, path)


def draw(key: Array, logits: Array, count: int) -> Array:
    """Responses of a policy with logits `[L, V]`: tokens `[count, L]` int."""
    # In half precision a rare token would be drawn too rarely.
    logits = logits.astype(jnp.float32)
    return jax.random.categorical(key, logits, shape=(count, logits.shape[0]))


def divergence(logits: Array, reference: Array) -> Array:
    """`KL(policy | reference)` of two policies with logits `[L, V]`, in nats."""
    log_p, log_q = jax.nn.log_softmax(logits), jax.nn.log_softmax(reference)
    return (jnp.exp(log_p) * (log_p - log_q)).sum()


class Scaling(NamedTuple):
    """A fitted curve: `alpha` how fast gold rises at first, `beta` how it bends, and R^2."""

    alpha: Array
    beta: Array
    r2: Array


def scaling(root_kl: Array, gold: Array, form: Literal["best_of", "gradient"]) -> Scaling:
    """Gao et al.'s law of gold over the root d of the divergence, by least squares.

    `d (alpha - beta d)` for `best_of`, `d (alpha - beta log d)` for `gradient`. Gold is
    counted from the reference's, and points at d = 0 tell nothing.

    Args:
      root_kl: d, `[P]`.
      gold: less that of the reference, `[P]`.
      form: which law.

    Raises:
      UserError: an unknown form.
    """
    if form not in FORMS:
        raise UserError(f"unknown form {form!r}; {nearest(form, FORMS)}")
    d = jnp.maximum(root_kl, 0.0)
    bend = d if form == "best_of" else jnp.log(jnp.where(d > 0, d, 1.0))
    terms = jnp.stack([d, -d * bend], 1)
    found = jnp.linalg.lstsq(terms, gold)[0]
    rest = ((gold - terms @ found) ** 2).sum()
    return Scaling(found[0], found[1], 1.0 - rest / ((gold - gold.mean()) ** 2).sum())


def fall(gold: Array) -> Array:
    """The share of what was gained at the peak that is lost again at the end.

    0 if the last point is the best one, 1 if all is lost, more if it ends below the
    start; 0 where nothing was gained.

    Args:
      gold: `[..., P]`, from the reference on.
    """
    gained = gold.max(-1) - gold[..., 0]
    lost = gold.max(-1) - gold[..., -1]
    return jnp.where(gained > 0, lost / jnp.where(gained > 0, gained, 1.0), 0.0)
