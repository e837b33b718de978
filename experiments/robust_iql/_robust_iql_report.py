"""Of the experiment `robust_iql`: scores, the table beside the paper's, the figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _robust_iql_data as data
import numpy as np

from jaxrl_reward.files import write_atomic
from jaxrl_reward.training.experiments.experiment import Arm, Results
from jaxrl_reward.training.record.result import Result
from jaxrl_reward.training.record.write_up import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("BC", "EDAC", "IQL", "RIQL")
ABLATIONS = ("IQL+norm", "-norm", "-Huber", "-quantile")

# Normalised scores of BC, EDAC, IQL and RIQL on D4RL's medium-replay-v2 data, as
# reprinted by TRACER (NeurIPS 2024), tables of random and adversarial corruption.
PAPER: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "halfcheetah": {
        "random obs": (33.4, 2.1, 21.4, 27.3),
        "random action": (36.2, 47.4, 42.2, 42.9),
        "random reward": (35.8, 38.6, 42.3, 43.6),
        "random dynamics": (35.8, 1.5, 36.7, 43.1),
        "adversarial obs": (34.5, 1.1, 32.6, 35.7),
        "adversarial action": (14.0, 32.7, 27.5, 31.7),
        "adversarial reward": (35.8, 40.3, 42.6, 44.1),
        "adversarial dynamics": (35.8, -1.3, 26.7, 35.8),
    },
    "walker2d": {
        "random obs": (9.6, -0.2, 27.2, 28.4),
        "random action": (18.1, 83.2, 71.3, 84.6),
        "random reward": (16.0, 4.3, 65.3, 83.2),
        "random dynamics": (16.0, -0.1, 17.7, 78.2),
        "adversarial obs": (12.7, 0.0, 37.7, 70.0),
        "adversarial action": (5.4, 41.9, 27.5, 66.1),
        "adversarial reward": (16.0, 57.3, 73.5, 85.0),
        "adversarial dynamics": (16.0, 4.3, -0.1, 60.6),
    },
    "hopper": {
        "random obs": (21.5, 1.0, 52.0, 62.4),
        "random action": (22.8, 100.8, 76.3, 90.6),
        "random reward": (19.5, 2.6, 69.7, 84.8),
        "random dynamics": (19.5, 0.8, 1.3, 51.5),
        "adversarial obs": (21.6, 36.2, 32.8, 50.8),
        "adversarial action": (15.5, 25.7, 37.9, 63.6),
        "adversarial reward": (19.5, 21.2, 57.3, 65.8),
        "adversarial dynamics": (19.5, 0.6, 1.3, 65.7),
    },
}


def study(arm: Arm, agent: Any, state: Any) -> tuple[float, float, str]:
    """The returns of random actions and of the behaviour's final policy, and the task."""
    del arm, state
    known = agent.data_origin[0]
    if known.random_return is None or known.expert_return is None:
        return 0.0, 100.0, agent.env.name  # then a score is the return
    return known.random_return, known.expert_return, agent.env.name


def scores(result: Result) -> np.ndarray:
    """Normalised final returns, `[S]`."""
    low, high, _ = result.study
    return 100.0 * (result.returns - low) / (high - low)


def kurtosis(result: Result) -> np.ndarray:
    """Of the critics' targets in a batch, the mean over the run's log points, `[S]`."""
    return result.curves.curve("target_kurtosis")[1].mean(axis=1)


def by_task(results: Results) -> dict[str, dict[str, dict[str, Result]]]:
    """Results by task, method and corruption."""
    found: dict[str, dict[str, dict[str, Result]]] = {}
    for arm, result in results.items():
        task, _, rest = arm.partition(" ")
        method, _, corruption = rest.partition(": ")
        found.setdefault(task, {}).setdefault(method, {})[corruption] = result
    return found


