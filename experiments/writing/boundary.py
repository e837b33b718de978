"""What is found in one try, and what in many: does learning from outcomes leave the base's reach?

Eight prompts, each with 16 right leaves of 512. The base policy was shown the k-th of them
in proportion to `2 ** -k`, and another prompt's in half of the demonstrations: it has all
degrees of probability, down to almost none. GRPO, GRPO without what lies above the group's
mean ("negative only") or with a tenth of it, GRPO with an entropy bonus, and ROVER learn
from the same number of responses. Every leaf's probability is computed, so pass@k, one of k
tries is right, and found@k, the share of right leaves among k tries, are exact: no
response is drawn to measure.

Then the same with the letter h made impossible, by a bias that the softmax rounds to a
probability of 0: right leaves with an h have none, and a gradient times 0 gives them none.

"Negative only" is `min(A, 0)` of GRPO's advantage, where Zhu et al. pay -1 to each wrong
response. On seeds 1000 to 1003 chosen were two passes of four minibatches (at a single step
ROVER is REINFORCE) and the learning rate, halved to 1e-3 since at 2e-3 the rule without
positive advantages lost its way; the reported seeds begin at 0.
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
    Status,
    Verdict,
    above,
    better,
)
from jaxrl_reward.training.record.write_up import markdown_table

YUE = "Yue et al. 2025, Does Reinforcement Learning Really Incentivize Reasoning Capacity"
LEASH = "Wu et al. 2025, The Invisible Leash"
NEGATIVE = "Zhu et al. 2025, The Surprising Effectiveness of Negative Reinforcement"
ROVER = "Random Policy Valuation is Enough for LLM Reasoning with Verifiable Rewards (ROVER), 2025"
PROMPTS, LEAVES, LETTER = 8, 16, 8  # the letter that is made impossible is the eighth
TRIES = (1, 4, 16, 64, 256, 1024, 4096)
RARE, MANY = 1e-4, 1024
TOKENS = 4  # of a response; steps are updates times responses times tokens
OUTSIDE = -300.0  # nats: exp of it is 0 in single precision, and so is its gradient
MASKED = ", no h"
ABOVE, BELOW = "(grpo() | clip(low=0, high=100))", "(grpo() | clip(low=-100, high=0))"
RULES = {"GRPO": "grpo()", "negative only": BELOW, "a tenth positive": f"0.1*{ABOVE} + {BELOW}"}


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Exact numbers of the policy's right leaves, and of what they were before."""
    del key
    leaves = right_leaves(agent.env.environment.task)
    now, before = (chances(agent, params, leaves) for params in (state.params, state.reference))
    right = now.sum(1)
    found = {f"pass@{k}": _tried(right, k).mean() for k in TRIES}
    found |= {f"found@{k}": _tried(now, k).mean() for k in TRIES}
    found |= {f"leaf {i + 1}": now[:, i].mean() for i in range(LEAVES)}
    reach = -jnp.log(0.05) / MANY  # what 1024 tries find in 95 of 100 cases
    reached = [x.reshape(-1) > reach for x in (before, now)]
    kept = jnp.where(reached[0], reached[1], False).sum() / jnp.maximum(reached[0].sum(), 1)
    gained = jnp.where(reached[0], False, reached[1]).sum() / jnp.maximum(reached[1].sum(), 1)
    rare, lost = before < RARE, (leaves == LETTER).any(-1)
    return found | {
        "kept": kept,
        "new": gained,
        "rare mass before": jnp.where(rare, before, 0.0).sum() / PROMPTS,
        "rare mass": jnp.where(rare, now, 0.0).sum() / PROMPTS,
        "mass with h": jnp.where(lost, now, 0.0).sum(),
        "largest with h": jnp.where(lost, now, 0.0).max(),
    }


def _tried(chance: jax.Array, k: int) -> jax.Array:
    """The chance of at least one in k tries."""
    return -jnp.expm1(k * jnp.log1p(-jnp.minimum(chance, 1.0 - 1e-7)))


def right_leaves(task: Any) -> jax.Array:
    """The letters of all right leaves, `[8, 16, depth]`; the likeliest shown comes first."""
    return jax.vmap(task.ask)(jnp.arange(PROMPTS)).truth


