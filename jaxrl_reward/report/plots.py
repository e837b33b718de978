"""Figures of a run. Matplotlib is loaded when one is drawn, and not before.

Drawn through `Figure` objects and the Agg canvas: no windows, no `pyplot`, no
state shared with the caller's own figures.
"""

import math
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxrl_reward.files import replacing, user_path
from jaxrl_reward.report.statistics import iqm, stratified_bootstrap
from jaxrl_reward.types import UserError, nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colour-blind-safe set, without its yellow, too pale for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINE_STYLES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))

_LABELS = {
    "return": "Return of the greedy policy (reward per episode)",
    "length": "Length of the greedy policy's episodes (steps)",
    "episode_return": "Return while training (reward per episode)",
    "episode_length": "Episode length while training (steps)",
    "reward": "Transformed reward (per step)",
    "fqe": "Fitted-Q value of the greedy policy (discounted reward)",
    "held_out/td_error": "Error of the values on held-out steps (reward)",
    "held_out/policy_loss": "Loss of the policy on held-out steps",
    "held_out/log_prob": "Log-probability of held-out actions (nats)",
    "entropy": "Policy entropy (nats)",
    "approx_kl": "Change of the policy, KL (nats)",
}
MOST = 20  # arms that are told apart in one figure
_STEPS = "Environment steps (per seed)"
_FORMATS = (".png", ".pdf", ".svg")
INK, MUTED, GRID = "#222222", "#666666", "#E4E4E4"
_SMALL, _MEDIUM, _LARGE = 8.5, 9.5, 12.0  # font sizes in points


class Curve(NamedTuple):
    """One arm over `P` points.

    Attributes:
      step: environment steps of one seed, `[P]`.
      estimate: interquartile mean over seeds, `[P]`.
      low: lower bound of its pointwise interval, `[P]`; NaN for one seed.
      high: upper bound, `[P]`.
      seeds: how many seeds the arm has.
    """

    step: np.ndarray
    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def curves(
    table: Any,
    metric: str = "return",
    *,
    points: int = 200,
    smooth: int = 1,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> dict[str, Curve]:
    """Each arm's learning curve, in the order in which the arms appear.

    Args:
      table: columns by name (arm, seed, step, metric, value): a dict, a pandas
        frame or a pyarrow table.
      metric: which rows to read. NaN values count as absent.
      points: with more distinct steps than this, each seed's values are
        averaged within groups of neighbouring steps.
      smooth: each seed's point is the mean of its last so many points, itself among them.
      confidence: coverage of each point's interval.
      resamples: bootstrap samples per point.

    Raises:
      UserError: no rows of this metric, or a value is infinite.
    """
    arm, seed, step, value = _columns(table, metric)
    result = {}
    for name, rows in _by_name(arm).items():
        steps, values = _grid(seed[rows], step[rows], value[rows], points)
        values = _running_mean(values, smooth)
        intervals = [
            stratified_bootstrap(
                column[~np.isnan(column)], iqm, confidence=confidence, resamples=resamples
            )
            for column in values.T
        ]
        estimate, low, high = np.array(intervals).T
        result[str(name)] = Curve(steps, estimate, low, high, len(values))
    return result


def learning_curves(
    table: Any,
    path: Path | str,
    *,
    metric: str = "return",
    title: str | None = None,
    label: str | None = None,
    axis: str | None = None,
    points: int = 200,
    smooth: int = 1,
    confidence: float = 0.95,
    resamples: int = 1000,
) -> Path:
    """Draws every arm's IQM over environment steps, with a band of confidence.

    Args:
      table: as for `curves`.
      path: a `.png`, `.pdf` or `.svg`, replaced at once when it is complete.
      metric: which rows to draw.
      title: above the axes.
      label: of the vertical axis, with its unit; by default from the metric.
      axis: the horizontal one's, if it does not count environment steps.
      points: as for `curves`.
      smooth: as for `curves`.
      confidence: as for `curves`.
      resamples: as for `curves`.

    Returns:
      The path.

    Raises:
      UserError: as for `curves`, or an unknown kind of file.
    """
    path = user_path(path)
    if path.suffix not in _FORMATS:
        raise UserError(f"{path} must end in one of: {', '.join(_FORMATS)}")
    bands: Any = {"confidence": confidence, "resamples": resamples}
    arms = curves(table, metric, points=points, smooth=smooth, **bands)
    label = label or _LABELS.get(metric, metric.capitalize())
    note = _note(arms, confidence, smooth)
    return save(_figure(arms, title, label, axis or _STEPS, note), path)


def _figure(
    arms: Mapping[str, Curve], title: str | None, label: str, axis: str, note: str
) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.0), facecolor="white")
    axes = figure.add_axes((0.11, 0.13, 0.62, 0.72))
    last = max(curve.step[-1] for curve in arms.values())
    arms, others = _best(arms)
    for curve in others.values():
        axes.plot(curve.step, curve.estimate, color=GRID, linewidth=0.8)
    shade = 0.16 if len(arms) <= 5 else 0.08  # many bands on each other hide the lines
    for i, curve in enumerate(arms.values()):
        _draw(axes, curve, *look(i), shade)
    _style(axes, last)
    axes.set_ylabel(label, color=INK, fontsize=_MEDIUM, parse_math=False)
    axes.set_xlabel(axis, color=INK, fontsize=_MEDIUM)
    _name_lines(axes, arms)
    above = {"xycoords": "axes fraction", "textcoords": "offset points", "parse_math": False}
    axes.annotate(note, (0, 1), (0, 8), color=MUTED, fontsize=_SMALL, **above)
    if title:
        text = textwrap.fill(title, 80)
        axes.annotate(text, (0, 1), (0, 23), color=INK, fontsize=_LARGE, fontweight="bold", **above)
    return figure


