"""Submodular RL: what diminishing returns ask of the learner, and of what the policy sees.

Every arm is scored by F of the states that it visits, which is the environments'
own reward; they differ in what they learn from. SubPO-M and SubPO-NM follow the
marginal gains of F, the second seeing what it has visited; ModPO is paid F of
single states, revisits again. Two arms are not the paper's comparison: `driver`
weighs actions as the authors' program does, by F so far, and `PPO-NM` is PPO on
SubPO-NM's reward, whose likeliest actions count.

As in the paper, a policy's value is that of its drawn actions: the likeliest ones
of a policy that is still random may go in circles. `random` is SubPO-M before
training, whose actions are uniform but for last weights a hundredth of the usual.
`quick` leaves out what would be more of the same: other maps to cover, and PPO.
On maps of 900 cells the policy sees the path as the paper's does, on the others
the memory of F. Batches are a tenth of the paper's, on all presets but `paper`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_reward.training.experiments.experiment import (
    Arm,
    Experiment,
    Preset,
    Results,
    Verdict,
    compare,
    exceeds,
)
from jaxrl_reward.training.record.metrics import Rows

SOURCE = "Prajapat et al. 2024 (ICLR), Submodular Reinforcement Learning"
DRAWN = {"greedy": False}
ONE_ROOM = 40.0  # cells of one room and all of the corridor: more is of both rooms
WIDTH = 64  # walks that the beam search keeps


class Task(NamedTuple):
    """One environment.

    Attributes:
      env: its name.
      history: arguments of `marginal_gain`: what SubPO-NM sees.
      figure: of the paper.
      config: settings of all arms.
    """

    env: str
    history: str
    figure: str
    config: Mapping[str, Any] = {}


MEMORY, PATH = "", ", observed='path', scale=900"
TASKS = {
    "two rooms": Task("grid:two_rooms", MEMORY, "figure 5a"),
    "path planning": Task("grid:path_planning", PATH, "figure 3"),
    "nests": Task("grid:nests", PATH, "figure 3"),
    "item collection": Task("grid:item_collection", MEMORY, "figure 3"),
    "Steiner covering": Task("grid:steiner", MEMORY, "section 6"),
    "experiment design": Task("grid:experiment_design", PATH, "figure 3"),
    "bimodal": Task("grid:bimodal", PATH, "the authors' program"),
    "coverage": Task(
        "grid:coverage", PATH.replace("900", "900, length=80"), "the authors' program"
    ),
    "disc": Task("arena:disc", MEMORY, "figure 5c, on a point mass"),
}
HEAT_MAPS = ("two rooms", "path planning", "item collection")
METHODS = ("SubPO-NM", "SubPO-M", "ModPO")
QUICK = ("two rooms", "path planning", "item collection", "experiment design", "disc")


def arms_of(name: str, task: Task) -> list[Arm]:
    """The three methods on a task."""
    env, blind = task.env, {**DRAWN, **task.config}
    seen = {**blind, "placement": "step"}
    gains = f"marginal_gain('{env}'{task.history})"
    return [
        Arm(f"{name}: SubPO-NM", gains, env=env, config=seen),
        Arm(f"{name}: SubPO-M", "env", env=env, config=blind),
        Arm(f"{name}: ModPO", f"modular('{env}')", env=env, config=blind),
    ]


def more_arms() -> list[Arm]:
    """What the paper does not compare."""
    rooms, plan = TASKS["two rooms"], TASKS["path planning"]
    driver = {**DRAWN, **plan.config, "credit": "cumulative", "baseline": "none"}
    ppo = {
        **{"placement": "step", "num_steps": 39, "epochs": 4, "minibatches": 4},
        **{"gamma": 1.0, "gae_lambda": 0.95, "learning_rate": 2e-3, "entropy_coef": 0.01},
    }
    gains = f"marginal_gain('{rooms.env}') | scale(0.1)"
    return [
        Arm("path planning: driver", "env", env=plan.env, config=driver),
        Arm("two rooms: PPO-NM", gains, agent="ppo", env=rooms.env, config=ppo),
    ]


# ---- verdicts ---------------------------------------------------------------------


def played(results: Results) -> dict[str, Task]:
    """The tasks that the preset has: only `paper` has all."""
    return {name: task for name, task in TASKS.items() if f"{name}: SubPO-M" in results}


def verdict(results: Results) -> Sequence[Verdict]:
    """The paper's orderings, and two of ours."""
    found = []
    for name, task in played(results).items():
        source = f"{SOURCE}, {task.figure}"
        better = [("SubPO-M", "ModPO"), ("SubPO-NM", "ModPO")]
        if name == "item collection":
            better.append(("SubPO-NM", "SubPO-M"))
        if name == "two rooms":
            better = [("SubPO-NM", "SubPO-M"), ("SubPO-NM", "ModPO")]
        for high, low in better:
            claim = f"{name}: {high} reaches a higher F than {low}"
            found.append(
                compare(results, f"{name}: {high}", f"{name}: {low}", claim=claim, source=source)
            )
    source = f"{SOURCE}, figure 5a"
    claim = "two rooms: SubPO-NM sees both rooms (F above 40)"
    found.append(exceeds(results, "two rooms: SubPO-NM", ONE_ROOM, claim=claim, source=source))
    claim = "two rooms: SubPO-M is stuck in one room (F below 40)"
    stuck = exceeds(
        results, "two rooms: SubPO-M", ONE_ROOM, expected=False, claim=claim, source=source
    )
    found.append(stuck)
    if "path planning" not in played(results):
        return found
    found.append(
        compare(
            results,
            "path planning: SubPO-M",
            "path planning: driver",
            claim="path planning: the paper's estimator reaches more than its program's weights",
            source="our ablation; section 4 of the paper against its public code",
        )
    )
    return found


