"""By what to divide a group's advantages, while prompts of rising difficulty come in.

A GRU copies one to three letters; which of the three comes moves from easy to hard as
training goes on. All arms share each seed's warm-up, prompts and random numbers, and take one
step on each batch, so that no ratio is clipped. They differ in the rule alone: the loss is
the sum over a response's tokens, as Dr. GRPO and BNPO have it, and GRPO's mean over its own
tokens is part of its rule. Wide of the papers: 16 prompts of a batch in place of hundreds.

Gradients are compared at fixed parameters, those of the arm Dr. GRPO on its way: the same
batches for all rules, at three mixes. Adam undoes the scale of a gradient, so beside the
variance, in BNPO's own units, stands the variance over the squared mean gradient.

On seeds 1000 to 1015 the lengths of warm-up and training were settled (of 100 and 250
updates; 150 iterations) and how much more counts as more. The reported seeds begin at 0.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _group_gradients as rules
import _sequence_study as study
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.training.experiment import (
    Arm,
    Experiment,
    Measured,
    Preset,
    Results,
    Status,
    Verdict,
    above,
)
from jaxrl_reward.training.write_up import markdown_table
from jaxrl_reward.types import Array

BNPO = "Xiao et al. 2025, BNPO (arXiv:2506.02864)"
DR = "Liu et al. 2025, Understanding R1-Zero-Like Training"
MIXES = {"easy": -1.5, "even": 0.0, "hard": 1.5}
ENV = "sequence:copy,letters=6,longest=3,max_tokens=6"
SETTINGS: Mapping[str, Any] = {
    "network": "gru",
    "width": 24,
    "num_envs": 128,
    "group_size": 8,
    "warmup": 250,
    "warmup_rate": 1e-2,
    "warmup_wrong": 0.3,
    "learning_rate": 3e-3,
    "aggregation": "constant",
    "advantage": "env",
}
SIZES: Mapping[str, int] = {"points": 5, "batches": 32, "prompts": 256}


# ---- what is measured ---------------------------------------------------------------------


def measure(
    arms: Sequence[Arm], preset: Preset, keys: Array, tick: Callable[[int, int], None]
) -> dict[str, Measured]:
    """Success of every arm on its way, and gradients on the way of one."""
    from jaxrl_reward import agents

    sizes = {name: preset.config.get(name, size) for name, size in SIZES.items()}
    settings = {k: v for k, v in preset.config.items() if k not in SIZES}
    terms = study.choices(list(rules.RULES.values()))
    agent = agents.make("group_pg", ENV, terms[0], **{**SETTINGS, **settings})
    ways = dict(zip(rules.RULES, terms, strict=True))
    chunk, points = max(1, preset.total_steps // sizes["points"]), sizes["points"]
    course = study.course(
        agent,
        [agent.config] * len(arms),
        [ways[arm.name] for arm in arms],
        keys,
        [chunk] * points,
        iterate=partial(_iterate, agent, chunk * points),
    )
    look = jax.jit(partial(_success, agent, sizes["prompts"]))
    vary = jax.jit(partial(_gradients, agent, sizes["batches"]))
    fixed = [arm.name for arm in arms].index("Dr. GRPO")
    seen, varied = [], []
    for point, (states, _) in enumerate(course):
        tick(point, points + 1)
        seen.append(jax.device_get(look(states.params, keys)))
        at = jax.tree.map(lambda x: x[fixed], states.params)
        fresh = jax.vmap(jax.random.fold_in, (0, None))(keys, point)
        varied.append(jax.device_get(vary(at, fresh)))
    tick(points + 1, points + 1)
    success = {name: np.stack([each[name] for each in seen], -1) for name in seen[0]}  # [A, S, P]
    steps = agent.steps_per_iteration * chunk * points * len(keys)
    return {
        arm.name: Measured(
            {name: each[i] for name, each in success.items()} | _of_rule(varied, arm.name),
            [chunk * point for point in range(points + 1)],
            steps,
        )
        for i, arm in enumerate(arms)
    }


def _iterate(agent: Any, total: int, state: Any) -> tuple[Any, Any]:
    """One iteration, while over `total` of them the mix goes from easy to hard."""
    from jaxrl_reward.agents import group_pg

    mix = MIXES["easy"] + (MIXES["hard"] - MIXES["easy"]) * state.iteration / total
    env = dataclasses.replace(agent.env, params=agent.env.params.replace(mix=mix))
    return group_pg.make(agent.config, env, agent.reward).iterate(state)


def _success(agent: Any, prompts: int, params: Any, keys: Array) -> dict[str, Array]:
    """Of policies `[A, S, ...]` on prompts of all levels alike, `[A, S]` each."""
    from jaxrl_reward.agents import group_pg, writing

    task = agent.env.environment.task
    writer = group_pg.writer_of(agent.config, task)

    def one(params: Any, key: Array) -> dict[str, Array]:
        key = jax.random.fold_in(key, 7)
        found = study.drawn(agent, params, key, prompts)
        greedy, _ = writing.score(writer, task, params, key, prompts, 0.0, True)
        wrong = found["outcome"] < 0.5
        extra = found["length"] - found["level"] - 2.0
        levels = {
            f"success, level {i}": study.mean_where(found["outcome"], found["level"] == i)
            for i in range(3)
        }
        return levels | {
            "success": found["outcome"].mean(),
            "greedy": greedy.mean(),
            "extra tokens of wrong ones": study.mean_where(extra, wrong),
        }

    return study.by_arm(one, params, keys)


def _gradients(agent: Any, batches: int, params: Any, keys: Array) -> dict[str, Any]:
    """How the rules' gradients vary at parameters `[S, ...]`, by mix: `[S, K]`."""
    from jaxrl_reward.agents import group_pg

    task, config = agent.env.environment.task, agent.config
    writer = group_pg.writer_of(config, task)
    sizes = {"size": config.num_envs, "group": config.group_size}
    names = rules.names()

    def one(params: Any, key: Array, mix: Any) -> dict[str, Array]:
        def batch(key: Array) -> tuple[Array, Array]:
            return rules.gradients(writer, task, params, key, mix, **sizes)

        found, rate = jax.lax.map(batch, jax.random.split(key, batches))
        spread = rules.spread(found, names.index(rules.UNBIASED))
        plain, std, *fixed = (
            found[:, names.index(name)]
            for name in ("Dr. GRPO", "GRPO's std alone", "BNPO (1, 1)", "BNPO (3/2, 3/2)")
        )
        off = jnp.stack([plain - fixed[0], std * jnp.pi / 8 - fixed[1]])
        error = jnp.abs(off).max() / jnp.abs(found).max()
        return spread._asdict() | {"rate": rate.mean(), "error": error}

    mixes = jnp.asarray(list(MIXES.values()))
    found = jax.lax.map(lambda mix: jax.vmap(partial(one, mix=mix))(params, keys), mixes)
    return {name: jax.tree.map(lambda x, i=i: x[i], found) for i, name in enumerate(MIXES)}


