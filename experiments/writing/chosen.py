"""What becomes of the chosen response: whether its probability falls as it wins.

DPO asks that the chosen response gains on the rejected one, not that it becomes likelier. A
response should be one of the prompt's string of five letters; the warm-up wrote 1,024 pairs
once, and the better one by gold is chosen, so that both are a few letters apart. On the way the
mean log-ratio to the reference of all chosen responses is looked at, and of the rejected.

RPO adds 0.05 times the likelihood of the chosen response. NCA, APO-zero and BCO ask something
of each response by itself; IPO stops at a difference. All are lanes of one program.

Settings were tuned on seeds 1000 to 1003. Seeds to report begin at 0; the margin is half a nat.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _writing
import jax
import jax.numpy as jnp

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)
from jaxrl_reward.training.record.write_up import markdown_table

PAL = "Pal et al. 2024, Smaug: Fixing Failure Modes of Preference Optimisation"
LIU = "Liu et al. 2024, Your SFT Loss is Implicitly an Adversarial Regularizer (RPO)"
CHEN = "Chen et al. 2024, Noise Contrastive Alignment of Language Models (NCA)"
APO = "D'Oosterlinck et al. 2024, Anchored Preference Optimization (APO)"
LOSSES = {
    "DPO": "dpo(beta=0.1)",
    "IPO": "ipo(beta=0.2)",
    "RPO": "dpo(beta=0.1) + 0.05*sft()",
    "NCA": "nca(beta=0.1)",
    "APO-zero": "apo_zero(beta=0.1)",
    "BCO": "bco(beta=0.1)",
}
MARGIN, SEEN = 0.5, 256


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """How much likelier than under the reference the chosen and the rejected responses are."""
    from jaxrl_reward.agents.sequence import writer, writing

    del key
    task = agent.env.environment.task
    rows = jax.tree.map(lambda x: x[:SEEN], state.rows)
    model = writer.model_of(agent.config, task)
    ratio = []
    for which in (0, 1):
        text = rows.text[:, which]
        tokens = text[:, task.prompt_length :]
        known = jax.nn.log_softmax(model.logits(state.params, text).astype(jnp.float32))
        gained = writing.token_log_probs(known, tokens) - rows.reference[:, which]
        ratio.append(((tokens < task.vocabulary) * gained).sum(1))
    sure = rows.label > 0.5  # a tie has no chosen one
    mean = lambda x: _writing.mean_where(x, sure)  # noqa: E731
    return {
        "chosen": mean(ratio[0]),
        "rejected": mean(ratio[1]),
        "right": mean((ratio[0] > ratio[1]) + 0.5 * (ratio[0] == ratio[1])),
    }


def verdict(results: Results) -> Sequence[Verdict]:
    """Whose chosen responses become less likely, and whose do not."""
    told = []
    if "DPO" in results:
        told.append(
            above(
                "DPO: the chosen response becomes less likely than under the reference",
                "minus its log-ratio at the end",
                -_writing.last(results["DPO"], "chosen"),
                MARGIN,
                source=PAL,
            )
        )
    for arm, source in (("RPO", LIU), ("NCA", CHEN), ("APO-zero", APO)):
        if arm in results:
            told.append(
                above(
                    f"{arm}: the chosen response becomes no less likely",
                    "its log-ratio at the end, and the margin",
                    _writing.last(results[arm], "chosen") + MARGIN,
                    0.0,
                    source=source,
                )
            )
        if {arm, "DPO"} <= set(results):
            told.append(
                _writing.paired(
                    f"{arm}: the chosen response is likelier than under DPO",
                    "the difference of log-ratios at the end",
                    _writing.last(results[arm], "chosen"),
                    _writing.last(results["DPO"], "chosen"),
                    margin=MARGIN,
                    source=source,
                )
            )
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """Log-ratios of chosen and rejected responses over updates, and the numbers at the end."""
    from jaxrl_reward.report import fronts

    panels = {
        title: {
            arm: fronts.curve(r.curves.curve(metric)[0], _writing.values(r, metric))
            for arm, r in results.items()
        }
        for title, metric in (("Chosen", "chosen"), ("Rejected", "rejected"))
    }
    labels = ("Updates", "log pi / pi_ref, nats")
    title = "Chosen and rejected responses as policies learn from pairs"
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    metrics = ("chosen", "rejected", "right")
    rows = [
        (name, *(_writing.cell(_writing.last(result, metric)) for metric in metrics))
        for name, result in results.items()
    ]
    return [
        "![Log-ratios over updates](figure.png)",
        "At the end, of the pairs that were learned from; `right` is the share of pairs whose "
        "chosen response gained more.",
        markdown_table(("Loss", *metrics), rows),
    ]


experiment = Experiment(
    name="chosen",
    title="What becomes of the chosen response",
    claim="DPO makes the chosen response less likely too; a likelihood term, or asking something "
    "of each response by itself, prevents it",
    source=f"{PAL}; {LIU}; {CHEN}; {APO}",
    env="sequence:hack,length=5,judges=1,max_tokens=8",
    agent="pair_pg",
    config={
        "network": "gru",
        "width": 32,
        "warmup": 200,
        "warmup_wrong": 0.5,
        "labels": "better",
        "pairs": 1024,
        "batch_size": 64,
        "updates": 10,
        "learning_rate": 1e-3,
        "look": 16,
    },
    arms=tuple(Arm(name, text) for name, text in LOSSES.items()),
    presets={
        "smoke": Preset(
            2,
            20,
            evals=2,
            config={"width": 8, "warmup": 4, "pairs": 64, "batch_size": 16},
            arms=["DPO", "RPO"],
        ),
        "quick": Preset(seeds=16, total_steps=600, evals=20),
        "paper": Preset(seeds=64, total_steps=6000, evals=60, config={"width": 64}),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    metric="chosen",
)