# ---- figures ----------------------------------------------------------------------


def study(arm: Arm, agent: Any, state: Any) -> Mapping[str, Any]:
    """Where the arm went, and beside the blind one what needs no learning, of its task."""
    task, _, method = arm.name.partition(": ")
    mapped, first = task in HEAT_MAPS and method in METHODS, method == "SubPO-M"
    found: dict[str, Any] = {"searched": searched(agent.env) if first else None}
    found["visits"] = visits(agent, state) if mapped else None
    found["random"] = visits(agent, None) if mapped and first else None
    return found


def present(results: Results, path: Path) -> Sequence[str]:
    """Curves of every task, maps of where the arms went, and what searches find."""
    from jaxrl_reward.report import panels, plots

    best = {name: results[f"{name}: SubPO-M"].study["searched"] for name in played(results)}
    curves = plots.curves(Rows.concatenate([r.curves for r in results.values()]).table)
    tasks: dict[str, dict[str, Any]] = {name: {} for name in best}
    for arm, curve in curves.items():
        task, _, method = arm.partition(": ")
        tasks[task][method] = curve
    for arms in tasks.values():
        arms["random"] = untrained(arms["SubPO-M"])
    reached = {name: ("beam search", value[1]) for name, value in best.items() if value}
    panels.learning_curves(
        tasks,
        path / "figure.png",
        title="Submodular RL: F of the states visited",
        label="F of an episode",
        best=reached,
    )
    maps = {}
    for name in (each for each in HEAT_MAPS if each in best):
        arms = {method: results[f"{name}: {method}"].study for method in METHODS}
        maps[name] = {method: arm["visits"] for method, arm in arms.items()}
        maps[name]["random"] = arms["SubPO-M"]["random"]
    panels.heat_maps(
        maps,
        path / "visits.png",
        title="Where the agents went",
        note="Mean over seeds of one episode, after training or at random; the start is a dot",
    )
    return [
        "![F of an episode over environment steps, a panel for each task](figure.png)",
        "![Visits of each cell, a row for each task and a column for each method](visits.png)",
        "Best walks that searches on the known map find, beside what was learned without it "
        f"(greedy: the largest next gain; beam: {WIDTH} walks are kept):",
        table(results, best),
    ]


