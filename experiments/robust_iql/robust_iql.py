"""Offline RL from corrupted data: what of robust IQL makes it robust.

A part of the data's observations, actions, rewards or successors is wrong, by
chance or by an adversary's choice. IQL imitates and is sturdy, but for wrong
successors; RIQL normalises observations, takes Huber's loss and a quantile of
several critics. The arms take these away one by one: `IQL+norm` is IQL with the
first only, `-norm`, `-Huber` and `-quantile` are RIQL without one (without the
quantile: the minimum of two critics, as IQL's).

Methods with as many critics, on all data sets of a task, are lanes of one program.
`paper` has the paper's tasks and settings, but for brax's robots and data that our
SAC plays. `quick` has one light task, Pendulum, small networks, 8,000 updates and 8,000
rows, of which half are an expert's. It departs from the paper where a short run must:
what is wrong is wrong by twice as much, the slow critics follow ten times as fast, as it
is over many backups that values run away, and the discount is 0.9. This and the delta of
100 for wrong actions (the authors' for hopper) was chosen by scores of other seeds on other
data. At 0.95 and 0.99 values run away further, but there RIQL is far below IQL on clean data.
Scores are 100 for the behaviour's final policy and 0 for random actions.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import _robust_iql_data as data
import _robust_iql_report as report
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    better,
)
from jaxrl_reward.training.runs import Run

SOURCE = "Yang et al. 2024 (ICLR), Towards Robust Offline RL under Diverse Data Corruption"
DYNAMICS = "random dynamics"
NEAR = 5.0  # points of score that count as not below

# What a method changes in the agent of its arm; None of RIQL's own is the task's.
NORM, HUBER, QUANTILE = {"normalize_obs": True}, ("huber_delta",), ("quantile",)
PAIRS = {
    "IQL": (),
    "IQL+norm": ("norm",),
    "-quantile": ("norm", "huber"),
}
ENSEMBLES = {
    "RIQL": ("norm", "huber", "quantile"),
    "-norm": ("huber", "quantile"),
    "-Huber": ("norm", "quantile"),
}
ALL = {**PAIRS, **ENSEMBLES}
MAIN = ("IQL", "RIQL")
# Where ablations and EDAC are looked at in `quick`; the other methods are on all sets.
FEW = ("clean", DYNAMICS, "adversarial dynamics")
UNLISTED = (5, 0.25, 1.0)  # critics, quantile and delta where the authors name none


def chosen(env: str, corruption: str) -> tuple[int, float, float]:
    """RIQL's critics, quantile and delta: the authors' for the task, else their usual ones."""
    from jaxrl_reward.agents.from_data import riql

    if corruption in data.RECIPES[env].riql:
        return data.RECIPES[env].riql[corruption]
    table = riql.TASKS.get(data.slug(env), {})
    if corruption not in table:
        return UNLISTED
    found = riql.settings(data.slug(env), corruption)
    return found["critics"], found["quantile"], found["huber_delta"]


def points(methods: Mapping[str, Sequence[str]], few: bool, agent: Any) -> list[Run]:
    """The methods on the sets of a task, for those with the agent's number of critics."""
    rows = np.asarray(agent.data.rows)[: agent.data.count]
    size = float(np.abs(rows[:, -2]).mean())  # of a reward, clean
    clip = data.RECIPES[agent.env.name].clip
    found = []
    for method, parts in methods.items():
        for source, corruption in enumerate(data.SETS):
            critics, quantile, delta = chosen(agent.env.name, corruption)
            if few and method not in MAIN and corruption not in FEW:
                continue
            if "quantile" in parts and critics != agent.config.critics:
                continue
            settings: dict[str, Any] = {"source": source, "normalize_obs": "norm" in parts}
            if "huber" in parts:
                settings["huber_delta"] = delta
            if "quantile" in parts:
                settings["quantile"] = quantile
            if parts and parts != ("norm",):
                settings |= {"target_low": clip[0] * size, "target_high": clip[1] * size}
            config = agent.config.replace(**settings)
            found.append(Run(name(agent, method, corruption), agent, settings=config))
    return found


def alone(method: str, few: bool, agent: Any) -> list[Run]:
    """One method without settings of its own on the sets of a task."""
    return [
        Run(name(agent, method, corruption), agent, settings=agent.config.replace(source=i))
        for i, corruption in enumerate(data.SETS)
        if corruption in FEW or not few
    ]


def name(agent: Any, method: str, corruption: str) -> str:
    """Of an arm: `hopper RIQL: random dynamics`."""
    return f"{data.slug(agent.env.name)} {method}: {corruption}"


