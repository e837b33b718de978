"""Bounded rewards against a raw proxy: how much hacking do they prevent?

One judge, fitted to few and noisy comparisons, and a policy that climbs what an
expression makes of its score, with the same small penalty on the divergence for all. The
judge is standardised on the reference's responses, so 0 is what the reference gets on
average; the ten references of the second PAR are the deciles' middles of a normal law.

The world is that of `overoptimization`. The penalty's weight was chosen on seeds 1000 to
1007, of 0.01, 0.03 and 0.1: with the last, what is bounded hardly moves. There clipping
lost least, unlike in the paper. The reported seeds begin at 0.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import _overoptimization_world

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    compare,
)

FU = "Fu et al. 2025, Reward Shaping to Mitigate Reward Hacking in RLHF"
TEN = "(-1.64, -1.04, -0.67, -0.39, -0.13, 0.13, 0.39, 0.67, 1.04, 1.64)"
FORMS = {
    "raw": "",
    "mean-std": " | standardize()",
    "min-max": " | min_max()",
    "clip": " | clip(-1, 1)",
    "tanh": " | tanh()",
    "log-sigmoid": " | log_sigmoid(reference=1.036)",
    "PAR": " | par()",
    "PAR, ten references": f" | par(reference={TEN})",
}


def verdict(results: Results) -> Sequence[Verdict]:
    """Which forms fall, and which end above the raw proxy."""
    falls = _overoptimization_world.falls

    def played(*arms: str) -> list[str]:
        return [arm for arm in arms if arm in results]

    found = [
        falls(results, arm, claim=f"{arm}: gold rises and then falls", source=FU)
        for arm in played("raw", "mean-std")
    ]
    found += [
        falls(results, arm, expected=False, claim=f"{arm}: gold does not fall", source=FU)
        for arm in played("log-sigmoid", "PAR")
    ]
    for arm in played("min-max", "clip", "tanh", "log-sigmoid", "PAR"):
        more = f"{arm}: more gold in the end than the raw proxy gives"
        found.append(compare(results, arm, "raw", claim=more, source=FU))
    if played("log-sigmoid"):
        more = "PAR: more gold in the end than the log-sigmoid gives"
        found.append(compare(results, "PAR", "log-sigmoid", claim=more, source=FU))
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold and proxy over the root of the divergence, and the fitted laws."""
    return _overoptimization_world.present(
        {"Policy gradient": results},
        path,
        title="Gold reward as policies are optimised against forms of one proxy",
    )


experiment = Experiment(
    name="hacking",
    title="Bounded rewards against hacking",
    claim="A proxy squashed by a sigmoid around what the reference gets is hacked less",
    source=FU,
    env="",
    arms=tuple(Arm(form, f"objective(1){text}") for form, text in FORMS.items()),
    presets={
        "smoke": Preset(
            *(2, 20), config={"points": 2, "steps": 20, "width": 8}, arms=["raw", "PAR"]
        ),
        "quick": Preset(seeds=32, total_steps=400, config={"kl_weight": 0.03}),
        "paper": Preset(*(128, 2000), config={"kl_weight": 0.03, "points": 40}),
    },
    verdict=verdict,
    present=present,
    measure=partial(_overoptimization_world.measure, members=1),
    metric="gold",
    axis="Updates of the policy",
)
