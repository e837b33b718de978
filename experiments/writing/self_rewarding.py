"""A policy that is its own judge: four rounds, with and without CREAM's term.

A response is a string of six letters of which three places matter; gold is the share of those
with the right letter. The warm-up, which is the reference, wrote some pairs, the reward
labelled them by Bradley-Terry, and DPO on them gives the first judge. From there on nobody
labels anything: in each of four rounds the policy writes eight responses to each prompt, ranks
them by its own log-ratio to the reference, and learns from the best and the worst by DPO, with
the policy at the start of the round as the loss's reference. "oracle" is the same with gold as
the judge. "smoothed" takes every fifth label for wrong; CREAM does so by how far the rankings
of the last two policies agree, of each prompt, or on average over them: C is
(Kendall's tau + 1) / 2. In the first round there is one judge yet, and C is 1.

What a policy writes is what it thinks well of, so that of its own responses it judges worse
than of the reference's. Where DPO takes it far from the reference (beta of 0.1, a string that
has to be right in all places) the first judge was below chance already: that and the sizes
were settled on seeds 1000 to 1003. Seeds to report begin at 0; the margin is 0.02.
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

YUAN = "Yuan et al. 2024, Self-Rewarding Language Models"
WANG = "Wang et al. 2025, CREAM: Consistency Regularized Self-Rewarding Language Models"
ROUNDS, UPDATES, CANDIDATES = 4, 16, 8
DRAWS = 256  # prompts that are looked at
MARGIN = 0.02
CREAMS = ("CREAM", "CREAM, mean")
SELF: dict[str, Any] = {"judge": "policy", "labels": "better"}


def begin(state: Any, first: Any) -> Any:
    """From the first judge: the policy that learned from the labelled pairs."""
    start = {"params": first.guide, "guide": first.guide, "reference": first.reference}
    previous = first.guide if state.config.judge == "policy" else state.previous
    return state.replace(**start, previous=previous)


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Gold of drawn responses, how often the policy ranks two as gold does, and how far it is
    from the reference; C of the last two policies where the agent keeps both."""
    from jaxrl_reward.agents.sequence import pair_making, writer, writing
    from jaxrl_reward.rewards.groups.ways import groups_of

    task = agent.env.environment.task
    model = writer.model_of(agent.config, task)
    key_draw, key_write = jax.random.split(key)
    numbers = jax.vmap(task.draw)(jax.random.split(key_draw, DRAWS))
    block = _writing.drawn(agent, state.params, key_write, numbers, CANDIDATES)
    text = block.next_obs[-1].astype(jnp.int32)
    alive = groups_of(block).alive.T

    def total(params: Any) -> jax.Array:
        known = jax.nn.log_softmax(model.logits(params, text).astype(jnp.float32))
        each = writing.token_log_probs(known, text[:, task.prompt_length :])
        return jnp.where(alive, each, 0.0).sum(1).reshape(-1, CANDIDATES)

    gold = groups_of(block).total(block.env_reward).reshape(-1, CANDIDATES)
    reference = total(state.reference)
    own = total(state.params) - reference
    one, other = np.triu_indices(CANDIDATES, 1)
    apart, ranked = (jnp.sign(x[:, one] - x[:, other]) for x in (gold, own))
    right = jnp.where(apart == 0.0, 0.0, apart * ranked).sum()
    told = {
        "gold": gold.mean(),
        "judge": 0.5 * (1.0 + right / jnp.maximum((apart != 0.0).sum(), 1)),
        "divergence": own.mean(),
        "best of eight": gold.max(1).mean(),
    }
    if not isinstance(state.previous, tuple):
        before = total(state.previous) - reference
        told["C"] = 0.5 * (1.0 + pair_making.kendall(own, before).mean())
    return told


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether self-rewarding loses gold and judgement, and who loses less."""
    told = []
    alone = results.get("self-rewarding")
    if alone is not None:
        told += [
            above(
                "Self-rewarding drifts: gold falls from the first judge's",
                "gold before the first round less that after the last",
                _writing.first(alone, "gold") - _writing.last(alone, "gold"),
                MARGIN,
                source=WANG,
            ),
            above(
                "The policy becomes the worse judge of what it writes",
                "share of pairs ranked as gold does, before the first round less after the last",
                _writing.first(alone, "judge") - _writing.last(alone, "judge"),
                MARGIN,
                source=WANG,
            ),
        ]
        for arm in CREAMS:
            if arm not in results:
                continue
            for metric, claim in (
                ("gold", f"{arm} ends with more gold than self-rewarding"),
                ("judge", f"{arm} ends as a better judge than self-rewarding"),
            ):
                ends = (_writing.last(r, metric) for r in (results[arm], alone))
                what = f"{metric} of {arm} less that of self-rewarding"
                told.append(_writing.paired(claim, what, *ends, margin=MARGIN, source=WANG))
            if "smoothed" in results:
                ends = (_writing.last(results[name], "gold") for name in (arm, "smoothed"))
                told.append(
                    _writing.paired(
                        f"{arm} ends with more gold than one smoothing for all pairs",
                        f"gold of {arm} less that of smoothed",
                        *ends,
                        margin=MARGIN,
                        source=WANG,
                    )
                )
        if "oracle" in results:
            ends = (_writing.last(r, "gold") for r in (results["oracle"], alone))
            told.append(
                _writing.paired(
                    "Labels by gold end with more gold than the policy's own",
                    "gold of oracle less that of self-rewarding",
                    *ends,
                    margin=MARGIN,
                    source=YUAN,
                )
            )
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold and judgement over rounds, and the numbers before and after."""
    from jaxrl_reward.report import fronts

    panels = {
        title: {
            arm: fronts.curve(_writing.updates(r, metric), _writing.values(r, metric))
            for arm, r in results.items()
        }
        for title, metric in (("Gold", "gold"), ("Pairs ranked as gold does", "judge"))
    }
    labels = ("Rounds", "Of responses of the policy")
    title = "Policies that are their own judge"
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    rows = []
    for name, result in results.items():
        told = [_writing.cell(_writing.last(result, each)) for each in ("gold", "judge")]
        agree = "C" in result.curves.table["metric"].unique().to_pylist()
        course = _writing.values(result, "C").mean(0)[1:] if agree else ()
        rows.append(
            (
                name,
                _writing.cell(_writing.first(result, "gold")),
                *told,
                f"{_writing.last(result, 'divergence').mean():.1f}",
                ", ".join(f"{x:.2f}" for x in course),
            )
        )
    heads = ("Labels", "gold at first", "gold", "judge", "divergence", "C by round")
    return [
        "![Gold and judgement over rounds](figure.png)",
        "`judge` is the share of pairs of its own responses that the policy ranks as gold does, "
        "after the last round; `divergence` is that from the reference in nats.",
        markdown_table(heads, rows),
    ]


