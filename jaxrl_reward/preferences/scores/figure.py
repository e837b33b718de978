"""A figure of judges' numbers on sets of pairs."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jaxrl_reward.files import user_path
from jaxrl_reward.preferences.scores.cards import Card
from jaxrl_reward.types import UserError


def draw(cards: Mapping[str, Card], path: Path | str) -> Path:
    """Points with their intervals, a row for each number and a colour for each set.

    Raises:
      UserError: there is no set, or the path ends in something else than .png, .pdf or .svg.
    """
    from matplotlib.figure import Figure

    from jaxrl_reward.report import plots

    path = user_path(path)
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise UserError(f"{path} must end in .png, .pdf or .svg")
    if not cards:
        raise UserError("there is nothing to draw: no set of pairs was scored")
    names = list(dict.fromkeys(line.name for each in cards.values() for line in each.lines))
    figure = Figure(figsize=(7.0, 0.9 + 0.32 * len(names)), facecolor="white")
    axes = figure.subplots()
    for i, (title, each) in enumerate(cards.items()):
        colour, _ = plots.look(i)
        lines = {line.name: line for line in each.lines}
        rows = np.array([k for k, name in enumerate(names) if name in lines])
        kept = [lines[names[k]] for k in rows]
        at = rows + 0.22 * (i - (len(cards) - 1) / 2)
        for y, line in zip(at, kept, strict=True):
            if line.low == line.low:
                axes.plot([line.low, line.high], [y, y], color=colour, linewidth=1.6)
            if line.chance == line.chance and i == 0:
                axes.plot([line.chance], [y], "|", color=plots.MUTED, markersize=10)
        values = [line.value for line in kept]
        axes.plot(values, at, "o", color=colour, markersize=4, label=Path(title).name)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Mean and 95 % interval; grey bars: chance")
    axes.grid(axis="x", color=plots.GRID, linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    return plots.save(figure, path)
