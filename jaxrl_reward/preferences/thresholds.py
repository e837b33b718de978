"""Where to stop trusting proxies: thresholds found by what they lead to.

Moskovitz et al. 2023, "Confronting Reward Model Overoptimization with Constrained
RLHF": each proxy is trusted up to a point, `lagrangian` keeps its return there, and the
points are searched for by Nelder and Mead's simplex, on an evaluation that the policy
does not climb.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxrl_reward.types import UserError


class Thresholds(NamedTuple):
    """What a search gives.

    Attributes:
      values: the best thresholds that were tried.
      worth: what they were worth.
      tried: all that were tried, in order, `[E, K]`.
      worths: what these were worth, `[E]`; -inf where that was not finite.
    """

    values: tuple[float, ...]
    worth: float
    tried: np.ndarray
    worths: np.ndarray


def search_thresholds(
    evaluate: Callable[[tuple[float, ...]], float],
    start: Sequence[float],
    width: float | Sequence[float],
    *,
    iterations: int = 10,
    tolerance: float = 0.01,
) -> Thresholds:
    """The thresholds at which `evaluate` is highest, by Nelder-Mead from a corner.

    Reflection 1, expansion 2, contraction and shrinkage 1/2; the paper's at most ten
    iterations. The best of what was tried, `start` among it: chance had a part in it
    if the evaluation is noisy.

    Args:
      evaluate: from thresholds to what the policy is worth that keeps them, such as
        the gold return of a run with `lagrangian(thresholds)`.
      start: the first thresholds, `[K]`.
      width: how far each of the K other first ones is from it, along one of them.
      iterations: steps of the simplex.
      tolerance: it ends where the simplex and its worths are as close as this.

    Raises:
      UserError: no threshold, or a width of 0.
    """
    from scipy.optimize import minimize

    first = np.asarray(start, np.float64).reshape(-1)
    widths = np.broadcast_to(np.asarray(width, np.float64), first.shape)
    if not first.size or not np.all(widths):
        raise UserError("a search needs a threshold at least, and widths that are not 0")
    tried: list[np.ndarray] = []
    worths: list[float] = []

    def loss(at: np.ndarray) -> float:
        worth = float(evaluate(tuple(at.tolist())))
        tried.append(at.copy())
        worths.append(worth if math.isfinite(worth) else -math.inf)
        # A simplex with an infinite corner never ends: a corner worse than all is enough.
        known = [each for each in worths if math.isfinite(each)]
        return -worths[-1] if math.isfinite(worths[-1]) else 1.0 - min(known, default=0.0)

    options = {"maxiter": iterations, "xatol": tolerance, "fatol": tolerance}
    simplex = np.vstack([first, first + np.diag(widths)])
    options["initial_simplex"] = simplex
    minimize(loss, first, method="Nelder-Mead", options=options)
    best = int(np.argmax(worths))
    return Thresholds(tuple(tried[best].tolist()), worths[best], np.array(tried), np.array(worths))
