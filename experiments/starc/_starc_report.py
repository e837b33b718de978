"""Of the experiment `starc`: its tables and its figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import _starc_study as study
import numpy as np

from jaxrl_reward.training.experiments.experiment import Results
from jaxrl_reward.training.record.result import Result
from jaxrl_reward.training.record.write_up import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Last = Mapping[str, Mapping[str, np.ndarray]]
SHOWN = ("VAL", "minimal", "EPIC", "DARD", "VALPotential", "policy order")
FAMILY = {"STARC": 0, "EPIC": 1, "DARD": 2, "orders of returns": 3, "others": 4}


def last(result: Result) -> dict[str, np.ndarray]:
    """Each metric at the last pair, `[S]`."""
    return {name: np.asarray(each)[:, -1] for name, each in result.study.values.items()}


def family(arm: str) -> str:
    """Which kind of distance it is."""
    if arm in study.STARC:
        return "STARC"
    if arm in study.ORDERS:
        return "orders of returns"
    return next((name for name in ("EPIC", "DARD") if arm.startswith(name)), "others")


def present(results: Results, folder: Path) -> Sequence[str]:
    """Both correlations and the invariances of each metric, below the figure."""
    from jaxrl_reward.report import return_laws as draw

    draw.save(figure(results), folder / "figure.png")
    ends = {name: last(result) for name, result in results.items()}
    first = next(iter(results.values()))
    pairs = np.asarray(first.study.values["regret"])
    rows = [
        (
            name,
            family(name),
            f"{end['correlation'].mean():.3f}",
            f"{end['correlation of optima'].mean():.3f}",
            f"{end['correlation of tasks'].mean():.3f}",
            *(f"{end[change].max():.1e}" for change in study.CHANGES[:3]),
            f"{end['opposite'].min():.3f}",
            f"{end['hidden'].max():.2f}",
        )
        for name, end in sorted(ends.items(), key=lambda each: -each[1]["correlation"].mean())
    ]
    titles = (
        "Distance",
        "Kind",
        "Worst case",
        "Optima",
        "Tasks",
        "Scaled",
        "Shaped",
        "Redistributed",
    )
    return [
        "![Distance against regret for some metrics, and every metric's correlation](figure.png)",
        "## Every distance",
        f"{pairs.size:,} pairs of rewards. Rank correlation with worst-case regret; with that "
        "of optimal policies; and with the worst case where neither reward values all policies "
        "alike, as sparse ones may: means over seeds. Then the largest distance of any world "
        "after what leaves the task as it is; the smallest to the opposite task (1 at best); "
        "and the largest between rewards that are opposite where transitions happen, and "
        "equal and large where they cannot.",
        markdown_table((*titles, "Opposite", "Hidden"), rows),
    ]


def figure(results: Results) -> "Figure":
    """Distance against regret for six metrics; then a dot and an interval for each."""
    from jaxrl_reward.report import return_laws as draw

    shown = [name for name in SHOWN if name in results]
    made, axes = draw.sheet(2, 4)
    panels = list(axes[:, :3].reshape(-1))
    for panel, name in zip(panels, shown, strict=False):
        _density(panel, results[name], name)
    grid = axes[0, 0].get_gridspec()
    for panel in axes[:, 3]:
        panel.remove()
    _dots(made.add_subplot(grid[:, 3]), results)
    return made


def _density(panel: "Axes", result: Result, name: str) -> None:
    from jaxrl_reward.report import return_laws as draw

    distance, loss = (np.ravel(result.study.values[key]) for key in ("distance", "regret"))
    panel.hexbin(distance, loss, gridsize=32, bins="log", cmap="viridis", mincnt=1, linewidths=0)
    draw.name(
        panel,
        f"{name}: {result.returns.mean():.3f}",
        f"distance ({family(name)})",
        "worst-case regret",
    )


def _dots(panel: "Axes", results: Results) -> None:
    """By the headline: interquartile means over seeds, and their intervals."""
    from jaxrl_reward.report import plots, statistics
    from jaxrl_reward.report import return_laws as draw

    found = {name: statistics.stratified_bootstrap(each.returns) for name, each in results.items()}
    order = sorted(found, key=lambda name: found[name].estimate)
    for y, name in enumerate(order):
        colour = plots.PALETTE[FAMILY[family(name)]]
        panel.plot([found[name].low, found[name].high], [y, y], color=colour, linewidth=3)
        panel.plot(found[name].estimate, y, "o", color=colour, markersize=5)
    panel.set_yticks(range(len(order)), order)
    for kind, i in FAMILY.items():
        panel.plot([], [], "o", color=plots.PALETTE[i], label=kind)
    panel.grid(axis="x", color=plots.GRID, linewidth=0.6)
    panel.legend(fontsize=8, frameon=False, loc="upper left")
    draw.name(panel, "Rank correlation with worst-case regret", "IQM and 95 % interval")
