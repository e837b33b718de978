"""Right answers against wrong ones: pairs, one against k, the best of a few, ranks.

Scores are `[...]` of right responses and `[..., k]` of wrong ones to the same prompts. What is
not a number is never right, and no tie.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrl_reward.types import Array


class Outcome(NamedTuple):
    """Of each comparison, `[...]` float32; of both orders of one, means.

    Attributes:
      right: 1 where the better one has the higher score, 0 elsewhere.
      tied: 1 where the highest scores are equal.
    """

    right: Array
    tied: Array

    @property
    def wrong(self) -> Array:
        """What is neither."""
        return 1.0 - self.right - self.tied

    @property
    def split(self) -> Array:
        """With each tie decided by a coin."""
        return self.right + 0.5 * self.tied


def pairwise(better: Array, worse: Array) -> Outcome:
    """Whether the better of two has the higher score."""
    return _outcome(better > worse, better == worse)


def both_orders(forward: Array, backward: Array) -> tuple[Outcome, Array]:
    """Of a judge that compares, asked in both orders: means over them, and where it is consistent.

    It is consistent, `[...]`, where the same one is preferred whichever is read first. One
    that always prefers the first is right half the time, and never consistent.

    Args:
      forward: what it says of the better one, compared with the worse: above 0 is right.
      backward: what it says of the worse, compared with the better: below 0 is right.
    """
    first, second = pairwise(forward, jnp.zeros_like(forward)), pairwise(-backward, 0.0 * backward)
    mean = Outcome(0.5 * (first.right + second.right), 0.5 * (first.tied + second.tied))
    return mean, _float(forward * backward < 0)


def one_against(right: Array, wrong: Array) -> Outcome:
    """Whether the right response scores above all k wrong ones.

    Kim et al. 2024, "Evaluating Robustness of Reward Models for Mathematical Reasoning"
    (RewardMATH), with k = 9 there. Chance is `1 / (k + 1)`.
    """
    best = wrong.max(-1)
    return _outcome(right > best, right == best)


def best_of(right: Array, wrong: Array) -> Array:
    """`1 / m` where the right response is one of m with the highest score, else 0, `[...]`.

    RewardBench 2 (Malik et al. 2025), the best of four (k = 3): its program splits ties so, and
    gives 0 where any score is not a number.
    """
    best = wrong.max(-1)
    sharing = 1.0 + (wrong == right[..., None]).sum(-1)
    return jnp.where(right >= best, 1.0 / sharing, 0.0)


def reciprocal_rank(right: Array, wrong: Array) -> Array:
    """`1 / rank` of the right response among the wrong ones, `[...]`; what ties is before it.

    RewardMATH's mean reciprocal rank is the mean of it.
    """
    before = ~(wrong < right[..., None])
    return 1.0 / (1.0 + before.sum(-1))


def _outcome(right: Array, tied: Array) -> Outcome:
    return Outcome(_float(right), _float(tied))


def _float(x: Array) -> Array:
    return jnp.asarray(x, jnp.float32)