def _best(arms: Mapping[str, Curve]) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """The arms that can be told apart in one figure, those that end highest, and the others."""
    ranked = sorted(arms, key=lambda name: -arms[name].estimate[-1])
    shown = {name for name in ranked[:MOST] if np.isfinite(arms[name].estimate[-1])}
    parts = ([name for name in arms if (name in shown) == best] for best in (True, False))
    best, others = ({name: arms[name] for name in part} for part in parts)
    return (best, others) if len(arms) > MOST else (dict(arms), {})


def _draw(axes: "Axes", curve: Curve, colour: str, line_style: Any, shade: float) -> None:
    if len(curve.step) == 1:  # a line through one point is invisible
        dot = {"color": colour, "clip_on": False}  # it may lie on the border
        axes.plot(curve.step.repeat(2), [*curve.low, *curve.high], linewidth=1.8, **dot)
        axes.plot(curve.step, curve.estimate, marker="o", **dot)
        return
    axes.fill_between(curve.step, curve.low, curve.high, color=colour, alpha=shade, linewidth=0)
    axes.plot(curve.step, curve.estimate, color=colour, linestyle=line_style, linewidth=1.8)


def _style(axes: "Axes", last_step: float) -> None:
    """Two spines, a quiet horizontal grid, large numbers as 200k or 1M."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=_SMALL, length=3)
    axes.set_xlim(0, max(last_step, 1))
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    large = max(map(abs, axes.get_ylim())) >= 2e4
    plain = FuncFormatter(lambda value, _: f"{value:g}")  # no power of ten set apart
    axes.yaxis.set_major_formatter(EngFormatter(sep="") if large else plain)


def _name_lines(axes: "Axes", arms: Mapping[str, Curve]) -> None:
    """Writes each arm's name beside the end of its line, none over another."""
    size = _SMALL if len(arms) <= 14 else _SMALL * 14 / len(arms)
    names = [textwrap.fill(name, 30, break_on_hyphens=False) for name in arms]
    ends = np.array([[curve.step[-1], curve.estimate[-1]] for curve in arms.values()])
    box = axes.get_window_extent()
    point = axes.figure.dpi / 72.0  # in the pixels of `box`
    wanted = axes.transData.transform(ends)[:, 1] - box.y0
    lines = np.array([name.count("\n") + 1 for name in names])
    placed = _spread(wanted, size * point * (1.2 * lines + 0.4), box.height)
    for i, name in enumerate(names):
        colour, line_style = look(i)
        end, y = wanted[i] / box.height, placed[i] / box.height
        # A short piece of the line itself leads from its end to its name.
        axes.plot(
            [1.01, 1.03, 1.055],
            [end, y, y],
            color=colour,
            linestyle=line_style,
            linewidth=1.2,
            transform=axes.transAxes,
            clip_on=False,
        )
        axes.text(
            1.065,
            y,
            name,
            color=INK,
            fontsize=size,
            va="center",
            transform=axes.transAxes,
            parse_math=False,
        )


