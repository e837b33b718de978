"""Heuristics that help, say nothing or do harm: added to the reward, or aligned by BARFI.

Five by five cells in four rooms, 1 for reaching the far corner. A policy gradient learns
from 32 episodes an update on the reward alone ("env"), on the sum of reward and heuristic
("added"), or on what BARFI makes of that sum, with one weight for each part; all play the
same number of episodes at the same learning rate. What is reported is the exact return of
the policy over that of the best. Alignment also learns how large the reward should be, which
a larger learning rate does as well: "16 env" shows how much of its speed that is.

Rates, regulariser and size of the world were chosen on seeds 1000 to 1003, not on those
reported. In the larger world (`size` 7) the harmful heuristic holds BARFI too: a policy that
never reaches the goal has no gradient to align with.
"""

from collections.abc import Mapping, Sequence
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
    compare,
)

SOURCE = "Gupta et al. 2023, Behavior Alignment via Reward Function Optimization, section 6"
GAMMA = 0.95
HEURISTICS = {
    "helpful": "0.1 for every step of a shortest way",
    "useless": "noise of size 0.05 for every state and action, drawn anew for each seed",
    "harmful": "0.3 for every step that starts where the episode does",
}
WAYS = {"added": False, "BARFI": True}
POINTS = 30


def heuristics(mdp: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Each heuristic's table, `[S, A]`."""
    from jaxrl_reward.tabular import planning

    q = planning.value_iteration(mdp, GAMMA).q
    noise = jax.random.normal(key, q.shape)
    return {
        "helpful": 0.1 * planning.optimal_actions(q),
        "useless": 0.05 * noise,
        "harmful": 0.3 * jnp.broadcast_to(mdp.start[:, None], q.shape),
    }


def measure(arms: Sequence[Arm], preset: Preset, keys: jax.Array, tick: Any) -> dict[str, Measured]:
    """Learns in all arms at once, those that align and those that do not in a program each."""
    from jaxrl_reward.design import barfi
    from jaxrl_reward.tabular import worlds

    given = {**experiment.config, **preset.config}
    mdp = worlds.make("rooms", size=given.pop("size"))
    at = np.linspace(0, preset.total_steps, POINTS + 1).round().astype(int)
    found, total = {}, len(arms) * POINTS
    for align in (False, True):
        chosen = [arm for arm in arms if arm.config["align"] == align]
        settings = barfi.Settings(align=align, gamma=GAMMA, **given)
        task, values = tasks(chosen, mdp, keys), []
        state = begin(settings, chosen, task, keys)
        for i in range(POINTS + 1):
            values.append(looked_at(settings, task, state))
            if i < POINTS:
                state = learn(settings, task, state, keys, at[i], at[i + 1])
            tick(len(found) * POINTS + len(chosen) * i, total)
        series = jax.tree.map(lambda *x: np.stack(x, -1), *values)
        steps = len(keys) * preset.total_steps * settings.episodes * settings.horizon
        for i, arm in enumerate(chosen):
            own = {name: each[i] for name, each in series.items()}
            own["mean share"] = np.cumsum(own["share"], -1) / np.arange(1, POINTS + 2)
            found[arm.name] = Measured(own, at.tolist(), steps)
    return found


def tasks(arms: Sequence[Arm], mdp: Any, keys: jax.Array) -> Any:
    """The task of each arm and seed: the same world with the heuristic, leaves `[arms, S, ...]`."""
    from jaxrl_reward.design import barfi

    def one(key: jax.Array) -> list[jax.Array]:
        every = heuristics(mdp, jax.random.fold_in(key, 0))
        return [every[arm.config["heuristic"]] for arm in arms]

    tables = jnp.stack(jax.vmap(one)(keys))
    same = jax.tree.map(lambda x: jnp.broadcast_to(x, (*tables.shape[:2], *x.shape)), mdp)
    return barfi.Task(same, tables)


def begin(settings: Any, arms: Sequence[Arm], task: Any, keys: jax.Array) -> Any:
    """The learners of each arm and seed; one weight for each part of the reward."""
    from jaxrl_reward.design import barfi

    def begun(weight: float, scale: float = 1.0, **_: Any) -> barfi.Mixing:
        mixing = barfi.naive((), GAMMA, weight)
        return mixing.replace(primary=scale * mixing.primary)

    each = [begun(**arm.config) for arm in arms]
    mixings = jax.tree.map(lambda *x: jnp.stack(x), *each)

    def one(task: Any, mixing: Any, key: jax.Array) -> Any:
        return barfi.start(settings, task, mixing, jax.random.fold_in(key, 1))

    over_seeds = jax.vmap(one, in_axes=(0, None, 0))
    return jax.vmap(over_seeds, in_axes=(0, 0, None))(task, mixings, keys)


@jax.jit
def learn(
    settings: Any, task: Any, state: Any, keys: jax.Array, start: jax.Array, end: jax.Array
) -> Any:
    """Updates `start` to `end` of every arm and seed."""
    from jaxrl_reward.design import barfi

    def one(task: Any, state: Any, key: jax.Array) -> Any:
        def step(i: jax.Array, state: Any) -> Any:
            return barfi.update(settings, task, state, jax.random.fold_in(key, 2 + i))

        return jax.lax.fori_loop(start, end, step, state)

    return jax.vmap(jax.vmap(one), in_axes=(0, 0, None))(task, state, keys)


@jax.jit
def looked_at(settings: Any, task: Any, state: Any) -> dict[str, jax.Array]:
    """What is measured of every arm and seed, `[arms, S]` each."""
    from jaxrl_reward.design import barfi, episodes
    from jaxrl_reward.tabular import planning

    def one(task: Any, state: Any) -> dict[str, jax.Array]:
        policy = jax.nn.softmax(state.logits)
        value = episodes.expected_return(task.mdp, policy, GAMMA, settings.horizon)
        best = planning.finite_horizon(task.mdp, settings.horizon, GAMMA).values[-1]
        return {
            "share": value / (best @ task.mdp.start),
            "weight of the heuristic": state.mixing.heuristic,
            "weight of the reward": state.mixing.primary,
            "discount": barfi.discount(state.mixing),
        }

    return jax.vmap(jax.vmap(one))(task, state)


def verdict(results: Results) -> Sequence[Verdict]:
    """The paper's: robust to a bad heuristic, and faster with a good one."""
    found = [
        compare(
            results,
            "harmful, BARFI",
            "env",
            margin=-0.05,
            claim="With a harmful heuristic BARFI ends no more than 0.05 below the reward alone",
            source=SOURCE,
        ),
        compare(
            results,
            "env",
            "harmful, added",
            claim="A harmful heuristic that is added leaves less than the reward alone",
            source=SOURCE,
        ),
    ]
    if "helpful, BARFI" not in results:
        return found
    helped = _shares.mean_share(results, "helpful, BARFI")
    return [
        *found,
        better(
            "With a helpful heuristic BARFI learns faster than the reward alone",
            "mean share over training, helpful, BARFI - env",
            helped,
            _shares.mean_share(results, "env"),
            source=SOURCE,
        ),
        better(
            "It learns faster than the reward alone at 16 times its size, too",
            "mean share over training, helpful, BARFI - 16 env",
            helped,
            _shares.mean_share(results, "16 env"),
            source="our check: alignment also learns how large a reward should be",
        ),
        compare(
            results,
            "useless, BARFI",
            "env",
            margin=-0.05,
            claim="With a useless heuristic BARFI ends no more than 0.05 below the reward alone",
            source=SOURCE,
        ),
    ]


def present(results: Results, path: Path) -> Sequence[str]:
    """A panel for each heuristic, with the reward alone in each, and a table of speeds."""
    from jaxrl_reward.report import panels

    curves = _shares.curves(results)
    shown: dict[str, Mapping[str, Any]] = {}
    for heuristic in HEURISTICS:
        arms = {way: curves.get(f"{heuristic}, {way}") for way in WAYS}
        arms = {name: curve for name, curve in arms.items() if curve is not None}
        if arms:
            arms |= {name: curves[name] for name in ("env", "16 env") if name in curves}
            shown[f"{heuristic} heuristic"] = arms
    panels.learning_curves(
        shown, path / "figure.png", title="BARFI", label="return / the best", axis="Updates"
    )
    lines = ["| Arm | Mean share over training | At the end |", "| -- | --: | --: |"]
    for name in results:
        lines.append("| " + " | ".join((name, *_shares.early_and_late(results, name))) + " |")
    meaning = ", ".join(f"{name}: {text}" for name, text in HEURISTICS.items())
    return [
        "![Share of the best return over updates, a panel for each heuristic](figure.png)",
        f"Heuristics: {meaning}.",
        "\n".join(lines),
    ]


experiment = Experiment(
    name="barfi",
    title="BARFI: heuristics aligned",
    claim="Alignment follows a heuristic that helps and leaves one that does harm, where adding "
    "a harmful one costs the task",
    source=SOURCE,
    env="tabular:rooms,size=5",
    arms=[
        Arm("env", config={"heuristic": "helpful", "align": False, "weight": 0.0}),
        Arm(
            "16 env", config={"heuristic": "helpful", "align": False, "weight": 0.0, "scale": 16.0}
        ),
        *(
            Arm(
                f"{heuristic}, {way}",
                config={"heuristic": heuristic, "align": align, "weight": 1.0},
            )
            for heuristic in HEURISTICS
            for way, align in WAYS.items()
        ),
    ],
    presets={
        "smoke": Preset(2, 60, arms=["env", "harmful, added", "harmful, BARFI"]),
        "quick": Preset(16, 300),
        "paper": Preset(64, 3000),
    },
    verdict=verdict,
    present=present,
    measure=measure,
    metric="share",
    axis="Updates",
    config={
        **{"size": 5, "horizon": 30, "episodes": 32, "rate": 0.5, "regular": 0.0005},
        **{"outer_rate": 0.2, "solver": "neumann", "iterations": 5, "step": 0.1},
    },
)
