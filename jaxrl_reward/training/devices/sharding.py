"""The compiled programs of a run, and the devices that they run on.

Every leaf of a run's state has the lanes as its first axis, `[L, ...]`: the
seeds, or with several points (see `lanes.py`) the seeds of the first point,
then those of the second, and so on. `layout.py` says which device has what.
"""

import contextlib
import copy
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl_reward.counting import add_up
from jaxrl_reward.partition import shard_map
from jaxrl_reward.plugins import imports
from jaxrl_reward.training.devices import memory, processes
from jaxrl_reward.training.devices.layout import Layout, Shard, seeds_mesh
from jaxrl_reward.training.lanes import numbers
from jaxrl_reward.types import Array, Mean, UserError

# `fold_in(key, i)` is the same key as `split(key, n)[i]`, which is how agents
# derive theirs. A large tag keeps the evaluation's keys out of that range.
EVALUATION_TAG = 0x6576616C


def _available_cores() -> int:
    """Cores this process may use: its affinity, and a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        pass
    return max(cores, 1)


NEWEST = (0, 12)  # the last minor of jaxlib that the tests have passed with


def use_all_cores(cores: int | None = None) -> int:
    """Gives XLA one CPU device per core; call it before JAX computes anything.

    A program that starts later than that, or a user who chose a number of
    devices in the environment, keeps the devices it has; so does a jaxlib that hangs
    on several of them (`jaxlib_warning`). Accelerators are not affected.

    Args:
      cores: how many, where this process is to share the machine with others.

    Returns:
      The number of CPU devices asked for, or 0 if it was left as it is.
    """
    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if chosen or _hangs() or "JAX_NUM_CPU_DEVICES" in os.environ:
        return 0
    cores = _available_cores() if cores is None else cores
    try:
        jax.config.update("jax_num_cpu_devices", cores)
    except RuntimeError:  # the backend has started
        return 0
    return cores


def _jaxlib() -> tuple[int, ...]:
    """Its version, `(0, 12, 0, 1)`."""
    return tuple(int(part) for part in re.findall(r"\d+", metadata.version("jaxlib")))


def _hangs() -> bool:
    """Whether two CPU devices that run a batch of LAPACK calls at once may wait forever.

    Each waits for threads of one pool: jaxlib 0.10.0 to 0.11.0.
    """
    return (0, 10) <= _jaxlib() < (0, 11, 1)


def jaxlib_warning() -> str | None:
    """One line if this jaxlib is known to hang on a CPU, or too new to be known, else None.

    Starts JAX's backend if it has not started.
    """
    version = metadata.version("jaxlib")
    if _jaxlib()[:2] > NEWEST:
        newest = ".".join(map(str, NEWEST))
        return f"jaxlib {version} is newer than any this was tested with, the newest is {newest}"
    if not _hangs() or jax.default_backend() != "cpu":
        return None
    devices = jax.local_device_count()
    used = "runs on one CPU device" if devices == 1 else f"may hang on its {devices} CPU devices"
    return f"jaxlib {version} can hang on several CPU devices and {used}; install jax 0.12 or 0.9.2"


def device_name() -> str:
    """`cpu`, or what the accelerator calls itself."""
    device = jax.local_devices()[0]
    return "cpu" if device.platform == "cpu" else device.device_kind


def select_seed(state: Any, i: int) -> Any:
    """Seed `i` of a state whose leaves are `[S, ...]`; leaves become `[...]`.

    Raises:
      IndexError: there is no such seed (JAX's own indexing would clamp).
    """
    seeds = {leaf.shape[0] for leaf in jax.tree.leaves(state)}
    if any(not -count <= i < count for count in seeds):
        raise IndexError(f"seed {i} of a state with {min(seeds)} seeds")
    return jax.tree.map(lambda leaf: leaf[i], state)


class Tally(NamedTuple):
    """Metrics since the last log point, packed so that a read is one copy.

    Attributes:
      total: sums, `[L, M]` float32, metrics in sorted order.
      counted: what the sums are divided by, `[L, M]` float32.
      first_bad: iterations finished when the metric first was not finite,
        `[L, M]` int32; 0 if it never was.
      total_rest: what rounding left out of `total`: millions of iterations add up.
      counted_rest: the same for `counted`.
    """

    total: Array
    counted: Array
    first_bad: Array
    total_rest: Array
    counted_rest: Array

    @classmethod
    def empty(cls, lanes: int, metrics: int) -> "Tally":
        shape = (lanes, metrics)
        # Each of its own, as they are donated.
        sums = (jnp.zeros(shape) for _ in range(4))
        return cls(next(sums), next(sums), jnp.zeros(shape, jnp.int32), *sums)

    def add(self, metrics: Mapping[str, Mean], iteration: Array) -> "Tally":
        """Adds the metrics of one iteration, each a `Mean` of `[L]` arrays."""
        names = sorted(metrics)
        total = jnp.stack([metrics[name].total for name in names], axis=-1)
        count = jnp.stack([metrics[name].count for name in names], axis=-1)
        bad = ~(jnp.isfinite(total) & jnp.isfinite(count)) & (self.first_bad == 0)
        first_bad = jnp.where(bad, iteration, self.first_bad)
        total, total_rest = add_up(self.total, self.total_rest, total)
        count, counted_rest = add_up(self.counted, self.counted_rest, count)
        return Tally(total, count, first_bad, total_rest, counted_rest)


class Carry(NamedTuple):
    """What a run carries between chunks, and what a checkpoint holds."""

    state: Any
    tally: Tally


def _strong(leaf: Array) -> Array:
    """An array without a weak type, which a checkpoint would not bring back."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    return jax.lax.convert_element_type(leaf, leaf.dtype)


def _placed(leaf: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def nan_leaves(state: Any, live: np.ndarray) -> list[str]:
    """The paths of the leaves with a NaN in a lane where `live` `[L]` is true.

    Brings the state to the host.
    """

    def holds(leaf: Array) -> bool:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return False
        # On the host: on the device it takes a tenth of the time to compile. By
        # shards: other processes may hold the others.
        shards = ((each.index[0], np.asarray(each.data)) for each in leaf.addressable_shards)
        return any(bool(np.isnan(data[live[lanes]]).any()) for lanes, data in shards)

    paths, leaves = zip(*jax.tree.flatten_with_path(state)[0], strict=True)
    held = processes.agree([holds(leaf) for leaf in leaves])
    names = (jax.tree_util.keystr(path, simple=True, separator=".") for path in paths)
    return [name for name, bad in zip(names, held, strict=True) if bad]


def _compile(lowered: jax.stages.Lowered, once: bool) -> Callable[..., Any]:
    """What runs once, for milliseconds, need not be compiled for seconds."""
    quick = once and jax.default_backend() == "cpu"
    options: dict[str, bool | str] = {"xla_backend_optimization_level": "0"} if quick else {}
    return lowered.compile(compiler_options=options)


@contextlib.contextmanager
def _in_a_line(agent: str) -> Iterator[None]:
    """What fails of an agent of the user's own as it is traced is a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        from jaxrl_reward.agents import table  # brings what starts JAX

        if not table.is_own(agent):
            raise
        line = " ".join(str(error).strip().partition("\n")[0].split())
        place = f" ({where})" if (where := imports.place(error)) else ""
        raise UserError(f"agent {agent!r} fails{place}: {type(error).__name__}: {line}") from error


Probe = Callable[[Any, Any, Array], dict[str, Array]]


class First:
    """The states that the seeds of one agent begin with: made once, when they are needed.

    Attributes:
      abstract: the shapes and dtypes of one seed's.
    """

    def __init__(self, agent: Any, *, seeds: int, seed: int):
        self._init = lambda key, numbers: jax.tree.map(_strong, agent.init(key, *numbers))
        self._seeds = range(seed, seed + seeds)
        self._numbers = jax.tree.map(lambda x: x[0], numbers([agent], 1))
        self.abstract = jax.eval_shape(self._init, jax.random.key(0), self._numbers)

    @cached_property
    def states(self) -> Any:
        """Of all seeds, `[S, ...]`."""
        keys, mesh = (
            jnp.stack([jax.random.key(i) for i in self._seeds]),
            seeds_mesh(len(self._seeds)),
        )
        each = jax.vmap(self._init, in_axes=(0, None))
        return jax.jit(shard_map(each, (P("seeds"), P()), P("seeds"), mesh=mesh))(
            keys, self._numbers
        )


class Programs:
    """An agent's functions over `[L]` lanes, compiled together or at their first use.

    Args:
      agent: whose functions they are.
      seeds: of each point.
      seed: the first of them.
      episodes: of an evaluation.
      points: what has the `config` and `reward` of some lanes; none are the agent's own.
      shard: see `layout.py`.
      probe: see `studies.study`.
      begin: see `runs.Run`, and the first states that it is called with.

    Attributes:
      lanes: how many, the seeds times the points.
      metrics: the names of the agent's metrics, sorted.
      abstract: the shapes, dtypes and shardings of a `Carry`.
      compile_seconds: time spent tracing and compiling so far.
    """

    def __init__(
        self,
        agent: Any,
        *,
        seeds: int,
        seed: int,
        episodes: int,
        points: Sequence[Any] = (),
        shard: Shard = "auto",
        probe: Probe | None = None,
        begin: "tuple[Callable[[Any, Any], Any], First] | None" = None,
    ):
        started, copies = time.perf_counter(), max(len(points), 1)
        self.agent, self.lanes, self.episodes = agent, seeds * copies, episodes
        self._look, self._other = probe, begin
        self.layout = Layout(agent, self.lanes, shard)
        self._compiled: dict[str, Callable[..., Any]] = {}
        self._window = 0  # of data that are streamed
        # A seed draws the same at every point: their difference is that of the numbers.
        keys = jnp.stack([jax.random.key(seed + i) for i in range(seeds)] * copies)
        self._keys, self._numbers = self._put(keys), self._put(numbers(points, seeds))
        # What agents learn from in place of playing: one copy on each device, for all lanes.
        self._data = () if agent.data is None else (self._put(agent.data, whole=True),)
        first = () if begin is None else (begin[1].abstract,)
        first = jax.tree.map(lambda x: jax.ShapeDtypeStruct((self.lanes, *x.shape), x.dtype), first)
        # Traced here as in the programs, and kept for them: tracing physics takes seconds.
        self._begin = jax.vmap(jax.jit(self._strong_init, inline=True), in_axes=(0, 0, None, 0))
        iterate = jax.jit(agent.iterate, inline=True)
        self._iterate = jax.vmap(iterate, in_axes=(0, *(None for _ in self._data)))
        if self._data and jax.default_backend() == "cpu":
            # Without environments there is nothing small to do for many lanes at once, and
            # what one lane works on stays in the cache: 1.4 times as fast as together.
            self._iterate = lambda states, data: jax.lax.map(lambda s: iterate(s, data), states)
        with jax.set_mesh(self.layout.mesh), _in_a_line(agent.name):
            rows, whole = P("seeds"), (P(),) * len(self._data)
            begun = self.layout.place(self._begin, (rows, rows, P(), rows))
            state = jax.eval_shape(begun, self._keys, self._numbers, self._data, first)
            state = jax.tree.map(_placed, state, self.layout.of_state(state))
            placed = self.layout.place(self._iterate, (rows, *whole))
            _, metrics = jax.eval_shape(placed, state, *self._data)
        if not processes.several():
            memory.check(agent, state, self.lanes, self.layout.mesh.devices.ravel().tolist())
        for name, value in metrics.items():
            if not isinstance(value, Mean) or value.total.ndim + value.count.ndim != 2:
                raise TypeError(f"metric {name!r} must be a Mean of scalars, got {value}")
        self.metrics = tuple(sorted(metrics))
        self._abstract_first = jax.tree.map(lambda x: _placed(x, self.layout.rows), first)
        if probe is not None:
            with jax.set_mesh(self.layout.mesh):
                self._check_probed(jax.eval_shape(self._probe, state, self._keys))
        tally = jax.eval_shape(lambda: Tally.empty(self.lanes, len(self.metrics)))
        self.abstract = Carry(state, jax.tree.map(lambda x: _placed(x, self.layout.rows), tally))
        self.compile_seconds = time.perf_counter() - started

    @property
    def compiled(self) -> bool:
        """Whether there is a program already."""
        return bool(self._compiled)

    def has(self, name: str) -> bool:
        """Whether there is such a program to compile."""
        there = {
            "evaluate": self.agent.env.playable,
            "judge": self.agent.judge is not None,
            "probe": self._look is not None,
        }
        return there.get(name, True)

    def at(self, points: Sequence[Any]) -> "Programs":
        """The same programs, compiled already, for as many other points."""
        other = copy.copy(self)
        other._numbers = self._put(numbers(points, self.lanes // len(points)))
        other.compile_seconds = 0.0
        return other

    def _strong_init(self, key: Array, numbers: tuple, data: tuple, first: tuple) -> Any:
        given = {"data": data[0]} if data else {}
        state = self.agent.init(key, *numbers, **given)
        if self._other is not None:
            state = self._other[0](state, *first)
        return jax.tree.map(_strong, state)

    def _check_probed(self, found: Any) -> None:
        """Raises a `UserError` unless a probe gives scalars with names of their own."""
        if not isinstance(found, dict) or any(each.ndim != 1 for each in jax.tree.leaves(found)):
            raise UserError("a probe must give a dict of scalars")
        for name in found:
            if name in (*self.metrics, "return", "length"):
                raise UserError(f"a probe's {name!r} is a metric of training; call it otherwise")

    def init(self) -> Carry:
        """A new run."""
        first = ()
        if self._other is not None:
            states, shape = self._other[1].states, self._abstract_first[0]
            again = lambda x, y: jnp.concatenate([x] * (y.shape[0] // x.shape[0]))  # noqa: E731
            first = (self._put(jax.tree.map(again, states, shape)),)
        return self._run("init", self._keys, self._numbers, self._data, first)

    def feed(self, iteration: int) -> None:
        """Puts the window of data on the device that this iteration learns from."""
        stream = self.agent.stream
        if stream is not None and (number := iteration // stream.every) != self._window:
            self._data = ()  # makes room first
            self._data, self._window = (self._put(stream.window(number), whole=True),), number

    def room(self, iteration: int) -> int | None:
        """How many iterations, this one first, learn from one window; None where all do."""
        stream = self.agent.stream
        return None if stream is None else stream.every - iteration % stream.every

    def advance(self, carry: Carry, start: int, n: int) -> Carry:
        """`n` iterations after the first `start`; `carry` is donated.

        The result does not depend on how a run is cut into calls: sums are
        carried along, so the additions are the same ones in the same order.
        """
        return self._run("advance", carry, np.int32(start), np.int32(start + n), self._data)

    def evaluate(self, carry: Carry, iteration: int) -> tuple[np.ndarray, ...]:
        """Greedy episodes: returns and lengths, `[L, E]` each, and what else the agent gives.

        The keys depend on the seed and the iteration only, so an evaluation
        neither disturbs training nor depends on what was evaluated before.
        """
        found = self._run("evaluate", carry.state, self._keys, np.int32(iteration))
        return tuple(processes.to_host(each).astype(np.float64) for each in found)

    def probe(self, carry: Carry) -> dict[str, np.ndarray]:
        """What the probe finds, `[L]` each; nothing without one."""
        if self._look is None:
            return {}
        found = self._run("probe", carry.state, self._keys)
        return {name: processes.to_host(each).astype(np.float64) for name, each in found.items()}

    def judge(self, carry: Carry, iteration: int) -> dict[str, np.ndarray]:
        """What is measured of data, `[L]` each, with the keys of `evaluate`; often nothing."""
        if self.agent.judge is None:
            return {}
        found = self._run("judge", carry.state, self._keys, np.int32(iteration), self._data)
        return {name: processes.to_host(each).astype(np.float64) for name, each in found.items()}

    def clear(self, carry: Carry) -> Carry:
        """The same state with an empty tally."""
        return carry._replace(tally=self._put(Tally.empty(self.lanes, len(self.metrics))))

    def _init(self, keys: Array, numbers: tuple, data: tuple, first: tuple) -> Carry:
        def local(keys: Array, numbers: tuple, data: tuple, first: tuple) -> Carry:
            state = self._begin(keys, numbers, data, first)
            return Carry(state, Tally.empty(keys.shape[0], len(self.metrics)))

        specs = (P("seeds"), P("seeds"), P(), P("seeds"))
        return self.layout.place(local, specs)(keys, numbers, data, first)

    def _advance(self, carry: Carry, start: Array, stop: Array, data: tuple) -> Carry:
        def local(carry: Carry, start: Array, stop: Array, data: tuple) -> Carry:
            def iteration(i: Array, carry: Carry) -> Carry:
                state, metrics = self._iterate(carry.state, *data)
                return Carry(state, carry.tally.add(metrics, i + 1))

            return jax.lax.fori_loop(start, stop, iteration, carry)

        return self.layout.place(local, (P("seeds"), P(), P(), P()))(carry, start, stop, data)

    def _evaluate(self, state: Any, keys: Array, point: Array) -> tuple[Array, ...]:
        def local(state: Any, keys: Array, point: Array) -> tuple[Array, ...]:
            def one_lane(state: Any, key: Array) -> tuple[Array, ...]:
                key = jax.random.fold_in(jax.random.fold_in(key, EVALUATION_TAG), point)
                return self.agent.evaluate(state, key, self.episodes)

            return jax.vmap(one_lane)(state, keys)

        return self.layout.place(local, (P("seeds"), P("seeds"), P()))(state, keys, point)

    def _probe(self, state: Any, keys: Array) -> dict[str, Array]:
        def local(state: Any, keys: Array) -> dict[str, Array]:
            assert self._look is not None
            one = partial(self._look, self.agent)
            # On a CPU one lane after the other: what it works on stays in the cache, and a
            # `cond` of a probe chooses.
            if jax.default_backend() == "cpu":
                return jax.lax.map(lambda lane: one(*lane), (state, keys))
            return jax.vmap(one)(state, keys)

        return self.layout.place(local, (P("seeds"), P("seeds")))(state, keys)

    def _judge(self, state: Any, keys: Array, point: Array, data: tuple) -> dict[str, Array]:
        def local(state: Any, keys: Array, point: Array, data: tuple) -> dict[str, Array]:
            def one(lane: tuple[Any, Array]) -> dict[str, Array]:
                key = jax.random.fold_in(jax.random.fold_in(lane[1], EVALUATION_TAG), point)
                assert self.agent.judge is not None
                return self.agent.judge(lane[0], key, *data)

            # On a CPU one lane after the other, as they train.
            if jax.default_backend() == "cpu":
                return jax.lax.map(one, (state, keys))
            return jax.vmap(one)((state, keys))

        return self.layout.place(local, (P("seeds"), P("seeds"), P(), P()))(
            state, keys, point, data
        )

    def _put(self, tree: Any, whole: bool = False) -> Any:
        """Arrays `[L, ...]` on the mesh, or `whole` ones. Every process has all of them here."""
        sharding = NamedSharding(self.layout.mesh, P()) if whole else self.layout.rows
        if not processes.several():
            return jax.device_put(tree, sharding)
        return jax.jit(lambda: tree, out_shardings=sharding)()

    def compile(self, name: str) -> float:
        """Compiles `init`, `advance` or what looks at a state, if it is not; the seconds taken."""
        if name in self._compiled:
            return 0.0
        started, count = time.perf_counter(), jax.ShapeDtypeStruct((), np.int32)
        function, args, donated = {
            "init": (
                self._init,
                (self._keys, self._numbers, self._data, self._abstract_first),
                (),
            ),
            "advance": (self._advance, (self.abstract, count, count, self._data), (0,)),
            "evaluate": (self._evaluate, (self.abstract.state, self._keys, count), ()),
            "probe": (self._probe, (self.abstract.state, self._keys), ()),
            "judge": (self._judge, (self.abstract.state, self._keys, count, self._data), ()),
        }[name]
        carried = jax.tree.map(lambda leaf: leaf.sharding, self.abstract)
        out = self.layout.rows if name in ("evaluate", "probe", "judge") else carried
        with jax.set_mesh(self.layout.mesh):  # which an agent's `mesh.spread` looks for
            lowered = jax.jit(function, donate_argnums=donated, out_shardings=out).lower(*args)
        self._compiled[name] = _compile(lowered, once=name == "init")
        return time.perf_counter() - started

    def _run(self, name: str, *args: Any) -> Any:
        """Calls the compiled program, compiling it ahead of its first call."""
        self.compile_seconds += self.compile(name)
        return jax.block_until_ready(self._compiled[name](*args))


def compile_together(
    runs: Sequence[Programs], meanwhile: Callable[[], object] | None = None
) -> None:
    """Compiles the programs of several runs side by side: XLA uses a core for each.

    The time is shared out, so that the runs' `compile_seconds` add up to it.

    Args:
      runs: whose programs.
      meanwhile: what the first core without a program does while others have one.
    """
    started = time.perf_counter()
    names = ("advance", "evaluate", "init", "judge", "probe")
    jobs = [(r, name) for name in names for r in runs if r.has(name)]
    with ThreadPoolExecutor(_available_cores()) as pool:
        compiled = pool.map(lambda job: job[0].compile(job[1]), jobs)
        other = None if meanwhile is None else pool.submit(meanwhile)
        spent = list(compiled)
    if other is not None:
        other.result()
    passed = time.perf_counter() - started
    for (run, _), seconds in zip(jobs, spent, strict=True):
        run.compile_seconds += passed * seconds / max(sum(spent), 1e-9)
