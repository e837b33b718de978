"""Accuracy against tokens: prices on length that wrong answers cannot earn, and one that they can.

In `sequence:think` every `*` before the answer raises the chance that it is right, more so
for hard prompts, and `-` is idle. A GRU has learnt to answer after any number of either. All
arms share each seed's warm-up, prompts and random numbers, take one step on each batch, and
differ in the reward's expression alone; the loss is the mean over a response's tokens, then
over responses. Accuracy is the mean chance of drawn responses, prompts of all levels alike,
and a method's gain its distance above the front that plain prices of several sizes span,
at as many tokens. A price is what Lagrange would pay, but GRPO divides it by the group's
deviation: where outcomes agree, lengths are all that differs, and count in full. So one price
is also tried undivided.

Wide of the papers: DLER's and HBPO's loss weighs all tokens alike; DLER drops groups whose
outcomes are equal and draws others, here they teach nothing; HBPO announces the budget in
the prompt, here it shapes the reward alone; CRF's constants are our reading.

On seeds 1000 to 1007 the warm-up and the number of iterations were settled, the prices (four
from 0.01 to 0.1 left a gap in the front, over which a straight line lies too low), and how
much more counts as more. The reported seeds begin at 0.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _writing
import jax
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
from jaxrl_reward.types import Array

LEVELS = 4
TOKENS = 16  # of a response; steps are updates times responses times tokens
ENV = f"sequence:think,max_tokens={TOKENS}"
SETTINGS: Mapping[str, Any] = {
    "network": "gru",
    "width": 24,
    "num_envs": 128,
    "group_size": 8,
    "warmup": 500,
    "warmup_rate": 1e-2,
    "learning_rate": 3e-3,
    "aggregation": "sequence",
    "advantage": "env",
    "clip_high": 0.28,
}
LOG_PROB = "signal('log_prob', when='step')"
ENTROPY = "signal('entropy', when='step')"
PRICES = (0.001, 0.003, 0.006, 0.01, 0.03)
# By kind of rule, the arms of which differ in numbers alone.
KINDS: Mapping[str, Mapping[str, str]] = {
    "plain": {"plain": "env | grpo()"},
    "price": {f"price {price:g}": f"env - {price:g} | grpo()" for price in PRICES},
    "centred": {"centred 0.03": "env - 0.03 | centred()"},
    "dler": {f"DLER {n}": f"env | within(length={n}) | whitened()" for n in (6, 10)},
    "da-dler": {"DA-DLER": "env | within_by_success(length=10, easy_length=5) | whitened()"},
    "drpo": {
        f"DRPO {x:g}": f"stack(env, {LOG_PROB}) | drpo(sharpness={x:g}, limit=16)"
        for x in (0.1, 0.5)
    },
    "hbpo": {"HBPO": "env | hbpo(budgets=(2, 5, 9, 14), limit=16, alpha=0.0625)"},
    "crf": {"CRF": "stack(env, signal('concise')) | crf(steps=150) | grpo()"},
    "pear": {"PEAR": f"stack(env, signal('scratch'), {ENTROPY}) | pear() | grpo()"},
}
TEXTS = {arm: text for kind in KINDS.values() for arm, text in kind.items()}
METHODS = tuple(arm for arm in TEXTS if arm != "plain" and not arm.startswith("price"))
FRONT = ("plain", *KINDS["price"])
SOURCES = {
    "centred": "Liu et al. 2025, Understanding R1-Zero-Like Training",
    "DLER": "Liu et al. 2025, DLER: Doing Length pEnalty Right",
    "DA-DLER": "Liu et al. 2025, DLER: Doing Length pEnalty Right",
    "DRPO": "DRPO: Efficient Reasoning via Decoupled Reward Policy Optimization (2025)",
    "HBPO": "Hierarchical Budget Policy Optimization (2025, arXiv:2507.15844)",
    "CRF": "Efficient Reasoning via Reward Model (2025)",
    "PEAR": "PEAR: Phase Entropy Aware Reward for Efficient Reasoning (2025)",
}


# ---- what is measured ---------------------------------------------------------------------

METRICS = ("accuracy", "tokens", "idle tokens")
METRICS += tuple(f"{name}, level {i}" for i in range(LEVELS) for name in METRICS[:2])


def look(agent: Any, state: Any, key: Array, prompts: int = 256) -> dict[str, Array]:
    """Accuracy and tokens of a policy's responses, all levels alike and by level."""
    found = _writing.facts(agent, state.params, jax.random.fold_in(key, 7), prompts)
    level, chance, length = found["level"], found["chance"], found["length"]
    by_level = {}
    for i in range(LEVELS):
        by_level[f"accuracy, level {i}"] = _writing.mean_where(chance, level == i)
        by_level[f"tokens, level {i}"] = _writing.mean_where(length, level == i)
    idle = (1.0 + found["scratch"]) * (1.0 - found["concise"])
    means = {"accuracy": chance, "tokens": length, "idle tokens": idle}
    return by_level | {name: each.mean() for name, each in means.items()}


