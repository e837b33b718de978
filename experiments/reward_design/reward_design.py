"""Rewards designed by a teacher or by the learner: how fast small learners learn from them.

A chain, four rooms and a line with a key, each paying in one place. "potential" is the
optimal value as a potential, "ExpRD" pays in a few states that a teacher chose, "adaptive"
is designed anew for each learner's policy every so often, and "EXPLORS" is made by the
learner alone. What is reported is the exact return of the learner's policy over the best.

Q-learning goes back from each episode's end, which makes even the plain reward fast, and
EXPLORS' bonus, which moves, slow. On a short key REINFORCE learns, as in EXPLORS' paper. Sizes,
rates, the number of paying states and the size of EXPLORS' bonus were chosen on seeds 1000 to
1003, not on those reported.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import _shares
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Measured,
    Preset,
    Results,
    Verdict,
    better,
)

SOURCE = "Devidze 2025, Reward Design for Reinforcement Learning Agents"
# World, its options, horizon and discount.
WORLDS: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "chain": ("chain", {"right": 12, "left": 24}, 36, 0.95),
    "rooms": ("rooms", {"size": 7}, 30, 0.95),
    "key": ("line_key", {"length": 14}, 45, 0.95),
    "short key": ("line_key", {"length": 10}, 30, 0.95),
}
DESIGNS = ("none", "potential", "ExpRD", "adaptive", "EXPLORS")
REINFORCE = {"kind": "reinforce", "scale": 1.0}  # EXPLORS as in its paper
PAYING = 8  # states that ExpRD may choose
POINTS = 20


def measure(arms: Sequence[Arm], preset: Preset, keys: jax.Array, tick: Any) -> dict[str, Measured]:
    """Learns in one arm after another; arms of one world share their program."""
    found: dict[str, Measured] = {}
    for i, arm in enumerate(arms):
        given = {**experiment.config, **preset.config, **arm.config}
        tick(i, len(arms))
        found[arm.name] = measured(given, preset, keys)
    tick(len(arms), len(arms))
    return found


def measured(given: Mapping[str, Any], preset: Preset, keys: jax.Array) -> Measured:
    """One arm."""
    from jaxrl_reward import design
    from jaxrl_reward.design import explors, learners
    from jaxrl_reward.tabular import planning, worlds

    name, options, horizon, gamma = WORLDS[given["world"]]
    mdp = worlds.make(name, **options)
    settings = learners.Settings(
        given["kind"], horizon, given["episodes"], rate=given["rate"], gamma=gamma
    )
    if given["design"] == "EXPLORS":
        clip = float("inf") if given["kind"] == "reinforce" else given["clip"]
        settings = settings.replace(
            explors=explors.Explors(given["scale"], given["scale"], clip=clip)
        )
    to = design.target(mdp, gamma)
    reward = jnp.stack([designed(given["design"], mdp, to)] * len(keys))
    learner = jax.vmap(lambda _: learners.start(mdp))(keys)
    best = float(planning.finite_horizon(mdp, horizon, gamma).values[-1] @ mdp.start)
    at = np.linspace(0, preset.total_steps, POINTS + 1).round().astype(int)
    values = []
    for i in range(POINTS + 1):
        values.append(np.asarray(valued(settings, learner, mdp)) / best)
        if i < POINTS:
            if given["design"] == "adaptive":
                reward = adapted(settings, learner, mdp, to)
            learner = learn(settings, learner, keys, mdp, reward, at[i], at[i + 1])
    shares = np.stack(values, -1)
    speed = np.cumsum(shares, -1) / np.arange(1, POINTS + 2)
    steps = len(keys) * preset.total_steps * settings.episodes * horizon
    return Measured(
        {"share": shares, "mean share": speed}, (at * settings.episodes).tolist(), steps
    )


def designed(name: str, mdp: Any, to: Any) -> jax.Array:
    """What a design pays for each outcome before learning begins, `[S, A, K]`."""
    from jaxrl_reward import design
    from jaxrl_reward.tabular import planning

    if name == "potential":
        values = planning.value_iteration(mdp, to.gamma).values
        after = jnp.where(mdp.ends, 0.0, values[mdp.successor])
        return mdp.reward + to.gamma * after - values[:, None, None]
    if name == "ExpRD":
        return design.paying(mdp, design.exprd(to, PAYING).reward).reward
    return mdp.reward


def adapted(settings: Any, learner: Any, mdp: Any, to: Any) -> jax.Array:
    """What the teacher pays each seed for its policy, `[seeds, S, A, K]`."""
    from jaxrl_reward import design
    from jaxrl_reward.design import learners

    policies = np.asarray(jax.vmap(partial(learners.policy, settings))(learner))
    tables = [design.paying(mdp, design.adapted(to, policy)).reward for policy in policies]
    return jnp.stack(tables)


@jax.jit
def learn(
    settings: Any,
    learner: Any,
    keys: jax.Array,
    mdp: Any,
    reward: jax.Array,
    start: jax.Array,
    end: jax.Array,
) -> Any:
    """Updates `start` to `end` of every seed."""
    from jaxrl_reward.design import learners

    def one(learner: Any, key: jax.Array, reward: jax.Array) -> Any:
        def step(i: jax.Array, learner: Any) -> Any:
            return learners.update(settings, learner, jax.random.fold_in(key, i), mdp, reward)

        return jax.lax.fori_loop(start, end, step, learner)

    return jax.vmap(one)(learner, keys, reward)


@jax.jit
def valued(settings: Any, learner: Any, mdp: Any) -> jax.Array:
    """The exact return of every seed's policy in the task, `[seeds]`."""
    from jaxrl_reward.design import learners

    return jax.vmap(lambda each: learners.value(settings, each, mdp))(learner)


