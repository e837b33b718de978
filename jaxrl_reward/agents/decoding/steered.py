"""Responses of a policy that stays as it is, drawn towards what values say is good.

Value Augmented Sampling (Han et al. 2024): among the K likeliest tokens of the reference each
one's logit gains `sum_j beta_j (V_j(s a) - mean V_j)`, where V_j is what the reference goes on to
earn of reward j. It is one step of soft policy improvement over the reference, and not the
optimum of reward less KL: what follows is valued as the reference would go on.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import language_models
from jaxrl_reward.types import Array, UserError

Values = Callable[[Array], Array]


def augment(logits: Array, values: Array, betas: Array, top: int | None = None) -> Array:
    """The reference's logits with values added, `[V]`; the order of the rest is not touched.

    Args:
      logits: of the reference, `[V]`.
      values: V_j(s a) of each token and reward, `[V, J]`, or `[V]` of one.
      betas: what each reward counts, `[J]`, or a scalar.
      top: K, how many tokens are looked at; all by default.

    Raises:
      UserError: the shapes do not fit, or K is no number of tokens.
    """
    values = values[:, None] if values.ndim == 1 else values
    betas = jnp.atleast_1d(jnp.asarray(betas, values.dtype))
    if values.shape != (logits.shape[0], betas.shape[0]):
        raise UserError(
            f"values must be {[logits.shape[0], betas.shape[0]]} (tokens, betas), "
            f"not {list(values.shape)}"
        )
    count = logits.shape[0] if top is None else top
    if not 1 <= count <= logits.shape[0]:
        raise UserError(f"top must be between 1 and {logits.shape[0]}, not {count}")
    kept = jnp.zeros(logits.shape, bool).at[jax.lax.top_k(logits, count)[1]].set(True)
    worth = values @ betas
    centre = jnp.where(kept, worth, 0.0).sum() / count
    return jnp.where(kept, logits + worth - centre, logits)


def decode(
    model: language_models.LanguageModel,
    params: Any,
    prompt: Array,
    length: int,
    key: Array | None,
    *,
    values: Values,
    betas: Array,
    top: int | None = None,
    end: int = 0,
) -> Array:
    """Responses `[N, T]` of Value Augmented Sampling; several betas need no training.

    Args:
      model: the network.
      params: the reference's parameters.
      prompt: what it reads, `[N, P]`.
      length: T.
      key: of the draws; the likeliest tokens without.
      values: from texts `[M, P + T]` to what they are worth, `[M, J]`; the number V stands where
        nothing is written yet.
      betas: what each reward counts, `[J]`, or one row for each response, `[N, J]`.
      top: K, tokens that are valued.
      end: the token behind which nothing is written.
    """
    many, start = prompt.shape
    betas = jnp.atleast_1d(jnp.asarray(betas, jnp.float32))
    betas = jnp.broadcast_to(betas if betas.ndim == 2 else betas[None], (many, betas.shape[-1]))

    def step(carry: Any, at: Array) -> Any:
        memory, logits, text, over = carry
        tokens = logits.shape[1]
        tried: Any = jnp.arange(tokens, dtype=text.dtype)[None, :, None]
        here = jnp.arange(text.shape[1])[None, None] == start + at
        texts: Any = jnp.where(here, tried, text[:, None])
        worth = values(texts.reshape(-1, text.shape[1])).reshape(many, tokens, -1)
        scores = jax.vmap(lambda x, v, b: augment(x, v, b, top))(
            language_models.log_softmax(logits), worth, betas
        )
        if key is not None:
            scores += jax.random.gumbel(jax.random.fold_in(key, at), scores.shape)
        best: Any = jnp.where(over, tokens, scores.argmax(1))
        token = best.astype(text.dtype)
        text = jnp.where(here[:, 0], token[:, None], text)
        memory, logits = model.step(params, memory, token, at)
        return (memory, logits, text, over | (token == end)), token

    memory, logits = model.read(params, prompt)
    blank = jnp.full((many, length), logits.shape[1], prompt.dtype)
    text = jnp.concatenate([prompt, blank], 1)
    carry = (memory, logits, text, jnp.zeros(many, bool))
    return jax.lax.scan(step, carry, jnp.arange(length))[1].T
