"""Figures of trade-offs: Pareto fronts, and one measured quantity over another.

As in `plots`, matplotlib is loaded when something is drawn, and no window is opened.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward.files import user_path
from jaxrl_reward.report import plots
from jaxrl_reward.report.plots import Curve
from jaxrl_reward.report.statistics import iqm, stratified_bootstrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Front(NamedTuple):
    """Who ends where on a front of two objectives, both to be large.

    Attributes:
      points: the front, `[C, 2]`: across, and upwards.
      shares: of the policies that end on each, `[C]`.
      off: the share that ends elsewhere.
    """

    points: np.ndarray
    shares: np.ndarray
    off: float


def curve(x: ArrayLike, values: ArrayLike, confidence: float = 0.95) -> Curve:
    """Values `[S, P]` over places `[P]`, or `[S, P]` of each seed, which are averaged: IQMs."""
    x, values = np.asarray(x, np.float64), np.asarray(values, np.float64)
    places = x if x.ndim == 1 else np.array([iqm(column) for column in x.T])
    settings: dict[str, Any] = {"confidence": confidence, "resamples": 1000}
    bounds = [stratified_bootstrap(column, iqm, **settings) for column in values.T]
    estimate, low, high = np.array(bounds).T
    return Curve(places, estimate, low, high, len(values))


def pareto(
    panels: Mapping[str, Front],
    path: Path | str,
    *,
    title: str,
    note: str,
    labels: tuple[str, str],
    columns: int = 3,
) -> Path:
    """Draws for each arm the front, and on its points circles for the policies that end there.

    Args:
      panels: by arm.
      path: a `.png`, `.pdf` or `.svg`, replaced at once when it is complete.
      title: above all panels.
      note: below it.
      labels: of the horizontal and of the vertical axis.
      columns: panels side by side.
    """
    figure, grid = _sheet(len(panels), columns)
    for i, (axes, (name, front)) in enumerate(zip(grid, panels.items(), strict=False)):
        x, y = front.points.T
        _plain(axes, name)
        axes.plot(x, y, color=plots.MUTED, linewidth=0.9, marker=".", markersize=4, zorder=2)
        ink: dict[str, Any] = {"color": plots.look(i)[0], "alpha": 0.75, "linewidth": 0}
        axes.scatter(x, y, s=700 * front.shares, zorder=3, **ink)
        text = f"{front.off:.0%} end elsewhere"
        where = {"xycoords": "axes fraction", "ha": "left", "va": "bottom"}
        axes.annotate(text, (0.03, 0.03), **where, fontsize=plots._SMALL, color=plots.MUTED)
        axes.margins(0.12, 0.14)
    _frame(figure, title, note, labels, columns)
    return plots.save(figure, user_path(path))


def lines(
    panels: Mapping[str, Mapping[str, Curve]],
    path: Path | str,
    *,
    title: str,
    labels: tuple[str, str],
    columns: int = 3,
) -> Path:
    """Draws a panel for each of several sets of curves; an arm looks the same in all.

    Args:
      panels: curves by panel and arm; `curve` makes them.
      path: a `.png`, `.pdf` or `.svg`, replaced at once when it is complete.
      title: above all panels.
      labels: of the horizontal and of the vertical axis.
      columns: panels side by side.
    """
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(name for arms in panels.values() for name in arms))
    figure, grid = _sheet(len(panels), columns)
    for axes, (task, arms) in zip(grid, panels.items(), strict=False):
        _plain(axes, task)
        for name, each in arms.items():
            plots._draw(axes, each, *plots.look(names.index(name)), 0.14)
        axes.set_xlim(min(c.step[0] for c in arms.values()), None)
    looks = [plots.look(i) for i in range(len(names))]
    handles = [Line2D([], [], color=c, linestyle=s, linewidth=1.8) for c, s in looks]
    small = {"fontsize": plots._SMALL, "frameon": False}
    wide = 0.07 * max(map(len, names)) + 0.6  # inches of a name beside its line
    ncols = max(1, min(len(names), int(figure.get_figwidth() / wide)))
    figure.legend(handles, names, loc="outside lower center", ncols=ncols, **small)
    seeds = {each.seeds for arms in panels.values() for each in arms.values()}
    few = "One seed" if max(seeds) == 1 else f"IQM and 95 % interval, {min(seeds)} seeds"
    _frame(figure, title, few, labels, columns)
    return plots.save(figure, user_path(path))


def name_points(axes: Any, points: Mapping[str, tuple[float, float, str]]) -> None:
    """Writes the name of each point `(x, y, colour)` beside it, where it covers no other's.

    Call it when all else is drawn: the limits of the axes stay as they are.
    """
    axes.set_xlim(axes.get_xlim())
    axes.set_ylim(axes.get_ylim())
    unit = axes.figure.dpi / 72  # a point of print
    wide, high = 0.6 * plots._SMALL * unit, 1.25 * plots._SMALL * unit
    at = axes.transData.transform([point[:2] for point in points.values()])
    # Boxes are left, low, right, high; nothing may be written over a point either.
    taken = [(x - 3 * unit, y - 3 * unit, x + 3 * unit, y + 3 * unit) for x, y in at]
    for (text, (x, y, colour)), (px, py) in zip(points.items(), at, strict=True):
        boxes = []
        for distance in (5, 16, 28, 40):
            for right, up in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                low = py + up * distance * unit - (high if up < 0 else 0)
                left = px + right * 5 * unit - (wide * len(text) if right < 0 else 0)
                boxes.append((left, low, left + wide * len(text), low + high))
        box = next((b for b in boxes if not any(_cross(b, t) for t in taken)), boxes[0])
        taken.append(box)
        shift = ((box[0] - px) / unit, (box[1] - py) / unit)
        place: dict[str, Any] = {"xytext": shift, "textcoords": "offset points"}
        axes.annotate(text, (x, y), **place, fontsize=plots._SMALL, color=colour)


def _cross(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _sheet(count: int, columns: int) -> tuple["Figure", list[Any]]:
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = math.ceil(count / columns)
    size = (max(3.1 * columns, 4.6), 2.7 * rows + 1.0)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1).tolist()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid


def _plain(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=plots._MEDIUM, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(plots.MUTED)
    axes.tick_params(colors=plots.MUTED, labelcolor=plots.INK, labelsize=plots._SMALL, length=3)
    axes.grid(color=plots.GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def _frame(figure: "Figure", title: str, note: str, labels: tuple[str, str], columns: int) -> None:
    figure.suptitle(
        f"{title}\n", x=0.01, ha="left", fontsize=plots._LARGE, fontweight="bold", color=plots.INK
    )
    height = figure.get_figheight()
    small = {"fontsize": plots._SMALL, "color": plots.MUTED}
    figure.text(0.01, 1 - 0.34 / height, note, ha="left", va="top", **small)
    figure.supylabel(labels[1], fontsize=plots._MEDIUM, color=plots.INK)
    drawn = [axes for axes in figure.axes if axes.axison]
    for axes in drawn[-columns:]:  # the lowest panel of each column
        axes.set_xlabel(labels[0], fontsize=plots._MEDIUM, color=plots.INK)
