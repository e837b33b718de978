"""Paid for being right, or for knowing too: binary rewards against RLCR.

Eight prompts, whose right answer counts with a chance of 0.1 to 0.9 whatever is learnt. A
response is a letter and a confidence, and the warm-up shows the right letter in half of the
demonstrations, with any confidence. The binary reward says nothing of the confidence;
RLCR adds the Brier score. Two more: the log score in its place, and the Brier score alone,
for which an answer that is surely wrong is as good as one that is surely right. As in the
paper's code, a response of the right form is paid too: without it, to say nothing, which
counts as wrong with a confidence of 0, is what RLCR and the scores learn.

Accuracy, Brier score and calibration error are exact expectations over the luck of 256
drawn responses to each prompt. All arms take the advantage less the group's mean, not over
its deviation, as the paper does, and there is no KL; groups are of 16, not of 32. On seeds
1000 to 1003 chosen were the length of the warm-up (100 updates leave most responses without
the form, 300 do not) and the pay for the form; the reported seeds begin at 0.
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
    better,
)
from jaxrl_reward.training.record.write_up import markdown_table

SOURCE = "Damani et al. 2025, Beyond Binary Rewards (RLCR)"
SAID = "stack(env, signal('confidence'))"
FORMED = "signal('well_formed')"
REWARDS = {
    "binary": f"env + {FORMED}",
    "RLCR": f"({SAID} | rlcr()) + {FORMED}",
    "log score": f"({SAID} | rlcr(score='log')) + {FORMED}",
    "Brier only": f"({SAID} | rlcr()) - env + {FORMED}",
}
LOOKS = {name: i for i, name in enumerate(REWARDS)}
BINS, CHANCES, MARGIN = 11, 8, 0.05
DRAWS = 256
TOKENS = 3  # of a response; steps are updates times responses times tokens


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """What is said, and how often it is so: by prompt, and by confidence."""
    del key
    fresh = jax.random.fold_in(state.key, _writing.LOOK)
    block = _writing.drawn(agent, state.params, fresh, jnp.arange(CHANCES), DRAWS)
    facts = jax.tree.map(lambda x: x[0], block.info)
    sure = facts["confidence"]
    chance = facts["chance"] * (facts["answer"] == facts["prompt"] + 1)
    which = jnp.round(sure * (BINS - 1)).astype(jnp.int32)
    of_bins = lambda x: jax.ops.segment_sum(x, which, BINS)  # noqa: E731
    count = of_bins(jnp.ones_like(sure))
    brier = chance * (1.0 - sure) ** 2 + (1.0 - chance) * sure**2
    found = {
        "accuracy": chance.mean(),
        "brier": brier.mean(),
        "calibration error": jnp.abs(of_bins(sure - chance)).sum() / sure.size,
        "well formed": facts["well_formed"].mean(),
        "log loss": _log_loss(sure, chance).mean(),
    }
    by_prompt = sure.reshape(CHANCES, -1).mean(1)
    found |= {f"said {i}": by_prompt[i] for i in range(CHANCES)}
    found |= {f"share {i}": count[i] / sure.size for i in range(BINS)}
    right = of_bins(chance) / jnp.maximum(count, 1.0)
    return found | {f"right {i}": right[i] for i in range(BINS)}


def _log_loss(sure: jax.Array, chance: jax.Array) -> jax.Array:
    """Of confidences that are at least 0.001 from 0 and 1, as in `rlcr`."""
    least = jnp.clip(sure, 1e-3, 1.0 - 1e-3)
    return -chance * jnp.log(least) - (1.0 - chance) * jnp.log(1.0 - least)


def verdict(results: Results) -> Sequence[Verdict]:
    """As accurate, and better calibrated; what the other scores do."""

    def compared(claim: str, x: str, y: str, metric: str, margin: float = 0.0) -> Verdict:
        first, second = (_writing.last(results[arm], metric) for arm in (x, y))
        return better(claim, f"{metric}, {x} - {y}", first, second, margin, source=SOURCE)

    told = [
        compared(
            f"RLCR is as accurate as the binary reward, to {MARGIN}",
            *("RLCR", "binary", "accuracy", -MARGIN),
        ),
        compared(
            f"RLCR's calibration error is lower, by {MARGIN} at least",
            *("binary", "RLCR", "calibration error", MARGIN),
        ),
        compared("RLCR's Brier score is lower", "binary", "RLCR", "brier"),
    ]
    if "Brier only" not in results:
        return told
    return [
        *told,
        compared(
            f"The Brier score alone is less accurate than RLCR, by {MARGIN} at least",
            *("RLCR", "Brier only", "accuracy", MARGIN),
        ),
        compared(
            f"The log score is less accurate than RLCR, by {MARGIN} at least",
            *("RLCR", "log score", "accuracy", MARGIN),
        ),
    ]


def present(results: Results, path: Path) -> Sequence[str]:
    """The reliability diagram, what is said by prompt, and both over training."""
    from jaxrl_reward.report import plots
    from jaxrl_reward.report import return_laws as draw

    figure, ((reliability, said), (accuracy, error)) = draw.sheet(2, 2)
    bins = np.linspace(0.0, 1.0, BINS)
    for name, result in results.items():
        share = _writing.several(result, [f"share {i}" for i in range(BINS)])
        right = _writing.several(result, [f"right {i}" for i in range(BINS)])
        _dots(reliability, bins, share, right, plots.PALETTE[LOOKS[name]])
    chances = np.linspace(0.1, 0.9, CHANCES)
    prompts = [f"said {i}" for i in range(CHANCES)]
    _writing.lines(
        said, chances, {n: _writing.several(r, prompts) for n, r in results.items()}, LOOKS, "o"
    )
    for axes in (reliability, said):
        axes.plot([0, 1], [0, 1], color=plots.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
    for axes, metric in ((accuracy, "accuracy"), (error, "calibration error")):
        at = _writing.updates(next(iter(results.values())), metric)
        curves = {n: _writing.values(r, metric) for n, r in results.items()}
        _writing.lines(axes, at, curves, LOOKS)
    draw.name(reliability, "Reliability", "Confidence said", "Share that is right")
    draw.name(
        said, "What is said of each prompt", "Chance that its answer counts", "Mean confidence"
    )
    draw.name(accuracy, "Accuracy", "Updates", "Chance to be right")
    draw.name(error, "Calibration error", "Updates", "Mean distance")
    _writing.legend(figure, {name: LOOKS[name] for name in results})
    draw.save(figure, path / "figure.png")
    metrics = ("accuracy", "brier", "calibration error", "log loss", "well formed")
    rows = [
        (name, *(f"{_writing.last(result, metric).mean():.3f}" for metric in metrics))
        for name, result in results.items()
    ]
    return [
        "![Reliability, confidence by prompt, accuracy and calibration error](figure.png)",
        "IQMs over seeds and their 95 % intervals. In the first panel a dot is as large as the "
        "share of responses that say so, of which those below 1 % are left out; the best "
        "accuracy is 0.5. Means over seeds at the end:",
        markdown_table(("Reward", *metrics), rows),
    ]


def _dots(axes: Any, bins: np.ndarray, share: np.ndarray, right: np.ndarray, colour: str) -> None:
    """A dot a confidence that is said, over all seeds, with its interval."""
    from jaxrl_reward.report import plots, statistics

    for i in np.flatnonzero(share.mean(0) >= 0.01):
        seeds = share[:, i] > 0
        found = statistics.stratified_bootstrap(right[seeds, i], resamples=1000)
        axes.plot([bins[i]] * 2, [found.low, found.high], color=colour, linewidth=1.2)
        size = 8 + 220 * share[:, i].mean()
        axes.scatter(bins[i], found.estimate, s=size, color=colour, alpha=0.75, linewidth=0)
    axes.grid(color=plots.GRID, linewidth=0.6)


experiment = Experiment(
    name="calibration",
    title="Confidence that is paid for",
    claim="With the Brier score in the reward a policy is as accurate, and knows how often it is",
    source=SOURCE,
    env=f"sequence:confidence,max_tokens={TOKENS}",
    agent="group_pg",
    config={
        "advantage": "centred()",
        "network": "gru",
        "num_envs": 128,
        "group_size": 16,
        "width": 32,
        "warmup": 300,
        "warmup_wrong": 0.5,
        "learning_rate": 3e-3,
    },
    arms=tuple(Arm(name, reward) for name, reward in REWARDS.items()),
    presets={
        "smoke": Preset(
            *(2, 4 * 32 * TOKENS),
            evals=2,
            config={"width": 8, "warmup": 4, "num_envs": 32},
            arms=["binary", "RLCR"],
        ),
        "quick": Preset(seeds=16, total_steps=400 * 128 * TOKENS, evals=20),
        "paper": Preset(
            seeds=64, total_steps=2000 * 512 * TOKENS, evals=40, config={"num_envs": 512}
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    begin=_writing.shared,
    metric="brier",
)
