"""Of experiments whose arms train a writer: metrics at the ends of runs, compared by seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward.training.experiments.experiment import Results
from jaxrl_reward.training.record.write_up import markdown_table


def last(result: Any, name: str) -> np.ndarray:
    """A metric at the last point, `[S]`."""
    return result.curves.curve(name)[1][:, -1]


def first(result: Any, name: str) -> np.ndarray:
    """A metric before training, `[S]`."""
    return result.curves.curve(name)[1][:, 0]


def late(result: Any, name: str) -> np.ndarray:
    """The mean of a metric over the second half of its points, `[S]`."""
    values = result.curves.curve(name)[1]
    return values[:, values.shape[1] // 2 :].mean(1)


def cell(values: ArrayLike) -> str:
    """The interquartile mean over seeds and its 95 % interval, for a table."""
    from jaxrl_reward.report import statistics, tables

    found = statistics.stratified_bootstrap(values)
    width = found.high - found.low
    if not width > 0:
        return tables.number(found.estimate)
    estimate, low, high = (tables.number(each, width) for each in found)
    return f"{estimate} [{low}, {high}]"


def draw(
    results: Results, path: Path, panels: Mapping[str, str], title: str, what: str = "Share"
) -> None:
    """Metrics over updates, a panel each: `panels` says what each is called."""
    from jaxrl_reward.report import fronts

    curves: dict[str, dict[str, Any]] = {}
    for metric, name in panels.items():
        curves[name] = {}
        for arm, each in results.items():
            result: Any = each
            steps, values = result.curves.curve(metric)
            curves[name][arm] = fronts.curve(steps // result.plan.steps_per_iteration, values)
    fronts.lines(curves, path, title=title, labels=("Updates", what), columns=2)


def table(results: Results, head: str, metrics: Sequence[str]) -> str:
    """Metrics of each arm at its end, and of the first arm before training."""
    start = next(iter(results.values()))
    rows = [("before training", *(cell(first(start, name)) for name in metrics))]
    rows += [(arm, *(cell(last(each, name)) for name in metrics)) for arm, each in results.items()]
    return markdown_table((head, *metrics), rows)
