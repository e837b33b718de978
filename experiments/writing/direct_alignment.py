"""Losses of pairs that are followed too far: gold over the divergence from the reference.

A response should be one of the prompt's string of five letters; gold is the share of right
letters, less 0.1 for each token too many. The warm-up, which is the reference, wrote pairs
once; gold decided them by Bradley-Terry at a temperature of 0.2, and a quarter of the labels
is then given the wrong way round. Each loss learns from 128, 512 or 2,048 such pairs, in
epoch after epoch; what is drawn from the policy on the way says what it is worth, and how far
it went, the root of KL(policy | reference).

RPO adds 0.05 times the likelihood of the chosen response, VPO takes 0.02 times the log-ratio
of the reference's own responses away, MM's temperature grows with the difference of the two
rewards, which it is told. All losses of one size are lanes of one program: they share pairs,
labels and orders.

Settings were tuned on seeds 1000 to 1003: at a rate of 1e-3 hardly any gold was lost in 1,200
updates, at 3e-3 DPO lost 0.045 in 800. Seeds to report begin at 0; margins are 0.02 of gold.
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

RAFAILOV = "Rafailov et al. 2024, Scaling Laws for Reward Model Overoptimization in DAAs"
LIU = "Liu et al. 2024, Your SFT Loss is Implicitly an Adversarial Regularizer (RPO)"
CEN = "Cen et al. 2024, Value-Incentivized Preference Optimization (VPO)"
ZHANG = "Zhang et al. 2025, MM-RLHF"
LOSSES = {
    "DPO": "dpo(beta=0.1)",
    "IPO": "ipo(beta=0.2)",
    "SLiC": "slic(beta=0.1)",
    "RPO": "dpo(beta=0.1) + 0.05*sft()",
    "VPO": "dpo(beta=0.1) - 0.02*calibration()",
    "MM": "mm_dpo(beta=0.1, weight=1, rate=2)",
}
SIZES = (128, 512, 2048)
DRAWS, MARGIN = 64, 0.02


def name_of(loss: str, size: int) -> str:
    """What an arm is called."""
    return f"{loss}, {size}"


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """What drawn responses are worth, and how far the policy is from the reference."""
    from jaxrl_reward.agents.sequence import writer

    del key
    task = agent.env.environment.task
    fresh = jax.random.fold_in(state.order, _writing.LOOK)
    block = _writing.drawn(agent, state.params, fresh, jnp.arange(task.prompts), DRAWS)
    alive = (jnp.cumsum(jnp.asarray(block.last), 0) - block.last == 0).T
    text = block.next_obs[-1].astype(jnp.int32)
    model = writer.model_of(agent.config, task)
    now, before = (
        jax.nn.log_softmax(model.logits(params, text).astype(jnp.float32))
        for params in (state.params, state.reference)
    )
    each = alive * (jnp.exp(now) * (now - before)).sum(-1)
    gold = alive * (block.env_reward * block.last).T
    return {
        "gold": gold.sum(1).mean(),
        "divergence": jnp.maximum(each.sum(1).mean(), 0.0),
        "tokens": alive.sum(1).mean(),
    }


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether gold falls again, where its peak is, and who falls less than DPO."""
    fewest, most = min(SIZES), max(SIZES)
    told = [
        above(
            f"{loss}: gold rises and falls again, with {fewest} pairs",
            "gold lost from its best point, by the mean over seeds, to the end",
            _fall(results[name_of(loss, fewest)]),
            MARGIN,
            source=RAFAILOV,
        )
        for loss in LOSSES
        if name_of(loss, fewest) in results
    ]
    for loss in ("DPO", "IPO", "SLiC"):
        few, many = (results.get(name_of(loss, size)) for size in (fewest, most))
        if few is not None and many is not None:
            told.append(
                _writing.paired(
                    f"{loss}: with {most} pairs less gold is lost than with {fewest}",
                    "the difference of what is lost",
                    _fall(few),
                    _fall(many),
                    margin=MARGIN,
                    source=RAFAILOV,
                )
            )
    for loss, source in (("RPO", LIU), ("VPO", CEN), ("MM", ZHANG)):
        for size in (fewest, most):
            own, plain = results.get(name_of(loss, size)), results.get(name_of("DPO", size))
            if own is not None and plain is not None:
                told.append(
                    _writing.paired(
                        f"{loss} ends with more gold than DPO, with {size} pairs",
                        "the difference of gold at the end",
                        _writing.last(own, "gold"),
                        _writing.last(plain, "gold"),
                        margin=MARGIN,
                        source=source,
                    )
                )
    return told