def _of_rule(varied: Sequence[Mapping[str, Any]], name: str) -> dict[str, np.ndarray]:
    """Of one rule `[S, P]`, by mix."""
    k, found = rules.names().index(name), {}
    for mix in MIXES:
        for kind in ("variance", "noise", "cosine", "rate", "error"):
            each = np.stack([point[mix][kind] for point in varied], -1)  # [S, (K,) P]
            found[f"{kind}, {mix}"] = each[:, k] if each.ndim == 3 else each
    return found


# ---- what is made of it -------------------------------------------------------------------


def verdict(results: Results) -> Sequence[Verdict]:
    """Special cases, variances, directions, and success."""
    values = {name: result.study.values for name, result in results.items()}
    told = [_special(values)]
    unit = np.log(np.pi / 8)  # of BNPO (3/2, 3/2), in GRPO's
    for mix in MIXES:
        for other, scale in (("Dr. GRPO", 0.0), ("GRPO's std alone", unit)):
            as_bnpo = "(1, 1)" if other == "Dr. GRPO" else "(3/2, 3/2)"
            claim = f"Prompts {mix}: BNPO's variance is below BNPO's at {as_bnpo}, by a twentieth"
            ratio = _log(values, "BNPO", "variance", mix) - _log(values, other, "variance", mix)
            told.append(
                above(
                    claim,
                    "mean over stages of the log ratio of variances",
                    ratio - 2 * scale,
                    -0.05,
                    source=f"{BNPO}, theorem 1",
                    expected=False,
                )
            )
    for other in ("Dr. GRPO", "GRPO's std alone"):
        ratios = [_log(values, "BNPO", "noise", m) - _log(values, other, "noise", m) for m in MIXES]
        told.append(
            above(
                f"In units of the squared mean gradient it varies less than that of {other}",
                "mean log ratio over stages and mixes",
                np.mean(ratios, 0),
                0.0,
                source="follows if the variance were not a matter of scale",
                expected=False,
            )
        )
    for arm, words, bias in (
        ("GRPO's std alone", "Divided by the group's deviation", "question-level difficulty"),
        ("GRPO", "Divided by that and by the response's length", "response-level length"),
    ):
        told.append(
            above(
                f"{words}, the mean gradient does not point where that of success does",
                "mean cosine of the two over stages and mixes",
                np.mean([values[arm][f"cosine, {mix}"].mean(1) for mix in MIXES], 0),
                0.99,
                source=f"{DR}, the {bias} bias",
                expected=False,
            )
        )
    return [*told, *_success_verdicts(values)]


