"""Pairs of which three in ten are labelled wrong: what judges make of what is left of them.

Judges learn to compare strings by Bradley and Terry's loss. Three fitted to the few pairs whose
labels are verified, and three fitted to all, say which label to believe: where both agree with
it, or are both against it, "filter" keeps the former, "filter and flip" both (Skywork-Reward-V2).
"Secrets of RLHF Part II" has the ensemble of all alone: it drops, flips or doubts the
weakest three in ten, or asks for the strength as a margin. "ask again" has the tenth labelled anew of
which that ensemble is least sure. Then a judge is fitted anew, for as many steps, and asked
about other pairs, labelled rightly.

All arms of a seed have the same pairs, first judges and random numbers; seeds are pairs in the
verdicts. Settings were tuned on seeds 1000 to 1007. Seeds to report begin at 0; the margins are 0.
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
    ("filter", "all", "Two judges' filter helps", SKYWORK),
    ("filter and flip", "filter", "Flipping what both are against helps further", SKYWORK),
    ("all", "trusted", "All pairs, wrong ones too, teach more than the verified few", SKYWORK),
    ("ask again", "all", "A tenth of new labels, where the judge is least sure, helps", SKYWORK),
    ("drop the weakest", "all", "Dropping the weakest helps", SECRETS),
    ("flip the weakest", "all", "Flipping the weakest helps", SECRETS),
    ("doubt", "all", "Soft labels of those that are likely wrong help", SECRETS),
    ("margin", "all", "Strengths as margins help", SECRETS),
    ("clean", "filter and flip", "Right labels would still be better", SKYWORK),
)


def verdict(results: Results) -> Sequence[Verdict]:
    """Which curation makes better judges, seed by seed."""
    return [
        above(
            claim,
            f"accuracy of {one} less that of {other}",
            np.asarray(results[one].returns) - np.asarray(results[other].returns),
            0.0,
            source=source,
        )
        for one, other, claim, source in CLAIMS
        if {one, other} <= set(results)
    ]


def present(results: Results, path: Path) -> Sequence[str]:
    """Accuracies as a figure, and what was left of the pairs."""
    from matplotlib.figure import Figure

    from jaxrl_reward.report import plots, statistics, tables

    metrics = ("accuracy", "best of 16", "pairs", "wrong labels")
    rows, bars = [], []
    for arm, result in results.items():
        found = [
            statistics.stratified_bootstrap(np.asarray(result.study.values[metric])[:, -1])
            for metric in metrics
        ]
        bars.append(found[0])
        cells = [tables.number(x.estimate, max(x.high - x.low, 1e-3)) for x in found]
        rows.append((arm, f"{cells[0]} [{bars[-1].low:.3f}, {bars[-1].high:.3f}]", *cells[1:]))
    figure = Figure(figsize=(6.4, 0.4 * len(bars) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    at = np.arange(len(bars))[::-1]
    middle = np.array([each.estimate for each in bars])
    ends = np.array([[each.low, each.high] for each in bars])
    axes.errorbar(middle, at, xerr=np.abs(ends.T - middle), fmt="o", color=plots.look(0)[0])
    axes.set_yticks(at, list(results))
    axes.set_xlabel("Accuracy on pairs that are labelled rightly, 95 % intervals")
    axes.grid(color=plots.GRID, linewidth=0.6)
    figure.savefig(path / "figure.png", dpi=150)
    return [
        "![Accuracy of judges by what was made of the pairs](figure.png)",
        "Interquartile means over seeds. `best of 16` is the mean gold of the response that the "
        "judge finds best; `pairs` is how many are left, `wrong labels` the share of them that is "
        "labelled wrong.",
        markdown_table(("Pairs", *metrics), rows),
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
            config={"steps": 10, "width": 4, "tested": 32, "members": 1, "trusted": 0.25},
            arms=["all", "filter", "filter and flip"],
        ),
        "quick": Preset(seeds=32, total_steps=2048),
        "paper": Preset(seeds=128, total_steps=16384, config={"steps": 3000, "width": 32}),
    },
    verdict=verdict,
    present=present,
    measure=_curation_world.measure,
    metric="accuracy",
    axis="Pairs",
)
