"""Of the experiment `robust_iql`: data of each task, made once, and its corruptions.

    FOLDER/data/TASK/clean.npz             played by our SAC
    FOLDER/data/TASK/random-dynamics.npz   and so on

Each corruption is one fixed draw that all seeds and methods share. The adversary
is an EDAC agent that was trained on the clean data, without normalising it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl_reward.training.experiments.experiment import Arm, Preset

CLEAN = "clean"
KINDS, FIELDS = ("random", "adversarial"), ("obs", "action", "reward", "dynamics")
CORRUPTIONS = tuple(f"{kind} {field}" for kind in KINDS for field in FIELDS)
SETS = (CLEAN, *CORRUPTIONS)  # in the order of the setting `source`
LIGHT, SMALLEST = "gymnax:Pendulum-v1", "gymnax:Pendulum-v1,max_steps_in_episode=50"


@dataclass(frozen=True)
class Recipe:
    """How a task's data is made.

    Attributes:
      levels: what `collect` gives, one behind the other; rows in equal shares.
      rows: of all of them together.
      steps: of the behaviour's training.
      sac: its settings.
      attack: gradient steps of the adversary's training.
      edac: its settings.
      rate: share of the rows that a corruption changes.
      scale: by how many standard deviations at most.
      clip: bounds of RIQL's targets, in mean absolute rewards.
      numbers: settings of all agents with critics.
      riql: critics, quantile and delta of RIQL, by corruption, where not the usual ones.
    """

    levels: tuple[str, ...]
    rows: int
    steps: int
    sac: Mapping[str, Any]
    attack: int
    edac: Mapping[str, Any]
    rate: float = 0.3
    scale: float = 1.0
    clip: tuple[float, float] = (-20.0, 200.0)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    riql: Mapping[str, tuple[int, float, float]] = field(default_factory=dict)


_MUJOCO = {"num_envs": 8, "updates": 8, "hidden": (256, 256), "buffer_size": 1_000_000}
_MUJOCO = Recipe(
    levels=("medium-replay",),
    rows=400_000,
    steps=1_000_000,
    sac={**_MUJOCO, "critic_learning_rate": 3e-4, "normalize_obs": True},
    attack=1_000_000,
    edac={"critics": 10},
)
RECIPES = {
    "brax:hopper": _MUJOCO,
    "brax:walker2d": _MUJOCO,
    "brax:halfcheetah": _MUJOCO,
    # Rewards are costs, and targets below zero. With a discount of 0.99 an action's
    # advantage drowns in the critics' errors, and no method beats cloning on clean data.
    LIGHT: Recipe(
        levels=("medium-replay", "expert"),
        rows=8_000,
        steps=16_000,
        sac={"num_envs": 4, "updates": 4, "batch_size": 128, "hidden": (64, 64)},
        attack=5_000,
        edac={"critics": 4, "hidden": (64, 64), "batch_size": 128, "critic_learning_rate": 1e-3},
        scale=2.0,
        clip=(-200.0, 200.0),
        numbers={"target_rate": 0.05, "gamma": 0.9},
        riql={f"{kind} action": (5, 0.25, 100.0) for kind in KINDS},
    ),
    SMALLEST: Recipe(
        levels=("random",),
        rows=2_000,
        steps=1,
        sac={"num_envs": 1},
        attack=100,
        edac={"critics": 2, "hidden": (8,), "batch_size": 32},
        clip=(-200.0, 200.0),
    ),
}


def prepare(arms: Sequence[Arm], preset: Preset, folder: Path) -> dict[str, Any]:
    """The sets `SETS` of each arm's task, by arm."""
    del preset
    tasks = dict.fromkeys(str(arm.env) for arm in arms)
    made = {env: list(sets(env, folder / "data" / slug(env)).values()) for env in tasks}
    return {arm.name: made[str(arm.env)] for arm in arms}


def slug(env: str) -> str:
    """The task's name in files and arms: `hopper` for `brax:hopper`."""
    return env.split(":")[-1].split(",")[0]


def sets(env: str, folder: Path) -> dict[str, Any]:
    """The clean data and all its corruptions; what is in the folder is read."""
    from jaxrl_reward import data as datasets

    path = {name: folder / f"{name.replace(' ', '-')}.npz" for name in SETS}
    if not path[CLEAN].exists():
        datasets.save(collected(env), path[CLEAN])
    found = {CLEAN: datasets.load(path[CLEAN])}
    missing = [name for name in CORRUPTIONS if not path[name].exists()]
    attacker = None
    if any(name.startswith("adversarial") for name in missing):
        attacker = adversary(env, found[CLEAN])
    for name in missing:
        datasets.save(corrupted(env, found[CLEAN], name, attacker), path[name])
    return found | {name: datasets.load(path[name]) for name in CORRUPTIONS}


def collected(env: str) -> Any:
    """Clean data by the task's recipe."""
    import dataclasses

    from jaxrl_reward import agents, collecting
    from jaxrl_reward import data as datasets

    recipe = RECIPES[env]
    settings = collecting.Settings(
        rows=recipe.rows // len(recipe.levels), total_steps=recipe.steps, eval_episodes=8
    )
    agent = agents.make("sac", env, **recipe.sac)
    found = collecting.collect(agent, recipe.levels, settings, progress=False)
    parts = list(found.datasets.values())
    fields = ("obs", "action", "reward", "next_obs", "first", "terminated", "truncated")
    arrays = {
        name: np.concatenate([np.asarray(getattr(part.steps, name)) for part in parts])
        for name in fields
    }
    level = " + ".join(recipe.levels)
    return datasets.make(arrays, dataclasses.replace(parts[0].provenance, level=level))


def adversary(env: str, clean: Any) -> Any:
    """Values and policy of an EDAC agent that was trained on the clean data."""
    from jaxrl_reward import agents, training
    from jaxrl_reward import data as datasets
    from jaxrl_reward.agents.from_data import edac

    recipe = RECIPES[env]
    agent = agents.make("edac", env, data=clean, **recipe.numbers, **recipe.edac)
    trained = training.train(
        agent, seeds=1, total_steps=recipe.attack, evals=1, eval_episodes=8, progress=False
    )
    return datasets.Attacker(*edac.attacker(agent, training.select_seed(trained.state, 0)))


def corrupted(env: str, clean: Any, name: str, attacker: Any) -> Any:
    """One corruption. Random rewards are as large as seven mean ones, either way."""
    from jaxrl_reward import data as datasets

    kind, field = name.split(" ")
    recipe = RECIPES[env]
    key = jax.random.fold_in(jax.random.key(0), SETS.index(name))
    return datasets.corrupt(
        clean,
        key,
        kind,
        field,
        recipe.rate,
        recipe.scale,
        attacker=attacker,
        reward_range=float(datasets.relative_range(clean.steps)),
    )
