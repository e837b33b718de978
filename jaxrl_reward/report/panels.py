"""Small multiples: learning curves of several tasks, and maps of where agents went."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxrl_reward.files import user_path
from jaxrl_reward.report import plots
from jaxrl_reward.report.plots import Curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAPER, _WALL = "#FFFFFF", "#B8B8B8"


class Map(NamedTuple):
    """What one picture of a grid shows.

    Attributes:
      visits: of each cell, `[rows, cols]`.
      walls: cells that cannot be entered, `[rows, cols]` bool.
      start: row and column.
    """

    visits: np.ndarray
    walls: np.ndarray
    start: tuple[int, int]


def learning_curves(
    tasks: Mapping[str, Mapping[str, Curve]],
    path: Path | str,
    *,
    title: str,
    label: str,
    best: Mapping[str, tuple[str, float]] | None = None,
    columns: int = 3,
    axis: str = "Environment steps (per seed)",
) -> Path:
    """Draws a panel for each task, in which an arm looks the same everywhere.

    Args:
      tasks: the curves of each task's arms.
      path: a `.png`, `.pdf` or `.svg`, replaced at once when it is complete.
      title: above all panels.
      label: of their vertical axes.
      best: a value to compare with, by task, and what it is.
      columns: panels side by side.
      axis: what their horizontal axes count.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(columns, len(tasks))
    rows = math.ceil(len(tasks) / columns)
    figure = Figure(figsize=(2.9 * columns, 2.25 * rows + 0.9), facecolor="white")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    names = list(dict.fromkeys(name for arms in tasks.values() for name in arms))
    for axes, (task, arms) in zip(grid, tasks.items(), strict=False):
        reach = [0.0]
        for name, curve in arms.items():
            plots._draw(axes, curve, *plots.look(names.index(name)), 0.16)
            reach += [*curve.low[np.isfinite(curve.low)], *curve.high[np.isfinite(curve.high)]]
        plots._style(axes, max(curve.step[-1] for curve in arms.values()))
        axes.set_title(task, loc="left", fontsize=plots._MEDIUM, fontweight="bold", pad=9)
        if best and task in best:
            what, value = best[task]
            axes.axhline(value, color=plots.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
            note = {"xy": (0.99, value), "xycoords": ("axes fraction", "data"), "ha": "right"}
            axes.annotate(
                f"{what} {value:.4g}",
                **note,
                xytext=(0, 2),
                textcoords="offset points",
                fontsize=plots._SMALL - 1.5,
                color=plots.MUTED,
                bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 0.5},
            )
            reach.append(value)
        axes.set_ylim(min(reach), max(reach) * 1.09)
    for axes in grid[len(tasks) :]:
        axes.set_axis_off()
    looks = (plots.look(i) for i in range(len(names)))
    handles = [Line2D([], [], color=c, linestyle=s, linewidth=1.8) for c, s in looks]
    counts = {curve.seeds for arms in tasks.values() for curve in arms.values()}
    note = f"IQM and 95 % interval, {min(counts)} seeds" if max(counts) > 1 else "One seed"
    _frame(figure, title, note)
    figure.legend(
        handles,
        names,
        loc="lower center",
        ncols=min(len(names), 6),
        frameon=False,
        fontsize=plots._SMALL,
        bbox_to_anchor=(0.5, -0.01),
    )
    figure.supylabel(label, fontsize=plots._MEDIUM, color=plots.INK, x=0.005)
    figure.text(0.5, 0.58 / figure.get_figheight(), axis, ha="center",
                fontsize=plots._MEDIUM, color=plots.INK)  # fmt: skip
    figure.tight_layout(rect=(0.015, 0.75 / figure.get_figheight(), 1, _below_title(figure)))
    return plots.save(figure, user_path(path))


def heat_maps(
    rows: Mapping[str, Mapping[str, Map]], path: Path | str, *, title: str, note: str
) -> Path:
    """Draws a row of maps for each task, a column for each arm.

    Args:
      rows: the maps, by task and arm.
      path: a `.png`, `.pdf` or `.svg`, replaced at once when it is complete.
      title: above all maps.
      note: below it: what the colours are of.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for maps in rows.values() for name in maps))
    shapes = [next(iter(maps.values())).visits.shape for maps in rows.values()]
    heights = [max(shape[0] / shape[1], 0.4) for shape in shapes]
    figure = Figure(
        figsize=(2.5 * len(names) + 0.9, 2.3 * sum(heights) + 0.45 * len(rows) + 0.7),
        facecolor="white",
    )
    grid = figure.subplots(len(rows), len(names), squeeze=False, height_ratios=heights)
    shades = (_PAPER, "#56B4E9", "#0072B2", "#00284A")
    colours = LinearSegmentedColormap.from_list("visits", shades).with_extremes(bad=_WALL)
    scale = PowerNorm(0.5, 0.0, 4.0)
    for line, (task, maps) in zip(grid, rows.items(), strict=True):
        for axes, name in zip(line, names, strict=True):
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_color(plots.GRID)
            if name not in maps:
                axes.set_axis_off()
                continue
            shown: Any = maps[name]
            axes.imshow(np.ma.array(shown.visits, mask=shown.walls), cmap=colours, norm=scale)
            row, column = shown.start
            axes.plot(column, row, marker="o", markersize=4, color="#D55E00")
            axes.set_title(f"{task}: {name}", fontsize=plots._SMALL, color=plots.INK, loc="left")
    _frame(figure, title, note)
    figure.tight_layout(rect=(0, 0, 0.93, _below_title(figure)))
    bar = figure.add_axes((0.945, 0.3, 0.012, 0.4))
    colour_bar = figure.colorbar(ScalarMappable(scale, colours), cax=bar, extend="max")
    colour_bar.set_ticks([0, 0.5, 1, 2, 4])
    colour_bar.set_label("Visits per episode", fontsize=plots._SMALL, color=plots.INK)
    colour_bar.ax.tick_params(labelsize=plots._SMALL, colors=plots.MUTED)
    return plots.save(figure, user_path(path))


def _frame(figure: "Figure", title: str, note: str) -> None:
    height = figure.get_figheight()
    look: dict[str, Any] = {"x": 0.015, "ha": "left", "va": "top"}
    figure.text(
        y=1 - 0.06 / height, s=title, fontsize=plots._LARGE, fontweight="bold",
        color=plots.INK, **look,
    )  # fmt: skip
    figure.text(y=1 - 0.31 / height, s=note, fontsize=plots._SMALL, color=plots.MUTED, **look)


def _below_title(figure: "Figure") -> float:
    return 1 - 0.5 / figure.get_figheight()
