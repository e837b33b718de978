"""Proxies against gold: what five judges see that one does not.

A policy climbs what networks say that were fitted to 400 comparisons, a quarter of them
wrong; what it is worth is the gold reward, which no one looks at but the reader. All arms
share each seed's world and judges, and a penalty of 0.1 on the divergence. Gold is in
deviations of the reference's.

On seeds 1000 to 1007 the world's constants were left as first written, and chosen were:
the penalty on the divergence, of 0.01, 0.03 and 0.1; that on the variance, of 0.5, 1 and 3
(lower ones lost gold too); and the peak, update 100. The reported seeds begin at 0.
"""

from collections.abc import Sequence
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

COSTE = "Coste et al. 2023, Reward Model Ensembles Help Mitigate Overoptimization"
GAO = "Gao et al. 2023, Scaling Laws for Reward Model Overoptimization"
FIVE = "stack(objective(1), objective(2), objective(3), objective(4), objective(5))"
JUDGES = {
    "single": "objective(1)",
    "mean": f"{FIVE} | pool()",
    "worst case": f"{FIVE} | pool(how='min')",
    "uncertainty-weighted": f"{FIVE} | pool(how='variance', weight=3)",
}
BEST_OF = "best of n: "


def verdict(results: Results) -> Sequence[Verdict]:
    """Which of the judges let the gold reward fall, and who ends higher."""
    falls = _overoptimization_world.falls
    claim = "Against one proxy, gold rises and then falls"
    found = [falls(results, "single", claim=claim, source=GAO)]
    if BEST_OF + "single" in results:
        claim = "Best of n by one proxy: gold falls again from n = 64 to 1024"
        found.append(falls(results, BEST_OF + "single", claim=claim, source=GAO))
    words = {"worst case": "The worst of five", "uncertainty-weighted": "Five less their variance"}
    for arm, said in ((arm, said) for arm, said in words.items() if arm in results):
        more = f"{said}: more gold in the end than one proxy gives"
        found += [
            falls(results, arm, expected=False, claim=f"{said}: gold does not fall", source=COSTE),
            compare(results, arm, "single", claim=more, source=COSTE),
        ]
        if BEST_OF + arm in results:
            more = f"{said}: more gold than one proxy gives, best of 1024"
            found.append(
                compare(results, BEST_OF + arm, BEST_OF + "single", claim=more, source=COSTE)
            )
    if "mean" in results:
        more = "The worst of five: more gold in the end than their mean gives"
        found.append(compare(results, "worst case", "mean", claim=more, source=COSTE))
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold and proxy over the root of the divergence, and the fitted laws."""
    searches = {
        "Policy gradient": {a: r for a, r in results.items() if not a.startswith(BEST_OF)},
        "Best of n": {
            a.removeprefix(BEST_OF): r for a, r in results.items() if a.startswith(BEST_OF)
        },
    }
    return _overoptimization_world.present(
        {search: arms for search, arms in searches.items() if arms},
        path,
        title="Gold reward as policies are optimised against proxies",
    )


experiment = Experiment(
    name="overoptimization",
    title="Over-optimisation of a proxy",
    claim="A single proxy is over-optimised, gold peaks and falls; ensembles that judge by the "
    "worst case or with a penalty for disagreement prevent it",
    source=f"{COSTE}; {GAO}",
    env="",
    arms=(
        *(Arm(name, reward) for name, reward in JUDGES.items()),
        *(
            Arm(BEST_OF + name, reward, config={"search": "best of n"})
            for name, reward in JUDGES.items()
        ),
    ),
    presets={
        "smoke": Preset(
            *(2, 20),
            config={"points": 2, "steps": 20, "pool": 256, "width": 8},
            arms=["single", "worst case"],
        ),
        "quick": Preset(seeds=32, total_steps=400),
        "paper": Preset(seeds=128, total_steps=2000, config={"pool": 16384, "points": 40}),
    },
    verdict=verdict,
    present=present,
    measure=_overoptimization_world.measure,
    metric="gold",
    axis="Updates of the policy, or n",
)
