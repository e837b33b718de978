"""Of experiments on writing tasks: many ways to learn, side by side, from one warm-up.

Arms that differ in numbers alone are lanes of one program. `choices` makes arms of
different rewards differ in numbers alone: all rewards are parts of one expression, and
weights of 0 and 1 say which of them counts. All arms begin with the same policy of each
seed and the same random numbers, so what is compared is paired by seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.grouped import groups_of
from jaxrl_reward.training.experiment import Verdict, above
from jaxrl_reward.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def choices(terms: Sequence[rw.RewardTransform]) -> list[rw.RewardTransform]:
    """Each of several rewards, all of one structure."""
    every = rw.stack(*terms)
    hot = np.eye(len(terms)).tolist()
    return [every | rw.weighted_sum(weights=tuple(weights)) for weights in hot]


def course(
    agent: Any,
    configs: Sequence[Any],
    rewards: Sequence[Any],
    keys: Array,
    chunks: Sequence[int],
    *,
    iterate: Callable[[Any], tuple[Any, Any]] | None = None,
    warm: Any = None,
) -> Iterator[tuple[Any, dict[str, Array]]]:
    """States `[A, S, ...]` of A arms at the start and after each chunk of iterations.

    With them come the metrics of the chunk, `[A, S]`.

    Args:
      agent: whose numbers the arms replace.
      configs: of the arms.
      rewards: of the arms.
      keys: of the seeds, `[S]`.
      chunks: how many iterations each has; a program is compiled for every size.
      iterate: in place of the agent's.
      warm: the states after warm-up, of `warm_up`, if they are known.
    """
    warm = warm_up(agent, keys) if warm is None else warm
    states = jax.jit(lambda warm: _lanes(warm, configs, rewards))(warm)
    yield states, {}
    for size in chunks:
        states, logged = _advance(iterate or agent.iterate, size, states)
        yield states, logged


def warm_up(agent: Any, keys: Array) -> Any:
    """The agent's states after warm-up, `[S, ...]`."""
    return jax.jit(jax.vmap(agent.init))(keys)


def _lanes(state: Any, configs: Sequence[Any], rewards: Sequence[Any]) -> Any:
    """States of seeds `[S, ...]` with the numbers of each arm, `[A, S, ...]`."""
    from jaxrl_reward.agents import base  # starts JAX: not where an experiment is loaded

    arms, seeds = len(configs), state.iteration.shape[0]

    def stack(*leaves: Array) -> Array:
        each = jnp.stack(leaves)
        return jnp.broadcast_to(each[:, None], (arms, seeds, *each.shape[1:]))

    numbers = [base.as_leaves(each) for each in zip(configs, rewards, strict=True)]
    config, reward = jax.tree.map(stack, *numbers)
    wide = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (arms, *x.shape)), state)
    return wide.replace(config=config, reward=reward)


@partial(jax.jit, static_argnums=(0, 1))
def _advance(
    iterate: Callable[[Any], tuple[Any, Any]], iterations: int, states: Any
) -> tuple[Any, dict[str, Array]]:
    def one(state: Any) -> tuple[Any, dict[str, Array]]:
        state, logged = jax.lax.scan(lambda s, _: iterate(s), state, length=iterations)
        sums = [(name, mean.total.sum(), mean.count.sum()) for name, mean in logged.items()]
        return state, {name: total / jnp.maximum(count, 1.0) for name, total, count in sums}

    # One arm after the other: what its seeds work on stays in a core's cache.
    return jax.lax.map(jax.vmap(one), states)


def drawn(agent: Any, params: Any, key: Array, prompts: int) -> dict[str, Array]:
    """Facts of drawn responses to prompts of all levels, `[B]` each: `level`, `outcome`,
    `length`, and what the task's verifier tells at the end."""
    from jaxrl_reward.agents import group_pg, response_scores

    task = agent.env.environment.task
    writer = group_pg.writer_of(agent.config, task)
    key_draw, key_write = jax.random.split(key)
    numbers = jax.vmap(task.draw)(jax.random.split(key_draw, prompts))
    block = response_scores.responses(writer, task, params, key_write, numbers, 1)
    groups = groups_of(block)
    told = {name: value[0] for name, value in block.info.items()}
    return told | {"outcome": groups.total(block.env_reward), "length": groups.length()}


def by_arm(function: Callable[[Any, Array], Any], states: Any, keys: Array) -> Any:
    """`function(params, key)` of policies `[A, S, ...]` and seeds' keys, `[A, S, ...]`."""
    return jax.lax.map(lambda each: jax.vmap(function)(each, keys), states)


def mean_where(values: Array, where: Array) -> Array:
    """The mean over some; 0 of none."""
    return jnp.where(where, values, 0.0).sum() / jnp.maximum(where.sum(), 1)


# ---- verdicts, tables and figures ----------------------------------------------------------------


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
