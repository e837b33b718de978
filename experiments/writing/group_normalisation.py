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
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _group_gradients as rules
import _writing
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.training import lanes
from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Status,
    Verdict,
    above,
)
from jaxrl_reward.training.record.write_up import markdown_table
from jaxrl_reward.types import Array

BNPO = "Xiao et al. 2025, BNPO (arXiv:2506.02864)"
DR = "Liu et al. 2025, Understanding R1-Zero-Like Training"
MIXES = {"easy": -1.5, "even": 0.0, "hard": 1.5}
FIXED = "Dr. GRPO"  # on whose way gradients are compared
KINDS = ("variance", "noise", "cosine")  # of numbers of each rule's gradient, by mix
OWN = ("success", "greedy", "success, level 2", "extra tokens of wrong ones")
TOKENS = 6  # of a response; steps are updates times responses times tokens
ENV = f"sequence:copy,letters=6,longest=3,max_tokens={TOKENS}"
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


# ---- what is measured ---------------------------------------------------------------------


def look(
    agent: Any, state: Any, key: Array, every: int = 30, batches: int = 32, prompts: int = 256
) -> dict[str, Array]:
    """Success on prompts of all levels alike; and on the way of one arm the gradients of all.

    Args:
      agent: the arm's.
      state: one seed's.
      key: its key.
      every: after so many updates gradients are of other batches.
      batches: of each gradient's variance.
      prompts: that success is a mean over.
    """
    from jaxrl_reward.agents.common import base

    fresh = jax.random.fold_in(key, state.iteration // every)
    fixed = lanes.mixed(list(rules.RULES.values()))[list(rules.RULES).index(FIXED)]
    pairs = zip(*(jax.tree.leaves(x) for x in (state.reward, base.as_leaves(fixed))), strict=True)
    there = jnp.stack([x == y for x, y in pairs]).all()
    gradients = partial(_gradients, agent, batches, state.params, fresh)
    nothing = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan), jax.eval_shape(gradients))
    found = jax.lax.cond(there, gradients, lambda: nothing)
    return _success(agent, prompts, state.params, jax.random.fold_in(key, 7)) | found


def harder(agent: Any, plan: Any) -> Any:
    """The agent, while over a run the mix of its prompts goes from easy to hard."""
    from jaxrl_reward.agents.sequence import group_pg

    def iterate(state: Any) -> tuple[Any, Any]:
        mix = MIXES["easy"] + (MIXES["hard"] - MIXES["easy"]) * state.iteration / plan.iterations
        env = dataclasses.replace(agent.env, params=agent.env.params.replace(mix=mix))
        return group_pg.make(agent.config, env, agent.reward).iterate(state)

    return agent._replace(iterate=iterate)


def _success(agent: Any, prompts: int, params: Any, key: Array) -> dict[str, Array]:
    from jaxrl_reward.agents.sequence import writer, writing

    task = agent.env.environment.task
    model = writer.model_of(agent.config, task)
    found = _writing.facts(agent, params, key, prompts)
    greedy, _ = writing.score(model, task, params, key, prompts, 0.0, True)
    wrong = found["outcome"] < 0.5
    extra = found["length"] - found["level"] - 2.0
    levels = {
        f"success, level {i}": _writing.mean_where(found["outcome"], found["level"] == i)
        for i in range(3)
    }
    return levels | {
        "success": found["outcome"].mean(),
        "greedy": greedy.mean(),
        "extra tokens of wrong ones": _writing.mean_where(extra, wrong),
    }


