"""Pairs of which some are labelled wrong: which to keep, flip, doubt, or ask about again.

Every function takes a `PairSet` and what judges say of it, and gives another, whose
`origin.changes` says what was done to how many. A judge's margins are its scores of the
chosen responses less those of the rejected, both read in the same place, `[B]`: above 0 it
agrees with the label as it stands.
"""

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl_reward.data import pairs as of_pairs
from jaxrl_reward.data.pairs import PairSet
from jaxrl_reward.preferences import labels
from jaxrl_reward.types import UserError


def strengthen(pairs: PairSet, margins: Any, by: str) -> PairSet:
    """Their `strength`: how strongly an ensemble agrees with each label, on average.

    Wang et al. 2024, "Secrets of RLHF in Large Language Models Part II" (`labels.strength`):
    below 0 a label is likely wrong, near 0 it is ambiguous.

    Args:
      pairs: B of them.
      margins: of each member, `[M, B]`.
      by: who the ensemble is, for the record.
    """
    margins = np.atleast_2d(_finite(margins, "margins", len(pairs)))
    known = labels.strength(jnp.asarray(margins, jnp.float32), pairs.label).mean
    return of_pairs.put(pairs, f"strength of {len(margins)} judges ({by})", strength=known)


def flip_weakest(pairs: PairSet, share: float = 0.2) -> PairSet:
    """Swaps those of the `share` of least strength whose strength is below 0.

    "Secrets of RLHF Part II" (`labels.repair`): flipping 10 to 20 % there.

    Raises:
      UserError: `share` is no share.
    """
    where = _weak(pairs, share)
    flipped = of_pairs.swap(pairs, where, f"flipped {where.sum()} of the weakest {share:g}")
    return of_pairs.put(
        flipped,
        "their strength is of the label as it is now",
        strength=np.where(where, -np.asarray(pairs.strength), pairs.strength),
    )


def drop_weakest(pairs: PairSet, share: float = 0.2) -> PairSet:
    """Leaves out those of the `share` of least strength whose strength is below 0.

    Raises:
      UserError: `share` is no share, or none is left.
    """
    where = _weak(pairs, share)
    return of_pairs.select(pairs, ~where, f"dropped {where.sum()} of the weakest {share:g}")


def doubt(pairs: PairSet, flips: float = 0.1) -> PairSet:
    """Labels `(1 - flips) label + flips (1 - label)` where the strength is below 0.

    The soft labels of "Secrets of RLHF Part II", of the pairs that are likely wrong.

    Raises:
      UserError: `flips` is no share.
    """
    _share("flips", flips)
    where, label = np.asarray(pairs.strength) < 0, np.asarray(pairs.label)
    softer = np.where(where, label + flips * (1.0 - 2.0 * label), label)
    return of_pairs.put(pairs, f"doubted {where.sum()} by {flips:g}", label=softer)


class Agreement(NamedTuple):
    """What two judges say of B labels, masks `[B]` of which one is true of each pair.

    Attributes:
      both: each of them agrees with the label.
      neither: each of them is against it.
      split: one is, or one finds both responses alike.
    """

    both: np.ndarray
    neither: np.ndarray
    split: np.ndarray


def agreement(first: Any, second: Any) -> Agreement:
    """Whom two judges agree with, by the signs of their margins `[B]`."""
    first = _finite(first, "margins", None)
    second = _finite(second, "margins", len(first))
    both, neither = (first > 0) & (second > 0), (first < 0) & (second < 0)
    return Agreement(both, neither, ~(both | neither))


def keep_agreed(
    pairs: PairSet,
    first: Any,
    second: Any,
    *,
    against: Literal["flip", "drop"] = "flip",
    by: str = "two judges",
) -> PairSet:
    """The pairs whose two responses two judges order alike: what they say, or drop the rest.

    Liu et al. 2025, "Skywork-Reward-V2", the second stage: one judge is fitted to few labels
    that are verified, the other to all so far. Where both agree with the label it stays,
    where both are against it the pair is flipped or dropped, and where they differ it is
    dropped. The paper's thresholds are not confirmed; here a sign decides.

    Args:
      pairs: B of them.
      first: margins of one judge, `[B]`.
      second: those of the other.
      against: what to do where both are against the label.
      by: who they are, for the record.

    Raises:
      UserError: none is left, or margins are not B finite numbers.
    """
    if against not in ("flip", "drop"):
        raise UserError(f"against must be 'flip' or 'drop', not {against!r}")
    found = agreement(_finite(first, "margins", len(pairs)), second)
    kept = found.both | found.neither if against == "flip" else found.both
    if against == "flip":
        why = f"flipped {found.neither.sum()} that {by} are against"
        pairs = of_pairs.swap(pairs, found.neither, why)
    why = f"kept {kept.sum()} of {len(kept)} on which {by} agree"
    return of_pairs.select(pairs, kept, why)