def chances(agent: Any, params: Any, leaves: jax.Array) -> jax.Array:
    """The probability of each leaf, with the end behind it, `[8, 16]`."""
    from jaxrl_reward.agents.sequence import writer, writing

    task = agent.env.environment.task
    tokens = jnp.pad(leaves, ((0, 0), (0, 0), (0, 1))).reshape(-1, leaves.shape[-1] + 1)
    prompt = jnp.repeat(jax.vmap(task.ask)(jnp.arange(PROMPTS)).prompt, LEAVES, axis=0)
    text = jnp.concatenate([prompt, tokens], axis=1)
    log_probs = jax.nn.log_softmax(writer.model_of(agent.config, task).logits(params, text))
    each = writing.token_log_probs(log_probs, tokens)
    return jnp.exp(each.sum(1)).reshape(PROMPTS, LEAVES)


def masked(state: Any, first: Any) -> Any:
    """Begins with the letter impossible, in the policy and in its reference."""
    shift = jnp.zeros(9).at[LETTER].set(OUTSIDE)
    return _writing.leaning(_writing.shared(state, first), shift)


def verdict(results: Results) -> Sequence[Verdict]:
    """What each gains in one try, and loses in many."""
    grpo, last = results["GRPO"], _writing.last

    def gains(claim: str, metric: str, source: str) -> Verdict:
        values = last(grpo, metric) - _writing.first(grpo, metric)
        return above(claim, f"{metric}, GRPO - base", values, 0.0, source=source)

    def fewer(claim: str, metric: str, source: str) -> Verdict:
        values = _writing.first(grpo, metric) - last(grpo, metric)
        return above(claim, f"{metric}, base - GRPO", values, 0.0, source=source)

    def more(claim: str, arm: str, metric: str, source: str, margin: float = 0.0) -> Verdict:
        x, y = last(results[arm], metric), last(grpo, metric)
        return better(claim, f"{metric}, {arm} - GRPO", x, y, margin, source=source)

    told = [
        gains("GRPO is right more often than the base in one try", "pass@1", YUE),
        fewer(f"In {MANY} tries the base finds more of the right leaves", f"found@{MANY}", YUE),
        above(
            "Hardly any leaf that GRPO reaches was out of the base's reach: fewer than 5 %",
            "share of leaves reached that are new",
            last(grpo, "new"),
            0.05,
            source=LEASH,
            expected=False,
        ),
    ]
    rules = {"negative only": ("Negative reinforcement alone", NEGATIVE), "ROVER": ("ROVER", ROVER)}
    for arm, (words, source) in rules.items():
        if arm not in results:
            continue
        told += [
            more(f"{words} finds more right leaves than GRPO in {MANY} tries", arm,
                 f"found@{MANY}", source),
            more(f"{words} is right in one try as often as GRPO, to 0.05", arm,
                 "pass@1", source, -0.05),
        ]  # fmt: skip
    masked = {name: r for name, r in results.items() if name.endswith(MASKED)}
    return [*told, _never(results, masked)] if masked else told


def _never(results: Results, masked: Results) -> Verdict:
    """Whether any leaf without mass was ever given some: there is no interval to give."""
    most = max(float(_writing.values(r, "largest with h").max()) for r in masked.values())
    there = _writing.last(results["GRPO"], "mass with h").mean() / PROMPTS
    held: Status = "holds" if most == 0.0 else "fails"
    evidence = (
        f"largest probability of a right leaf with an h, over all seeds, points and {len(masked)} "
        f"rules: {most:g}; where h is possible, GRPO ends with a mass of {there:.2f}"
    )
    return Verdict("What has no mass is never found", f"{LEASH}, theorem 1", held, evidence)


