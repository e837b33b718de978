"""Deep-sea treasure: which trade-offs between treasure and time can be found, and how.

32 policies at once, each with weights of its own, from (1, 63) / 64 to (63, 1) / 64. What
each ends on when it has come to rest is the headline: the hypervolume of these points,
as a share of the whole front's. Beside it stands the archive of all greedy policies met
on the way, which is what Lu et al. compare; a policy in passing is none to keep.

Chebyshev's distance alone does not mind wasted steps where the treasure is what lacks,
so a little of the sum is added. Rates were chosen on seeds 1000 to 1003 (10 and 30 come to
rest, 1 not yet; weights moved at 10, and at 300 all to one end): under none did a weighted
sum, fixed or moving, end on an inner point. The reported seeds begin at 0.
"""

from collections.abc import Sequence
from pathlib import Path

import _pareto_sea
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
    better,
    compare,
)

DYNAMIC = "Lu et al. 2025, Learning to Optimize Multi-Objective Alignment"
CHEBYSHEV = "Van Moffaert, Drugan and Nowe 2013; Vamplew et al. 2011"
GAINS = "objective(1) | scale(0.00806)", "objective(2) | scale(0.0526)"  # to about [-1, 1]
SLIGHT = 0.01  # of the front's hypervolume: less is no gain
BOTH = f"stack({GAINS[0]}, {GAINS[1]})"
LINEAR = f"{BOTH} | weighted_sum(weights=({{w}}, {{v}}))"


def verdict(results: Results) -> Sequence[Verdict]:
    """Who finds points between the ends of the concave front, and keeps them."""
    played = [arm for arm in ("hypervolume-guided", "gradient-based") if arm in results]

    def last(arm: str, metric: str) -> np.ndarray:
        return np.asarray(results[arm].study.values[metric])[:, -1]

    found = [
        above(
            "Fixed linear weights end on none of the eight inner points of the concave front",
            "inner points of linear weights",
            last("linear", "inner points"),
            0.5,
            expected=False,
            source=CHEBYSHEV,
        ),
        above(
            "Chebyshev's distance ends on more than half of the inner points",
            "inner points of Chebyshev's distance",
            last("Chebyshev", "inner points"),
            4.0,
            source=CHEBYSHEV,
        ),
        compare(
            results,
            "Chebyshev",
            "linear",
            claim="Chebyshev's distance ends with more hypervolume than fixed linear weights",
            source=CHEBYSHEV,
        ),
    ]
    if "linear, convex front" in results:
        control = above(
            "On a convex front they do end on inner points",
            "inner points of linear weights, convex front",
            last("linear, convex front", "inner points"),
            0.5,
            source=CHEBYSHEV,
        )
        found.append(control)
    for arm in played:
        found += [
            compare(
                results,
                arm,
                "linear",
                margin=SLIGHT,
                claim=f"{arm.capitalize()} weights end with more hypervolume than fixed ones",
                source=DYNAMIC,
            ),
            better(
                f"{arm.capitalize()} weights meet more hypervolume on the way than fixed ones",
                f"archive of {arm} - linear",
                last(arm, "archive"),
                last("linear", "archive"),
                SLIGHT,
                source=DYNAMIC,
            ),
        ]
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """The points that each arm ends on, and both hypervolumes over the updates."""
    from jaxrl_reward.report import fronts

    panels = {}
    for arm, result in results.items():
        sea = _pareto_sea.sea("convex" in arm)
        values = result.study.values
        shares = [np.asarray(values[f"share of point {k + 1}"])[:, -1].mean() for k in range(10)]
        off = float(np.asarray(values["off the front"])[:, -1].mean())
        panels[arm] = fronts.Front(
            np.stack([-np.asarray(sea.steps), np.asarray(sea.values)], 1), np.array(shares), off
        )
    fronts.pareto(
        panels,
        path / "figure.png",
        title="Deep-sea treasure: where policies come to rest",
        note="A circle's area is the share of all weights and seeds that end on that point",
        labels=("Reward for time (-1 per step)", "Treasure"),
    )
    curves = {
        name: {arm: fronts.curve(r.study.at, r.study.values[metric]) for arm, r in results.items()}
        for name, metric in (("Of the policies", "hypervolume"), ("Of all met so far", "archive"))
    }
    fronts.lines(
        curves,
        path / "hypervolume.png",
        title="Hypervolume over updates",
        labels=("Updates", "Share of the front's hypervolume"),
    )
    return [
        "![The points of the front on which each arm's policies end](figure.png)",
        "![Hypervolume of the policies, and of all met so far, over updates](hypervolume.png)",
    ]


experiment = Experiment(
    name="pareto",
    title="Trade-offs on a concave front",
    claim="Weighted sums find only the ends of a concave front; Chebyshev's distance, and "
    "weights that move, find more",
    source=f"{CHEBYSHEV}; {DYNAMIC}",
    env="tabular:deep_sea_treasure",
    arms=(
        Arm("linear", LINEAR),
        Arm(
            "Chebyshev",
            f"({BOTH} | chebyshev(weights=({{w}}, {{v}}), ideal=(1, 0)))"
            f" + 0.01*(({GAINS[0]}) + ({GAINS[1]}))",
        ),
        Arm(
            "hypervolume-guided",
            f"{BOTH} | hypervolume_weight(weights=({{w}}, {{v}}), reference=(0, -1.316))",
        ),
        Arm("gradient-based", LINEAR, config={"moving": BOTH}),
        Arm("linear, convex front", LINEAR, config={"convex": True}),
    ),
    presets={
        "smoke": Preset(*(2, 20), config={"weights": 4, "points": 3}, arms=["linear", "Chebyshev"]),
        "quick": Preset(seeds=8, total_steps=200),
        "paper": Preset(seeds=64, total_steps=2000, config={"weights": 128}),
    },
    verdict=verdict,
    present=present,
    measure=_pareto_sea.measure,
    metric="hypervolume",
    axis="Updates",
)