def ask_again(pairs: PairSet, margin: Any, answers: Any, budget: int, by: str) -> PairSet:
    """New labels for the `budget` pairs of the smallest margins: a judge is least sure of them.

    Args:
      pairs: B of them.
      margin: the judge's, `[B]`, or an ensemble's mean.
      answers: the probability that the chosen one is better by who is asked, `[B]`; read
        for those pairs alone.
      budget: how many questions there are.
      by: who is asked, for the record.

    Raises:
      UserError: an answer that is read is no probability, or the budget is below 0.
    """
    if budget < 0:
        raise UserError(f"budget must be at least 0, not {budget}")
    margin = _finite(margin, "margin", len(pairs))
    rows = np.argsort(np.abs(margin), kind="stable")[:budget]
    asked = np.zeros(len(pairs), bool)
    asked[rows] = True
    answers = np.asarray(answers, np.float64)
    if answers.shape != asked.shape:
        raise UserError(f"answers must be [{len(pairs)}], not {list(answers.shape)}")
    if not ((answers[asked] >= 0) & (answers[asked] <= 1)).all():
        raise UserError("answers must be probabilities, from 0 to 1")
    against = asked & (np.where(asked, answers, 1.0) < 0.5)
    told = np.where(asked, np.maximum(answers, 1.0 - answers), pairs.label)
    swapped = of_pairs.swap(pairs, against, f"asked {by} of {asked.sum()}, swapped {against.sum()}")
    return of_pairs.put(swapped, f"labels of {asked.sum()} by {by}", label=told)


def balance_lengths(pairs: PairSet, seed: int = 0) -> PairSet:
    """As many pairs whose chosen response is longer by k tokens as shorter by k, for every k.

    Which of the larger number stay is drawn. Then no function of the difference of lengths
    is right more often than wrong. InternLM-XComposer2.5-Reward and BaseReward screen pairs so that
    the chosen are not systematically longer; their cut-offs are not confirmed. Ties and
    single responses stay as they are.

    Raises:
      UserError: none is left.
    """
    lengths = [of_pairs.lengths(np.asarray(x)) for x in (pairs.chosen, pairs.rejected)]
    more = (lengths[0] - lengths[1]) * np.sign(np.asarray(pairs.label) - 0.5).astype(int)
    more = np.where(np.asarray(pairs.there).all(1), more, 0)
    order, kept = np.random.default_rng(seed).permutation(len(pairs)), more == 0
    for size in np.unique(np.abs(more[more != 0])):
        longer, shorter = (order[more[order] == each] for each in (size, -size))
        few = min(len(longer), len(shorter))
        kept[longer[:few]] = kept[shorter[:few]] = True
    return of_pairs.select(pairs, kept, f"lengths balanced, {kept.sum()} of {len(pairs)}")


def _weak(pairs: PairSet, share: float) -> np.ndarray:
    """Those of the `share` of least strength whose strength is below 0, `[B]` bool."""
    _share("share", share)
    repaired = labels.repair(jnp.zeros(len(pairs)), pairs.strength, share)
    return np.asarray(repaired) > 0


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise UserError(f"{name} must be from 0 to 1, not {value:g}")


def _finite(values: Any, name: str, count: int | None) -> np.ndarray:
    """Numbers `[..., B]`, checked."""
    values = np.asarray(values, np.float64)
    if count is not None and (values.ndim == 0 or values.shape[-1] != count):
        raise UserError(f"{name} must be of {count} pairs, not {list(values.shape)}")
    if not np.isfinite(values).all():
        raise UserError(f"{name} has a number that is not finite")
    return values
