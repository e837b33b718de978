"""What kind of data a dataset is: how good, how wide, how heavy its tails.

TQ and SACo are of Schweighofer et al. (2021, "A Dataset Perspective on Offline
Reinforcement Learning", arXiv:2111.04714).
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import rounding
from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.types import Array, Transition, UserError

WIDTH = 0.5  # of a cell, in standard deviations of the reference
MOST_DIMENSIONS = 8  # of real numbers that are divided into cells; more are projected


def trajectory_quality(dataset: Dataset, random: float, best: float) -> float:
    """TQ `= (g(D) - g_random) / (g_best - g_random)`: mean returns, of whole episodes.

    Args:
      dataset: D.
      random: the return of uniform actions.
      best: that of the best policy that online training found.

    Raises:
      UserError: no episode is whole, or the two returns are the same.
    """
    returns = dataset.returns()
    if not len(returns):
        raise UserError("trajectory quality needs a whole episode, and the dataset has none")
    if random == best:
        raise UserError(f"trajectory quality needs two returns that differ, both are {random:g}")
    return float((returns.mean() - random) / (best - random))


class Coverage(NamedTuple):
    """How much of what the reference saw a dataset has.

    Attributes:
      unique: different pairs of state and action in the dataset, u(D).
      reference: the same in the reference, u(D_ref).
      saco: `u(D) / u(D_ref)`.
      log_saco: `log u(D) / log u(D_ref)`.
    """

    unique: int
    reference: int
    saco: float
    log_saco: float


def coverage(dataset: Dataset, reference: Dataset, width: float = WIDTH) -> Coverage:
    """SACo: different state-action pairs, relative to a reference, as of the online run.

    The reference is thinned evenly to the dataset's size where it is longer, as the
    two counts must be of equally many steps. Whole numbers (one-hot states, boards,
    discrete actions) are counted as they are. Real ones are divided by the
    reference's standard deviation, and, if there are more than 8, projected onto 8
    directions drawn once (a Gaussian matrix, which keeps distances roughly: Johnson
    and Lindenstrauss 1984); what lies in one cell of a grid of `width` counts once.
    So counts of real numbers compare only under one width and one reference.

    Raises:
      UserError: the two are of different spaces.
    """
    steps, against = dataset.steps, thinned(reference, len(dataset)).steps
    shapes = [(x.obs.shape[1:], x.action.shape[1:]) for x in (steps, against)]
    if shapes[0] != shapes[1]:
        raise UserError(f"coverage needs data of one space, not {shapes[0]} and {shapes[1]}")
    pairs, known = _pairs(steps), _pairs(against)
    real = ~(_whole_columns(pairs) & _whole_columns(known))
    if real.any():
        centre, unit = known[:, real].mean(0), known[:, real].std(0)
        unit = np.where(np.ptp(known[:, real], axis=0) > 0, unit, 1.0)
        pairs, known = (
            np.hstack([x[:, ~real], _cells((x[:, real] - centre) / unit, width)])
            for x in (pairs, known)
        )
    unique, there = count_unique(pairs), count_unique(known)
    log_saco = math.log(unique) / math.log(there) if there > 1 else math.nan
    return Coverage(unique, there, unique / there, log_saco)


def count_unique(rows: Any) -> int:
    """How many different rows `[N, D]` of whole numbers there are."""
    whole = np.ascontiguousarray(np.asarray(rows), np.int32)
    return len(np.unique(whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1])))))


def thinned(dataset: Dataset, rows: int) -> Dataset:
    """At most `rows` steps, evenly spread; no longer whole episodes."""
    count = len(dataset)
    if count <= rows:
        return dataset
    index = np.arange(rows) * count // rows
    steps = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[index]), dataset.steps)
    return dataset.replace(steps=steps, left_out=None).replace_provenance(checksum="")


def kurtosis(x: Any) -> Array:
    """`E[((x - mean) / sd)^4]` over all of x: 3 for a normal law, more for heavier tails.

    Not the excess, which is less by 3. NaN where x is constant.
    """
    x = jnp.asarray(x).reshape(-1)
    above = x - x[0]
    z = above - above.mean()
    varies = rounding.varies(x)
    z /= jnp.where(varies, jnp.sqrt(jnp.square(z).mean()), 1.0)
    fourth: Array = (z**4).mean()
    return jnp.where(varies, fourth, jnp.nan)


def _pairs(steps: Transition) -> np.ndarray:
    obs, action = np.asarray(steps.obs), np.asarray(steps.action)
    parts = [x.reshape(len(x), -1).astype(np.float64) for x in (obs, action)]
    return np.concatenate(parts, axis=1)


def _whole_columns(pairs: np.ndarray) -> np.ndarray:
    return (pairs == np.rint(pairs)).all(axis=0) & (np.abs(pairs).max(axis=0) < 2**31)


def _cells(x: np.ndarray, width: float) -> np.ndarray:
    """The cell of each row, in at most `MOST_DIMENSIONS` dimensions."""
    size = x.shape[1]
    if size > MOST_DIMENSIONS:
        matrix = np.random.default_rng(0).normal(size=(size, MOST_DIMENSIONS))
        x = x @ (matrix / math.sqrt(MOST_DIMENSIONS))
    return np.floor(np.clip(x / width, -1e6, 1e6))
