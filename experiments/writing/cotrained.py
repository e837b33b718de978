"""A judge that learns on with the policy: against a frozen one, and against the rule alone.

Each of 64 prompts has a string of its own. Gold is the share of right letters, less 0.1 for each
token too many, as any mark is. A rule knows half of the prompts and accepts just their strings. A
judge reads the prompt, the right answer and the response; it was fitted to 1,024 comparisons of
the base's responses by a rater who is taken in by marks, 0.3 for each. All arms begin with this
judge and this base. Frozen, it is all that the policy learns from; "Cooper" is the same judge,
which after each update learns from responses that the rule accepts, against copies with random
edits; with "pairwise items" (of SPARK's) against responses to the same prompt that the rule
refuses. Nobody looks at gold but the reader, and the arm "gold".

Judges are judged by gold, on pairs of responses to one prompt that differ in it: of the base,
whose like the first judge was fitted to ("held out"), and of the policy as it is now ("fresh").
A judge's tie is not right.

The base is moved towards marks by 7.5 nats, or it would hardly write one. That, the rater's 0.3,
the judge's rate and steps, and the update at which the frozen judge's gold is highest were settled
on seeds 1000 to 1003. Seeds to report begin at 0; the margins are 0.05 of gold and of the share
of pairs.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _cotrained
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

COOPER = (
    "Hong et al. 2025, Cooper: Co-Optimizing Policy and Reward Models in Reinforcement Learning"
)
SPARK = "SPARK: Synergistic Policy And Reward Co-Evolving Framework (2025)"
TOKENS, MARGIN = 8, 0.05
ENV = f"sequence:lookup,length=3,max_tokens={TOKENS}"
PEAK = 100  # an update
MARKS, BONUS, WIDTH = 7.5, 0.3, 32
# What is cut off is not judged, as it is worth nothing.
JUDGED = "({}) * terminal(value=1)"
JUDGE = f"judge(tokens=11, width={WIDTH}, reference=True, refresh=1, rule='precise'"
REWARDS = {
    "frozen judge": JUDGED.format(f"{JUDGE}, learning_rate=0)"),
    "rule": JUDGED.format("signal('precise')"),
    "Cooper": JUDGED.format(f"{JUDGE}, learning_rate=0.003)"),
    "pairwise items": JUDGED.format(f"{JUDGE}, learning_rate=0.003, items='rollouts')"),
    "gold": "env",
}
JUDGES = ("frozen judge", "Cooper", "pairwise items")  # the arms that have one
DRAWS = 4  # responses to each prompt that are looked at


def base(state: Any, first: Any) -> Any:
    """The base, which writes a mark now and then."""
    shift = jnp.where((jnp.arange(11) > 8) & (jnp.arange(11) < 11), MARKS, 0.0)
    return _writing.leaning(_writing.shared(state, first), shift)


def begin(state: Any, first: Any) -> Any:
    """The base, and the judge that was fitted to it."""
    state, key = base(state, first), jax.random.fold_in(first.key, 1)
    env = _cotrained.made(ENV)
    params = _cotrained.first_judge(env, state.config, state.params, key, WIDTH, BONUS)
    return state.replace(reward_state=_cotrained.with_judge(state.reward_state, params))


def begin_items(state: Any, first: Any) -> Any:
    """The same, of arms that are another program: their judges learn from other items."""
    return begin(state, first)


# Arms that begin alike are one program.
BEGIN = {name: begin for name in JUDGES} | {
    "pairwise items": begin_items,
    "rule": base,
    "gold": base,
}


def look(agent: Any, state: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Gold of drawn responses, and what the judges make of these and of the base's."""
    env, config = agent.env, agent.config
    key_drawn, key_base = jax.random.split(jax.random.fold_in(key, _writing.LOOK))
    numbers = jnp.arange(env.environment.task.prompts)
    block = _writing.drawn(agent, state.params, key_drawn, numbers, DRAWS)
    groups = _writing.groups_of(block)
    gold, level = groups.total(block.env_reward), block.info["level"][0]
    found = {
        "gold": gold.mean(),
        "gold of known prompts": _writing.mean_where(gold, level == 0),
        "gold of others": _writing.mean_where(gold, level == 1),
        "accepted": block.info["precise"][0].mean(),
        "marks": block.info["marked"][0].mean(),
        "tokens": groups.length().mean(),
    }
    for judge in _cotrained.judges_in(state.reward_state):
        of = {"held out": (state.reference, key_base), "fresh": (state.params, key_drawn)}
        for name, (params, own) in of.items():
            told = _cotrained.order(env, config, params, own, judge.params, WIDTH)
            found |= {name: told[0], f"{name} pairs": told[1] * 1.0}
        found["score"] = told[2]
    return found