def _success_verdicts(values: Mapping[str, Any]) -> list[Verdict]:
    end = {name: each["success"][:, -1] for name, each in values.items()}
    extra = {name: each["extra tokens of wrong ones"][:, -1] for name, each in values.items()}
    found = []
    for other in ("GRPO", "Dr. GRPO"):
        found.append(
            study.paired(
                f"BNPO ends with more success than {other}, by 0.02 at least",
                f"BNPO - {other}",
                end["BNPO"],
                end[other],
                0.02,
                source=f"{BNPO}, its table of results",
            )
        )
    found.append(
        study.paired(
            "Without GRPO's two divisions nothing is lost: Dr. GRPO is at most 0.02 below",
            "Dr. GRPO - GRPO",
            end["Dr. GRPO"],
            end["GRPO"],
            -0.02,
            source=DR,
        )
    )
    found.append(
        study.paired(
            "Wrong responses end longer with GRPO than with Dr. GRPO, by a tenth of a token",
            "tokens, GRPO - Dr. GRPO",
            extra["GRPO"],
            extra["Dr. GRPO"],
            0.1,
            source=f"{DR}, the response-level length bias",
        )
    )
    return found


def _log(values: Mapping[str, Any], arm: str, kind: str, mix: str) -> np.ndarray:
    """The mean over stages of a logarithm, `[S]`."""
    return np.log(np.maximum(values[arm][f"{kind}, {mix}"], 1e-12)).mean(1)


def _special(values: Mapping[str, Any]) -> Verdict:
    worst = max(float(values["BNPO"][f"error, {mix}"].max()) for mix in MIXES)
    status: Status = "holds" if worst < 1e-4 else "fails"
    claim = "BNPO at (1, 1) is REINFORCE with the prompt's mean, at (3/2, 3/2) GRPO times pi / 8"
    evidence = f"largest difference of any gradient, over the largest entry: {worst:.1e}"
    return Verdict(claim, f"{BNPO}, section 4", status, evidence)


def present(results: Results, path: Path) -> Sequence[str]:
    """Success and variances over training, and the numbers of each rule."""
    from jaxrl_reward.report import fronts

    panels = {}
    for title, metric in (
        ("Success, all levels alike", "success"),
        *((f"Variance over squared mean, {mix}", f"noise, {mix}") for mix in MIXES),
    ):
        panels[title] = {
            arm: fronts.curve(np.asarray(r.study.at), r.study.values[metric])
            for arm, r in results.items()
        }
    fronts.lines(
        panels,
        path / "figure.png",
        title="Rules for the advantages of groups, from easy prompts to hard ones",
        labels=("Iterations", ""),
        columns=2,
    )
    rows = [_row(arm, result.study.values) for arm, result in results.items()]
    rates = next(iter(results.values())).study.values
    shown = "; ".join(
        f"{mix} {', '.join(f'{x:.2f}' for x in rates[f'rate, {mix}'].mean(0))}" for mix in MIXES
    )
    head = ("Rule", "Success", "Greedy", "Hardest level", "Extra tokens of wrong ones")
    head = (*head, *(f"{kind}, {mix}" for kind in ("Noise", "Cosine") for mix in MIXES))
    return [
        "![Success, and the noise of gradients, over training](figure.png)",
        "## Every rule",
        "At the end: success of drawn and of greedy responses, of drawn ones at the hardest level, "
        "and by how many tokens wrong ones are longer than what is asked for. Over all stages: the "
        "variance of a batch's gradient over the squared mean gradient, and the cosine of the mean "
        "gradient with that of the success rate.",
        markdown_table(head, rows),
        f"Rates of success where gradients were measured, by stage: {shown}.",
    ]


def _row(arm: str, values: Mapping[str, Any]) -> tuple[str, ...]:
    ends = ("success", "greedy", "success, level 2", "extra tokens of wrong ones")
    cells = [study.cell(values[name][:, -1]) for name in ends]
    cells += [
        study.cell(values[f"{kind}, {mix}"].mean(1))
        for kind in ("noise", "cosine")
        for mix in MIXES
    ]
    return (arm, *cells)


experiment = Experiment(
    name="group_normalisation",
    title="Normalising the advantages of groups",
    claim="An adaptive Beta normalisation gives the gradient of lowest variance as success rates "
    "move, and more success than dividing by the group's deviation",
    source=f"{BNPO}; {DR}",
    env=ENV,
    arms=tuple(Arm(name, str(rule)) for name, rule in rules.RULES.items()),
    presets={
        "smoke": Preset(
            *(2, 2),
            config={
                **{"points": 1, "batches": 4, "prompts": 16, "width": 4, "num_envs": 16},
                **{"group_size": 4, "warmup": 2},
            },
        ),
        "quick": Preset(seeds=16, total_steps=150),
        "paper": Preset(seeds=64, total_steps=1000, config={"num_envs": 512, "batches": 128}),
    },
    verdict=verdict,
    present=present,
    measure=measure,
    metric="success",
    axis="Iterations",
)
