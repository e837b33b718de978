"""Which way a judge's parameters go, if not straight down the loss of a batch.

A direction takes the `Step` that is to be made, the parameters as one vector, the rows of the
batch and a key, and gives the loss and what the optimiser follows downhill; `fit(direction=...)`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.objectives.many import min_norm_weights
from jaxrl_reward.types import Array


class Step(NamedTuple):
    """What a batch costs.

    Attributes:
      total: from the vector, rows `[b]` and weights `[b]` to the weighted mean of the loss.
      scores: from the vector and texts `[N, P + T]` to the judge's scores, `[N]`.
    """

    total: Callable[[Array, Array, Array], Array]
    scores: Callable[[Array, Array], Array]


Direction = Callable[[Step, Array, Array, Array], tuple[Array, Array]]


def straight(step: Step, vector: Array, rows: Array, key: Array) -> tuple[Array, Array]:
    """The gradient of the mean loss."""
    del key
    return jax.value_and_grad(step.total)(vector, rows, jnp.ones(rows.shape))


def more(groups: Any, count: int) -> Direction:
    """What lowers the losses of all groups of raters: the shortest mean of their gradients.

    Zeng et al. 2023, "On Diversified Preferences of Large Language Model Alignment" (MORE):
    weights on the simplex that make `|sum_k w_k g_k|` least, and the loss `K sum_k w_k L_k`.
    Where the groups agree it is that of K losses; where they pull apart, the loudest counts
    least.

    Args:
      groups: whose each pair is, `[B]` int.
      count: K.
    """
    groups = jnp.asarray(groups)

    def direction(step: Step, vector: Array, rows: Array, key: Array) -> tuple[Array, Array]:
        del key

        def one(k: Array) -> tuple[Array, Array]:
            mine = (groups[rows] == k).astype(jnp.float32)
            return jax.value_and_grad(step.total)(vector, rows, mine)

        losses, slopes = jax.vmap(one)(jnp.arange(count))
        weights = jax.lax.stop_gradient(min_norm_weights(slopes))
        return count * weights @ losses, count * weights @ slopes

    return direction


def meta(text: Any, rate: Any, batch_size: int = 64) -> Direction:
    """The gradient at parameters that tell responses of a new policy further apart.

    Dou et al. 2024, "MetaRM: Shifted Distributions Alignment via Meta-Learning": first
    `theta' = theta + rate * grad mean sigmoid(|r(x, y1) - r(x, y2)|)` on responses that the
    policy writes now, without labels; then the loss of the labelled pairs falls by its
    gradient at theta'. First order: the change of theta' with theta is left out, as there.

    Args:
      text: pairs of the new policy's responses with their prompt, `[M, 2, P + T]`.
      rate: of that step.
      batch_size: pairs of it, drawn with replacement.
    """
    text = jnp.asarray(text)

    def direction(step: Step, vector: Array, rows: Array, key: Array) -> tuple[Array, Array]:
        some = text[jax.random.randint(key, (batch_size,), 0, text.shape[0])]

        def apart(vector: Array) -> Array:
            said = step.scores(vector, some.reshape(-1, some.shape[-1])).reshape(-1, 2)
            return jax.nn.sigmoid(jnp.abs(said[:, 0] - said[:, 1])).mean()

        shifted = vector + rate * jax.grad(apart)(vector)
        return jax.value_and_grad(step.total)(shifted, rows, jnp.ones(rows.shape))

    return direction
