"""Judges that can be fooled: gold and proxy as a policy learns to write for one, or for four.

A response should be one of the prompt's string of five letters; gold is the share of right
letters, less 0.1 for each token too many. Judge k gives that share and 0.4 for every k-th
mark, wherever it stands: three of one mark are worth more to it than the right string. The
first judge alone is "one judge"; of four, the mean can still be fooled, by any of the marks,
the worst only by all of them at once. PAR squashes the one judge's score by a sigmoid, in
units of the base's deviation, around the base's mean. "KL" is the one judge and a price of
the divergence from the base, 0.1 a nat; all others pay 0.02. All are numbers of one program.

The base is moved towards marks, of which its demonstrations have none: by 3.5 nats it writes
one in three responses. That and what a mark is worth were settled on seeds 1000 to 1003: at 0.2
a mark no judge was fooled if the base was moved by 2 nats (at half the learning rate, without a
price), and one in four runs if by 3.5. Seeds to report begin at 0.
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
    compare,
)
from jaxrl_reward.training.record.write_up import markdown_table

GAO = "Gao et al. 2023, Scaling Laws for Reward Model Overoptimization"
COSTE = "Coste et al. 2023, Reward Model Ensembles Help Mitigate Overoptimization"
FU = "Fu et al. 2025, Reward Shaping to Mitigate Reward Hacking in RLHF (PAR)"
BASE, SPREAD = 0.32, 0.4  # mean and deviation of the first judge's score of the base policy
PEAK = 100  # an update
MARKS = 3.5  # nats by which the base is moved towards marks, of which no one showed it any
# What is cut off is not judged, as it is worth nothing.
JUDGED = "({}) * terminal(value=1)"
PAR = f"signal('proxy') | par(reference={BASE:g}, slope={1 / SPREAD:g})"
JUDGES = {
    "one judge": "signal('proxy')",
    "mean of four": "signal('rewards') | pool()",
    "worst of four": "signal('rewards') | pool(how='min')",
    "four less variance": "signal('rewards') | pool(how='variance', weight=4)",
    "PAR": PAR,
}
REWARDS = {name: JUDGED.format(judge) for name, judge in JUDGES.items()}
PRICE = {"kl_coef": 0.1}
DRAWS = 64
TOKENS = 12  # of a response; steps are updates times responses times tokens


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Gold, what the judges say, and the divergence from the base, of drawn responses."""
    from jaxrl_reward.agents.sequence import writer, writing

    task = agent.env.environment.task
    del key
    fresh = jax.random.fold_in(state.key, _writing.LOOK)
    block = _writing.drawn(agent, state.params, fresh, jnp.arange(8), DRAWS)
    alive = jnp.cumsum(jnp.asarray(block.last), 0) - block.last == 0
    end = jnp.asarray(block.last) & alive
    text = block.next_obs[-1].astype(jnp.int32)
    tokens = text[:, task.prompt_length :]
    model = writer.model_of(agent.config, task)
    known = writing.token_log_probs(jax.nn.log_softmax(model.logits(state.reference, text)), tokens)
    gap = alive * (block.policy["log_prob"] - known.T)
    marks = (tokens > 8) & (tokens < task.vocabulary)
    proxy = block.info["proxy"][0]
    return {
        "gold": (block.env_reward * end).sum(0).mean(),
        "proxy": proxy.mean(),
        "spread of proxy": proxy.std(),
        "worst": block.info["rewards"][0].min(-1).mean(),
        "divergence": gap.sum(0).mean(),
        "marks": marks.sum(1).mean(),
        "tokens": alive.sum(0).mean(),
    }


def begin(state: Any, first: Any) -> Any:
    """Makes the base write a mark now and then, or it would not find what they are worth."""
    return _writing.leaning(
        _writing.shared(state, first), jnp.where(jnp.arange(13) > 8, MARKS, 0.0)
    )


