"""Which distance between rewards tells how much is lost by optimising the wrong one.

Arms are distances, seeds are independent batches of random worlds, and the headline is
the rank correlation of the distance with worst-case regret over all pairs of rewards of
a batch. Nothing is trained, and nothing sampled but the worlds, and the policies and
rollouts of the two arms that order them.

What stands for STARC in the verdicts is `VAL`, the paper's own example with an l2 norm:
settled before anything was run, not chosen for its result.
"""

from collections.abc import Sequence

import _starc_report as report
import _starc_study as study
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Status,
    Verdict,
    better,
    compare,
)

SOURCE = "Skalse et al. 2024, STARC"
FIGURE = f"{SOURCE}, section 5 and figure 1"
CANONICAL = f"{SOURCE}, the definitions of canonicalisations and of VAL"
EXACT = 1e-5
OTHERS = ("EPIC", "EPIC, possible", "DARD", "DARD, all", "no canonical form")
CHANGED = {
    "scaled": "a positive factor",
    "shaped": "a potential",
    "redistributed": "S'-redistribution",
}


def verdict(results: Results) -> Sequence[Verdict]:
    """Correlations, bounds and invariances."""
    last = {name: report.last(result) for name, result in results.items()}
    told = [
        compare(
            results,
            "VAL",
            other,
            claim=f"VAL's rank correlation with worst-case regret is above that of {other}",
            source=FIGURE,
        )
        for other in OTHERS
    ]
    for kind, words in (
        ("correlation of optima", "with the regret of optimal policies"),
        ("correlation of tasks", "among rewards that do not value all policies alike"),
    ):
        for other in ("EPIC", "DARD"):
            val, theirs = (last[name][kind] for name in ("VAL", other))
            claim = f"So it is {words}, against {other}"
            told.append(better(claim, f"VAL - {other}", val, theirs, source=FIGURE))
    return [*told, *_bounds(last), *_invariances(last)]


def _bounds(last: report.Last) -> list[Verdict]:
    excess = max(float(last[name]["excess"].max()) for name in study.BOUNDED)
    gap = float(last["VAL"]["gap"].max())
    hidden = {name: float(last[name]["hidden"].max()) for name in ("EPIC", "EPIC, possible")}
    shown = ", ".join(f"{name} {value:.2g}" for name, value in hidden.items())
    return [
        _checked(
            "No pair's worst-case regret is above STARC's bound, for each of its norms",
            f"{SOURCE}, the theorem that its metrics are sound",
            excess <= EXACT,
            f"largest excess over the bound {excess:.2g}; duality gap of regrets {gap:.1e}",
        ),
        _checked(
            "EPIC has no such bound: it takes opposite rewards for nearly the same",
            f"{SOURCE}, the section on the issues of EPIC",
            hidden["EPIC"] < 0.1,
            "rewards that are opposite where transitions happen, and large and equal where "
            f"they cannot: largest distance of any world, {shown}; regret 1",
        ),
    ]


def _invariances(last: report.Last) -> list[Verdict]:
    told = []
    for change, words in CHANGED.items():
        worst = max(float(last[name][change].max()) for name in study.STARC)
        told.append(
            _checked(
                f"After {words} STARC's distance is 0, in every world and form",
                CANONICAL,
                worst <= EXACT,
                f"largest distance {worst:.1e}",
            )
        )
    least = min(float(last[name]["opposite"].min()) for name in study.STARC)
    told.append(
        _checked(
            "Of a reward turned round, scaled, shaped and redistributed it is 1",
            CANONICAL,
            least >= 1 - EXACT,
            f"smallest distance 1 - {1 - least:.1e}",
        )
    )
    for other in ("EPIC", "DARD"):
        moved = last[other]["redistributed"]
        told.append(
            _checked(
                f"After S'-redistribution the distance of {other} is not 0",
                f"{SOURCE}, the sections on the issues of EPIC and DARD",
                float(moved.min()) > 0.05,
                f"largest distance of any world, by seed: {moved.min():.2g} to {moved.max():.2g}",
            )
        )
    return told


def _checked(claim: str, source: str, held: bool | np.bool_, evidence: str) -> Verdict:
    """What is so or not in every world: there is no interval to give."""
    status: Status = "holds" if held else "fails"
    return Verdict(claim, source, status, evidence)


experiment = Experiment(
    name="starc",
    title="Distances between rewards, and regret",
    claim="A STARC distance tells worst-case regret better than EPIC and DARD do",
    source=SOURCE,
    env="",
    arms=tuple(Arm(name) for name in study.ARMS),
    presets={
        "smoke": Preset(
            seeds=2,
            total_steps=3,
            config={"states": 8, "steps": 3, "policies": 8, "rollouts": 8, "length": 10},
        ),
        "quick": Preset(seeds=16, total_steps=64, seed=100),
        "paper": Preset(seeds=32, total_steps=128, seed=100, config={"steps": 16}),
    },
    verdict=verdict,
    present=report.present,
    measure=study.measure,
    metric="correlation",
    axis="Pairs of rewards (per seed)",
)
