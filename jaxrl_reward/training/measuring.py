"""Experiments that train no agent: what their arms measured, as the results of runs.

Solving a thousand random MDPs, or fitting reward models to labelled pairs, is no
run of an agent, yet has arms, seeds, a curve and a final number. `measured` gives
those the form that verdicts, tables and figures read.
"""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import progress as bars
from rich.console import Console

from jaxrl_reward.training.metrics import Rows, Sink, show
from jaxrl_reward.training.result import NonFiniteError, Result
from jaxrl_reward.training.run_folder import RunFolder
from jaxrl_reward.training.schedule import first_seed, positive
from jaxrl_reward.training.sharding import device_name
from jaxrl_reward.types import UserError

if TYPE_CHECKING:
    from jaxrl_reward.training.experiment import Arm, Experiment, Preset


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
    experiment: "Experiment",
    arms: Sequence["Arm"],
    preset: "Preset",
    folder: RunFolder,
    *,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
) -> dict[str, Result]:
    """Runs `experiment.measure` and records what it gives.

    A run that was interrupted measures again from the start: it depends on its
    keys alone, and ends as if it had not been.

    Returns:
      By arm its result: `returns` is the last point of the experiment's metric, and
      `study` the arm's `Measured`. Wall time is shared out evenly.

    Raises:
      UserError: the measure left an arm out, or its shapes disagree.
      NonFiniteError: the last point of the experiment's metric is not finite.
    """
    assert experiment.measure is not None
    seeds = positive("seeds", preset.seeds)
    first = first_seed(preset.seed, seeds)
    for arm in arms:
        folder.register(arm.name, _configuration(experiment, arm, preset))
    keys = jax.vmap(jax.random.key)(jnp.arange(first, first + seeds))
    started = time.perf_counter()
    with Ticker(experiment.name, enabled=progress) as tick:
        found = experiment.measure(arms, preset, keys, tick)
    wall = (time.perf_counter() - started) / len(arms)
    results = {}
    for arm in arms:
        if arm.name not in found:
            raise UserError(f"{experiment.name!r} measured nothing for arm {arm.name!r}")
        result = _result(experiment.metric, arm.name, found[arm.name], range(first, first + seeds))
        spent = {"steps_per_second": result.summary["env_steps"] / wall, "wall_seconds": wall}
        result.summary.update(spent)
        folder.write_rows(result.curves)
        sinks = show(result.curves, sinks)
        results[arm.name] = result
    return results


def _configuration(experiment: "Experiment", arm: "Arm", preset: "Preset") -> dict[str, Any]:
    """What an arm is, for `config.json`. It names no agent: there is none to load."""
    settings = {**experiment.config, **preset.config, **arm.config, "length": preset.total_steps}
    shape = {"seeds": preset.seeds, "seed": preset.seed, "reward": arm.reward}
    shape |= {"axis": experiment.axis} if experiment.axis else {}
    env = arm.env or experiment.env
    return {**({"env": env} if env else {}), **shape, "config": settings}


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