# ---- what is made of it -------------------------------------------------------------------


def gain(last: Mapping[str, Mapping[str, np.ndarray]], arm: str) -> np.ndarray:
    """By how much an arm is more accurate than plain prices at as many tokens, `[S]`.

    Between two prices (none is the plain reward) the front is a straight line; beyond its
    ends it is level.
    """
    front = [name for name in FRONT if name in last]
    tokens = np.stack([last[name]["tokens"] for name in front])
    accuracy = np.stack([last[name]["accuracy"] for name in front])
    found = []
    for seed, (x, y) in enumerate(zip(last[arm]["tokens"], last[arm]["accuracy"], strict=True)):
        order = np.argsort(tokens[:, seed])
        found.append(y - np.interp(x, tokens[order, seed], accuracy[order, seed]))
    return np.array(found)


def verdict(results: Results) -> Sequence[Verdict]:
    """Who is above the front of plain prices, who spares easy prompts, who keeps accuracy."""
    last = _writing.ends(results, METRICS)
    found = []
    for arm in METHODS:
        if arm in last:
            source = SOURCES[arm.split()[0]]
            claim = f"{arm}: more accurate than plain prices at as many tokens, by 0.02 at least"
            found.append(above(claim, "gain", gain(last, arm), 0.02, source=source))
    return [*found, *_of_methods(last)]


def _of_methods(last: Mapping[str, Mapping[str, np.ndarray]]) -> list[Verdict]:
    """What single papers claim of their own."""
    found = []

    def judged(claim: str, name: str, one: str, other: str, margin: float, source: str) -> None:
        x, y = last[one][name], last[other][name]
        what = f"{one} - {other}"
        found.append(_writing.paired(claim, what, x, y, margin, source=source))

    dearest = FRONT[-1]
    if dearest in last:
        claim = f"A plain {dearest} a token costs accuracy, 0.02 at least"
        source = "the reason that all of these papers give"
        judged(claim, "accuracy", "plain", dearest, 0.02, source)
    if "HBPO" in last:
        x, y = (last["HBPO"][f"tokens, level {i}"] for i in (LEVELS - 1, 0))
        claim = "HBPO: at least half a token less for the easiest prompts than for the hardest"
        found.append(_writing.paired(claim, "hardest - easiest", x, y, 0.5, source=SOURCES["HBPO"]))
    for arm in ("CRF", "PEAR"):
        if arm in last:
            claim = f"{arm}: shorter than the plain reward makes it, by a token at least"
            judged(claim, "tokens", "plain", arm, 1.0, SOURCES[arm])
            claim = f"{arm}: at most 0.05 less accurate"
            judged(claim, "accuracy", arm, "plain", -0.05, SOURCES[arm])
    if "CRF" in last:
        claim = "CRF: fewer idle tokens, by a tenth of a token at least"
        judged(claim, "idle tokens", "plain", "CRF", 0.1, SOURCES["CRF"])
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """Accuracy against tokens, and the numbers of each arm."""
    from jaxrl_reward.report import return_laws as draw

    last = _writing.ends(results, METRICS)
    draw.save(figure(last), path / "figure.png")
    head = ("Arm", "Accuracy", "Tokens", "Gain", "Idle tokens", "Accuracy by level")
    rows = [_row(last, arm) for arm in last]
    return [
        "![Accuracy against the mean number of tokens, with intervals](figure.png)",
        "## Every arm",
        "Drawn responses at the end of training. The gain is accuracy above the front of plain "
        "prices at as many tokens; by level stand means over seeds, from the easiest.",
        markdown_table((*head, "Tokens by level"), rows),
    ]


