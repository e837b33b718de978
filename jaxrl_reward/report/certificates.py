"""What can be promised of a policy that acts on noisy observations, whoever else disturbs them.

A policy acts on `o_t + xi_t`, `xi_t ~ N(0, sigma^2)` at every step. An adversary who sees all
and moves observations by `eps_t`, with `sqrt(sum_t |eps_t|^2) <= B` over the episode, changes
the chance p of a return of at least tau to no less than `Phi(Phi^-1(p) - B / sigma)` (Kumar et
al. 2022, "Policy Smoothing for Provably Robust Reinforcement Learning"). p is not known but
counted, so its lower confidence bound stands in for it (Clopper and Pearson 1934). A mean in
its place would promise too much.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from jaxrl_reward.types import UserError


class Certificate(NamedTuple):
    """What holds of an episode under attack, with the given confidence.

    Attributes:
      budget: B, `[P]`.
      chance: at least this likely is a return of `threshold`, `[P, L]`.
      expected: the expected return is at least this, `[P]`.
      threshold: the returns tau that are looked at, in rising order, `[L]`.
    """

    budget: np.ndarray
    chance: np.ndarray
    expected: np.ndarray
    threshold: np.ndarray


def lower(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> np.ndarray:
    """The one-sided Clopper-Pearson bound: a chance is at least this, `[...]`.

    Args:
      successes: how often it happened, `[...]`.
      trials: of how many independent tries.
      confidence: how often such a bound is right, at least.

    Raises:
      UserError: counts that cannot be, or a confidence outside (0, 1).
    """
    k, n = _counted(successes, trials, confidence)
    found = special.betaincinv(np.maximum(k, 1), n - k + 1, 1.0 - confidence)
    return np.where(k > 0, found, 0.0)


def clopper_pearson(
    successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """The exact two-sided interval of a chance, `[...]` each; arguments as for `lower`."""
    k, n = _counted(successes, trials, confidence)
    one_sided = (1.0 + confidence) / 2.0
    return lower(k, n, one_sided), 1.0 - lower(n - k, n, one_sided)


def under_attack(chance: ArrayLike, budget: ArrayLike, sigma: float) -> np.ndarray:
    """`Phi(Phi^-1(p) - B / sigma)`: what is left of a chance; in one dimension it is attained.

    Args:
      chance: p without an attack, `[...]`.
      budget: B, `[...]`, at least 0.
      sigma: standard deviation of the noise, above 0.

    Raises:
      UserError: a number is out of range.
    """
    chance, budget = np.asarray(chance, np.float64), np.asarray(budget, np.float64)
    if not ((chance >= 0) & (chance <= 1)).all():
        raise UserError("a chance must be between 0 and 1")
    if not (np.isfinite(sigma) and sigma > 0):
        raise UserError(f"sigma must be above 0, not {sigma}")
    if not (budget >= 0).all():
        raise UserError("budget must be at least 0")
    return stats.norm.cdf(stats.norm.ppf(chance) - budget / sigma)


def certify(
    returns: ArrayLike,
    sigma: float,
    budget: ArrayLike,
    *,
    thresholds: ArrayLike,
    lowest: float,
    confidence: float = 0.95,
) -> Certificate:
    """What independent episodes under noise promise of episodes under attack.

    All of it holds at once with the confidence: each threshold's bound has its share of what
    may go wrong. The expected return is at least `lowest + sum_i (tau_i - tau_{i-1}) chance_i`.

    Args:
      returns: of episodes that were played with the noise and without an attack, `[E]`.
      sigma: the noise's standard deviation.
      budget: B, `[P]`.
      thresholds: tau, `[L]`, chosen before the episodes were seen.
      lowest: no episode returns less.
      confidence: that all of it is right.

    Raises:
      UserError: there are no returns, one is below `lowest`, or a number is out of range.
    """
    returns = np.asarray(returns, np.float64).reshape(-1)
    levels = np.unique(np.asarray(thresholds, np.float64))
    if not returns.size or not levels.size:
        raise UserError("a certificate needs at least one episode and one threshold")
    if not np.isfinite(returns).all():
        raise UserError("a certificate needs finite returns")
    least = min(returns.min(), levels[0])
    if least < lowest:
        raise UserError(f"lowest={lowest:g} is above {least:g}, a return or a threshold")
    counts = (returns[:, None] >= levels[None]).sum(0)
    each = 1.0 - (1.0 - confidence) / levels.size
    sure = lower(counts, returns.size, each if 0.0 < confidence < 1.0 else confidence)
    budgets = np.atleast_1d(np.asarray(budget, np.float64))
    left = under_attack(sure[None], budgets[:, None], sigma)
    expected = lowest + left @ np.diff(levels, prepend=lowest)
    return Certificate(budgets, left, expected, levels)


def _counted(
    successes: ArrayLike, trials: ArrayLike, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    k, n = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
    if not ((k >= 0) & (k <= n) & (n >= 1)).all() or (k % 1).any() or (n % 1).any():
        raise UserError(f"{successes} successes in {trials} trials cannot be")
    if not 0.0 < confidence < 1.0:
        raise UserError(f"confidence {confidence} must lie between 0 and 1, such as 0.95")
    return k, n