def verdict(results: Results) -> Sequence[Verdict]:
    """Who loses gold, and who ends with more than one judge gives."""
    told = [
        _falls(results, "one judge", "Against one judge gold rises and then falls", GAO),
        _falls(results, "worst of four", "By the worst of four gold does not fall", COSTE, False),
    ]
    sources = {"mean of four": COSTE, "worst of four": COSTE, "four less variance": COSTE}
    sources |= {"PAR": FU, "KL": GAO, "PAR and KL": FU}
    told += [
        compare(
            results,
            arm,
            "one judge",
            claim=f"{arm}: more gold in the end than one judge gives",
            source=source,
        )
        for arm, source in sources.items()
        if arm in results
    ]
    if "PAR" in results:
        told.append(_falls(results, "PAR", "PAR: gold does not fall", FU, False))
    return told


def _falls(results: Results, arm: str, claim: str, source: str, expected: bool = True) -> Verdict:
    """Whether gold falls from update `PEAK` to the end; to 0.05 where it should not."""
    gold, at = (of(results[arm], "gold") for of in (_writing.values, _writing.updates))
    peak = int((at <= PEAK).sum()) - 1
    what = f"gold that {arm} loses after update {at[peak]}"
    limit = 0.0 if expected else 0.05
    values = gold[:, peak] - gold[:, -1]
    return above(claim, what, values, limit, source=source, expected=expected)


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold and proxy over training, and the numbers at the end."""
    from jaxrl_reward.report import fronts

    panels = {
        title: {
            arm: fronts.curve(_writing.updates(r, metric), _writing.values(r, metric))
            for arm, r in results.items()
        }
        for title, metric in (("Gold", "gold"), ("Proxy: what one judge says", "proxy"))
    }
    labels = ("Updates", "Mean of drawn responses")
    title = "Gold and proxy as policies learn to write for judges"
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    metrics = ("gold", "proxy", "worst", "marks", "tokens", "divergence")
    rows = []
    for name, result in results.items():
        best = _writing.values(result, "gold").max(1).mean()
        ends = (f"{_writing.last(result, metric).mean():.2f}" for metric in metrics)
        rows.append((name, f"{best:.2f}", *ends))
    return [
        "![Gold and proxy over training](figure.png)",
        "Means over seeds at the end, and gold at its best point; `worst` is the least of the "
        "four judges' scores, `marks` of any kind, `divergence` that from the base in nats.",
        markdown_table(("Judge", "best gold", *metrics), rows),
    ]


experiment = Experiment(
    name="proxy",
    title="Writing for judges",
    claim="A judge that can be fooled is; the worst of several, a bounded score and a price of "
    "the divergence prevent it",
    source=f"{GAO}; {COSTE}; {FU}",
    env=f"sequence:hack,length=5,max_tokens={TOKENS},bonus=0.4",
    agent="group_pg",
    config={
        "advantage": "centred()",
        "network": "gru",
        "num_envs": 64,
        "group_size": 8,
        "width": 32,
        "warmup": 300,
        "warmup_wrong": 0.5,
        "learning_rate": 3e-3,
        "kl": "reward",
        "kl_coef": 0.02,
    },
    arms=(
        *(Arm(name, reward) for name, reward in REWARDS.items()),
        Arm("KL", REWARDS["one judge"], config=PRICE),
        Arm("PAR and KL", REWARDS["PAR"], config=PRICE),
    ),
    presets={
        "smoke": Preset(
            *(2, 4 * 32 * TOKENS),
            evals=2,
            config={"width": 8, "warmup": 4, "num_envs": 32},
            arms=["one judge", "worst of four"],
        ),
        "quick": Preset(seeds=16, total_steps=300 * 64 * TOKENS, evals=15),
        "paper": Preset(
            seeds=64, total_steps=2000 * 512 * TOKENS, evals=40, config={"num_envs": 512}
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    begin=begin,
    metric="gold",
)