def verdict(results: Results) -> Sequence[Verdict]:
    """Who is hacked, who stands still, who rises, and whose judge stays right."""
    last, first = _writing.last, _writing.first
    gain = {arm: last(r, "gold") - first(r, "gold") for arm, r in results.items()}
    told = [
        above(
            "The frozen judge is hacked: its score rises",
            "its score at the end less that at the start",
            last(results["frozen judge"], "score") - first(results["frozen judge"], "score"),
            0.0,
            source=COOPER,
        ),
        _falls(results, "frozen judge", "and gold falls"),
    ]
    if "rule" in results:
        gained = {
            of: last(results["rule"], f"gold of {of}") - first(results["rule"], f"gold of {of}")
            for of in ("known prompts", "others")
        }
        told.append(
            above(
                "The rule alone plateaus: where it knows no prompt, less than half is gained",
                "half the gold gained on the prompts that it knows, less that on the others",
                0.5 * gained["known prompts"] - gained["others"],
                0.0,
                source=COOPER,
            )
        )
    for arm, source in (("Cooper", COOPER), ("pairwise items", SPARK)):
        if arm not in results:
            continue
        mine = results[arm]
        told.append(above(f"{arm}: gold rises", "gold gained", gain[arm], MARGIN, source=source))
        for other, where in (
            ("frozen judge", "gold"),
            ("rule", "gold"),
            ("rule", "gold of others"),
        ):
            if other in results:
                told.append(
                    _writing.paired(
                        f"{arm}: more {where} in the end than by the {other}",
                        f"{where} of {arm} less that of the {other}",
                        last(mine, where),
                        last(results[other], where),
                        margin=MARGIN,
                        source=source,
                    )
                )
        told += [
            _writing.paired(
                f"{arm}: its judge is right more often on fresh responses than the frozen one",
                "share of fresh pairs at the end less that of the frozen judge's",
                last(mine, "fresh"),
                last(results["frozen judge"], "fresh"),
                margin=MARGIN,
                source=source,
            ),
            above(
                f"{arm}: on held-out pairs its judge and the frozen one are alike, to {MARGIN:g}",
                f"{MARGIN:g} less the distance of their shares of held-out pairs",
                MARGIN - np.abs(last(mine, "held out") - last(results["frozen judge"], "held out")),
                0.0,
                source=source,
            ),
        ]
    told.append(
        above(
            "The frozen judge is right less often on fresh responses than on held-out ones",
            "share of held-out pairs less that of fresh pairs, at the end",
            last(results["frozen judge"], "held out") - last(results["frozen judge"], "fresh"),
            MARGIN,
            source=COOPER,
        )
    )
    return told


def _falls(results: Results, arm: str, claim: str) -> Verdict:
    """Whether gold falls from update `PEAK` to the end."""
    gold, at = (of(results[arm], "gold") for of in (_writing.values, _writing.updates))
    peak = int((at <= PEAK).sum()) - 1
    lost = gold[:, peak] - gold[:, -1]
    return above(claim, f"gold lost after update {at[peak]}", lost, MARGIN, source=COOPER)


def present(results: Results, path: Path) -> Sequence[str]:
    """Gold and how right the judges are, over updates, and the numbers at the end."""
    from jaxrl_reward.report import fronts

    panels: dict[str, dict[str, Any]] = {"Gold": {}, "Gold of prompts that the rule knows not": {}}
    titles = {"held out": "Judge: pairs of the base", "fresh": "Judge: fresh pairs"}
    panels |= {title: {} for title in titles.values()}
    for arm, r in results.items():
        curve = lambda metric, r=r: fronts.curve(  # noqa: E731
            _writing.updates(r, metric), _writing.values(r, metric)
        )
        panels["Gold"][arm] = curve("gold")
        panels["Gold of prompts that the rule knows not"][arm] = curve("gold of others")
        if arm in JUDGES:
            for name, title in titles.items():
                panels[title][arm] = curve(name)
    labels = ("Updates", "Mean, or share of pairs")
    title = "Policies that learn from a judge, from a rule, and from both"
    fronts.lines(panels, path / "figure.png", title=title, labels=labels, columns=2)
    metrics = ("gold", "gold of known prompts", "gold of others", "accepted", "marks", "tokens")
    rows = []
    for arm, result in results.items():
        ends = [_writing.cell(_writing.last(result, metric)) for metric in metrics]
        told = ["", "", ""]
        if arm in JUDGES:
            names = ("held out", "fresh", "fresh pairs")
            told = [_writing.cell(_writing.last(result, name)) for name in names]
        rows.append((arm, *ends, *told))
    start = next(iter(results.values()))
    base = ", ".join(
        f"{name} {_writing.cell(_writing.first(start, name))}"
        for name in ("gold", "marks", "held out")
    )
    head = ("Learns from", *metrics, "held out", "fresh", "fresh pairs")
    return [
        "![Gold, and how right the judges are, over updates](figure.png)",
        f"At the end; at the start {base}. Interquartile means over seeds with 95 % intervals. "
        "`held out` and `fresh` are shares of pairs of responses of different gold that the "
        "judge orders as gold does; `fresh pairs` is how many of 384 there are.",
        markdown_table(head, rows),
    ]


experiment = Experiment(
    name="cotrained",
    title="A judge that learns on with the policy",
    claim="A frozen judge is hacked and a precise rule alone stops where its knowledge does; a "
    "judge that the rule's verdicts refresh leads beyond both",
    source=f"{COOPER}; {SPARK}",
    env=ENV,
    agent="group_pg",
    config={
        "advantage": "grpo()",
        "network": "gru",
        "num_envs": 64,
        "group_size": 8,
        "width": 32,
        "warmup": 800,
        "warmup_wrong": 0.3,
        "warmup_rate": 0.01,
        "learning_rate": 3e-3,
        "kl": "reward",
        "kl_coef": 0.01,
    },
    arms=tuple(Arm(name, reward, begin=BEGIN[name]) for name, reward in REWARDS.items()),
    presets={
        "smoke": Preset(
            *(2, 4 * 16 * TOKENS),
            evals=2,
            config={"width": 8, "warmup": 4, "num_envs": 16},
            arms=["frozen judge", "rule", "Cooper"],
        ),
        "quick": Preset(seeds=16, total_steps=200 * 64 * TOKENS, evals=10),
        "paper": Preset(
            seeds=64, total_steps=2000 * 256 * TOKENS, evals=40, config={"num_envs": 256}
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    metric="gold",
)
