"""Two groups of users who want opposite things: one model of all, and models that tell them apart.

Seven users in ten like what the others dislike; on a second matter all agree. Models are fitted to
16 pairs of each of 100 users, and foretell what 64 new users prefer of whom 1, 4 or 16 pairs are
known. One model of all users cannot be better than a stranger's guess, "floor of one model", which
knows both tastes and who has which how often. MORE is told the groups of those that it is fitted
to, and of no new user. MiCRo has two heads, and moves their weights by the new user's pairs; VPL
reads a latent from them. "own pairs alone" is a linear model of these pairs, and "own and
neighbours" the mean of it and of those of the 8 most similar users (P-GenRM's smoothing; its judge,
which writes, is out of reach here).

Settings are those that were first written. Seeds to report begin at 0; seeds are pairs in the
verdicts, of accuracies with a margin of 0.01, of losses with one of 0.01 nats.
"""

from collections.abc import Sequence
from pathlib import Path

import _by_count
import _personal_world

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)

VPL = "Poddar et al. 2024, Personalizing RLHF with Variational Preference Learning (VPL)"
MICRO = "Shen et al. 2025, MiCRo: Mixture Modeling and Context-aware Routing"
MORE = "Zeng et al. 2023, On Diversified Preferences of Large Language Model Alignment (MORE)"
GENRM = "P-GenRM: Personalized Generative Reward Model with Test-time User-based Scaling"
MARGIN, FLOOR = 0.01, "floor of one model"


def verdict(results: Results) -> Sequence[Verdict]:
    """Who stays at the floor of one model, and who gets below it by how few pairs."""
    told = []

    def more(claim: str, one: str, two: str, metric: str, count: int, source: str) -> None:
        values = _by_count.apart(results, one, two, metric, count)
        if values is not None:
            what = f"{metric} of {one} less that of {two}, {count} pairs known"
            told.append(above(claim, what, values, MARGIN, source=source))

    if {"one model", FLOOR} <= set(results):
        for arm, source in (("one model", VPL), ("MORE", MORE)):
            if arm in results:
                own, floor = (_by_count.at(results, each, "loss", 16) for each in (arm, FLOOR))
                told.append(
                    above(
                        f"{arm}: not below the floor of one model",
                        f"loss of {arm} less the floor's",
                        own - floor,
                        -MARGIN,
                        source=source,
                    )
                )
    claim = "MORE: better for the fewer users than one model"
    more(claim, "MORE", "one model", "of the fewer", 16, MORE)
    for arm, source in (("VPL", VPL), ("MiCRo", MICRO), ("own and neighbours", GENRM)):
        for count in (1, 4, 16):
            claim = f"{arm}: more accurate than one model, from {count} pairs"
            more(claim, arm, "one model", "accuracy", count, source)
    for count in (1, 4, 16):
        claim = f"Neighbours help beyond one's own {count} pairs"
        more(claim, "own and neighbours", "own pairs alone", "accuracy", count, GENRM)
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """Accuracy over how many pairs are known of a user, and the numbers."""
    titles = {"accuracy": "All new users", "of the fewer": "The fewer of them"}
    labels = ("Pairs that are known of a user, as a power of 2", "Accuracy")
    title = "What new users prefer, by models of others"
    _by_count.draw(results, path / "figure.png", titles, title, labels)
    short = {"accuracy": "accuracy", "of the fewer": "fewer", "loss": "loss"}
    return [
        "![Accuracy over the pairs that are known of a user](figure.png)",
        "Interquartile means over seeds; the number is that of the pairs known, `fewer` the "
        "accuracy for the users of the smaller group, `loss` in nats.",
        _by_count.table(results, "Model", short),
    ]


experiment = Experiment(
    name="personal",
    title="Users who want opposite things",
    claim="One model of two groups of users stays at its floor; models that read a few pairs of a "
    "user get below it",
    source=f"{VPL}; {MICRO}; {MORE}; {GENRM}",
    env="",
    arms=tuple(Arm(name, "") for name in _personal_world.MODELS),
    presets={
        "smoke": Preset(
            seeds=2,
            total_steps=4,
            config={"users": 12, "new": 8, "tested": 8, "steps": 5, "width": 4, "nearest": 2},
            arms=["one model", "MiCRo", FLOOR],
        ),
        "quick": Preset(seeds=16, total_steps=16),
        "paper": Preset(seeds=128, total_steps=16, config={"users": 400, "steps": 4000}),
    },
    verdict=verdict,
    present=present,
    measure=_personal_world.measure,
    metric="accuracy",
    axis="Pairs that are known of a user",
)
