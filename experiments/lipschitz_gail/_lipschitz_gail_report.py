"""Of the experiment `lipschitz_gail`: scores, slopes, tables and the figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrl_reward.training.experiments.experiment import Results, Verdict
from jaxrl_reward.training.experiments.verdicts import judge
from jaxrl_reward.training.record.result import Result
from jaxrl_reward.training.record.write_up import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {
    "slope of the logit": "reward/gail/slope",
    "of the reward": "reward_slope",
    "of the critics": "q_slope",
    "accuracy": "reward/gail/accuracy",
}
OTHER_FORMS = ("wgan, log D", "wgan, logit")  # whose slopes mean something else
Group = Mapping[str, Result]


def scores(result: Result) -> np.ndarray:
    """Final returns, `[S]`, 100 for the expert's and 0 for those of random actions."""
    return _scored(result, result.returns)


def on_the_way(result: Result) -> np.ndarray:
    """The mean score of all evaluations after the first, `[S]`: the area under its curve."""
    return _scored(result, result.curves.curve("return")[1][:, 1:].mean(1))


def _scored(result: Result, returns: np.ndarray) -> np.ndarray:
    known = result.study
    return 100.0 * (returns - known.random) / (known.expert - known.random)


def late(result: Result, metric: str) -> np.ndarray | None:
    """The mean of a metric over the last fifth of training, `[S]`; None if it is not there."""
    steps, values = result.curves.curve(metric)
    return values[:, -max(1, len(steps) // 5) :].mean(1) if len(steps) else None


def by_group(results: Results) -> dict[str, dict[str, Result]]:
    """Results by task and agent, and by method."""
    found: dict[str, dict[str, Result]] = {}
    for arm, result in results.items():
        group, method = arm.split(": ")
        found.setdefault(group, {})[method] = result
    return found


def steepness(results: Results, group: str) -> dict[str, np.ndarray]:
    """The reward's slope of each of a group's methods with the paper's form, `[S]`."""
    found = {}
    for method, result in by_group(results)[group].items():
        slope = late(result, MEASURES["of the reward"])
        if slope is not None and method not in OTHER_FORMS:
            found[method] = slope
    return found


def correlation(
    slopes: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray], group: str, source: str
) -> Verdict:
    """Whether scores are lower where rewards are steeper, of all runs of a group.

    By Spearman's correlation; seeds are resampled within each arm.
    """
    from scipy.stats import rankdata

    x = np.stack([slopes[method] for method in slopes])
    y = np.stack([values[method] for method in slopes])
    rng = np.random.default_rng(0)
    seeds = x.shape[1]

    def rank(which: np.ndarray) -> float:
        ranks = [rankdata(np.take_along_axis(each, which, 1)) for each in (x, y)]
        return float(np.corrcoef(ranks)[0, 1])

    found = rank(np.tile(np.arange(seeds), (len(x), 1)))
    drawn = [rank(rng.integers(0, seeds, x.shape)) for _ in range(1000)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    evidence = (
        f"rank correlation of slope and score = {found:.2f}, 95 % interval "
        f"[{low:.2f}, {high:.2f}], {len(x)} arms of {seeds} seeds"
    )
    claim = f"{group}: the steeper the reward, the lower the score"
    return Verdict(claim, source, judge(-high, -low, 0.0), evidence)


# ---- the report -----------------------------------------------------------------------


def present(results: Results, folder: Path) -> Sequence[str]:
    """The figure, and a table for each task and agent."""
    groups = by_group(results)
    draw(groups, folder / "figure.png")
    parts = [
        "Scores are 100 for the expert and 0 for random actions: interquartile means over "
        "seeds with 95 % intervals, of the end and of all evaluations on the way. Slopes and "
        "the discriminator's accuracy are means over the last fifth of training, at stored "
        "steps (PPO: at those just played). Slopes of the logit are by the action as the "
        "environment takes it, the others by actions in [-1, 1]; a reward's is the steepest of "
        "eight secants, a lower bound.",
        "![Scores of all arms, over weights and over slopes; forms where episodes end](figure.png)",
    ]
    for group, methods in groups.items():
        known = next(iter(methods.values())).study
        said = f"The expert returns {known.expert:,.4g} in {known.length:,.4g} steps, random "
        parts += [f"### {group}", f"{said}actions {known.random:,.4g}.", table(methods)]
    return parts


def table(methods: Group) -> str:
    """A line for each method."""
    rows = []
    for method, result in methods.items():
        found = [late(result, metric) for metric in MEASURES.values()]
        cells = ["" if x is None else f"{x.mean():.3g}" for x in found]
        spreads = [_spread(measure(result)) for measure in (scores, on_the_way)]
        rows.append((method, *spreads, *cells, f"{_length(result).mean():.3g}"))
    return markdown_table(("Arm", "Score", "on the way", *MEASURES, "steps"), rows)


def _spread(values: np.ndarray) -> str:
    middle, low, high = _interval(values)
    return f"{middle:.0f} [{low:.0f}, {high:.0f}]"


def _interval(values: np.ndarray) -> Any:
    from jaxrl_reward.report import statistics

    return statistics.stratified_bootstrap(values, statistics.iqm)


def _length(result: Result) -> np.ndarray:
    """Of the greedy episodes at the end, `[S]`."""
    return result.curves.curve("length")[1][:, -1]


# ---- the figure -----------------------------------------------------------------------


def draw(groups: Mapping[str, Group], path: Path) -> None:
    """Scores of each group; over weights and slopes; episodes of the survival arms."""
    from jaxrl_reward.report import return_laws

    made: list[tuple[str, Any]] = []
    for group, methods in groups.items():
        made.append((group, (bars, methods, scores, "score")))
        if "wgan 1" in methods:
            made.append((f"{group}: the penalty's weight", (over_weights, methods)))
        if len(methods) > 2 and late(next(iter(methods.values())), "reward_slope") is not None:
            made.append((f"{group}: how steep the reward is", (over_slopes, methods)))
        if "positive" in methods:
            made.append((f"{group}: length of episodes", (bars, methods, _length, "steps")))
    columns = min(3, len(made))
    figure, axes = return_laws.sheet(-(-len(made) // columns), columns, 4.6, 3.6)
    for panel, (title, (paint, *given)) in zip(axes.reshape(-1), made, strict=False):
        paint(panel, title, *given)
    for panel in axes.reshape(-1)[len(made) :]:
        panel.set_axis_off()
    return_laws.save(figure, path)


def bars(panel: "Axes", title: str, methods: Group, measure: Any, label: str) -> None:
    """A bar for each method with its interval; dots are seeds, a line is the expert."""
    from jaxrl_reward.report import plots, return_laws

    for place, result in enumerate(methods.values()):
        values = measure(result)
        middle, low, high = _interval(values)
        panel.barh(place, middle, 0.7, color=plots.PALETTE[4], zorder=1)
        panel.plot([low, high], [place] * 2, color=plots.INK, linewidth=1.2, zorder=3)
        panel.plot(values, np.full(len(values), place), ".", color=plots.MUTED, markersize=3)
    expert = 100.0 if label == "score" else next(iter(methods.values())).study.length
    panel.axvline(expert, color=plots.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    panel.set_yticks(range(len(methods)), list(methods))
    panel.invert_yaxis()
    return_laws.name(panel, title, f"{label}; dotted: the expert's")


def over_weights(panel: "Axes", title: str, methods: Group) -> None:
    """The score over the penalty's weight, none at the left."""
    from jaxrl_reward.report import plots, return_laws

    names = {"none": "0", "wgan 0.01": "0.01", "wgan 0.1": "0.1", "wgan 1": "1", "wgan": "10"}
    shown = {x: scores(methods[n]) for n, x in {**names, "wgan 100": "100"}.items() if n in methods}
    found = np.array([_interval(values) for values in shown.values()])
    places = np.arange(len(shown))
    panel.fill_between(places, found[:, 1], found[:, 2], color=plots.PALETTE[0], alpha=0.18)
    panel.plot(places, found[:, 0], "o-", color=plots.PALETTE[0], linewidth=1.6, markersize=4)
    panel.axhline(100.0, color=plots.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    panel.set_xticks(places, list(shown))
    return_laws.name(panel, title, "weight", "score")


def over_slopes(panel: "Axes", title: str, methods: Group) -> None:
    """The score of every run over its reward's slope."""
    from matplotlib.ticker import LogLocator, NullFormatter

    from jaxrl_reward.report import plots, return_laws

    marks = "os^Dv<>PX*hdp"
    for i, (method, result) in enumerate(methods.items()):
        slope = late(result, MEASURES["of the reward"])
        if slope is None or method in OTHER_FORMS:
            continue
        look = {"color": plots.PALETTE[i % len(plots.PALETTE)], "markersize": 4}
        panel.plot(slope, scores(result), marks[i % len(marks)], label=method, **look)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.legend(fontsize=6, frameon=False, ncols=2)
    return_laws.name(panel, title, "slope of the reward at stored steps", "score")