# ---- what it shows ----------------------------------------------------------------------


def worlds_of(results: Results) -> list[str]:
    """The worlds that the preset has."""
    return [world for world in WORLDS if f"{world}: none" in results]


def verdict(results: Results) -> Sequence[Verdict]:
    """Every design is learnt from faster than the task's reward, in every world."""
    found = []
    for world in worlds_of(results):
        there = [name for name in DESIGNS[1:] if f"{world}: {name}" in results]
        found += [faster(results, world, name, "none") for name in there]
        if {"adaptive", "ExpRD"} <= set(there):
            found.append(faster(results, world, "adaptive", "ExpRD"))
    return found


def faster(results: Results, world: str, high: str, low: str) -> Verdict:
    """Whether one design is learnt from faster than another: the mean share over training."""
    x, y = (_shares.mean_share(results, f"{world}: {name}") for name in (high, low))
    what = f"mean share over training, {high} - {low}"
    beaten = "the task's own reward" if low == "none" else low
    claim = f"{world}: {high} is learnt from faster than {beaten}"
    return better(claim, what, x, y, source=SOURCE)


def present(results: Results, path: Path) -> Sequence[str]:
    """Curves of every world, and a table of how fast and how well each design is learnt from."""
    from jaxrl_reward.report import panels

    curves = _shares.curves(results)
    shown = {
        world: {name: curves[arm] for name in DESIGNS if (arm := f"{world}: {name}") in curves}
        for world in worlds_of(results)
    }
    panels.learning_curves(
        shown,
        path / "figure.png",
        title="Designed rewards",
        label="return / the best",
        axis="Episodes",
    )
    lines = [
        "| World | Design | Mean share over training | At the end |",
        "| -- | -- | --: | --: |",
    ]
    for name in results:
        world, _, made = name.partition(": ")
        early, late = _shares.early_and_late(results, name)
        lines.append(f"| {world} | {made} | {early} | {late} |")
    return [
        "![Share of the best return over episodes, a panel for each world](figure.png)",
        "\n".join(lines),
    ]


experiment = Experiment(
    name="reward_design",
    title="Designed rewards",
    claim="Rewards designed for what they say, with the task's optimal policies, are learnt "
    "from faster than a reward that pays in one place",
    source=SOURCE,
    env="",
    arms=[
        *(
            Arm(f"{world}: {name}", config={"world": world, "design": name})
            for world in ("chain", "rooms", "key")
            for name in DESIGNS
        ),
        *(
            Arm(f"short key: {name}", config={"world": "short key", "design": name, **REINFORCE})
            for name in ("none", "EXPLORS")
        ),
    ],
    presets={
        "smoke": Preset(2, 60, arms=["key: none", "key: potential", "key: adaptive"]),
        "quick": Preset(16, 200),
        "paper": Preset(64, 3000),
    },
    verdict=verdict,
    present=present,
    measure=measure,
    metric="share",
    axis="Episodes",
    config={"kind": "q_learning", "episodes": 4, "rate": 0.1, "scale": 0.05, "clip": 0.01},
)
