"""One model that solves, judges and mends, and learns from items of its own verified responses.

Sums of two digits, a hundred prompts, and a writer that is shown how all four modes are answered,
three demonstrations in ten wrongly: before training it is right in half of its answers and in
seven of ten verdicts. Then it learns from the verifier by GRPO, 64 responses in each update:
"alone"; "recycled", with SPARK's items of the same responses beside them, of half of the prompts
at most, so that it reads and writes twice as many; and "as many", alone with 128 responses.

On responses that it writes now, to all prompts: how often it is right, first and after one
correction (what it calls wrong by itself is asked for again in the mode fix); how often what
was wrong is mended; and how right its verdicts are. `judge` gives right and wrong responses the
same weight: to call everything right is worth 1/2, however good the policy becomes. `verdicts`
counts all responses alike, as does the reward. `ranks` asks whether a right response is likelier
to be called right than a wrong one to the same prompt, `pairs` the same of comparisons, in both
orders.

Width, warm-up, rate and the number of updates were settled on seeds from 1000 on. There verdicts
turned into "yes" as the policy became good, as most items' labels do, and comparisons of which
there were ever fewer were forgotten; what was expected of SPARK was left as it was. Seeds to report
begin at 0; the margin is 0.05 of shares, and 0.02 of what is right after a correction.
"""

from collections.abc import Sequence
from pathlib import Path

import _ends
import _recycled_looks

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)

SPARK = "SPARK: Synergistic Policy And Reward Co-Evolving Framework (2025)"
ENV = "sequence:sum,digits=1,max_tokens=4,modes=True"
TOKENS, MARGIN, SMALL = 4, 0.05, 0.02
METRICS = (
    *("solved", "after one correction", "fixed"),
    *("judge", "verdicts", "ranks", "pairs", "called right"),
)


def shared(state, first):
    """The warm-up of the study's first run, of which a seed has one."""
    return state.replace(params=first.params, reference=first.reference)


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether items help to solve, to mend and to judge, and whether a judge left alone decays."""
    told = []

    def more(claim: str, metric: str, other: str, margin: float) -> None:
        if other in results:
            values = _ends.last(results["recycled"], metric) - _ends.last(results[other], metric)
            what = f"{metric} of recycled less that of {other}"
            told.append(above(claim, what, values, margin, source=SPARK))

    def gained(claim: str, arm: str, metric: str, sign: float = 1.0) -> None:
        values = sign * (_ends.last(results[arm], metric) - _ends.first(results[arm], metric))
        what = f"{metric} of {arm} at the end less that at the start, times {sign:g}"
        told.append(above(claim, what, values, MARGIN, source=SPARK))

    more(f"Recycled: no less is solved than alone, to {MARGIN:g}", "solved", "alone", -MARGIN)
    more(f"and than by as many responses, to {MARGIN:g}", "solved", "as many", -MARGIN)
    more("Recycled: more of what is wrong is mended", "fixed", "alone", MARGIN)
    more("More is right after one correction than alone", "after one correction", "alone", SMALL)
    gained(
        "Recycled: its verdicts on fresh responses become right more often", "recycled", "verdicts"
    )
    gained("and also if right and wrong ones have the same weight", "recycled", "judge")
    gained(
        "Alone: its verdicts become right less often, at the same weight", "alone", "judge", -1.0
    )
    more("Recycled: its verdicts rank better than alone", "ranks", "alone", MARGIN)
    more("Recycled: it compares better than alone", "pairs", "alone", MARGIN)
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """What is right over updates, and the numbers at the end."""
    panels = {
        "solved": "Right at first",
        "fixed": "Mended of what is wrong",
        "judge": "Right verdicts, right and wrong weighed alike",
        "ranks": "Right responses ranked above wrong ones",
    }
    title = "A model that learns from items of its own responses, and without"
    _ends.draw(results, path / "figure.png", panels, title)
    return [
        "![Shares over updates](figure.png)",
        "Interquartile means over seeds with 95 % intervals, on four responses to each prompt.",
        _ends.table(results, "Learns", METRICS),
    ]


experiment = Experiment(
    name="recycled",
    title="One model that learns to judge and mend from its own responses",
    claim="Recycled as items, a policy's own verified responses make it judge and mend better, at "
    "no cost to what it solves",
    source=SPARK,
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
        Arm("alone", begin=shared),
        Arm("recycled", config={"recycle": 4}, begin=shared),
        Arm("as many", config={"num_envs": 128}, share=2.0, begin=shared),
    ),
    presets={
        "smoke": Preset(
            *(2, 4 * 32 * TOKENS),
            evals=2,
            config={"width": 16, "warmup": 100, "num_envs": 32, "learning_rate": 0.01},
            arms=["alone", "recycled"],
        ),
        "quick": Preset(seeds=16, total_steps=200 * 64 * TOKENS, evals=8),
        "paper": Preset(seeds=64, total_steps=2000 * 64 * TOKENS, evals=40),
    },
    verdict=verdict,
    present=present,
    probe=_recycled_looks.look,
    metric="solved",
)
