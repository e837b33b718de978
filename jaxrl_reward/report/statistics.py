"""Statistics of a few seeds: point estimates that outliers do not move, and
intervals that say how little a few seeds tell.

The definitions are those of Agarwal et al. 2021, "Deep Reinforcement Learning
at the Edge of the Statistical Precipice", section 4. Values are `[S]`, one per
seed, or `[K, S]`, tasks by seeds; seeds are resampled within each task.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward.types import UserError

# From values and the axes to reduce to their statistic; `np.mean` is one.
Statistic = Callable[..., Any]
_CHUNK = 2**22  # resampled values held at once: 32 MiB


class Interval(NamedTuple):
    """An estimate and its confidence interval: floats, or arrays of one shape.

    The bounds are NaN where nothing can be resampled (one seed per task), so
    that no comparison with them holds.
    """

    estimate: Any
    low: Any
    high: Any

    def excludes(self, value: float) -> bool:
        """Whether the whole interval lies on one side of `value`."""
        return bool(self.low > value or self.high < value)


def iqm(values: ArrayLike, axis: int | tuple[int, ...] | None = None) -> Any:
    """Interquartile mean: of the middle half, a quarter cut from either end.

    Rounded as `scipy.stats.trim_mean(values, 0.25)` is: n // 4 values are cut
    from each end, so that with 3 or fewer it is the mean.
    """
    values = np.asarray(values, np.float64)
    axes = range(values.ndim) if axis is None else np.atleast_1d(axis)
    axes = sorted(int(a) % values.ndim for a in axes)
    kept = [values.shape[a] for a in range(values.ndim) if a not in axes]
    moved = np.moveaxis(values, axes, range(-len(axes), 0))
    flat = moved.reshape(*kept, -1)
    size = flat.shape[-1]
    if not size:
        raise UserError("the interquartile mean of no values; give at least one seed")
    cut = size // 4
    if cut:
        flat = np.partition(flat, (cut, size - cut - 1), axis=-1)
    return flat[..., cut : size - cut].mean(-1)


def stratified_bootstrap(
    values: ArrayLike,
    statistic: Statistic = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a statistic over seeds and tasks.

    With fewer than about 5 seeds such an interval is too narrow; with one seed
    per task there is none (NaN). The same values give the same interval.

    Args:
      values: `[S]`, or `[K, S]`.
      statistic: `statistic(values, axis)`, with `axis` the task and seed axes:
        `iqm`, `np.mean`, `np.median`.
      confidence: coverage aimed at.
      resamples: bootstrap samples.
      seed: of the resampling.

    Raises:
      UserError: values of another rank, none, or not finite.
    """
    table = _checked(values)
    # Of one seed each resample is that seed.
    draws: Iterable[np.ndarray] = [table[None]]
    if table.shape[1] > 1:
        draws = _resampled(table, np.random.default_rng(seed), resamples)
    sampled = np.concatenate([statistic(each, axis=(-2, -1)) for each in draws])
    estimate = float(statistic(table, axis=(-2, -1)))
    return _interval(estimate, sampled, confidence, table.shape[1] > 1)