def _fall(result: Any) -> np.ndarray:
    """The gold that each seed loses from the point that is best on average to the end, `[S]`."""
    gold = _writing.values(result, "gold")
    return gold[:, int(gold.mean(0).argmax())] - gold[:, -1]


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold over the root of the divergence, and the fitted law."""
    from jaxrl_reward.preferences import overoptimization
    from jaxrl_reward.report import return_laws as draw

    sizes = [s for s in SIZES if any(n.endswith(f", {s}") for n in results)]
    figure, panels = draw.sheet(1, len(sizes))
    looks, rows = {loss: i for i, loss in enumerate(LOSSES)}, []
    for axes, size in zip(panels[0], sizes, strict=True):
        for loss in LOSSES:
            result = results.get(name_of(loss, size))
            if result is None:
                continue
            gold = _writing.values(result, "gold")
            root = np.sqrt(_writing.values(result, "divergence"))
            _writing.line(axes, looks[loss], root.mean(0), gold)
            law = overoptimization.scaling(
                jnp.asarray(root.mean(0)), jnp.asarray(gold.mean(0) - gold.mean(0)[0]), "gradient"
            )
            peak = int(gold.mean(0).argmax())
            rows.append(
                (
                    name_of(loss, size),
                    f"{gold.mean(0).max():.3f}",
                    f"{root.mean(0)[peak]:.2f}",
                    _writing.cell(gold[:, -1]),
                    f"{root.mean(0)[-1]:.2f}",
                    f"{float(law.alpha):.2f}, {float(law.beta):.2f}",
                    f"{float(law.r2):.2f}",
                )
            )
        draw.name(axes, f"{size} pairs", "root of KL(policy | reference), nats", "gold")
    _writing.legend(figure, looks, columns=6)
    draw.save(figure, path / "figure.png")
    heads = ("Loss, pairs", "best gold", "at", "gold at the end", "at", "a, b", "R^2")
    return [
        "![Gold over the divergence](figure.png)",
        "`at` is the root d of the divergence. Gold less the reference's is fitted by "
        "`d (a - b log d)`, over the means of seeds.",
        markdown_table(heads, rows),
    ]


experiment = Experiment(
    name="direct_alignment",
    title="Losses of pairs that are followed too far",
    claim="Losses of pairs over-optimise as rewards do: gold rises with the divergence from the "
    "reference and falls again, with few pairs sooner; terms that hold the policy back lose less",
    source=f"{RAFAILOV}; {LIU}; {CEN}; {ZHANG}",
    env="sequence:hack,length=5,judges=1,max_tokens=8",
    agent="pair_pg",
    config={
        "network": "gru",
        "width": 32,
        "warmup": 200,
        "warmup_wrong": 0.5,
        "temperature": 0.2,
        "flips": 0.25,
        "batch_size": 64,
        "updates": 10,
        "learning_rate": 3e-3,
        "look": 16,
    },
    arms=tuple(
        Arm(name_of(loss, size), text, config={"pairs": size})
        for size in SIZES
        for loss, text in LOSSES.items()
    ),
    presets={
        "smoke": Preset(
            2,
            20,
            evals=2,
            config={"width": 8, "warmup": 4, "batch_size": 16},
            arms=[name_of("DPO", 128), name_of("RPO", 128)],
        ),
        "quick": Preset(seeds=16, total_steps=1000, evals=20),
        "paper": Preset(seeds=64, total_steps=10_000, evals=100, config={"width": 64}),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    metric="gold",
)
