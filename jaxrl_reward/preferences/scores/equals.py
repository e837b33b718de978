"""Several right answers should score alike, and all above the wrong ones: RewardBench 2's ties."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrl_reward.types import Array


class Ties(NamedTuple):
    """Scalars; all comparisons are strict.

    Attributes:
      score: `0.3 reference + 0.3 tied + 0.2 apart + 0.2 apart_hard + 0.01 margin`: 1.01 at best.
      reference: the share of prompts with one right answer where it is above all wrong ones.
      tied: the share of prompts with several where the least of them is.
      apart: the share of these where it is so by more than the right ones differ.
      apart_hard: where both prompts' margins exceed that.
      margin: the mean of `tanh(least margin / spread - 1)` over those with a spread.
    """

    score: Array
    reference: Array
    tied: Array
    apart: Array
    apart_hard: Array
    margin: Array


def ties(
    reference: Array,
    reference_wrong: Array,
    right: Array,
    wrong: Array,
    right_there: Array | None = None,
    wrong_there: Array | None = None,
) -> Ties:
    """The score of ties (Malik et al. 2025, "RewardBench 2", as its program 0.1.4 computes it).

    Right answers that all score the same have no spread: they count in full for `apart`, and
    not in `margin`. A score that is not a number makes that of all not a number.

    Args:
      reference: scores of the one right answer to each of Q prompts, `[Q]`.
      reference_wrong: of its wrong answers, `[Q, w]`.
      right: of the several right answers to its variant, `[Q, R]`.
      wrong: of the variant's wrong answers, `[Q, W]`.
      right_there: which of `right` there are, `[Q, R]` bool; all by default.
      wrong_there: which of `wrong` there are, likewise.
    """

    def ends(x: Array, there: Array | None) -> tuple[Array, Array]:
        there = jnp.ones(x.shape, bool) if there is None else there
        return (
            jnp.where(there, x, jnp.inf).min(-1),
            jnp.where(there, x, -jnp.inf).max(-1),
        )

    least, most = ends(right, right_there)
    margin = least - ends(wrong, wrong_there)[1]
    reference_margin = reference - reference_wrong.max(-1)
    spread = most - least
    both = jnp.minimum(margin, reference_margin)
    known = spread > 0
    sure = jnp.tanh(both / jnp.where(known, spread, 1.0) - 1.0)
    sure = jnp.where(known | jnp.isnan(both), sure, 0.0).sum() / jnp.maximum(known.sum(), 1)
    one, several = (reference_margin > 0).mean(), (margin > 0).mean()
    apart, hard = (margin > spread).mean(), (both > spread).mean()
    score = 0.3 * one + 0.3 * several + 0.2 * apart + 0.2 * hard + 0.01 * sure
    return Ties(score, one, several, apart, hard, sure)