def _spread(wanted: np.ndarray, size: np.ndarray, room: float) -> np.ndarray:
    """Centres of boxes near the wanted ones, moved apart until none overlap.

    Boxes that touch form a group, placed where its members want to be on
    average (pool adjacent violators), within `[0, room]` where they fit.
    """
    groups: list[tuple[float, list[int]]] = []
    for i in np.argsort(wanted, kind="stable").tolist():
        members = [i]
        while True:
            half = size[members].sum() / 2
            middle = min(max(float(wanted[members].mean()), half), max(room - half, room / 2))
            if not groups or groups[-1][0] <= middle - half:
                break
            members = groups.pop()[1] + members
        groups.append((middle + half, members))
    placed = np.zeros(len(wanted))
    for top, members in groups:
        placed[members] = top - np.cumsum(size[members][::-1])[::-1] + size[members] / 2
    return placed


def _note(arms: Mapping[str, Curve], confidence: float, smooth: int) -> str:
    counts = sorted({curve.seeds for curve in arms.values()})
    mean = f"; means of {smooth} points" if smooth > 1 else ""
    if len(arms) > MOST:
        mean += f"; the best {MOST} of {len(arms)} are named"
    if counts == [1]:
        return f"One seed: no interval{mean}"
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"Interquartile mean and {100 * confidence:g} % bootstrap interval, {seeds} seeds{mean}"


def look(i: int) -> tuple[str, Any]:
    """Colour and line style of the i-th arm: no two alike among 28."""
    return PALETTE[i % len(PALETTE)], LINE_STYLES[i // len(PALETTE) % len(LINE_STYLES)]


def _columns(table: Any, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    metrics = np.asarray(table["metric"])
    value = np.asarray(table["value"], np.float64)
    rows = (metrics == metric) & ~np.isnan(value)
    if not rows.any():
        known = set(metrics[~np.isnan(value)].tolist())
        hint = nearest(metric, known) if known else "the run has no results yet"
        raise UserError(f"there are no rows of metric {metric!r}; {hint}")
    arm, seed = np.asarray(table["arm"])[rows], np.asarray(table["seed"])[rows]
    return arm, seed, np.asarray(table["step"], np.float64)[rows], value[rows]


def _by_name(names: np.ndarray) -> dict[Any, np.ndarray]:
    """Where each name is, in the order in which they appear first."""
    codes: dict[Any, int] = {}
    code = np.array([codes.setdefault(name, len(codes)) for name in names.tolist()])
    order = np.argsort(code, kind="stable")
    ends = np.cumsum(np.bincount(code))[:-1]
    return dict(zip(codes, np.split(order, ends), strict=True))


def _grid(
    seed: np.ndarray, step: np.ndarray, value: np.ndarray, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Steps `[P]`, and values `[S, P]`, NaN where a seed has none."""
    steps, column = np.unique(step, return_inverse=True)
    seeds, row = np.unique(seed, return_inverse=True)
    group = math.ceil(len(steps) / points)
    column = column // group
    steps = np.array([steps[i : i + group].mean() for i in range(0, len(steps), group)])
    total, count = np.zeros((2, len(seeds), len(steps)))
    np.add.at(total, (row, column), value)
    np.add.at(count, (row, column), 1)
    return steps, np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Each point's mean with those before it, `width` in all; NaN where a seed has none."""
    if width == 1:
        return values
    starts = [max(0, i + 1 - width) for i in range(values.shape[1])]
    windows = [values[:, start : i + 1] for i, start in enumerate(starts)]
    means = [np.nansum(each, 1) / np.maximum((~np.isnan(each)).sum(1), 1) for each in windows]
    return np.where(np.isnan(values), np.nan, np.stack(means, 1))


def save(figure: "Figure", path: Path) -> Path:
    """Writes beside the file, then renames: a reader never sees a part.

    Fonts of a PDF are TrueType: journals refuse the Type 3 of matplotlib's default.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    path = user_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(
            partial, format=path.suffix[1:], dpi=160, bbox_inches="tight", pad_inches=0.12
        )
    return path
