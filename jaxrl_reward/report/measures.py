"""The field's usual measures, beside the interquartile mean: of runs, and of fronts.

The optimality gap is that of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of
the Statistical Precipice"; the expected utility that of Zintgraf et al. 2015. The volume that a
front dominates is `rewards.hypervolume`.
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward.types import UserError


def optimality_gap(
    values: ArrayLike, axis: int | tuple[int, ...] | None = None, gamma: float = 1.0
) -> np.ndarray:
    """How far scores fall short of `gamma` on average; beyond it nothing more is gained.

    A `statistic` of `statistics.stratified_bootstrap`.

    Args:
      values: normalised scores, `[S]` or `[K, S]`.
      axis: over which the mean is.
      gamma: the score that is enough.
    """
    return gamma - np.minimum(np.asarray(values, np.float64), gamma).mean(axis)


def non_dominated(points: ArrayLike) -> np.ndarray:
    """Which points `[C, K]` no other is at least as good as in all, and better in one: `[C]` bool.

    All objectives are to be large. Of equal points the first is kept.

    Raises:
      UserError: points of another rank, or one that is not finite.
    """
    points = _checked(points)
    no_worse = (points[:, None] >= points[None]).all(-1)
    better = (points[:, None] > points[None]).any(-1)
    earlier = np.tri(len(points), k=-1, dtype=bool).T  # [i, j]: i comes before j
    return np.asarray(~(no_worse & (better | earlier)).any(0))


def expected_utility(points: ArrayLike, weights: ArrayLike) -> float:
    """What who asks gets on average: the best of points `[C, K]` under weights `[W, K]`.

    Raises:
      UserError: points as for `non_dominated`, or weights of other objectives.
    """
    points, weights = _checked(points), _checked(weights)
    if points.shape[1] != weights.shape[1]:
        raise UserError(f"points of {points.shape[1]} objectives, weights of {weights.shape[1]}")
    return float((weights @ points.T).max(1).mean())


def _checked(points: ArrayLike) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or not points.size:
        raise UserError(f"points must be [points, objectives], not {list(points.shape)}")
    if not np.isfinite(points).all():
        raise UserError("a point is not finite; leave it out, and say so")
    return points
