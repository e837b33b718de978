"""Did the benchmark's number foretell it? A hundred judges, best of n, and training on them.

Judges are GRUs of 2 to 16 units, fitted to 30 to 1000 pairs of which 0 to 40 % are labelled
wrong: the same hundred in every seed, and all of a seed share its reference, pairs, questions
and random numbers. Metrics are of held-out responses of the reference, but for "fresh pairwise",
of pairs that the trained policy writes. What trusting a judge leads to is gold: of the response
that it chooses among 4, 16 and 64, and of a policy after 40, 80 and 120 updates on it. Each number
is Spearman's rank correlation of a metric with gold over the hundred; intervals are over seeds.

A response is four letters, and gold the share of the prompt's own, less 0.1 for a token too
many. Sizes were settled on seeds 1000 and 1001 as first written, and so were the limits below;
the reported seeds begin at 0.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import _judges_world
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)
from jaxrl_reward.training.record.write_up import markdown_table

MATH = "Kim et al. 2024, Evaluating Robustness of Reward Models for Mathematical Reasoning"
BENCH = "Malik et al. 2025, RewardBench 2"
TRICKLE = "Trickle-down: prompt and response contrasts of reward models"
PROBES = "Wang et al. 2025, MRMBench"
SELF = "SPARK and URPO: judges on the policy's own rollouts"
CHOSEN, TRAINED = _judges_world.AFTER
NAMES = {CHOSEN: "gold after best of 64", TRAINED: "gold after training"}


def rank(results: Results, arm: str, end: str) -> np.ndarray:
    """The last rank correlations of a metric, `[S]`."""
    return np.asarray(results[arm].study.values[end])[:, -1]


def fact(results: Results, name: str) -> np.ndarray:
    """What all judges of a seed did on average, `[S]`, at the end."""
    return np.asarray(next(iter(results.values())).study.values[name])[:, -1]


def foretells(results: Results, arm: str, end: str, limit: float, source: str) -> Verdict:
    """Whether a metric's rank correlation with gold is above a limit."""
    claim = f"{arm}: foretells {NAMES[end]}, rank correlation above {limit:g}"
    values = rank(results, arm, end)
    return _told(above(claim, f"correlation of {arm}", values, limit, source=source), values, limit)


def more(claim: str, what: str, values: np.ndarray, limit: float, source: str) -> Verdict:
    """Whether a difference within seeds is above a limit."""
    return _told(above(claim, what, values, limit, source=source), values, limit)


def _told(found: Verdict, values: np.ndarray, limit: float) -> Verdict:
    """Of what is undecided, how many seeds would decide it if the estimate stayed as it is."""
    from jaxrl_reward.report import statistics

    if found.status != "undecided" or len(values) < 2:
        return found
    known = statistics.stratified_bootstrap(values)
    gap = known.estimate - limit
    # An interval narrows with the root of the number; its end must come as near as the limit.
    width = known.estimate - known.low if gap > 0 else known.high - known.estimate
    seeds = math.ceil(len(values) * (width / gap) ** 2) if gap else math.inf
    needed = f"about {seeds:,} seeds" if seeds < 1e5 else "more seeds than can be run"
    return dataclasses.replace(found, evidence=f"{found.evidence}; to decide it, {needed}")