def untrained(curve: Any) -> Any:
    """A curve's beginning, drawn out to its last step."""
    ends = {part: getattr(curve, part)[[0, 0]] for part in ("estimate", "low", "high")}
    return curve._replace(step=curve.step[[0, -1]], **ends)


def searched(env: Any) -> tuple[float, float] | None:
    """F of the myopic walk and of a beam search's, None where there is no grid to search."""
    from jaxrl_reward import submodular

    if not env.name.startswith("grid:"):
        return None
    task = env.environment.task
    return submodular.oracles.greedy(task).value, submodular.oracles.beam(task, WIDTH).value


def visits(agent: Any, states: Any) -> Any:
    """How often a policy is in each cell, the mean over seeds; at random without states."""
    from jaxrl_reward.agents.common import playing
    from jaxrl_reward.render import rollout
    from jaxrl_reward.report import panels

    env, task = agent.env, agent.env.environment.task
    states = () if states is None else states

    def walk(state: Any, key: jax.Array) -> jax.Array:
        policy = rollout.greedy(agent, state, draw=True) if states else rollout.random(env)

        def step(now: Any, key: jax.Array) -> Any:
            now, seen = playing.step(env, policy, now, key[None], key)
            return now, seen.info["cell"][0]

        start = playing.begin(env, policy, key[None], key)
        return jax.lax.scan(step, start, jax.random.split(key, task.steps))[1]

    seeds = jax.tree.leaves(states)[0].shape[0] if states else 16
    keys = jax.random.split(jax.random.key(0), seeds)
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
    walks = jax.jit(jax.vmap(walk), compiler_options=quick)(states, keys)
    counts = np.bincount(np.asarray(walks).reshape(-1), minlength=task.cells) / seeds
    counts[task.start] += 1
    shape = (task.rows, task.cols)
    walls = np.asarray(task.walls).reshape(shape)
    return panels.Map(counts.reshape(shape), walls, divmod(task.start, task.cols))


def table(results: Results, best: Mapping[str, tuple[float, float] | None]) -> str:
    """A line for each task: the means of the methods beside what searches find."""
    from jaxrl_reward.report import statistics, tables

    head = ("Task", *METHODS, "random", "greedy search", "beam search")
    lines = [head, ("--",) + ("--:",) * (len(head) - 1)]
    for name in best:
        finals = [results[f"{name}: {method}"].returns for method in METHODS]
        start = results[f"{name}: SubPO-M"].curves.curve("return")[1][:, 0]
        means = [float(statistics.iqm(values)) for values in (*finals, start)]
        found = best[name]
        searches = (tables.number(value, 1.0) for value in found) if found else ("", "")
        lines.append((name, *(tables.number(mean, 1.0) for mean in means), *searches))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


experiment = Experiment(
    name="submodular_rl",
    title="Submodular RL",
    claim="Policies that follow marginal gains cover more than those paid for single states, "
    "and where the way back matters they must see what they have visited",
    source=SOURCE,
    env="grid:two_rooms",
    agent="subpo",
    arms=[*(arm for name, task in TASKS.items() for arm in arms_of(name, task)), *more_arms()],
    presets={
        "smoke": Preset(
            *(2, 4 * 16 * 39),
            evals=2,
            eval_episodes=2,
            config={"num_envs": 16},
            arms=[f"two rooms: {method}" for method in METHODS],
        ),
        "quick": Preset(
            *(16, 100 * 64 * 39),
            config={"num_envs": 64},
            arms=[
                *(f"{task}: {method}" for task in QUICK for method in METHODS),
                "path planning: driver",
            ],
        ),
        "paper": Preset(20, 150 * 500 * 39, config={"num_envs": 500}),
    },
    verdict=verdict,
    study=study,
    present=present,
    config={"learning_rate": 1e-2},
)