experiment = Experiment(
    name="self_rewarding",
    title="Policies that are their own judge",
    claim="A policy that learns from its own judgement drifts after a round or two; learning less "
    "where the last two policies disagree prevents it",
    source=f"{WANG}; {YUAN}",
    env="sequence:local,length=6,matter=3,max_tokens=8",
    agent="pair_pg",
    config={
        "network": "gru",
        "width": 32,
        "warmup": 200,
        "warmup_wrong": 0.5,
        "source": "policy",
        "anchor": "round",
        "candidates": CANDIDATES,
        "pairing": "extremes",
        "temperature": 0.2,
        "guide": 32,
        "guide_beta": 1.0,
        "pairs": 512,
        "batch_size": 64,
        "updates": UPDATES,
        "learning_rate": 1e-3,
        "look": 16,
    },
    arms=(
        Arm("oracle", "dpo(beta=1)"),
        Arm("self-rewarding", "dpo(beta=1)", config=SELF),
        Arm("smoothed", "dpo(beta=1, flips=0.2)", config=SELF),
        Arm("CREAM", "cream(beta=1)", config=SELF),
        Arm("CREAM, mean", "cream(beta=1)", config={**SELF, "agreement": "mean"}),
    ),
    presets={
        "smoke": Preset(
            2,
            8,
            evals=2,
            config={
                **{"width": 8, "warmup": 4, "pairs": 32, "batch_size": 16, "updates": 4},
                **{"guide": 2},
            },
            arms=["self-rewarding", "CREAM"],
        ),
        "quick": Preset(seeds=16, total_steps=ROUNDS * UPDATES, evals=ROUNDS),
        "paper": Preset(
            64,
            ROUNDS * 4 * UPDATES,
            evals=ROUNDS,
            config={"width": 64, "pairs": 8192, "updates": 4 * UPDATES, "guide": 32},
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    begin=begin,
    metric="gold",
)
