"""Entropy: what a run pays for success in it, who keeps it, and what that buys at pass@k.

A GRU adds two digits, of demonstrations of which many are wrong, so that it begins unsure.
All arms are GRPO with one thing changed, share each seed's warm-up, prompts and random
numbers, and take several steps on each batch, so that ratios are clipped. Entropy is the
mean over drawn tokens, success that of drawn responses, both over a stretch of training;
pass@k at the end is over all hundred prompts, which are also those of training.

Wide of the papers: their strengths are for language models, whose vocabulary, batches and
steps are of another size, and here hardly move anything. Of two or three strengths each the
one was taken that kept most entropy on seeds 1000 to 1003, at half the learning rate; for
bonus and SIREN, two to three times as much. A run of seeds 0 to 7 then settled how much
counts as more, and how many seeds it takes. The reported seeds begin at 100.

The corridor is not EPO (2025), but one of its three mechanisms: the smoothing around the
entropy of the past, here with a slope, as the published penalty is a constant and has none.
EPO's entropy bonus and the weight that changes over training are left out, and so is its
memory of each turn: there is one.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _writing
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    above,
)
from jaxrl_reward.training.record.write_up import markdown_table
from jaxrl_reward.types import Array

CUI = "Cui et al. 2025, The Entropy Mechanism of RL for Reasoning Language Models"
TOKENS = 3  # of a response; steps are updates times responses times tokens
ENV = f"sequence:sum,digits=1,max_tokens={TOKENS}"
SETTINGS: Mapping[str, Any] = {
    "network": "gru",
    "width": 32,
    "num_envs": 128,
    "group_size": 8,
    "warmup": 400,
    "warmup_rate": 1e-2,
    "warmup_wrong": 0.6,
    "learning_rate": 4e-3,
    "epochs": 2,
    "minibatches": 2,
    "aggregation": "token",
    "advantage": "grpo()",
}
EMPG = "stack(env | grpo(), signal('entropy', when='step')) | empg()"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "GRPO": {},
    "clip-higher": {"clip_high": 0.28},
    "entropy bonus": {"entropy_coef": 0.1},
    "Clip-Cov": {
        **{"control": "clip_cov", "control_strength": 0.1, "control_low": 0.2},
        **{"control_high": 5.0, "clip_low": 1.0, "clip_high": 1.0},
    },
    "KL-Cov": {"control": "kl_cov", "control_strength": 0.3, "control_low": 1.0},
    "STEER": {"control": "steer", "control_strength": 0.3},
    "SIREN": {"control": "siren", "control_strength": 0.2},
    "corridor": {"control": "corridor", "control_strength": 0.03},
    "EMPG": {"advantage": EMPG},
}
SOURCES = {
    "clip-higher": "Yu et al. 2025, DAPO",
    "entropy bonus": "Williams and Peng 1991",
    "Clip-Cov": CUI,
    "KL-Cov": CUI,
    "STEER": "Rethinking Entropy Interventions in RLVR (2025)",
    "SIREN": "Rethinking Entropy Regularization in Large Reasoning Models (2025)",
    "corridor": "ours, after the smoothing of EPO (2025), one of its three mechanisms",
    "EMPG": "Entropy-modulated policy gradients (2025)",
}
K = (1, 4, 16)
EARLY = 1 / 3  # of a run, from which the law is to foretell the rest
CURVES = ("entropy", "episode_return")  # of drawn responses, over a stretch of training


# ---- what is measured ---------------------------------------------------------------------


def look(agent: Any, state: Any, key: Array, samples: int = 64) -> dict[str, Array]:
    """pass@k of a policy over all prompts."""
    from jaxrl_reward.agents.sequence import response_scores as scores

    count, key = agent.env.environment.task.prompts, jax.random.fold_in(key, 7)
    block = _writing.drawn(agent, state.params, key, jnp.arange(count), samples)
    right = groups_of(block).total(block.env_reward).reshape(-1, samples)
    return {f"pass@{k}": scores.pass_at(k, right).mean() for k in K if k <= samples}


def law(entropy: np.ndarray, success: np.ndarray) -> dict[str, np.ndarray]:
    """The law fitted to each seed's run `[S, P]`, and how far off one that is fitted early is
    at the end."""
    from jaxrl_reward.agents.sequence import response_scores as scores

    @jax.jit
    @jax.vmap
    def fit(entropy: Array, success: Array) -> dict[str, Array]:
        early = max(2, round(EARLY * entropy.shape[0]))
        part = scores.entropy_law(entropy[:early], success[:early])
        foretold = part.b - part.a * jnp.exp(entropy[-1])
        error = jnp.abs(foretold - success[-1])
        return {**scores.entropy_law(entropy, success)._asdict(), "error": error}

    found = fit(entropy.astype(np.float32), success.astype(np.float32))
    return {name: np.asarray(each) for name, each in found.items()}


# ---- what is made of it -------------------------------------------------------------------

KEPT, BOUGHT, COST = 0.04, 0.02, 0.03  # nats, and shares of prompts, that count


def verdict(results: Results) -> Sequence[Verdict]:
    """The law, the collapse, and for each way what it keeps and what that buys."""
    last = ends(results)
    plain = last["GRPO"]
    entropy = _writing.values(results["GRPO"], "entropy")
    found = [
        above(
            "In a run of GRPO, -a exp(H) + b explains four fifths of how success varies",
            "share explained",
            plain["explained"],
            0.8,
            source=CUI,
        ),
        above("Success is paid for with entropy: a is above 0", "a", plain["a"], 0.0, source=CUI),
        above(
            "Fitted to the first third of the run, the law is off by less than 0.05 at the end",
            "error",
            plain["error"],
            0.05,
            source=f"{CUI}, the prediction from early steps",
            expected=False,
        ),
        above(
            "GRPO without control loses nine tenths of its entropy",
            "entropy at the end over that at the start",
            entropy[:, -1] / entropy[:, 0],
            0.1,
            source=CUI,
            expected=False,
        ),
    ]
    for arm in (name for name in last if name in SOURCES):
        about = {"source": SOURCES[arm]}
        pairs = {name: (last[arm][name], plain[name]) for name in plain}
        what = f"{arm} - GRPO"
        claim = f"{arm} ends with more entropy, {KEPT:g} nats at least"
        found.append(_writing.paired(claim, what, *pairs["entropy"], KEPT, **about))
        if f"pass@{K[-1]}" in plain:
            claim = f"{arm}: pass@{K[-1]} is higher, by {BOUGHT:g} at least"
            found.append(_writing.paired(claim, what, *pairs[f"pass@{K[-1]}"], BOUGHT, **about))
        claim = f"{arm}: pass@1 is at most {COST:g} lower"
        found.append(_writing.paired(claim, what, *pairs["pass@1"], -COST, **about))
    return found


def ends(results: Results) -> dict[str, dict[str, np.ndarray]]:
    """Each arm's numbers at the end, `[S]`, and those of its law."""
    passed = [f"pass@{k}" for k in K if len(results["GRPO"].curves.where(metric=f"pass@{k}"))]
    found = {}
    for arm, result in results.items():
        curves = [_writing.values(result, name) for name in CURVES]
        found[arm] = {"entropy": curves[0][:, -1], "success": curves[1][:, -1]} | law(*curves)
        found[arm] |= {name: _writing.last(result, name) for name in passed}
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """Entropy and success over training, success over entropy, pass@k, and the law of each arm."""
    from jaxrl_reward.report import return_laws as draw

    draw.save(figure(results), path / "figure.png")
    last = ends(results)
    shown = [f"pass@{k}" for k in K if f"pass@{k}" in last["GRPO"]]
    columns = ("entropy", "success", *shown, "a", "b", "explained", "error")
    rows = [(arm, *(_writing.cell(each[name]) for name in columns)) for arm, each in last.items()]
    return [
        "![Entropy, success over entropy, and pass@k, by arm](figure.png)",
        "## Every arm",
        "Entropy (nats a token) and success are those of the last stretch of training, pass@k of "
        "the final policy over all prompts. The law is fitted to each seed's run; the error is "
        "that at the end of one that is fitted to its first third.",
        markdown_table(("Arm", *columns), rows),
        "`corridor` is not EPO (2025): of its three mechanisms it is the smoothing around past "
        "entropies alone, with a slope, which the published penalty does not have. What it does "
        "or does not says nothing about EPO.",
    ]


