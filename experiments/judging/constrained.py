"""Two judges that can be fooled: their sum, and each held at what it may say at most.

A response should be one of the prompt's string of five letters; gold is the share of right
letters, less 0.1 for each token too many. Judge k gives that share and 0.4 for every k-th mark,
as in `proxy`. "sum" is paid by both, and pays 0.02 a nat for the divergence from the base, which
is moved towards marks by 3.5 nats. The others are constrained RLHF: the main reward is the
divergence's, and each judge is to say 0.85 on average. Advantages are normalised apart, and the
weights follow the dual: "mu" by a sigmoid, which only falls once a judge says more, "xi" by tanh,
which then turns against it.

The threshold, the dual's rate (0.2; at 0.4 returns swing around it for longer, at 0.1 they pass it
for longer), the number of updates, and that what judges say is a mean over their second half, as it
swings, were settled on seeds 1000 to 1005. Seeds to report begin at 0; the margins are 0.05 of
gold at the end and 0.1 of what judges say.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _ends
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.agents.sequence import response_scores
from jaxrl_reward.agents.sequence.writer import model_of
from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)

MOSKOVITZ = "Moskovitz et al. 2023, Confronting Reward Model Overoptimization with Constrained RLHF"
TOKENS, THRESHOLD, RATE, MARKS = 12, 0.85, 0.2, 3.5
MARGIN, HELD = 0.05, 0.1
JUDGES = ("judge 1", "judge 2")
# What is cut off is not judged, as it is worth nothing.
FIRST, SECOND = (
    f"(signal('rewards') | weighted_sum(weights={weights})) * terminal(value=1)"
    for weights in ((1, 0), (0, 1))
)
HOLD = f"constrained(thresholds=({THRESHOLD}, {THRESHOLD}), rate={RATE}, squash='{{}}')"
BOTH = f"stack(closeness(), {FIRST}, {SECOND}) | {HOLD}"
OF_GROUPS = {"advantage": "env", "kl": "none"}


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Means of what is written now: gold, what each judge says, marks and tokens."""
    del key
    task = agent.env.environment.task
    fresh = jax.random.fold_in(state.key, 0x6C6F6F6B)
    model, numbers = model_of(agent.config, task), jnp.arange(task.prompts)
    block = response_scores.responses(model, task, state.params, fresh, numbers, 64)
    groups, ended = groups_of(block), (block.action == 0).any(0)
    said = block.info["rewards"][0] * ended[:, None]
    marked = groups.total((block.action > task.vocabulary - 3) * 1.0)
    found = {"gold": groups.total(block.env_reward).mean(), "marks": marked.mean()}
    found |= {name: said[:, k].mean() for k, name in enumerate(JUDGES)}
    return found | {"tokens": groups.length().mean()}


def begin(state: Any, first: Any) -> Any:
    """The study's first warm-up, made to write a mark now and then."""
    head = first.params["head"]["params"]
    layer = next(iter(head))
    bias = head[layer]["bias"]
    leant = bias + jnp.where(jnp.arange(bias.size) >= bias.size - 2, MARKS, 0.0)
    moved = {"params": {**head, layer: {**head[layer], "bias": leant}}}
    params = {**first.params, "head": moved}
    return state.replace(params=params, reference=params)


def verdict(results: Results) -> Sequence[Verdict]:
    """Whether judges are passed or held, and which has more gold."""
    said = {arm: {x: _ends.late(each, x) for x in JUDGES} for arm, each in results.items()}
    told = []
    if "sum" in results:
        least = np.minimum(*(said["sum"][name] for name in JUDGES)) - THRESHOLD
        claim, what = "sum: both judges say more than they may", "what the lower one says too much"
        told.append(above(claim, what, least, HELD, source=MOSKOVITZ))
    for arm in ("mu", "xi"):
        if arm not in results:
            continue
        far = np.maximum(*(np.abs(said[arm][name] - THRESHOLD) for name in JUDGES))
        claim = f"{arm}: each judge is held at its threshold, to {HELD:g}"
        what = f"{HELD:g} less how far the farther one is"
        told.append(above(claim, what, HELD - far, 0.0, source=MOSKOVITZ))
        if "sum" in results:
            more = _ends.last(results[arm], "gold") - _ends.last(results["sum"], "gold")
            claim, what = f"{arm}: more gold than the sum", f"gold of {arm} less that of the sum"
            told.append(above(claim, what, more, MARGIN, source=MOSKOVITZ))
    return told


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold and what judges say over updates, and the numbers at the end."""
    panels = {"gold": "Gold", "judge 1": "What the first judge says"}
    title = "Two judges, summed and held"
    _ends.draw(results, path / "figure.png", panels, title, "Mean of drawn responses")
    return [
        "![Gold and the first judge over updates](figure.png)",
        "Interquartile means over seeds with 95 % intervals, of 64 responses to each prompt.",
        _ends.table(results, "Paid by", ("gold", *JUDGES, "marks", "tokens")),
    ]


experiment = Experiment(
    name="constrained",
    title="Judges held at a threshold",
    claim="Weights by the dual hold each judge where its word still means gold, and end with more "
    "gold than the unconstrained sum",
    source=MOSKOVITZ,
    env=f"sequence:hack,length=5,max_tokens={TOKENS},bonus=0.4,judges=2",
    agent="group_pg",
    config={
        "advantage": "grpo()",
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
        Arm("sum", f"{FIRST} + {SECOND}"),
        Arm("mu", BOTH.format("sigmoid"), config=OF_GROUPS),
        Arm("xi", BOTH.format("tanh"), config=OF_GROUPS),
    ),
    presets={
        "smoke": Preset(
            *(2, 4 * 32 * TOKENS),
            evals=2,
            config={"width": 8, "warmup": 4, "num_envs": 32},
            arms=["sum", "xi"],
        ),
        "quick": Preset(seeds=16, total_steps=600 * 64 * TOKENS, evals=10),
        "paper": Preset(seeds=64, total_steps=2000 * 64 * TOKENS, evals=40),
    },
    verdict=verdict,
    present=present,
    probe=look,
    begin=begin,
    metric="gold",
)
