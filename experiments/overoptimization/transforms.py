"""Ensembles, sums of log-sigmoids and ranked factors: what is made of several scores.

Three claims in one family of worlds. Judges of what a response is worth that share a torso, or have
their own, all of them fitted to raters who like fillers, which are worth nothing. Two judges,
of worths that pull apart, whose scores are summed as they are or as log-sigmoids around the
reference's 85th percentile. And HERON's judge, fitted to labels by ranked factors, against a
weighted sum, in the units that its weights were chosen for and in others.

A policy climbs an expression of these scores at the same price of the divergence from the
reference. `first` is gold of the first claim, in deviations of the reference's; `fillers` their
share of the tokens; `both` the share of responses that are above the reference's median in both
ways, compared where both policies are as far from the reference; `ranked` gold of the third.

There is one context, so the percentile is one number, and rater noise is 20 %. On keys of no seed
reported it was settled that raters like fillers; nothing else was tuned. Seeds to report begin at
0; the margin of "no worse" is 0.2 deviations.
"""

from collections.abc import Sequence
from pathlib import Path

import _transforms_world
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

HERDING = "Eisenstein et al. 2023, Helping or Herding? Reward Model Ensembles Mitigate but do not"
HERDING += " Eliminate Reward Hacking"
LSC = "Wang et al. 2024, Transforming and Combining Rewards for Aligning Large Language Models"
HERON = "Bukharin et al. 2023, Deep RL from Hierarchical Weak Preference Feedback (HERON)"
ONE = "stack(objective(1), objective(2), objective(3), objective(4), objective(5))"
OWN = "stack(objective(1), objective(6), objective(7), objective(8), objective(9))"
SQUASHED = "(objective({}) | log_sigmoid(reference=1.036))"
REWARDS = {
    "one judge": "objective(1)",
    "one torso: mean": f"{ONE} | pool()",
    "one torso: min": f"{ONE} | pool(how='min')",
    "own torsos: mean": f"{OWN} | pool()",
    "own torsos: median": f"{OWN} | pool(how='median')",
    "own torsos: min": f"{OWN} | pool(how='min')",
    "own torsos: mean - std": f"{OWN} | pool(how='std', weight=1)",
    "sum": "objective(1) + objective(10)",
    "log-sigmoid sum": f"{SQUASHED.format(1)} + {SQUASHED.format(10)}",
    "HERON": "objective(11)",
    "weighted sum": "objective(12)",
    "weighted sum, other units": "objective(13)",
}
MARGIN = 0.2


def last(results: Results, arm: str, metric: str) -> np.ndarray:
    """At the end, `[S]`."""
    return np.asarray(results[arm].study.values[metric])[:, -1]


def verdict(results: Results) -> Sequence[Verdict]:
    """What ensembles mitigate and do not eliminate, what a logical AND gives, what units change."""
    told = []

    def more(
        claim: str, arm: str, other: str, metric: str, source: str, limit: float = 0.0
    ) -> None:
        if {arm, other} <= set(results):
            values = last(results, arm, metric) - last(results, other, metric)
            what = f"{metric} of {arm} less that of {other}"
            told.append(above(claim, what, values, limit, source=source))

    for how in ("mean", "median", "min", "mean - std"):
        arm = f"own torsos: {how}"
        more(f"Five of their own torsos, {how}: more gold", arm, "one judge", "first", HERDING)
    for how in ("mean", "min"):
        more(
            f"Torsos of their own help more than one torso, {how}",
            *(f"own torsos: {how}", f"one torso: {how}", "first", HERDING),
        )
    for arm in (arm for arm in results if arm.startswith("own torsos")):
        begun = np.asarray(results[arm].study.values["fillers"])[:, 0]
        told.append(
            above(
                f"{arm}: fillers, which all judges like, are written more often all the same",
                "their share at the end less that at the start",
                last(results, arm, "fillers") - begun,
                0.0,
                source=HERDING,
            )
        )
    pair = ("log-sigmoid sum", "sum")
    if set(pair) <= set(results):
        far = np.minimum(*(last(results, arm, "root_kl") for arm in pair))
        there = [_transforms_world.at_divergence(results[arm], "both", far) for arm in pair]
        told.append(
            above(
                "Log-sigmoids: more responses are good in both ways, as far from the reference",
                "share of both of the log-sigmoid sum less that of the sum",
                there[0] - there[1],
                0.0,
                source=LSC,
            )
        )
    more(
        "HERON: no worse than a weighted sum with the right weights",
        *("HERON", "weighted sum", "ranked", HERON, -MARGIN),
    )
    more(
        "HERON: better than those weights in other units",
        *("HERON", "weighted sum, other units", "ranked", HERON),
    )
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """What each claim is about, over the root of the divergence, and the numbers at the end."""
    from jaxrl_reward.report import fronts, statistics, tables

    titles = {
        "first": "Gold of the first worth",
        "fillers": "Share of fillers",
        "both": "Good in both ways",
        "ranked": "Gold of ranked factors",
    }
    shown = {
        "first": lambda arm: "judge" in arm or "torso" in arm,
        "fillers": lambda arm: "judge" in arm or "torso" in arm,
        "both": lambda arm: arm in ("sum", "log-sigmoid sum"),
        "ranked": lambda arm: "HERON" in arm or "weighted" in arm,
    }
    panels = {
        title: {
            arm: fronts.curve(r.study.values["root_kl"], r.study.values[metric])
            for arm, r in results.items()
            if shown[metric](arm)
        }
        for metric, title in titles.items()
    }
    panels = {title: arms for title, arms in panels.items() if arms}
    labels = ("Root of KL(policy | reference)", "Mean of responses")
    title = "Policies by what is made of several scores"
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    metrics = ("first", "fillers", "both", "ranked", "proxy", "root_kl")
    rows = []
    for arm in results:
        found = [statistics.stratified_bootstrap(last(results, arm, m)) for m in metrics]
        rows.append((arm, *(tables.number(x.estimate, x.high - x.low) for x in found)))
    return [
        "![What policies reach over their divergence from the reference](figure.png)",
        "Interquartile means over seeds at the end.",
        markdown_table(("Reward", *metrics), rows),
    ]


experiment = Experiment(
    name="transforms",
    title="What is made of several scores",
    claim="Ensembles mitigate hacking and do not eliminate it; a sum of log-sigmoids is a logical "
    "AND; ranked factors need no units",
    source=f"{HERDING}; {LSC}; {HERON}",
    env="",
    arms=tuple(Arm(name, text) for name, text in REWARDS.items()),
    presets={
        "smoke": Preset(
            *(2, 20),
            config={"points": 2, "steps": 20, "width": 8},
            arms=["one judge", "own torsos: min", "sum", "log-sigmoid sum"],
        ),
        "quick": Preset(seeds=16, total_steps=400),
        "paper": Preset(seeds=128, total_steps=2000, config={"points": 40, "width": 256}),
    },
    verdict=verdict,
    present=present,
    measure=_transforms_world.measure,
    metric="first",
    axis="Updates of the policy",
)