def verdict(results: Results) -> Sequence[Verdict]:
    """What foretells what, and what no held-out number does."""
    of = lambda arm, end: rank(results, arm, end)  # noqa: E731
    found = [foretells(results, arm, CHOSEN, 0.5, BENCH) for arm in ("pairwise", "best of 4")]
    found += [foretells(results, "1 against 9", end, 0.5, MATH) for end in (CHOSEN, TRAINED)]
    for end in (CHOSEN, TRAINED):
        claim = f"1 against 9 foretells {NAMES[end]} better than pairs do"
        gap = of("1 against 9", end) - of("pairwise", end)
        found.append(more(claim, "1 against 9 - pairwise", gap, 0.0, MATH))
    claim = "The best of 4 foretells best of n better than training, by more than 0.1"
    gap = of("best of 4", CHOSEN) - of("best of 4", TRAINED)
    found.append(more(claim, "correlation with best of 64 - with training", gap, 0.1, BENCH))
    found.append(foretells(results, "prompt contrast", TRAINED, 0.3, TRICKLE))
    found.append(foretells(results, "response contrast", TRAINED, 0.3, TRICKLE))
    found.append(foretells(results, "probes", TRAINED, 0.3, PROBES))
    claim = "Calibration foretells training less than pairs do, by more than 0.1"
    gap = of("pairwise", TRAINED) - of("calibration", TRAINED)
    found.append(more(claim, "pairwise - calibration", gap, 0.1, "our expectation"))
    claim = "Judges are right less often on what is written for them, by more than 0.05"
    gap = fact(results, "held-out accuracy") - fact(results, "fresh accuracy")
    found.append(more(claim, "held-out accuracy - fresh accuracy", gap, 0.05, SELF))
    claim = "Accuracy on fresh rollouts goes with training's end more than on held-out pairs"
    gap = of("fresh pairwise", TRAINED) - of("pairwise", TRAINED)
    found.append(more(claim, "fresh pairwise - pairwise", gap, 0.0, SELF))
    claim = "Training on a judge ends with less gold than choosing among 64, by more than 0.05"
    gap = fact(results, f"gold, {CHOSEN}") - fact(results, f"gold, {TRAINED}")
    found.append(more(claim, "mean gold of choosing - of training", gap, 0.05, "Gao et al. 2023"))
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """Rank correlations of each metric at both ends, over how far judges are trusted."""
    from jaxrl_reward.report import statistics

    _draw(results, path / "figure.png")
    rows = []
    for arm in results:
        cells = []
        for end in (CHOSEN, TRAINED):
            values = np.asarray(results[arm].study.values[end])
            for i in (0, 2):
                found = statistics.stratified_bootstrap(values[:, i])
                cells.append(f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]")
        rows.append((arm, *cells))
    head = ("Metric", "best of 4", "best of 64", "a third of training", "all of training")
    facts = [
        (name, *(f"{np.mean(np.asarray(values)[:, i]):.3f}" for i in range(3)))
        for name, values in next(iter(results.values())).study.values.items()
        if name not in (CHOSEN, TRAINED)
    ]
    return [
        "![Rank correlations of metrics with gold](figure.png)",
        "Spearman's rank correlation over the judges of a seed: interquartile means over seeds, "
        "and 95 % intervals.",
        markdown_table(head, rows),
        "Means over seeds; of gold, over judges too, or of the worst and the best of them.",
        markdown_table(("At", "4, or a third", "16, or two thirds", "64, or all"), facts),
    ]


def _draw(results: Results, path: Path) -> None:
    from matplotlib.figure import Figure

    from jaxrl_reward.report import plots, statistics

    figure = Figure(figsize=(7.2, 0.9 + 0.36 * len(results)), facecolor="white")
    axes = figure.subplots()
    for k, end in enumerate((CHOSEN, TRAINED)):
        colour, _ = plots.look(k)
        for row, arm in enumerate(results):
            found = statistics.stratified_bootstrap(rank(results, arm, end))
            at = row + 0.18 * (2 * k - 1)
            axes.plot([found.low, found.high], [at, at], color=colour, linewidth=1.8)
            label = NAMES[end] if row == 0 else None
            axes.plot([found.estimate], [at], "o", color=colour, markersize=4.5, label=label)
    axes.axvline(0.0, color=plots.MUTED, linewidth=0.8)
    axes.set_yticks(range(len(results)), list(results))
    axes.invert_yaxis()
    axes.set_xlabel("Rank correlation over judges; 95 % intervals over seeds")
    axes.grid(axis="x", color=plots.GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title("What a judge's metrics foretell", loc="left", fontsize=12, fontweight="bold")
    axes.legend(frameon=False, fontsize=8.5, loc="lower left")
    plots.save(figure, path)


experiment = Experiment(
    name="judges",
    title="A hundred judges",
    claim="What is measured of a judge foretells what choosing by it gives, and less what "
    "training on it gives",
    source=f"{MATH}; {BENCH}; {TRICKLE}; {PROBES}",
    env="",
    arms=tuple(Arm(name) for name in _judges_world.METRICS),
    presets={
        "smoke": Preset(
            *(2, 6),
            config={
                "judges": 4,
                "width": 4,
                "pairs": 60,
                "steps": 5,
                "responses": 32,
                "repeats": 2,
                "num_envs": 16,
                "fresh": 16,
            },
        ),
        "quick": Preset(seeds=16, total_steps=120),
        "paper": Preset(seeds=64, total_steps=120, config={"steps": 1000, "responses": 512}),
    },
    verdict=verdict,
    present=present,
    measure=_judges_world.measure,
    metric=TRAINED,
    axis="Updates of the policy; for best of n, 4, 16 and 64",
)