def _gradients(agent: Any, batches: int, params: Any, key: Array) -> dict[str, Array]:
    """How the rules' gradients vary at some parameters, by mix and rule."""
    from jaxrl_reward.agents.sequence import writer

    task, config = agent.env.environment.task, agent.config
    model = writer.model_of(config, task)
    sizes = {"size": config.num_envs, "group": config.group_size}
    names = rules.names()

    def one(mix: Array) -> dict[str, Array]:
        def batch(key: Array) -> tuple[Array, Array]:
            return rules.gradients(model, task, params, key, mix, **sizes)

        found, rate = jax.lax.map(batch, jax.random.split(key, batches))
        spread = rules.spread(found, names.index(rules.UNBIASED))
        plain, std, *fixed = (
            found[:, names.index(name)]
            for name in ("Dr. GRPO", "GRPO's std alone", "BNPO (1, 1)", "BNPO (3/2, 3/2)")
        )
        off = jnp.stack([plain - fixed[0], std * jnp.pi / 8 - fixed[1]])
        error = jnp.abs(off).max() / jnp.maximum(jnp.abs(found).max(), 1e-30)  # 0 of nothing
        return spread._asdict() | {"rate": rate.mean(), "error": error}

    by_mix = jax.lax.map(one, jnp.asarray(list(MIXES.values())))
    found = {}
    for i, mix in enumerate(MIXES):
        found |= {f"{kind}, {mix}": by_mix[kind][i] for kind in ("rate", "error")}
        for kind in KINDS:
            found |= {f"{kind}, {mix}, {n}": by_mix[kind][i, k] for k, n in enumerate(names)}
    return found


def measured(results: Results) -> dict[str, dict[str, np.ndarray]]:
    """By arm what was measured of it and of its rule, `[S, P]`."""
    fixed, found = results[FIXED], {}
    of_all = [f"{kind}, {mix}" for kind in ("rate", "error") for mix in MIXES]
    of_rule = [f"{kind}, {mix}" for kind in KINDS for mix in MIXES]
    for arm, result in results.items():
        found[arm] = {name: _writing.values(result, name) for name in OWN}
        found[arm] |= {name: _writing.values(fixed, name) for name in of_all}
        found[arm] |= {name: _writing.values(fixed, f"{name}, {arm}") for name in of_rule}
    return found


# ---- what is made of it -------------------------------------------------------------------


def verdict(results: Results) -> Sequence[Verdict]:
    """Special cases, variances, directions, and success."""
    values = measured(results)
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
            _writing.paired(
                f"BNPO ends with more success than {other}, by 0.02 at least",
                f"BNPO - {other}",
                end["BNPO"],
                end[other],
                0.02,
                source=f"{BNPO}, its table of results",
            )
        )
    found.append(
        _writing.paired(
            "Without GRPO's two divisions nothing is lost: Dr. GRPO is at most 0.02 below",
            "Dr. GRPO - GRPO",
            end["Dr. GRPO"],
            end["GRPO"],
            -0.02,
            source=DR,
        )
    )
    found.append(
        _writing.paired(
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

    panels, values = {}, measured(results)
    at = _writing.updates(results[FIXED], "success")
    for title, metric in (
        ("Success, all levels alike", "success"),
        *((f"Variance over squared mean, {mix}", f"noise, {mix}") for mix in MIXES),
    ):
        panels[title] = {arm: fronts.curve(at, each[metric]) for arm, each in values.items()}
    fronts.lines(
        panels,
        path / "figure.png",
        title="Rules for the advantages of groups, from easy prompts to hard ones",
        labels=("Iterations", ""),
        columns=2,
    )
    rows = [_row(arm, each) for arm, each in values.items()]
    rates = values[FIXED]
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
    cells = [_writing.cell(values[name][:, -1]) for name in OWN]
    cells += [
        _writing.cell(values[f"{kind}, {mix}"].mean(1))
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
    agent="group_pg",
    config=SETTINGS,
    presets={
        "smoke": Preset(
            *(2, 2 * 16 * TOKENS),
            evals=1,
            config={"width": 4, "num_envs": 16, "group_size": 4, "warmup": 2},
            probe=partial(look, every=2, batches=4, prompts=16),
        ),
        "quick": Preset(seeds=16, total_steps=150 * 128 * TOKENS, evals=5),
        "paper": Preset(
            *(64, 1000 * 512 * TOKENS),
            evals=5,
            config={"num_envs": 512},
            probe=partial(look, every=200, batches=128),
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    begin=_writing.shared,
    adapt=harder,
    metric="success",
)
