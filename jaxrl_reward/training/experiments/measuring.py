"""Experiments that train no agent: what their arms measured, as the results of runs.

Solving a thousand random MDPs, or fitting reward models to labelled pairs, is no
run of an agent, yet has arms, seeds, a curve and a final number. `measured` gives
those the form that verdicts, tables and figures read.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import progress as bars
from rich.console import Console

from jaxrl_reward.training.devices.sharding import device_name
from jaxrl_reward.training.record.metrics import Rows, Sink, show
from jaxrl_reward.training.record.result import NonFiniteError, Result
from jaxrl_reward.training.record.run_folder import RunFolder
from jaxrl_reward.training.schedule import first_seed, positive
from jaxrl_reward.types import UserError


class Measured(NamedTuple):
    """What one arm measured.

    Attributes:
      values: by metric, `[S, P]`, one row per seed; NaN where there is nothing.
      at: where on the axis the `P` points are, whole numbers that rise.
      env_steps: environment steps that all seeds took, if any.
    """

    values: Mapping[str, Any]
    at: Sequence[int]
    env_steps: int = 0


def measured(
    name: str,
    measure: "Callable[[jax.Array, Ticker], Mapping[str, Measured]]",
    metric: str,
    arms: Mapping[str, Mapping[str, Any]],
    folder: RunFolder,
    *,
    seeds: int,
    seed: int,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
) -> dict[str, Result]:
    """Runs a measure and records what it gives.

    A run that was interrupted measures again from the start: it depends on its
    keys alone, and ends as if it had not been.

    Args:
      name: the experiment's, for the progress bar.
      measure: from keys `[S]`, one for each seed, and what to tell of progress, to
        what each arm measured.
      metric: of those measured, what is reported.
      arms: what each is, for `config.json`.
      folder: where to record it.
      seeds: how many.
      seed: the first of them.
      progress: draw a bar, or print lines, on standard error.
      sinks: where to log rows too.

    Returns:
      By arm its result: `returns` is the last point of the metric, and
      `study` the arm's `Measured`. Wall time is shared out evenly.

    Raises:
      UserError: the measure left an arm out, or its shapes disagree.
      NonFiniteError: the last point of the metric is not finite.
    """
    seeds = positive("seeds", seeds)
    first = first_seed(seed, seeds)
    folder.register(arms)
    keys = jax.vmap(jax.random.key)(jnp.arange(first, first + seeds))
    started = time.perf_counter()
    with Ticker(name, enabled=progress) as tick:
        found = measure(keys, tick)
    wall = (time.perf_counter() - started) / len(arms)
    results = {}
    for arm in arms:
        if arm not in found:
            raise UserError(f"{name!r} measured nothing for arm {arm!r}")
        result = _result(metric, arm, found[arm], range(first, first + seeds))
        spent = {"steps_per_second": result.summary["env_steps"] / wall, "wall_seconds": wall}
        result.summary.update(spent)
        folder.write_rows(result.curves)
        sinks = show(result.curves, sinks)
        results[arm] = result
    return results


def _result(metric: str, arm: str, found: Measured, seeds: range) -> Result:
    from jaxrl_reward.report import statistics

    at = [int(point) for point in found.at]
    values = {name: np.asarray(each, np.float64) for name, each in found.values.items()}
    if metric not in values:
        raise UserError(f"arm {arm!r} measured {', '.join(sorted(values))}, but no {metric!r}")
    for name, each in values.items():
        if each.shape != (len(seeds), len(at)):
            wanted = f"[{len(seeds)} seeds, {len(at)} points]"
            raise UserError(f"{name!r} of arm {arm!r} must be {wanted}, not {each.shape}")
    last = values[metric][:, -1]
    if not np.isfinite(last).all():
        raise NonFiniteError(metric, seeds[int(np.argmin(np.isfinite(last)))], at[-1])
    rows = Rows.concatenate(
        Rows.at(arm, seeds, at[i], {name: each[:, i] for name, each in values.items()})
        for i in range(len(at))
    )
    summary = {
        "arms": {arm: statistics.summarize(last, metric)},
        "env_steps": int(found.env_steps),
        "compile_seconds": 0.0,  # inside the wall time
        "device": device_name(),
        "verdicts": [],
    }
    return Result(arm, None, rows, summary, last, None, (arm,), study=found)


class Ticker:
    """Called with what is done and all there is to do: a bar, or a line at each fifth."""

    def __init__(self, name: str, enabled: bool = True):
        self._name, self._told = name, 0
        self._console = Console(stderr=True, quiet=not enabled, highlight=False, soft_wrap=True)
        self._bar = None
        if enabled and self._console.is_terminal:
            self._bar = bars.Progress(console=self._console, refresh_per_second=4)
            self._task = self._bar.add_task(name, total=None)

    def __call__(self, done: int, total: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif (fifth := 5 * done // max(total, 1)) > self._told:
            self._told = fifth
            self._console.print(f"{self._name}: {done:,}/{total:,}", markup=False)

    def __enter__(self) -> "Ticker":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