def present(results: Results, folder: Path) -> Sequence[str]:
    """A table for each task, its figure, and the tails of the targets."""
    found = by_task(results)
    parts = [
        "Scores are 100 for the behaviour's final policy and 0 for random actions, on the "
        "clean task: means over seeds. In parentheses the paper's, on D4RL's data, where it "
        "has the task. All seeds and methods share one draw of each corruption.",
    ]
    for task, methods in found.items():
        parts += [f"### {task}", made_of(methods), table(task, methods)]
    save(figure(found), folder / "figure.png")
    parts += ["![Score under each corruption, a bar for each method](figure.png)"]
    parts += ["### Kurtosis of the critics' targets", tails(found)]
    return parts


def made_of(methods: Mapping[str, Mapping[str, Result]]) -> str:
    """A sentence on a task's data and on what is not as in the paper."""
    first = next(iter(next(iter(methods.values())).values()))
    recipe = data.RECIPES[first.study[-1]]
    numbers = ", ".join(f"{name} {value:g}" for name, value in recipe.numbers.items())
    settings = f"of the agents' settings {numbers}" if numbers else "the agents' own settings"
    return (
        f"{recipe.rows:,} rows ({' and '.join(recipe.levels)}); {recipe.rate:.0%} of them wrong by "
        f"up to {recipe.scale:g} standard deviations; {settings}."
    )


def table(task: str, methods: Mapping[str, Mapping[str, Result]]) -> str:
    """A line for each data set, a column for each method."""
    names = [name for name in (*METHODS, *ABLATIONS) if name in methods]
    rows = []
    for corruption in data.SETS:
        cells = []
        for method in names:
            result = methods[method].get(corruption)
            cell = "" if result is None else f"{scores(result).mean():.1f}"
            known = PAPER.get(task, {}).get(corruption)
            if cell and known and method in METHODS:
                cell += f" ({known[METHODS.index(method)]:.1f})"
            cells.append(cell)
        rows.append((corruption, *cells))
    rows.append(("mean of all corruptions", *(_mean(methods[name]) for name in names)))
    return markdown_table(("Data", *names), rows)


def _mean(arms: Mapping[str, Result]) -> str:
    """Over the corruptions, where a method has all of them."""
    if not all(corruption in arms for corruption in data.CORRUPTIONS):
        return ""
    return f"{np.mean([scores(arms[each]).mean() for each in data.CORRUPTIONS]):.1f}"


def tails(found: Mapping[str, Mapping[str, Mapping[str, Result]]]) -> str:
    """The kurtosis of each task's targets; 3 is a normal's."""
    rows = []
    for task, methods in found.items():
        for method in ("IQL", "RIQL"):
            arms = methods.get(method, {})
            values = [f"{kurtosis(arms[s]).mean():.1f}" if s in arms else "" for s in data.SETS]
            rows.append((f"{task} {method}", *values))
    return markdown_table(("Targets of", *data.SETS), rows)


def figure(found: Mapping[str, Mapping[str, Mapping[str, Result]]]) -> "Figure":
    """A panel for each task: groups of bars, one for each data set; dots are seeds."""
    from jaxrl_reward.report import return_laws as draw

    made, axes = draw.sheet(len(found), 1)
    for row, (task, methods) in enumerate(found.items()):
        panel = np.asarray(axes).reshape(-1)[row]
        names = [name for name in (*METHODS, *ABLATIONS) if name in methods]
        width = 0.8 / len(names)
        for i, method in enumerate(names):
            for j, corruption in enumerate(data.SETS):
                if corruption not in methods[method]:
                    continue
                values, at = scores(methods[method][corruption]), j + (i - len(names) / 2) * width
                label = method if corruption == data.CLEAN else None
                panel.bar(at, values.mean(), width, color=f"C{i}", label=label)
                panel.plot(np.full(len(values), at), values, "k.", markersize=2)
        panel.set_xticks(range(len(data.SETS)), [each.replace(" ", "\n") for each in data.SETS])
        draw.name(panel, task, "", "normalised score")
        panel.legend(fontsize=6, ncol=4, frameon=False)
    made.set_size_inches(9.0, 3.2 * len(found))
    return made


def save(drawn: "Figure", path: Path) -> None:
    """As a PNG, all at once."""
    import io

    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=130, bbox_inches="tight")
    write_atomic(path, buffer.getvalue())
