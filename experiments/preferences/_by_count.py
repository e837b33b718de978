"""Of experiments that measure arms at several counts, of labels or of known pairs: what is said.

Seeds are pairs: arms of a seed share its world.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrl_reward.training.experiments.experiment import Results
from jaxrl_reward.training.record.write_up import markdown_table


def at(results: Results, arm: str, metric: str, count: int) -> np.ndarray:
    """A metric at a count, or at the largest one below it, `[S]`."""
    found = results[arm].study
    point = sum(n <= count for n in found.at) - 1
    return np.asarray(found.values[metric])[:, point]


def apart(results: Results, one: str, two: str, metric: str, count: int) -> np.ndarray | None:
    """A metric of one arm less that of another, `[S]`; None without both."""
    if not {one, two} <= set(results):
        return None
    return at(results, one, metric, count) - at(results, two, metric, count)


def draw(
    results: Results, path: Path, panels: Mapping[str, str], title: str, labels: tuple[str, str]
) -> None:
    """Metrics over the logarithm of counts, a panel each: `panels` says what each is called."""
    from jaxrl_reward.report import fronts

    powers = np.log2(np.asarray(_counts(results)))
    curves = {
        name: {
            arm: fronts.curve(powers, each.study.values[metric]) for arm, each in results.items()
        }
        for metric, name in panels.items()
    }
    fronts.lines(curves, path, title=title, labels=labels, columns=2)


def table(results: Results, head: str, metrics: Mapping[str, str]) -> str:
    """Interquartile means over seeds, of each metric at each count; `metrics` has short names."""
    from jaxrl_reward.report import statistics, tables

    counts = _counts(results)
    rows = []
    for arm in results:
        cells = []
        for metric in metrics:
            for count in counts:
                found = statistics.stratified_bootstrap(at(results, arm, metric, count))
                cells.append(tables.number(found.estimate, max(found.high - found.low, 1e-3)))
        rows.append((arm, *cells))
    heads = [f"{name}, {count}" for name in metrics.values() for count in counts]
    return markdown_table((head, *heads), rows)


def _counts(results: Results) -> Sequence[int]:
    return next(iter(results.values())).study.at