def figure(results: Results) -> Any:
    """Three panels: entropy over training, success over exp(H) with the law, pass@k."""
    from jaxrl_reward.report import plots
    from jaxrl_reward.report import return_laws as draw

    made, grid = draw.sheet(1, 3)
    last = ends(results)
    for i, (arm, result) in enumerate(results.items()):
        entropy, success = (_writing.values(result, name) for name in CURVES)
        _writing.line(grid[0, 0], i, _writing.updates(result, "entropy"), entropy, arm)
        _writing.line(grid[0, 1], i, np.exp(entropy), success)
        shown = [k for k in K if f"pass@{k}" in last[arm]]
        passed = np.stack([last[arm][f"pass@{k}"] for k in shown], -1)
        _writing.line(grid[0, 2], i, shown, passed)
    first = last["GRPO"]
    x = np.exp(_writing.values(results["GRPO"], "entropy"))
    x = np.linspace(x.min(), x.max(), 20)
    law = first["b"].mean() - first["a"].mean() * x
    grid[0, 1].plot(x, law, color=plots.MUTED, linestyle=":", linewidth=1.0)
    grid[0, 2].set_xscale("log", base=2)
    grid[0, 0].legend(fontsize=7, frameon=False)
    seeds = len(first["entropy"])
    draw.name(grid[0, 0], f"IQM and 95 % interval, {seeds} seeds", "iterations", "entropy (nats)")
    draw.name(grid[0, 1], "Success over exp(H); dotted: GRPO's law", "exp(H)", "success")
    draw.name(grid[0, 2], "pass@k of the final policy", "k", "share of prompts")
    return made


experiment = Experiment(
    name="entropy",
    title="Entropy and what it buys",
    claim="Success is bought with entropy, R = -a exp(H) + b; what keeps entropy ends higher",
    source=CUI,
    env=ENV,
    arms=tuple(Arm(name, config=config) for name, config in WAYS.items()),
    agent="group_pg",
    config=SETTINGS,
    presets={
        "smoke": Preset(
            *(2, 2 * 16 * TOKENS),
            evals=1,
            log_points=2,
            config={"width": 4, "num_envs": 16, "group_size": 4, "warmup": 2},
            arms=["GRPO", "clip-higher", "EMPG"],
            probe=partial(look, samples=4),
        ),
        "quick": Preset(*(24, 180 * 128 * TOKENS), seed=100, evals=1, log_points=12),
        "paper": Preset(
            *(32, 1000 * 512 * TOKENS), evals=1, log_points=40, config={"num_envs": 512}
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    begin=_writing.shared,
    metric="pass@1",
)