def _row(last: Mapping[str, Mapping[str, np.ndarray]], arm: str) -> tuple[str, ...]:
    levels = [
        ", ".join(f"{last[arm][f'{kind}, level {i}'].mean():.{digits}f}" for i in range(LEVELS))
        for kind, digits in (("accuracy", 2), ("tokens", 1))
    ]
    cells = [_writing.cell(each) for each in (last[arm]["accuracy"], last[arm]["tokens"])]
    cells += [_writing.cell(gain(last, arm)), _writing.cell(last[arm]["idle tokens"])]
    return (arm, *cells, *levels)


def figure(last: Mapping[str, Mapping[str, np.ndarray]]) -> Any:
    """A cross for each arm: interquartile means and intervals of both; plain prices joined."""
    from jaxrl_reward.report import fronts, plots, statistics
    from jaxrl_reward.report import return_laws as draw

    made, grid = draw.sheet(1, 1, width=7.5, height=5.0)
    axes, middle = grid[0, 0], {}
    for i, (arm, values) in enumerate(last.items()):
        x, y = (statistics.stratified_bootstrap(values[k]) for k in ("tokens", "accuracy"))
        colour = plots.MUTED if arm in FRONT else plots.look(i)[0]
        axes.plot([x.low, x.high], [y.estimate] * 2, color=colour, linewidth=1.5)
        axes.plot([x.estimate] * 2, [y.low, y.high], color=colour, linewidth=1.5)
        axes.plot(x.estimate, y.estimate, "o", color=colour, markersize=4)
        middle[arm] = (x.estimate, y.estimate, colour)
    front = np.array(sorted(middle[arm][:2] for arm in FRONT if arm in middle))
    axes.plot(*front.T, color=plots.MUTED, linewidth=0.9, linestyle="--", zorder=0)
    axes.grid(color=plots.GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    seeds = len(next(iter(last.values()))["tokens"])
    title = f"Accuracy against tokens: IQM and 95 % interval, {seeds} seeds"
    draw.name(axes, title, "tokens of a response", "mean chance to be right")
    fronts.name_points(axes, middle)
    return made


experiment = Experiment(
    name="length",
    title="Prices on length",
    claim="Methods that price length for right answers only, or by truncation and batch "
    "whitening, are more accurate than a plain price on tokens at as many of them",
    source="; ".join(dict.fromkeys(SOURCES.values())),
    env=ENV,
    arms=tuple(Arm(arm, text) for arm, text in TEXTS.items()),
    agent="group_pg",
    config=SETTINGS,
    presets={
        "smoke": Preset(
            *(2, 2 * 16 * TOKENS),
            evals=1,
            config={"width": 4, "num_envs": 16, "group_size": 4, "warmup": 2},
            probe=partial(look, prompts=16),
        ),
        "quick": Preset(seeds=16, total_steps=150 * 128 * TOKENS, evals=6),
        "paper": Preset(
            *(32, 1000 * 512 * TOKENS),
            evals=6,
            config={"num_envs": 512},
            probe=partial(look, prompts=1024),
        ),
    },
    verdict=verdict,
    present=present,
    probe=look,
    mix=True,
    begin=_writing.shared,
    metric="accuracy",
)
