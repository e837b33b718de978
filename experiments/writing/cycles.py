"""Preferences that go in a circle: who is exploited, of policies that are tuned on pairs.

Three letters, of which the first is preferred to the second in 9 of 10 pairs, the second to
the third in 8, and the third to the first in 8: no score of each letter says that, and the
policy that no other beats plays (0.3, 0.3, 0.4). A policy is tuned in rounds on pairs that it
writes and that a rater labels by that table; how far it can be exploited is what the best
letter against it wins, less a half, exactly.

INPO's rounds end at (0.400889, 0.211822, 0.387289), which is exploited by 0.0567: the price of
its pull to the reference, of 0.1 a nat. DNO has no such pull, and its steps, those of mirror
descent, go round the winner. "DPO" has the warm-up as its
reference, "iterated DPO" the policy at the start of the round, "offline DPO" learns from pairs
that the warm-up wrote once.

Settings were tuned on seeds 1000 to 1003. Seeds to report begin at 0; margins are 0.02.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _writing
import jax
import jax.numpy as jnp
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

INPO = "Zhang et al. 2024, Iterative Nash Policy Optimization (INPO)"
DNO = "Rosset et al. 2024, Direct Nash Optimization (DNO)"
TABLE = ((0.5, 0.9, 0.2), (0.1, 0.5, 0.8), (0.8, 0.2, 0.5))
END, MARGIN = 0.056720, 0.02  # of INPO's rounds, by its closed form
RATER = f"signal('answer') * terminal(value=1) | preferred(table={TABLE})"
POLICY: dict[str, Any] = {"source": "policy", "labels": "wins"}


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """The policy's three letters, exactly, and how far it can be exploited."""
    from jaxrl_reward.agents.sequence import writer

    del key
    task = agent.env.environment.task
    prompt = task.ask(jnp.int32(0)).prompt[None]
    logits = writer.model_of(agent.config, task).read(state.params, prompt)[1]
    law = jax.nn.softmax(logits[0].astype(jnp.float32))
    letters = law[1:4] / law[1:4].sum()
    wins = jnp.asarray(TABLE) @ letters
    return {
        "exploitability": wins.max() - 0.5,
        "other tokens": 1.0 - law[1:4].sum(),
        **{f"letter {i}": letters[i] for i in range(3)},
    }


def verdict(results: Results) -> Sequence[Verdict]:
    """Who can be exploited in the end, on average over the last half of the rounds."""
    late = {name: _late(result) for name, result in results.items()}
    told = []
    for arm, source in (("INPO", INPO), ("DNO", DNO)):
        for other in ("DPO", "iterated DPO"):
            if {arm, other} <= set(late):
                told.append(
                    _writing.paired(
                        f"{arm} is exploited less than {other}",
                        f"exploitability of {other} less that of {arm}",
                        late[other],
                        late[arm],
                        margin=MARGIN,
                        source=source,
                    )
                )
    if "INPO" in late:
        told.append(
            above(
                "INPO ends where its closed form does",
                "0.02 less how far the last policy's exploitability is from 0.0567",
                MARGIN - np.abs(_writing.last(results["INPO"], "exploitability") - END),
                0.0,
                source=INPO,
            )
        )
    if "DNO" in late:
        told.append(
            _writing.paired(
                "DNO is exploited less than the policy that it starts from",
                "exploitability of the warm-up less that of DNO",
                _writing.first(results["DNO"], "exploitability"),
                late["DNO"],
                source=DNO,
            )
        )
    return told


def _late(result: Any) -> np.ndarray:
    """The mean exploitability over the last half of what was looked at, `[S]`."""
    values = _writing.values(result, "exploitability")
    return values[:, values.shape[1] // 2 :].mean(1)


def present(results: Results, path: Path) -> Sequence[str]:
    """Exploitability and the first letter's share over the rounds, and the numbers."""
    from jaxrl_reward.report import fronts

    panels = {
        title: {
            arm: fronts.curve(_writing.updates(r, metric), _writing.values(r, metric))
            for arm, r in results.items()
        }
        for title, metric in (
            ("How far it is exploited", "exploitability"),
            ("Share of the first letter", "letter 0"),
        )
    }
    labels = ("Rounds", "Exactly, of the policy")
    title = "Policies that are tuned on preferences that go in a circle"
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    rows = []
    for name, result in results.items():
        letters = _writing.several(result, [f"letter {i}" for i in range(3)]).mean(0)
        shares = ", ".join(f"{x:.2f}" for x in letters)
        rows.append((name, _writing.cell(_late(result)), f"({shares})"))
    return [
        "![Exploitability over rounds](figure.png)",
        "The minimax winner plays (0.30, 0.30, 0.40) and is exploited by 0.",
        markdown_table(("Tuned by", "exploited, last half", "letters at the end"), rows),
    ]


experiment = Experiment(
    name="cycles",
    title="Preferences that go in a circle",
    claim="Where preferences are no order, policies that are tuned to a game's equilibrium are "
    "exploited less than those that are tuned as if each answer had a score",
    source=f"{INPO}; {DNO}",
    env="sequence:choice,options=3,shown=5:3:2",
    agent="pair_pg",
    config={
        "network": "gru",
        "width": 8,
        "warmup": 300,
        "pairs": 512,
        "batch_size": 64,
        "updates": 32,
        "learning_rate": 1e-2,
        "look": 16,
    },
    arms=(
        Arm("INPO", f"{RATER} | inpo(eta=0.5, tau=0.1)", config=POLICY),
        Arm(
            "DNO",
            f"{RATER} | dno(eta=1)",
            config={**POLICY, "candidates": 8, "pairing": "all", "pairs": 28 * 18},
        ),
        Arm("DPO", f"{RATER} | dpo(beta=0.1)", config=POLICY),
        Arm("iterated DPO", f"{RATER} | dpo(beta=1)", config={**POLICY, "anchor": "round"}),
        Arm("offline DPO", f"{RATER} | dpo(beta=0.1)", config={"labels": "wins"}),
    ),
    presets={
        "smoke": Preset(
            2, 64, evals=2, config={"warmup": 20, "pairs": 64}, arms=["INPO", "iterated DPO"]
        ),
        "quick": Preset(seeds=16, total_steps=60 * 32, evals=30),
        "paper": Preset(seeds=64, total_steps=200 * 32, evals=50, config={"pairs": 4032}),
    },
    verdict=verdict,
    present=present,
    probe=look,
    metric="exploitability",
)
