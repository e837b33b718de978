"""Pairs of which three in ten are labelled wrong: what judges make of what is left of them.

Judges learn to compare strings by Bradley and Terry's loss. Three fitted to the 80 pairs whose
labels are verified, and three fitted to all, say which label to believe: "filter" keeps the pairs
where both agree with it, "filter and flip" also those, turned round, where both are against it
(Skywork-Reward-V2). "Secrets of RLHF Part II" has the ensemble of all alone: it drops, flips or
doubts the weakest three in ten, or asks for the strength as a margin. "ask again" has the tenth
labelled anew of which that ensemble is least sure. Then a judge is fitted anew, for as many
steps, and asked about other pairs, labelled rightly. "clean" has no wrong label.

All arms of a seed have the same pairs, first judges and random numbers; seeds are pairs in the
verdicts. On seeds 1000 to 1007, of 2,048 pairs, flipping did not help beyond the filter; that the
verdicts speak of a quarter of the pairs too was settled then, and nothing else was tuned. Seeds
to report begin at 0; the margins are 0.
"""

from collections.abc import Sequence
from pathlib import Path

import _curation_world
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

SKYWORK = "Liu et al. 2025, Skywork-Reward-V2: Scaling Preference Data Curation"
SECRETS = "Wang et al. 2024, Secrets of RLHF in Large Language Models Part II: Reward Modeling"
ARMS = (
    *("all", "trusted", "filter", "filter and flip", "drop the weakest", "flip the weakest"),
    *("doubt", "margin", "ask again", "clean"),
)
CLAIMS = (
    ("filter", "all", "two judges' filter helps", SKYWORK),
    ("filter and flip", "filter", "flipping what both are against helps further", SKYWORK),
    ("filter and flip", "all", "filter and flip together help", SKYWORK),
    ("all", "trusted", "all pairs, wrong ones too, teach more than the verified few", SKYWORK),
    ("ask again", "all", "a tenth of new labels, where the judge is least sure, helps", SKYWORK),
    ("drop the weakest", "all", "dropping the weakest helps", SECRETS),
    ("flip the weakest", "all", "flipping the weakest helps", SECRETS),
    ("doubt", "all", "soft labels of those that are likely wrong help", SECRETS),
    ("margin", "all", "strengths as margins help", SECRETS),
)


def verdict(results: Results) -> Sequence[Verdict]:
    """Which curation makes better judges, seed by seed, of few pairs and of many."""
    counts = next(iter(results.values())).study.at
    return [
        above(
            f"Of {count:,} pairs, {claim}",
            f"accuracy of {one} less that of {other}",
            *(accuracy(results, one, i) - accuracy(results, other, i), 0.0),
            source=source,
        )
        for i, count in enumerate(counts)
        for one, other, claim, source in CLAIMS
        if {one, other} <= set(results)
    ]


def accuracy(results: Results, arm: str, point: int) -> np.ndarray:
    """Of an arm's judges at one number of pairs, `[S]`."""
    return np.asarray(results[arm].study.values["accuracy"])[:, point]


def present(results: Results, path: Path) -> Sequence[str]:
    """Accuracies as a figure, and what was left of the pairs."""
    from matplotlib.figure import Figure

    from jaxrl_reward.report import plots, statistics, tables

    metrics, counts = _curation_world.TOLD, next(iter(results.values())).study.at
    figure = Figure(figsize=(8.0, 0.3 * len(results) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    at, rows = np.arange(len(results))[::-1], []
    for i, (axes, count) in enumerate(zip(panels, counts, strict=True)):
        bars = []
        for arm, result in results.items():
            found = [
                statistics.stratified_bootstrap(np.asarray(result.study.values[name])[:, i])
                for name in metrics
            ]
            bars.append(found[0])
            cells = [tables.number(x.estimate, max(x.high - x.low, 2e-3)) for x in found]
            ends = f" [{bars[-1].low:.3f}, {bars[-1].high:.3f}]"
            rows.append((f"{count:,}", arm, cells[0] + ends, *cells[1:]))
        middle = np.array([each.estimate for each in bars])
        low, high = (np.array([getattr(each, end) for each in bars]) for end in ("low", "high"))
        apart = [middle - low, high - middle]
        axes.errorbar(middle, at, xerr=apart, fmt="o", color=plots.look(0)[0], markersize=4)
        axes.set_title(f"{count:,} pairs", fontsize=10)
        axes.set_xlabel("Accuracy, 95 % intervals")
        axes.grid(color=plots.GRID, linewidth=0.6)
    panels[0].set_yticks(at, list(results))
    figure.savefig(path / "figure.png", dpi=150)
    return [
        "![Accuracy of judges by what was made of the pairs](figure.png)",
        "Interquartile means over seeds. `best of 16` is the mean gold of the response that the "
        "judge finds best; `pairs` is how many are left, `wrong labels` the share of them that is "
        "labelled wrong.",
        markdown_table(("Of", "Pairs", *metrics), rows),
    ]


experiment = Experiment(
    name="curation",
    title="Curation of pairs with wrong labels",
    claim="Of pairs with 30 % flipped labels, those that two judges agree on make better judges "
    "than all, and better still where those that both are against are flipped",
    source=f"{SKYWORK}; {SECRETS}",
    env="",
    arms=tuple(Arm(name, "") for name in ARMS),
    presets={
        "smoke": Preset(
            seeds=2,
            total_steps=64,
            config={"steps": 10, "width": 4, "tested": 32, "members": 1, "verified": 8},
            arms=["all", "filter", "filter and flip"],
        ),
        "quick": Preset(seeds=16, total_steps=2048),
        "paper": Preset(seeds=128, total_steps=16384, config={"steps": 3000, "width": 32}),
    },
    verdict=verdict,
    present=present,
    measure=_curation_world.measure,
    metric="accuracy",
    axis="Pairs",
)