def arms_of(env: str, steps: int, few: bool = False) -> list[Arm]:
    """One arm for each structure; its points are the arms of the report.

    Args:
      env: the task.
      steps: in which the policy's learning rate falls.
      few: leave out what `FEW` leaves out.
    """
    task, falls = env.split(":")[-1], {"policy_decay": float(steps)}
    numbers = data.RECIPES[env].numbers
    counts = sorted({chosen(env, corruption)[0] for corruption in data.SETS})
    lanes: list[tuple[str, str, Mapping[str, Any], Callable[[Any], Sequence[Run]]]] = [
        (
            f"{task}, 2 critics",
            "iql",
            {**falls, **numbers, "critics": 2},
            partial(points, PAIRS, few),
        ),
        *(
            (
                f"{task}, {k} critics",
                "iql",
                {**falls, **numbers, "critics": k},
                partial(points, ENSEMBLES, few),
            )
            for k in counts
        ),
        (f"{task}, BC", "bc", falls, partial(alone, "BC", False)),
        (
            f"{task}, EDAC",
            "edac",
            {**numbers, **data.RECIPES[env].edac},
            partial(alone, "EDAC", few),
        ),
    ]
    return [
        Arm(arm, agent=agent, env=env, config=config, points=made)
        for arm, agent, config, made in lanes
    ]


# ---- verdicts -------------------------------------------------------------------------


def verdict(results: Results) -> Sequence[Verdict]:
    """The paper's claims, for each task."""
    tasks = dict.fromkeys(arm.split(" ", 1)[0] for arm in results)
    return [each for task in tasks for each in _judged(task, results)]


def _judged(task: str, results: Results) -> list[Verdict]:
    def returns(method: str, corruption: str) -> np.ndarray | None:
        found = results.get(f"{task} {method}: {corruption}")
        return None if found is None else report.scores(found)

    def versus(high: str, low: str, corruption: str, claim: str, margin: float) -> None:
        x, y = returns(high, corruption), returns(low, corruption)
        if x is not None and y is not None:
            what = f"score of {high} less {low}, {corruption}"
            found.append(better(f"{task}: {claim}", what, x, y, margin, source=SOURCE))

    found: list[Verdict] = []
    versus("RIQL", "IQL", DYNAMICS, "RIQL is above IQL where successors are wrong by chance", 0.0)
    for corruption in data.SETS:
        if corruption != DYNAMICS:
            claim = f"RIQL is not more than {NEAR:g} points below IQL: {corruption}"
            versus("RIQL", "IQL", corruption, claim, -NEAR)
    for method in ("-norm", "-Huber", "-quantile"):
        claim = f"RIQL loses without its part ({method}) where successors are wrong"
        versus("RIQL", method, DYNAMICS, claim, 0.0)
    versus("IQL+norm", "IQL", DYNAMICS, "Normalising alone helps IQL as well", 0.0)
    tails = {
        corruption: report.kurtosis(results[f"{task} IQL: {corruption}"])
        for corruption in (data.CLEAN, DYNAMICS)
        if f"{task} IQL: {corruption}" in results
    }
    if len(tails) == 2:
        claim = f"{task}: targets have a heavier tail where successors are wrong"
        what = "kurtosis of IQL's targets, random dynamics less clean"
        found.append(better(claim, what, tails[DYNAMICS], tails[data.CLEAN], source=SOURCE))
    return found


# ---- what is trained ------------------------------------------------------------------

PAPER = ("brax:hopper", "brax:walker2d", "brax:halfcheetah")
GROUPS = {
    "smoke": arms_of(data.SMALLEST, 40, few=True),
    "quick": arms_of(data.LIGHT, 8_000, few=True),
    "paper": [arm for env in PAPER for arm in arms_of(env, 3_000_000)],
}
_NAMES = {preset: tuple(arm.name for arm in arms) for preset, arms in GROUPS.items()}
_SMALL = {"hidden": (64, 64), "batch_size": 128}

experiment = Experiment(
    name="robust_iql",
    title="Robust IQL on corrupted data",
    claim="IQL is sturdy under corrupted data but for its dynamics, which RIQL repairs",
    source=SOURCE,
    env=data.LIGHT,
    agent="iql",
    arms=tuple(arm for arms in GROUPS.values() for arm in arms),
    presets={
        "smoke": Preset(
            seeds=2,
            total_steps=40,
            evals=1,
            eval_episodes=1,
            config={"hidden": (8,), "batch_size": 16, "updates": 20},
            arms=_NAMES["smoke"],
        ),
        "quick": Preset(
            seeds=6,
            total_steps=8_000,
            seed=100,
            evals=1,
            eval_episodes=8,
            config={**_SMALL, "updates": 100, "learning_rate": 1e-3},
            arms=_NAMES["quick"],
        ),
        "paper": Preset(
            seeds=4,
            total_steps=3_000_000,
            seed=100,
            evals=30,
            eval_episodes=10,
            arms=_NAMES["paper"],
        ),
    },
    verdict=verdict,
    present=report.present,
    prepare=data.prepare,
    study=report.study,
)
