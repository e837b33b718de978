"""Of experiments on writing: what is drawn and looked at, and what is made of it.

Their arms share each seed's warm-up, prompts and random numbers, and are lanes of one
program wherever settings differ in numbers only.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward.rewards.groups.ways import groups_of
from jaxrl_reward.training.experiments.experiment import Verdict, above
from jaxrl_reward.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOK = 0x6C6F6F6B  # keeps the keys of looking apart from those of training


def shared(state: Any, first: Any) -> Any:
    """The warm-up of the study's first run, of which a seed has one."""
    return state.replace(params=first.params, reference=first.reference)


def leaning(state: Any, shift: Array) -> Any:
    """A state whose policy and reference have a `shift[V]` added to the logits; GRUs only."""

    def leant(params: Any) -> Any:
        at = jax.tree_util.tree_leaves_with_path(params["head"])
        bias = next(path for path, leaf in at if leaf.ndim == 1)
        moved = lambda path, leaf: leaf + shift if path == bias else leaf  # noqa: E731
        return {**params, "head": jax.tree_util.tree_map_with_path(moved, params["head"])}

    return state.replace(params=leant(state.params), reference=leant(state.reference))


# ---- what is drawn ------------------------------------------------------------------------


def drawn(agent: Any, params: Any, key: Array, numbers: Any, count: int) -> Any:
    """A block of `count` responses to each of the prompts `numbers`, side by side."""
    from jaxrl_reward.agents.sequence import response_scores, writer

    task = agent.env.environment.task
    model = writer.model_of(agent.config, task)
    numbers = jnp.asarray(numbers, jnp.int32)
    return response_scores.responses(model, task, params, key, numbers, count)


def facts(agent: Any, params: Any, key: Array, prompts: int) -> dict[str, Array]:
    """Of drawn responses to prompts of all levels, `[B]` each: `level`, `outcome`, `length`,
    and what the task's verifier tells at the end."""
    key_draw, key_write = jax.random.split(key)
    numbers = jax.vmap(agent.env.environment.task.draw)(jax.random.split(key_draw, prompts))
    block = drawn(agent, params, key_write, numbers, 1)
    groups = groups_of(block)
    told = {name: value[0] for name, value in block.info.items()}
    return told | {"outcome": groups.total(block.env_reward), "length": groups.length()}


def mean_where(values: Array, where: Array) -> Array:
    """The mean over some; 0 of none."""
    return jnp.where(where, values, 0.0).sum() / jnp.maximum(where.sum(), 1)


# ---- what is made of it -------------------------------------------------------------------


def values(result: Any, name: str) -> np.ndarray:
    """A metric on its way, `[S, P]`."""
    return result.curves.curve(name)[1]


def updates(result: Any, name: str) -> np.ndarray:
    """After how many updates there is a metric, `[P]`."""
    return result.curves.curve(name)[0] // result.plan.steps_per_iteration


def last(result: Any, name: str) -> np.ndarray:
    """A metric at the last point, `[S]`."""
    return values(result, name)[:, -1]


def first(result: Any, name: str) -> np.ndarray:
    """A metric before training, `[S]`."""
    return values(result, name)[:, 0]


def several(result: Any, names: Sequence[str], point: int = -1) -> np.ndarray:
    """Some metrics at a point, `[S, len(names)]`."""
    return np.stack([values(result, name)[:, point] for name in names], -1)


def ends(results: Any, names: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Each arm's metrics at the last point, `[S]`."""
    return {arm: {name: last(each, name) for name in names} for arm, each in results.items()}


def paired(
    claim: str, what: str, x: ArrayLike, y: ArrayLike, margin: float = 0.0, **about: Any
) -> Verdict:
    """Whether `x` exceeds `y` by a margin, both `[S]` of the same seeds.

    Judged by the bootstrap interval of the interquartile mean of the differences:
    arms share warm-up and random numbers, so seeds are pairs.
    """
    apart = np.asarray(x, np.float64) - np.asarray(y, np.float64)
    return above(claim, what, apart, margin, **about)


def cell(values: ArrayLike) -> str:
    """The interquartile mean over seeds and its interval, for a table."""
    from jaxrl_reward.report import statistics, tables

    found = statistics.stratified_bootstrap(values)
    width = found.high - found.low
    if not width > 0:
        return tables.number(found.estimate)
    estimate, low, high = (tables.number(each, width) for each in found)
    return f"{estimate} [{low}, {high}]"


def line(
    axes: "Axes",
    i: int,
    x: ArrayLike,
    values: ArrayLike,
    label: str | None = None,
    marker: str = "",
) -> None:
    """Draws arm number i: interquartile means of `[S, P]` over places `[P]` or `[S, P]`."""
    from jaxrl_reward.report import fronts, plots

    curve = fronts.curve(x, values)
    colour, style = plots.look(i)
    ink: dict[str, Any] = {"color": colour}
    axes.fill_between(curve.step, curve.low, curve.high, **ink, alpha=0.14, linewidth=0)
    shape: dict[str, Any] = {"linestyle": style, "marker": marker, "markersize": 3}
    axes.plot(curve.step, curve.estimate, **ink, **shape, label=label)
    axes.grid(color=plots.GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def lines(
    axes: "Axes", x: Any, arms: Mapping[str, np.ndarray], looks: Mapping[str, int], marker: str = ""
) -> None:
    """Interquartile means over seeds of `[S, X]` with 95 % intervals; an arm has its colour."""
    for name, each in arms.items():
        line(axes, looks[name], x, each, marker=marker)


def legend(figure: Any, looks: Mapping[str, int], columns: int = 4) -> None:
    """The names of arms and their colours, below all panels."""
    from matplotlib.lines import Line2D

    from jaxrl_reward.report import plots

    drawn = [plots.look(i) for i in looks.values()]
    handles = [Line2D([], [], color=c, linestyle=s, linewidth=1.8) for c, s in drawn]
    shape = {"loc": "outside lower center", "ncols": columns}
    figure.legend(handles, list(looks), **shape, frameon=False, fontsize=8.5)
