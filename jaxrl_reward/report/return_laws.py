"""Figures of return distributions, and of what policies do by place and stock.

Each function draws on one axes; `sheet` makes them and `save` writes them. As in
`plots`, matplotlib is loaded when something is drawn, and no window is opened.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrl_reward.report import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # up, right, down, left, as x and y downwards


def sheet(
    rows: int, columns: int, width: float = 4.2, height: float = 3.4
) -> tuple["Figure", np.ndarray]:
    """A figure and its axes, `[rows, columns]`."""
    from matplotlib.figure import Figure

    figure = Figure(
        figsize=(width * columns, height * rows), facecolor="white", layout="constrained"
    )
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: "Figure", path: Path) -> Path:
    """Writes it, at once when it is complete."""
    return plots.save(figure, path)


def name(axes: "Axes", title: str, x: str = "", y: str = "") -> None:
    """Titles, and the look of all figures."""
    axes.set_title(title, fontsize=10, fontweight="bold", loc="left", color=plots.INK)
    axes.set_xlabel(x, fontsize=9, color=plots.INK)
    axes.set_ylabel(y, fontsize=9, color=plots.INK)
    axes.tick_params(labelsize=8, colors=plots.MUTED, labelcolor=plots.INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)


def curves(
    axes: "Axes",
    x: Sequence[float],
    arms: Mapping[str, Any],
    exact: Any = None,
    identity: bool = False,
) -> None:
    """The mean over seeds of each arm `[S, X]`, with all seeds in a band; `exact[X]` dashed.

    Args:
      axes: to draw on.
      x: the places, `[X]`.
      arms: by name; an arm of one place may be a pair of it and `[S]` values.
      exact: the optimum.
      identity: draw y = x.
    """
    if identity:
        axes.plot(x, x, color=plots.GRID, linewidth=4, zorder=0, label="as requested")
    for i, (arm, values) in enumerate(arms.items()):
        colour = plots.PALETTE[i]
        if isinstance(values, tuple):
            axes.plot(values[0], np.mean(values[1]), "D", color=colour, label=arm, zorder=4)
            continue
        values = np.asarray(values)
        axes.fill_between(x, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
        axes.plot(x, values.mean(0), "o-", color=colour, linewidth=1.5, markersize=3.5, label=arm)
    if exact is not None:
        axes.plot(x, exact, "k--", linewidth=1.2, label="exact", zorder=3)
    if all(float(each).is_integer() for each in x):
        from matplotlib.ticker import MaxNLocator

        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=plots.GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False)


def bars(axes: "Axes", laws: Mapping[str, tuple[Any, Any]]) -> None:
    """Laws of few values, `[M]` and `[M]` each: a group of bars for each value."""
    found = {arm: _points(*law) for arm, law in laws.items()}
    places = sorted({value for law in found.values() for value in law})
    width = 0.8 / len(found)
    for i, (arm, law) in enumerate(found.items()):
        x = np.arange(len(places)) + (i - (len(found) - 1) / 2) * width
        heights = [law.get(value, 0.0) for value in places]
        axes.bar(x, heights, 0.9 * width, color=plots.PALETTE[i], label=arm)
    axes.set_xticks(range(len(places)), [f"{value:g}" for value in places])
    axes.legend(fontsize=8, frameon=False)


def distributions(axes: "Axes", laws: Mapping[str, tuple[Any, Any]]) -> None:
    """Laws of many values: the probability of at most each return."""
    for i, (arm, law) in enumerate(laws.items()):
        points = sorted(_points(*law).items())
        x = np.array([value for value, _ in points])
        below = np.cumsum([weight for _, weight in points])
        colour, style = plots.PALETTE[i % 7], plots.LINE_STYLES[i % 4]
        axes.step([x[0], *x], [0.0, *below], where="post", color=colour, linestyle=style, label=arm)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(color=plots.GRID, linewidth=0.6)
    axes.legend(fontsize=8, frameon=False, loc="upper left")


def arrows(
    axes: "Axes", moves: Any, cells: Mapping[tuple[int, int], str] | None = None, goal: Any = None
) -> None:
    """The move of a policy in each cell of a grid, `[rows, columns]` of `MOVES`.

    Args:
      axes: to draw on.
      moves: indices; -1 draws nothing.
      cells: colours of some cells.
      goal: the cell in which episodes end.
    """
    moves = np.asarray(moves)
    rows, columns = moves.shape
    for cell, colour in (cells or {}).items():
        axes.add_patch(_square(cell, colour))
    for row in range(rows):
        for column in range(columns):
            if (row, column) == goal:
                axes.text(column, row, "goal", ha="center", va="center", fontsize=7)
            elif moves[row, column] >= 0:
                dx, dy = MOVES[moves[row, column]]
                axes.annotate(
                    "",
                    (column + 0.32 * dx, row + 0.32 * dy),
                    (column - 0.32 * dx, row - 0.32 * dy),
                    arrowprops={"arrowstyle": "-|>", "color": plots.PALETTE[0], "lw": 1.4},
                )
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xticks(np.arange(columns + 1) - 0.5, [])
    axes.set_yticks(np.arange(rows + 1) - 0.5, [])
    axes.grid(color=plots.GRID)
    axes.tick_params(length=0)
    axes.set_aspect("equal")


def _square(cell: tuple[int, int], colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((cell[1] - 0.5, cell[0] - 0.5), 1, 1, facecolor=colour, linewidth=0, zorder=0)


def _points(values: Any, weights: Any) -> dict[float, float]:
    """A law as `{value: probability}`, without those below one in a thousand."""
    law: dict[float, float] = {}
    for value, weight in zip(np.ravel(values), np.ravel(weights), strict=True):
        key = round(float(value), 2)
        law[key] = law.get(key, 0.0) + float(weight)
    return {value: weight for value, weight in law.items() if weight > 1e-3}
