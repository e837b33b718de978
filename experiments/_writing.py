"""Of experiments on writing: arms and seeds of `group_pg` side by side, looked at as they learn.

Arms whose settings differ in numbers only are lanes of one program, whatever their rewards: it
has the sum of all of them, with weights of 0 and 1. The seeds are spread over the devices.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import _sequence_study
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from jaxrl_reward.partition import shard_map
from jaxrl_reward.training.experiment import Arm, Experiment, Measured, Preset, build

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOK = 0x6C6F6F6B  # keeps the keys of looking apart from those of training

# From an agent and a state to numbers, of a key.
Look = Callable[[Any, Any, jax.Array], dict[str, jax.Array]]


def course(
    experiment: Experiment,
    arms: Sequence[Arm],
    preset: Preset,
    keys: jax.Array,
    tick: Callable[[int, int], None],
    look: Look,
    *,
    begin: Callable[[Any, jax.Array], Any] = lambda state, number: state,
    numbers: Mapping[str, float] | None = None,
) -> dict[str, Measured]:
    """Trains every arm for `total_steps` updates, and looks at it `evals` times.

    Args:
      experiment: whose agents are built.
      arms: their reward, and settings of `group_pg`.
      preset: seeds, updates and points.
      keys: of the seeds, `[S]`, the same for all arms.
      tick: told how far it is.
      look: what is measured of a state, at the start and at every point.
      begin: changes the first state of an arm, given its number.
      numbers: by arm; 0 for the others.
    """
    at = np.linspace(0, preset.total_steps, preset.evals + 1).round().astype(int)
    found, done = {}, 0
    for members in _programs(arms):
        agents = [build(experiment, arm, preset) for arm in _mixed(members)]
        start, advance = _compiled(agents[0], look, begin, len(keys))
        lanes = _stacked([(agent.config, agent.reward) for agent in agents])
        mine = jnp.asarray([(numbers or {}).get(arm.name, 0.0) for arm in members])
        state, series = start(lanes, mine, keys), []
        for j, updates in enumerate(np.diff(at, prepend=0)):
            tick(done * len(at) + len(members) * j, len(arms) * len(at))
            state, seen = advance(state, jnp.int32(updates))
            series.append(jax.tree.map(np.asarray, seen))
        values = jax.tree.map(lambda *x: np.stack(x, -1), *series)
        steps = len(keys) * preset.total_steps * agents[0].steps_per_iteration
        for i, arm in enumerate(members):
            own = {name: each[i] for name, each in values.items()}
            found[arm.name] = Measured(own, at.tolist(), steps)
        done += len(members)
    return found


def _programs(arms: Sequence[Arm]) -> list[list[Arm]]:
    """The arms of each program: those whose settings differ in floats only."""
    programs: dict[Any, list[Arm]] = {}
    for arm in arms:
        shape = {k: v for k, v in arm.config.items() if not isinstance(v, float)}
        programs.setdefault(tuple(sorted(shape.items())), []).append(arm)
    return list(programs.values())


def _mixed(arms: Sequence[Arm]) -> list[Arm]:
    """The same arms with one expression, which is the reward of each by its weights."""
    texts = list(dict.fromkeys(arm.reward for arm in arms))
    sums = [" + ".join(f"{int(arm.reward == text)}*({text})" for text in texts) for arm in arms]
    return [dataclasses.replace(arm, reward=text) for arm, text in zip(arms, sums, strict=True)]


def _stacked(trees: Sequence[Any]) -> Any:
    """Their numbers side by side, leaves `[arms, ...]`."""
    from jaxrl_reward.agents import base

    return jax.tree.map(lambda *x: jnp.stack(x), *(base.as_leaves(tree) for tree in trees))


def _compiled(agent: Any, look: Look, begin: Any, seeds: int) -> tuple[Any, Any]:
    """`start(lanes, numbers, keys)` and `advance(state, updates)`, leaves `[arms, S, ...]`."""

    def start_all(lanes: Any, numbers: jax.Array, keys: jax.Array) -> Any:
        # The warm-up is the same for all arms: a seed has one.
        first = jax.tree.map(lambda x: x[0], lanes)
        states = jax.vmap(lambda key: agent.init(key, *first))(keys)

        def own(lane: Any, number: jax.Array, state: Any) -> Any:
            return begin(state.replace(config=lane[0], reward=lane[1]), number)

        each = jax.vmap(own, (None, None, 0))
        return jax.vmap(each, (0, 0, None))(lanes, numbers, states)

    def advance_one(state: Any, updates: jax.Array) -> Any:
        iterate = lambda _, state: agent.iterate(state)[0]  # noqa: E731
        state = jax.lax.fori_loop(0, updates, iterate, state)
        return state, look(agent, state, jax.random.fold_in(state.key, LOOK))

    both = jax.vmap(jax.vmap(advance_one, (0, None)), (0, None))
    count = max(n for n in range(1, jax.local_device_count() + 1) if seeds % n == 0)
    mesh = jax.sharding.Mesh(np.array(jax.local_devices()[:count]), ("seeds",))
    all_, own = P(), P(None, "seeds")
    start = shard_map(start_all, (all_, all_, P("seeds")), own, mesh=mesh)
    advance = shard_map(both, (own, all_), own, mesh=mesh)
    return jax.jit(start), jax.jit(advance, donate_argnums=0)


def drawn(agent: Any, params: Any, key: jax.Array, numbers: Any, count: int) -> Any:
    """A block of `count` responses to each of the prompts `numbers`, side by side."""
    from jaxrl_reward.agents import group_pg, response_scores

    task = agent.env.environment.task
    writer = group_pg.writer_of(agent.config, task)
    numbers = jnp.asarray(numbers, jnp.int32)
    return response_scores.responses(writer, task, params, key, numbers, count)


def leaning(state: Any, shift: jax.Array) -> Any:
    """A state whose policy and reference have a `shift[V]` added to the logits; GRUs only."""

    def leant(params: Any) -> Any:
        at = jax.tree_util.tree_leaves_with_path(params["head"])
        bias = next(path for path, leaf in at if leaf.ndim == 1)
        moved = lambda path, leaf: leaf + shift if path == bias else leaf  # noqa: E731
        return {**params, "head": jax.tree_util.tree_map_with_path(moved, params["head"])}

    return state.replace(params=leant(state.params), reference=leant(state.reference))


# ---- what is made of it -------------------------------------------------------------------


def last(result: Any, name: str) -> np.ndarray:
    """A metric at the last point, `[S]`."""
    return np.asarray(result.study.values[name])[:, -1]


def first(result: Any, name: str) -> np.ndarray:
    """A metric before training, `[S]`."""
    return np.asarray(result.study.values[name])[:, 0]


def several(result: Any, names: Sequence[str], point: int = -1) -> np.ndarray:
    """Some metrics at a point, `[S, len(names)]`."""
    return np.stack([np.asarray(result.study.values[name])[:, point] for name in names], -1)


def lines(
    axes: "Axes", x: Any, arms: Mapping[str, np.ndarray], looks: Mapping[str, int], marker: str = ""
) -> None:
    """Interquartile means over seeds of `[S, X]` with 95 % intervals; an arm has its colour."""
    for name, values in arms.items():
        _sequence_study.line(axes, looks[name], x, values, marker=marker)


def legend(figure: Any, looks: Mapping[str, int], columns: int = 4) -> None:
    """The names of arms and their colours, below all panels."""
    from matplotlib.lines import Line2D

    from jaxrl_reward.report import plots

    drawn = [plots.look(i) for i in looks.values()]
    handles = [Line2D([], [], color=c, linestyle=s, linewidth=1.8) for c, s in drawn]
    shape = {"loc": "outside lower center", "ncols": columns}
    figure.legend(handles, list(looks), **shape, frameon=False, fontsize=8.5)
