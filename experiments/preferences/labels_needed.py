"""How many labels a judge needs: without help, with a reference, from a zoo of writers, by trees.

Pairs are of one writer's responses, and a rater prefers the one with more right letters, with
noise. Of as many labels, judges differ in what they are told and by which pairs. "chains" reads
prompt and response, of independent ones; "trees" is the same judge, on pairs that begin alike.
"features" is told seven numbers of each response too, of which one is gold, roughly (a fifth of a
string off). "reference" reads the right answer beside, and "POLAR" is that judge after it has
learnt, without a label, which of two responses is of the writer of a third, of 64 writers with
other strings; judges that are told more have a hidden layer more. All are asked about pairs of
independent responses, and those one letter apart.

Settings are those that were first written. Seeds to report begin at 0; seeds are pairs in the
verdicts, and the margin is 0.01 of the pairs.
"""

from collections.abc import Sequence
from pathlib import Path

import _by_count
import _labels_world

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)

POLAR = "Dou et al. 2025, Pre-Trained Policy Discriminators are General Reward Models (POLAR)"
DOMAIN = "Leveraging Domain Knowledge for Efficient Reward Modelling in RLHF (2024)"
TREES = "Reward Generalization in RLHF: A Topological Perspective (2024)"
MARGIN = 0.01


def verdict(results: Results) -> Sequence[Verdict]:
    """Who needs fewer labels, and whether the others catch up."""
    told = []
    few, many = 64, 1024

    def more(claim: str, one: str, two: str, metric: str, count: int, source: str) -> None:
        values = _by_count.apart(results, one, two, metric, count)
        if values is not None:
            what = f"{metric} of {one} less that of {two}, {count} labels"
            told.append(above(claim, what, values, MARGIN, source=source))

    def closes(claim: str, one: str, two: str, metric: str, source: str) -> None:
        early, late = (_by_count.apart(results, one, two, metric, n) for n in (few, many))
        if early is not None and late is not None:
            what = f"{metric} of {one} less that of {two}: {few} labels less {many}"
            told.append(above(claim, what, early - late, MARGIN, source=source))

    claim = "POLAR's start: better than the same judge without it, from few labels"
    more(claim, "POLAR", "reference", "accuracy", few, POLAR)
    more("and than one without a reference", "POLAR", "chains", "accuracy", few, POLAR)
    claim = "From as many labels as there are, the judge without that start has come nearer"
    closes(claim, "POLAR", "reference", "accuracy", POLAR)
    claim = "Features of the domain help from few labels"
    more(claim, "features", "chains", "accuracy", few, DOMAIN)
    claim = "and less from many"
    closes(claim, "features", "chains", "accuracy", DOMAIN)
    for count in (few, 256, many):
        claim = f"Trees: better about close pairs from {count} labels"
        more(claim, "trees", "chains", "close", count, TREES)
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """Accuracy over the number of labels, and the numbers."""
    titles = {"accuracy": "All pairs", "close": "Pairs that are one letter apart"}
    labels = ("Labels, as a power of 2", "Share of pairs that the judge orders rightly")
    title = "Judges by how many labels they learnt from"
    _by_count.draw(results, path / "figure.png", titles, title, labels)
    short = {"accuracy": "accuracy", "close": "close"}
    return [
        "![Accuracy over the number of labels](figure.png)",
        "Interquartile means over seeds; the number is that of the labels.",
        _by_count.table(results, "Judge", short),
    ]


experiment = Experiment(
    name="labels_needed",
    title="How many labels a judge needs",
    claim="A judge that first learns who wrote what, one that reads features of the domain, and "
    "pairs from prefix trees need fewer labels",
    source=f"{POLAR}; {DOMAIN}; {TREES}",
    env="",
    arms=tuple(Arm(name, "") for name in _labels_world.KINDS),
    presets={
        "smoke": Preset(
            seeds=2,
            total_steps=64,
            config={
                "steps": 5,
                "width": 4,
                "tested": 32,
                "zoo": 4,
                "zoo_pairs": 32,
                "zoo_steps": 5,
            },
            arms=["chains", "trees"],
        ),
        "quick": Preset(seeds=16, total_steps=1024),
        "paper": Preset(seeds=128, total_steps=1024, config={"zoo_steps": 20000, "width": 32}),
    },
    verdict=verdict,
    present=present,
    measure=_labels_world.measure,
    metric="accuracy",
    axis="Labels",
)
