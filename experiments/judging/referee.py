"""A policy that scores its own answers where no verifier can: with a referee of its own, or frozen.

Each of 64 prompts has a letter of its own; gold is whether a response is just that letter. A rule
knows half of the prompts. The writer is shown letters, verdicts and comparisons of all prompts,
three in ten of them wrong, and is right in seven of ten answers before training. Then it is paid
what the rule says of the prompts that it knows, and of the others: nothing ("rule"); how likely
the model before training calls the response right ("frozen", a referee apart); or how likely it
calls it right itself ("shared"), while it learns to judge, compare and mend from its verified
responses as in `recycled`. That is the mixing by source of URPO: rankings are of two responses,
where Kendall's tau is whether the first is the better one.

Gold and referees are looked at on eight responses to each prompt that the policy writes now.
`judge` gives right and wrong responses the same weight; `tau` is Kendall's, of the referee's scores
and gold among the responses to a prompt. They are the referee's that the arm is paid by.

That a prompt asks for one letter, width, warm-up, rate and the number of updates were settled on
seeds 1000 to 1002. Of two letters the first referee was right in 0.56 of cases, and all that was
paid by a referee lost gold, shared or not. Seeds to report begin at 0; the margin is 0.05.
"""

from collections.abc import Sequence
from pathlib import Path

import _ends
import _recycled_looks
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

URPO = "URPO: A Unified Reward & Policy Optimization Framework for Large Language Models (2025)"
ENV = "sequence:lookup,length=1,max_tokens=3,modes=True"
TOKENS, MARGIN = 3, 0.05
MIXED = "stack(signal('precise'), {}) | by_source('level')"
ITEMS = {"recycle": 4, "recycle_rule": "precise", "recycle_levels": 1}
OWN = {"rule": "own", "frozen": "frozen", "shared": "own"}  # whose verdicts are looked at


def shared(state, first):
    """The warm-up of the study's first run, of which a seed has one."""
    return state.replace(params=first.params, reference=first.reference)


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether self-scores help where nothing is labelled, and whether a frozen referee is worse."""

    def end(arm: str, metric: str) -> np.ndarray:
        metric = metric if metric.startswith("gold") else f"{metric}, {OWN[arm]}"
        return _ends.last(results[arm], metric)

    def more(claim: str, metric: str, one: str, other: str) -> Verdict:
        what = f"{metric} of {one} less that of {other}, at the end"
        return above(claim, what, end(one, metric) - end(other, metric), MARGIN, source=URPO)

    others = "gold of others"
    fallen = _ends.first(results["frozen"], others) - end("frozen", others)
    told = [
        more("Shared: more gold of others than by the rule alone", others, "shared", "rule"),
        more("Shared: more gold of others than by a frozen referee", others, "shared", "frozen"),
        more("Shared: its referee is right more often on fresh ones", "judge", "shared", "frozen"),
        more("Shared: its referee ranks fresh ones better", "tau", "shared", "frozen"),
    ]
    claim = "The frozen referee is over-optimised: gold of others falls"
    return [*told, above(claim, "gold of others lost", fallen, MARGIN, source=URPO)]


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold over updates, and gold and referees at the end."""
    panels = {
        "gold of known prompts": "Gold of prompts that the rule knows",
        "gold of others": "Gold of others",
        "judge, own": "Own verdicts: right",
        "judge, frozen": "Verdicts of the model before training: right",
    }
    title = "Self-scores where nothing is verified"
    _ends.draw(results, path / "figure.png", panels, title)
    rows = []
    for arm, result in results.items():
        metrics = (f"{x}, {OWN[arm]}" for x in ("judge", "tau", "score"))
        names = ("gold of known prompts", "gold of others", *metrics)
        rows.append((arm, *(_ends.cell(_ends.last(result, name)) for name in names)))
    head = ("Paid by", "gold of known prompts", "gold of others", "judge", "tau", "mean score")
    start = _ends.cell(_ends.first(next(iter(results.values())), "gold of others"))
    return [
        "![Gold and right verdicts over updates](figure.png)",
        f"Before training gold of others is {start}. Interquartile means over seeds with 95 % "
        "intervals.",
        markdown_table(head, rows),
    ]


experiment = Experiment(
    name="referee",
    title="A policy as its own referee where nothing is verified",
    claim="Paid by source, the verifier's word or its own, one model goes on where the rule ends, "
    "further than with a frozen referee",
    source=URPO,
    env=ENV,
    agent="group_pg",
    config={
        "advantage": "grpo()",
        "network": "gru",
        "num_envs": 64,
        "group_size": 8,
        "width": 48,
        "warmup": 1000,
        "warmup_wrong": 0.3,
        "warmup_rate": 0.01,
        "learning_rate": 2e-3,
    },
    arms=(
        Arm("rule", MIXED.format("0*env"), begin=shared),
        Arm("frozen", MIXED.format("signal('reference_verdict')"), begin=shared),
        Arm("shared", MIXED.format("signal('verdict')"), config=ITEMS, begin=shared),
    ),
    presets={
        "smoke": Preset(
            *(2, 4 * 32 * TOKENS),
            evals=2,
            config={"width": 16, "warmup": 100, "num_envs": 32, "learning_rate": 0.01},
        ),
        "quick": Preset(seeds=16, total_steps=160 * 64 * TOKENS, evals=8),
        "paper": Preset(seeds=64, total_steps=2000 * 64 * TOKENS, evals=40),
    },
    verdict=verdict,
    present=present,
    probe=_recycled_looks.referees,
    metric="gold of others",
)
