"""Labels of pairs: from ranked factors, and what to do with the ones that are likely wrong."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array


class Labels(NamedTuple):
    """Which of two is preferred, and which pairs are decided at all.

    Attributes:
      first: the probability that the first is preferred, `[...]` float32.
      decided: bool, `[...]`; drop the others.
    """

    first: Array
    decided: Array


def hierarchical(first: Array, second: Array, margins: Array) -> Labels:
    """HERON's preference by ranked factors.

    Bukharin et al. 2023, "Deep Reinforcement Learning from Hierarchical Weak
    Preference Feedback": the most important factor that differs by more than its
    margin decides. Rescaling a factor by any increasing linear map, its margin with it,
    changes nothing.

    Args:
      first: each factor's value for the first of a pair, `[..., L]`, the most
        important first: of whole trajectories, as sums over their steps.
      second: the same for the second.
      margins: `[L]`; there a multiple of the factor's standard deviation.
    """
    gap = first - second
    clear = jnp.abs(gap) > margins.reshape((1,) * (gap.ndim - 1) + margins.shape)
    level = jnp.argmax(clear, -1)  # the first level that is clear
    deciding = jnp.take_along_axis(gap, level[..., None], -1)[..., 0]
    return Labels((deciding > 0).astype(jnp.float32), clear.any(-1))


def bradley_terry(key: Array, difference: Array, temperature: float = 1.0) -> Array:
    """Labels 0 and 1 drawn with probability `sigmoid(difference / temperature)`."""
    chance = jax.nn.sigmoid(jnp.asarray(difference, jnp.float32) / temperature)
    return jax.random.bernoulli(key, chance).astype(jnp.float32)


def flip(key: Array, label: Array, probability: Array | float) -> Array:
    """The labels, each inverted with `probability`."""
    hit = jax.random.bernoulli(key, probability, label.shape)
    return jnp.where(hit, 1.0 - label, label)


class Strength(NamedTuple):
    """By how much an ensemble prefers the labelled winner: mean and deviation, `[B]`."""

    mean: Array
    std: Array


def strength(differences: Array, label: Array) -> Strength:
    """How strongly, and how surely, an ensemble agrees with each label.

    Wang et al. 2024, "Secrets of RLHF in Large Language Models Part II": below 0 a label is
    likely wrong, near 0 it is ambiguous.

    Args:
      differences: of the scores, first less second, of each member, `[M, B]`.
      label: `[B]`.
    """
    toward = differences * (2.0 * label - 1.0)[None]
    return Strength(toward.mean(0), toward.std(0))


def repair(label: Array, mean: Array, share: float) -> Array:
    """Inverts the labels of the `share` of pairs with the lowest strength below 0.

    The same paper's label flipping, of 0.1 to 0.2 of the data there.
    """
    wrong = (mean < jnp.quantile(mean, share)) & (mean < 0)
    return jnp.where(wrong, 1.0 - label, label)