def difference(
    x: ArrayLike,
    y: ArrayLike,
    statistic: Statistic = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """How much better x does than y: `statistic(x) - statistic(y)`.

    The two arms are resampled independently, though their seeds may be equal:
    a seed names a random stream, not a difficulty that both arms share.

    Args:
      x: `[S]` or `[K, S]`.
      y: `[S']` or `[K, S']`, the same tasks.
      statistic: as for `stratified_bootstrap`.
      confidence: coverage aimed at.
      resamples: bootstrap samples.
      seed: of the resampling.

    Raises:
      UserError: as for `stratified_bootstrap`, or different numbers of tasks.
    """
    x, y = _checked_pair(x, y)
    rng = np.random.default_rng(seed)
    sampled = [
        np.concatenate([statistic(each, axis=(-2, -1)) for each in _resampled(z, rng, resamples)])
        for z in (x, y)
    ]
    estimate = float(statistic(x, axis=(-2, -1)) - statistic(y, axis=(-2, -1)))
    return _interval(estimate, sampled[0] - sampled[1], confidence, _both_vary(x, y))


def probability_of_improvement(
    x: ArrayLike,
    y: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Chance that a run of x beats a run of y, averaged over tasks.

    A tie counts half: within a task it is the Mann-Whitney U of x over the
    number of pairs (Agarwal et al. 2021, section 4.3).

    Args:
      x: `[S]` or `[K, S]`.
      y: `[S']` or `[K, S']`, the same tasks.
      confidence: coverage aimed at.
      resamples: bootstrap samples.
      seed: of the resampling.

    Raises:
      UserError: as for `difference`.
    """
    x, y = _checked_pair(x, y)
    rng = np.random.default_rng(seed)
    estimates, sampled = [], np.zeros(resamples)
    for x_task, y_task in zip(x, y, strict=True):
        wins = np.sign(x_task[:, None] - y_task[None]) / 2.0 + 0.5
        estimates.append(wins.mean())
        # A resample is how often each run was drawn: a product of matrices,
        # where drawing the pairs themselves would need [resamples, S, S'].
        x_share, y_share = (_shares(rng, len(z), resamples) for z in (x_task, y_task))
        sampled += ((x_share @ wins) * y_share).sum(-1)
    return _interval(float(np.mean(estimates)), sampled / len(x), confidence, _both_vary(x, y))


def performance_profile(
    values: ArrayLike,
    thresholds: Sequence[float] | np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Fraction of runs above each threshold, with pointwise intervals.

    The run-score distribution of Agarwal et al. 2021, section 4.2.

    Args:
      values: `[S]`, or `[K, S]`; of several tasks, normalised scores.
      thresholds: `[P]`.
      confidence: coverage aimed at, at each threshold by itself.
      resamples: bootstrap samples.
      seed: of the resampling.

    Returns:
      An interval of `[P]` arrays.

    Raises:
      UserError: as for `stratified_bootstrap`.
    """
    table = _checked(values)
    thresholds = np.asarray(thresholds, np.float64)
    rng = np.random.default_rng(seed)
    estimates, sampled = np.zeros(len(thresholds)), np.zeros((resamples, len(thresholds)))
    for task in table:
        above = (task[:, None] > thresholds[None]).astype(np.float64)
        estimates += above.mean(0)
        sampled += _shares(rng, len(task), resamples) @ above
    tasks = len(table)
    return _interval(estimates / tasks, sampled / tasks, confidence, table.shape[1] > 1)


def scored(scores: ArrayLike, references: Sequence[float]) -> dict[str, Any]:
    """Normalised scores of seeds for `summary.json`, and the returns that score 0 and 100."""
    found = summarize(scores, "score")
    kept = {name: found[name] for name in ("iqm", "ci_low", "ci_high")}
    return kept | {"random": references[0], "expert": references[1]}


def summarize(values: ArrayLike, metric: str = "return", **options: Any) -> dict[str, Any]:
    """One arm's entry in `summary.json`, from `[S]` values, one per seed.

    `ci_low` and `ci_high` are None with one seed. `options` are those of
    `stratified_bootstrap`.
    """
    table = _checked(values)
    if len(table) != 1:
        raise UserError(f"an arm's values must be [seeds], not {np.shape(values)}; one task each")
    interval = stratified_bootstrap(table, iqm, **options)
    low, high = (None if math.isnan(bound) else bound for bound in interval[1:])
    return {
        "metric": metric,
        "iqm": interval.estimate,
        "ci_low": low,
        "ci_high": high,
        "seeds": table.shape[1],
        "per_seed": table[0].tolist(),
    }


def _checked(values: ArrayLike) -> np.ndarray:
    """`[K, S]` float64."""
    table = np.asarray(values, np.float64)
    if table.ndim not in (1, 2):
        raise UserError(f"values must be [seeds] or [tasks, seeds], not of shape {table.shape}")
    table = np.atleast_2d(table)
    if not table.size:
        raise UserError("there are no values; give at least one seed")
    wrong = ~np.isfinite(table)
    if wrong.any():
        task, seed = np.argwhere(wrong)[0]
        raise UserError(
            f"{wrong.sum()} of {table.size} values are not finite (first: seed {seed} of task "
            f"{task}); leave such runs out, and say so"
        )
    return table


def _checked_pair(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = _checked(x), _checked(y)
    if len(first) != len(second):
        raise UserError(f"{len(first)} tasks against {len(second)}; compare the same tasks")
    return first, second


def _both_vary(x: np.ndarray, y: np.ndarray) -> bool:
    return x.shape[1] > 1 and y.shape[1] > 1


def _resampled(table: np.ndarray, rng: np.random.Generator, resamples: int) -> Iterator[np.ndarray]:
    """Seeds drawn with replacement within each task: `[R, K, S]`, in parts."""
    tasks, seeds = table.shape
    rows = np.arange(tasks)[None, :, None]
    part = max(1, _CHUNK // table.size)
    for start in range(0, resamples, part):
        size = (min(part, resamples - start), tasks, seeds)
        yield table[rows, rng.integers(seeds, size=size)]


def _shares(rng: np.random.Generator, seeds: int, resamples: int) -> np.ndarray:
    """How much of each resample is each seed, `[R, S]`; a row adds up to 1."""
    return rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=resamples) / seeds


def _interval(estimate: Any, sampled: np.ndarray, confidence: float, known: bool) -> Interval:
    """The percentiles of `[R, ...]` resampled statistics."""
    if not 0.0 < confidence < 1.0:
        raise UserError(f"confidence {confidence} must lie between 0 and 1, such as 0.95")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(sampled, [tail, 1.0 - tail], axis=0)
    if not known:
        low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
    if np.ndim(estimate) == 0:
        return Interval(estimate, float(low), float(high))
    return Interval(estimate, low, high)