def present(results: Results, path: Path) -> Sequence[str]:
    """pass@k and found@k, the mass of each right leaf, and one try over training."""
    from jaxrl_reward.report import return_laws as draw

    shown = {n: r for n, r in results.items() if not n.endswith(MASKED)}
    looks = {"base": 6} | {name: i for i, name in enumerate(shown)}
    figure, ((passed, found), (mass, course)) = draw.sheet(2, 2)
    for axes, metric in ((passed, "pass"), (found, "found")):
        names = [f"{metric}@{k}" for k in TRIES]
        curves = {"base": _writing.several(results["GRPO"], names, 0)}
        curves |= {name: _writing.several(r, names) for name, r in shown.items()}
        _writing.lines(axes, TRIES, curves, looks, "o")
        axes.set_xscale("log", base=4)
    names = [f"leaf {i + 1}" for i in range(LEAVES)]
    curves = {"base": _writing.several(results["GRPO"], names, 0)}
    curves |= {name: _writing.several(r, names) for name, r in shown.items()}
    log = {name: np.log10(np.maximum(x, 1e-12)) for name, x in curves.items()}
    _writing.lines(mass, np.arange(1, LEAVES + 1), log, looks, "o")
    of_pass = {name: _writing.values(r, "pass@1") for name, r in shown.items()}
    _writing.lines(course, _writing.updates(results["GRPO"], "pass@1"), of_pass, looks)
    draw.name(passed, "pass@k: one of k is right", "k", "Chance")
    draw.name(found, "found@k: right leaves among k", "k", "Share of 16")
    draw.name(mass, "Mass of each right leaf", "Leaf, by how often it was shown", "log10")
    draw.name(course, "One try, over training", "Updates", "pass@1")
    _writing.legend(figure, looks)
    draw.save(figure, path / "figure.png")
    metrics = ("pass@1", "pass@256", "found@16", f"found@{MANY}", "kept", "new", "rare mass")
    rows = [
        (name, *(f"{_writing.last(r, metric).mean():.3g}" for metric in metrics))
        for name, r in results.items()
    ]
    start = (f"{_writing.first(results['GRPO'], metric).mean():.3g}" for metric in metrics)
    return [
        "![pass@k, found@k, the mass of each right leaf, pass@1 over training](figure.png)",
        f"Exact, by enumeration. `kept` and `new` are shares of leaves within reach of {MANY} "
        "tries: of those of the base that still are, and of those now that were not. `rare "
        f"mass` is that of leaves that had less than {RARE:g} at first. Means over seeds:",
        markdown_table(("Rule", *metrics), [("base", *start), *rows]),
    ]


OWN: dict[str, Any] = {"advantage": "env"}
ROVERS: dict[str, Any] = {"objective": "rover", "aggregation": "sequence"}
ARMS = (
    *(Arm(name, rule, config=OWN) for name, rule in RULES.items()),
    Arm("GRPO, entropy bonus", RULES["GRPO"], config={**OWN, "entropy_coef": 0.02}),
    *(
        Arm(f"{name}{MASKED}", RULES[name], config=OWN, begin=masked)
        for name in ("GRPO", "negative only")
    ),
    Arm("ROVER", config=ROVERS),
    Arm(f"ROVER{MASKED}", config=ROVERS, begin=masked),
)


experiment = Experiment(
    name="boundary",
    title="One try and many",
    claim="Learning from outcomes sharpens what the base policy does, and does not leave its reach",
    source=f"{YUE}; {LEASH}",
    env=f"sequence:tree,depth=3,leaves={LEAVES},max_tokens={TOKENS}",
    agent="group_pg",
    config={
        "network": "gru",
        "num_envs": 64,
        "group_size": 8,
        "epochs": 2,
        "minibatches": 4,
        "width": 32,
        "warmup": 300,
        "warmup_wrong": 0.5,
        "learning_rate": 1e-3,
    },
    arms=ARMS,
    presets={
        "smoke": Preset(
            *(2, 4 * 32 * TOKENS),
            evals=2,
            config={"width": 8, "warmup": 4, "num_envs": 32},
            arms=["GRPO", f"GRPO{MASKED}"],
        ),
        "quick": Preset(seeds=24, total_steps=300 * 64 * TOKENS, evals=12),
        "paper": Preset(
            seeds=64, total_steps=2000 * 512 * TOKENS, evals=40, config={"num_envs": 512}
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    begin=_writing.shared,
    metric="pass@1",
)
