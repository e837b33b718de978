"""Fits a reward model to preferences between pairs of segments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.nn.reward_models import RewardModel
from jaxrl_reward.preferences import losses
from jaxrl_reward.types import Array, Transition


def returns(model: RewardModel, segments: Transition) -> Array:
    """Each member's sum of scores, `[members, B]`, over segments with leaves `[B, T, ...]`."""
    return jax.vmap(jax.vmap(model.scores))(segments).sum(1).T


def fit(
    model: RewardModel,
    key: Array,
    first: Transition,
    second: Transition,
    label: Array,
    *,
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    loss: Callable[[Array, Array], Array] = losses.bradley_terry,
    decay: float = 0.0,
) -> tuple[RewardModel, Array]:
    """Every member by Adam, on batches of its own order, from its own parameters.

    Args:
      model: where to start, `preferences.init`.
      key: typed PRNG key.
      first: segments with leaves `[B, T, ...]`; a pair has equally many steps.
      second: what they are compared with.
      label: the probability that the first is preferred, `[B]`.
      steps: of the optimiser.
      batch_size: pairs of a step, drawn with replacement.
      learning_rate: of Adam.
      loss: of differences and labels `[batch]`; one of `preferences.losses`.
      decay: times the mean squared score, added to the loss (0.001 in Coste et al. 2023).

    Returns:
      The fitted model, and the mean loss of each step, `[steps]`.
    """
    optimiser = optax.adam(learning_rate)
    take = lambda tree, rows: jax.tree.map(lambda x: x[rows], tree)  # noqa: E731

    def total(params: Any, rows: Array) -> Array:
        one = model.replace(params=jax.tree.map(lambda x: x[None], params), members=1)
        a, b = (returns(one, take(segments, rows))[0] for segments in (first, second))
        return (loss(a - b, label[rows]) + decay * (a**2 + b**2)).mean()

    def member(params: Any, key: Array) -> tuple[Any, Array]:
        def step(carry: Any, key: Array) -> tuple[Any, Array]:
            params, state = carry
            rows = jax.random.randint(key, (batch_size,), 0, label.shape[0])
            value, grads = jax.value_and_grad(total)(params, rows)
            change, state = optimiser.update(grads, state)
            return (optax.apply_updates(params, change), state), value

        start = (params, optimiser.init(params))
        (params, _), values = jax.lax.scan(step, start, jax.random.split(key, steps))
        return params, values

    params, values = jax.vmap(member)(model.params, jax.random.split(key, model.members))
    return model.replace(params=params), jnp.asarray(values).mean(0)
