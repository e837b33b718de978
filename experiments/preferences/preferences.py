"""What preferences are about: the reward a piece of behaviour got, or what it gave away.

Raters compare pairs of segments in worlds that are known but for the reward, by the
segments' partial returns or by their regrets, and answer with logistic noise. Rewards
are fitted by either model and planned with; what counts is what that policy earns by
the true reward, from 0 for a random policy to 1 for the best (and no less than -1).

The road shows what partial returns cannot tell: each step there earns 1 in some seeds
and costs 1 in others, and segments of one length all look alike. The fit's settings were
chosen on seeds 1000 to 1007; those reported begin at 0.
"""

from collections.abc import Sequence
from pathlib import Path

import _preferences_worlds
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    better,
    compare,
    exceeds,
    reaches,
)

SOURCE = "Knox et al. 2022, Models of human preference for learning reward functions"
MODELS = tuple(_preferences_worlds.MODELS)
NEAR = 0.9  # of the optimum's gain over a random policy counts as near-optimal
FEW = 30


def name(labels: str, model: str) -> str:
    """Of an arm in random worlds."""
    return f"labels by {labels}, fitted as {model}"


def verdict(results: Results) -> Sequence[Verdict]:
    """Which model learns from whose labels, and what only one of them can identify."""
    regret, returned = (name(model, model) for model in ("regret", "partial return"))
    mistaken = name("regret", "partial return"), name("partial return", "regret")
    few = {arm: at(results, arm, FEW) for arm in (regret, returned)}
    return [
        compare(
            results,
            regret,
            mistaken[0],
            claim="From labels by regret, the regret model learns better policies",
            source=SOURCE,
        ),
        compare(
            results,
            returned,
            mistaken[1],
            claim="From labels by partial return, the partial-return model does",
            source=SOURCE,
        ),
        better(
            f"Each from its own labels, {FEW} of them: regret learns better policies",
            f"IQM of {regret} - {returned} at {FEW}",
            few[regret],
            few[returned],
            source=SOURCE,
        ),
        exceeds(
            results,
            regret,
            NEAR,
            claim="The regret model comes near the optimum from its own labels",
            source=SOURCE,
        ),
        reaches(
            results,
            "road: regret",
            NEAR,
            claim="On the road, most policies learnt from regrets are near-optimal",
            source=SOURCE,
        ),
        reaches(
            results,
            "road: partial return",
            NEAR,
            expected=False,
            claim="On the road, at most half of those learnt from partial returns are",
            source=SOURCE,
        ),
    ]


def at(results: Results, arm: str, count: int) -> np.ndarray:
    """An arm's scaled returns `[S]` after so many labels, or the most there are."""
    found = results[arm].study
    point = sum(n <= count for n in found.at) - 1
    return np.asarray(found.values["scaled return"])[:, point]


def present(results: Results, path: Path) -> Sequence[str]:
    """Scaled returns over the number of labels."""
    from jaxrl_reward.report import fronts

    panels = {"Random worlds": {}, "The road": {}}
    for arm, result in results.items():
        panel = "The road" if arm.startswith("road") else "Random worlds"
        x = np.log10(np.asarray(result.study.at))
        panels[panel][arm] = fronts.curve(x, result.study.values["scaled return"])
    fronts.lines(
        panels,
        path / "figure.png",
        title="Policies learnt from preferences",
        labels=("Labels, as a power of 10", "Scaled return: 0 random, 1 best"),
        columns=2,
    )
    return ["![Scaled return over the number of labels](figure.png)"]


experiment = Experiment(
    name="preferences",
    title="Regret against partial return",
    claim="Rewards learnt from preferences lead to better policies under the model that made "
    "the labels, and only regrets tell a constant apart",
    source=SOURCE,
    env="",
    arms=(
        *(
            Arm(
                name(labels, model),
                config={"world": "garnet", "length": 3, "labels": labels, "model": model},
            )
            for labels in MODELS
            for model in MODELS
        ),
        *(
            Arm(
                f"road: {model}",
                config={"world": "road", "length": 1, "labels": model, "model": model},
            )
            for model in MODELS
        ),
    ),
    presets={
        "smoke": Preset(seeds=2, total_steps=10, config={"steps": 5}),
        "quick": Preset(seeds=64, total_steps=1000),
        "paper": Preset(seeds=256, total_steps=1000, config={"steps": 1000}),
    },
    verdict=verdict,
    present=present,
    measure=_preferences_worlds.measure,
    metric="scaled return",
    axis="Labels",
)
