"""Planning on (state, stock): the exact solver for expected utilities of returns.

The stock starts at a chosen `c_0` and follows `c' = (c + r) / gamma`, so that
`gamma^t (c_t + G_t)` is `c_0 + G_0` at all times. A policy that sees it can
optimise `E f(c_0 + G_0)` for all `c_0` at once. For `f(gamma x) = a f(x) + b`
the law of the return need not be carried along:

    V(s, c) = max_a E[ a V(s', (c + r) / gamma) + b ],   and f(c + r) at an end

is distributional value iteration seen through f, and needs `[S, A, C]` numbers
where laws need `[S, A, C, atoms]` (Avila Pires et al. 2025, sections 3 to 5).

Where every `(c + r) / gamma` is a point of the grid or beyond its ends, the
result is exact to rounding. Elsewhere V is interpolated: for f with Lipschitz
constant L and spacing h it is within `gamma L h / (2 (1 - gamma))` of the
optimum, and for an f that never decreases, `rounding="down"` and "up" bound it
from both sides.
"""

import warnings
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrl_reward.intervals import Interval
from jaxrl_reward.rounding import ulps
from jaxrl_reward.tabular import checks, numerics, planning
from jaxrl_reward.tabular.checks import COUNT, STOCK, TOLERANCE
from jaxrl_reward.tabular.returns.functionals import Utility, require
from jaxrl_reward.tabular.types import MDP, Grid, Rounding
from jaxrl_reward.types import Array, UserError, nearest

ROUNDINGS = ("linear", "nearest", "down", "up")
OUTSIDE = 0.05  # of the probability beyond a grid's end: more than this is worth a warning


def grid(low: Any, high: Any, size: int | tuple[int, ...]) -> Grid:
    """`size` stocks from `low` to `high`, both included; vectors of m give a product.

    Raises:
      UserError: fewer than two points, sizes of another length than `low`, or a `high`
        that is not above it.
    """
    for name, end in (("low", low), ("high", high)):
        checks.finite("grid", name, end)
    low, high = (1.0 * jnp.asarray(x) for x in (low, high))
    sizes = np.atleast_1d(np.asarray(size))
    if not np.issubdtype(sizes.dtype, np.integer):
        raise UserError(f"a grid's size must be a whole number of points, not {size!r}")
    shape = tuple(int(n) for n in sizes)
    if min(shape) < 2 or len(shape) != max(1, low.size):
        raise UserError(f"a grid needs at least 2 points for each of its stocks, not {shape}")
    checks.finite("grid", "low", low)
    checks.finite("grid", "high", high)
    checks.number("grid", "high - low", high - low, checks.POSITIVE)
    return Grid(low, (high - low) / (np.array(shape if low.ndim else shape[0]) - 1), shape)


@checks.arguments(gamma=checks.DISCOUNT, size=Interval(4, whole=True), horizon=COUNT)
def covering(mdp: MDP, gamma: Array | float, size: int, horizon: int | None = None) -> Grid:
    """`size` stocks, along each axis, over `[-max G, -min G]` and one spacing more.

    G is any return that can be left: of at most `horizon` steps, if there is one.
    Further out a piecewise linear f is linear in all that can happen, so the
    solver continues the values exactly.

    Raises:
      UserError: returns have no bound.
    """
    least, most = planning.bounds(mdp, gamma, horizon=horizon, shorter=True)
    if (
        not isinstance(least, Tracer)
        and not np.isfinite(np.asarray(most) - np.asarray(least)).all()
    ):
        raise UserError("covering: returns have no bound; give a horizon or a grid")
    # Points must differ, also where there is but one return.
    far = jnp.maximum(jnp.abs(least), jnp.abs(most))
    alone = jnp.where(far > 0, far, 1.0)
    span = jax.lax.select(most > least, most - least, alone)
    spacing = jnp.maximum(span / (size - 3), ulps(far))
    return Grid(-most - spacing, spacing, (size,) * max(1, least.size))


@checks.arguments(gamma=checks.DISCOUNT, spacing=checks.POSITIVE, horizon=COUNT)
def lattice(mdp: MDP, gamma: float, spacing: float, horizon: int | None = None) -> Grid:
    """The multiples of `spacing` that cover `[-max G, -min G]`; not for traced values.

    G is any return that can be left: of at most `horizon` steps, if there is one. Exact
    where all rewards are such multiples and `1 / gamma` is an integer.

    Raises:
      UserError: it would have more than ten million points, so G has no bound.
    """
    ends = planning.bounds(mdp, gamma, horizon=horizon, shorter=True)
    dtype = ends[0].dtype
    least, most = (np.asarray(x, np.float64) for x in ends)
    first = np.floor(-most / spacing + 1e-3) - 1
    last = np.ceil(-least / spacing - 1e-3) + 1
    count = last - first + 1
    if not np.prod(count) <= 1e7:
        raise UserError(f"a lattice of {np.prod(count):.3g} stocks: give a horizon or a grid")
    shape = tuple(int(n) for n in np.atleast_1d(count))
    step = jnp.full(first.shape, spacing, dtype)
    return Grid(jnp.asarray(first * spacing, dtype), step, shape)


class StockPlan(NamedTuple):
    """What `solve` gives.

    Attributes:
      values: the best `E f(c + G)` from each state and stock, `[S, C]`.
      q: of each action, `[S, C, A]`.
      iterations: how many it took, int32.
      residual: the largest change of a value in the last one.
      outside: how much of the probability of a return from the grid's low and high end
        lies further out, at most, `[m, 2]`; 0 where values beyond are exact.
    """

    values: Array
    q: Array
    iterations: Array
    residual: Array
    outside: Array


@checks.arguments(gamma=STOCK, horizon=COUNT, tolerance=TOLERANCE, max_iterations=COUNT)
def solve(
    mdp: MDP,
    utility: Utility,
    grid: Grid,
    *,
    gamma: Array | float,
    horizon: int | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 100_000,
    rounding: Rounding = "linear",
    shared: bool | None = None,
    unsound: bool = False,
) -> StockPlan:
    """Optimises `E f(c + G)` from every state and stock of the grid.

    Warns where the grid is too narrow for the returns (`StockPlan.outside`), which only
    shows outside of `jit`.

    Memory is `16 S A K C` bytes and, per axis of a vector stock, twice that; with
    `shared`, `8 S A (S + 3 C)`. Under `vmap` over B MDPs it is B times that: use
    `jax.lax.map(..., batch_size=...)` to bound it.

    Args:
      mdp: one MDP.
      utility: f; its numbers are leaves.
      grid: the stocks.
      gamma: the discount.
      horizon: the number of steps, after which the return ends; None iterates
        until no value changes by more than `tolerance max |V|`.
      tolerance: see `horizon`.
      max_iterations: where it stops in any case.
      rounding: how a stock between grid points is seen.
      shared: whether all outcomes of an action have one reward. Then successors
        are averaged before their stock is shifted, which saves a factor K.
        None looks, which needs concrete rewards, and assumes not if traced or if it
        would need more memory.
      unsound: compute even where theory says that this need not be optimal.

    Raises:
      UserError: theory says so (see `functionals.problems`); or the rounding
        is unknown.
    """
    plan = plan_on(
        mdp,
        utility,
        grid,
        gamma=gamma,
        horizon=horizon,
        tolerance=tolerance,
        max_iterations=max_iterations,
        rounding=rounding,
        shared=shared,
        unsound=unsound,
    )
    warn_if_narrow(mdp, grid, plan, gamma, horizon)
    return plan


def plan_on(
    mdp: MDP,
    utility: Utility,
    grid: Grid,
    *,
    gamma: Array | float,
    horizon: int | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 100_000,
    rounding: Rounding = "linear",
    shared: bool | None = None,
    unsound: bool = False,
) -> StockPlan:
    """`solve`, without a word on the grid."""
    require(utility, gamma, horizon, unsound)
    if rounding not in ROUNDINGS:
        raise UserError(f"unknown rounding {rounding!r}, {nearest(rounding, ROUNDINGS)}")
    return _solve(
        mdp,
        utility,
        grid,
        gamma,
        max_iterations if horizon is None else horizon,
        0.0 if horizon is not None else tolerance,
        fixed=horizon is not None,
        rounding=rounding,
        shared=_is_shared(mdp, grid, shared),
    )


@partial(jax.jit, static_argnames=("fixed", "rounding", "shared"))
def _solve(
    mdp: MDP,
    utility: Utility,
    grid: Grid,
    gamma: Any,
    limit: Any,
    tolerance: Any,
    *,
    fixed: bool,
    rounding: Rounding,
    shared: bool,
) -> StockPlan:
    mdp, utility, grid, gamma = numerics.same_type(mdp, utility, grid, gamma)
    backup = (_shared if shared else _listed)(mdp, utility, grid, gamma, rounding)

    def step(plan: StockPlan) -> StockPlan:
        q = backup(plan.values)
        values = q.max(1)
        change = jnp.abs(values - plan.values).max()
        # With fewer steps left the ends must be far enough out too.
        far = _outside(utility, grid, values)
        far = jnp.maximum(plan.outside, far) if fixed else far
        return StockPlan(values, q, plan.iterations + 1, change, far)

    def unfinished(plan: StockPlan) -> Array:
        enough = tolerance * numerics.size(plan.values)
        return (plan.iterations < limit) & (fixed | (plan.residual > enough))

    plan = jax.lax.while_loop(unfinished, step, _start(mdp, utility, grid))
    return plan._replace(q=plan.q.swapaxes(1, 2))


@checks.arguments(gamma=checks.DISCOUNT, horizon=COUNT)
@partial(jax.jit, static_argnames="horizon")
def solve_with_clock(
    mdp: MDP, utility: Utility, grid: Grid, *, gamma: Array | float, horizon: int
) -> StockPlan:
    """As `solve`, with the time as part of the state, for any f and any gamma.

    The stock is that of time 0 throughout, `c' = c + gamma^t r`, so f need not
    be indifferent to gamma. The grid must hold all that is reached: where f has
    no known tail, a value that depends on what is beyond is NaN.

    Returns:
      `values` at time 0; `q` of every time, `[H, S, C, A]`.
    """

    mdp, utility, grid, gamma = numerics.same_type(mdp, utility, grid, gamma)

    def step(carry: tuple[Array, Array], time: Array) -> tuple[tuple[Array, Array], Array]:
        values, outside = carry
        now = mdp.replace(reward=mdp.reward * jnp.asarray(gamma) ** time)
        q = _listed(now, utility, grid, jnp.ones_like(time), "linear")(values)
        values = q.max(1)
        return (values, jnp.maximum(outside, _outside(utility, grid, values))), q

    start = _start(mdp, utility, grid)
    times = jnp.arange(horizon, dtype=mdp.reward.dtype)
    (values, outside), q = jax.lax.scan(step, (start.values, start.outside), times, reverse=True)
    q, steps = q.swapaxes(2, 3), jnp.int32(horizon)
    return StockPlan(values, q, steps, jnp.zeros_like(start.residual), outside)


def greedy(q: Array, ties: Literal["first", "uniform"] = "first", tolerance: float = 1e-5) -> Array:
    """A policy `[..., C, A]` from `q[..., C, A]`: the first of the best actions, or all alike.

    Those are as good as the best which are within `tolerance`, as a share of the values
    at the stock and those next to it: each stock is a problem of its own.
    """
    best = (
        q >= q.max(-1, keepdims=True) - tolerance * size_nearby(q.swapaxes(-1, -2))[..., 0, :, None]
    )
    if ties == "first":
        return jax.nn.one_hot(best.argmax(-1), q.shape[-1], dtype=q.dtype)
    return best / best.sum(-1, keepdims=True)


def size_nearby(values: Array) -> Array:
    """The largest size of `values[..., A, C]` at each stock and those beside it, `[..., 1, C]`.

    What rounding is relative to: where a value crosses 0, it is that of its neighbours,
    and an f that grows fast, as an exponential, is not judged by its far end.
    """
    own = numerics.size(values, -2, keepdims=True)
    left, right = own[..., :1], own[..., -1:]
    before = jnp.concatenate([left, own[..., :-1]], -1)
    after = jnp.concatenate([own[..., 1:], right], -1)
    return jnp.maximum(own, jnp.maximum(before, after))


def warn_if_narrow(
    mdp: MDP,
    grid: Grid,
    plan: StockPlan,
    gamma: Array | float,
    horizon: int | None,
    at_end: tuple[bool, bool] = (False, False),
) -> None:
    """Warns, in one line, if returns leave the grid; where anything is traced it is silent.

    Args:
      mdp: the MDP.
      grid: the stocks.
      plan: what was found on them.
      gamma: the discount.
      horizon: the number of steps, or None.
      at_end: whether something of interest was found at the grid's low, and high, end.
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((mdp, grid, plan.outside, gamma))):
        return
    share = np.asarray(plan.outside)
    suspect = (share > OUTSIDE) | np.asarray([at_end])
    if not suspect.any():
        return
    least, most = (
        np.atleast_1d(np.asarray(x, np.float64))
        for x in planning.bounds(mdp, gamma, horizon=horizon, shorter=horizon is not None)
    )
    least, most = least + 0.0, most + 0.0  # no -0
    low, spacing = (np.atleast_1d(np.asarray(x, np.float64)) for x in (grid.low, grid.spacing))
    high = low + spacing * (np.array(grid.shape) - 1)
    hair = 1e-3 * spacing
    missed = suspect & np.stack([low > -most + hair, high < -least - hair], -1)
    if not missed.any():
        return
    part, end = (int(i) for i in np.argwhere(missed)[0])
    name = f"part {part} of the grid" if len(low) > 1 else "the grid"
    found = "the best stock is there" if at_end[end] else f"probability {share[part, end]:.2g}"
    warnings.warn(
        f"{name}, {low[part]:g} to {high[part]:g}, is too narrow: returns go from {least[part]:g} "
        f"to {most[part]:g}, so that stocks from {0 - most[part]:g} to {0 - least[part]:g} are "
        f"needed, and some leave it at its {('low', 'high')[end]} end ({found}); "
        "tabular.covering and tabular.lattice make one that holds them",
        stacklevel=2,
    )


def _outside(utility: Utility, grid: Grid, values: Array) -> Array:
    """How much of the probability is beyond the ends of the grid, from them, `[m, 2]`.

    Beyond an end, values are continued as if no return could cross 0 any more. Where that
    is so, the slope at the end is that of f there; else it differs by what the probability
    of crossing is of the kink.
    """
    axes = range(len(grid.shape))
    if utility.tail == "none":
        return jnp.zeros((len(grid.shape), 2), values.dtype)
    table = values.reshape(-1, *grid.shape)
    if utility.tail == "flat":
        ends = utility.utility(grid.points())[jnp.array([0, -1])]
        apart = jnp.abs(table[:, jnp.array([0, -1])] - ends[None]).max(0)
        most = jnp.abs(ends[1] - ends[0])
        return (apart / jnp.where(most > 0, most, 1.0))[None]
    shares = []
    for axis in axes:
        step = jnp.atleast_1d(grid.spacing) * (jnp.arange(len(grid.shape)) == axis)
        step = step if jnp.ndim(grid.low) else step[0]
        down, up = utility.utility(-step), utility.utility(step)
        kink, bends = jnp.abs(down + up), jnp.abs(down + up) > numerics.rounding(down)
        ends = [jnp.take(table, jnp.array(i), axis + 1) for i in ((0, 1), (-1, -2))]
        slopes = [jnp.take(x, 0, axis + 1) - jnp.take(x, 1, axis + 1) for x in ends]
        apart = jnp.stack([jnp.abs(x - y).max() for x, y in zip(slopes, (down, up), strict=True)])
        shares.append(jnp.where(bends, apart / jnp.where(bends, kink, 1.0), 0.0))
    return jnp.stack(shares)


def _start(mdp: MDP, utility: Utility, grid: Grid) -> StockPlan:
    """The return is 0 everywhere."""
    values = utility.utility(grid.points())
    shape = (mdp.states, mdp.actions, grid.size)
    residual = jnp.full((), jnp.inf, values.dtype)
    values = jnp.broadcast_to(values[None], (mdp.states, grid.size))
    outside = _outside(utility, grid, values[:1])
    return StockPlan(values, jnp.zeros(shape, values.dtype), jnp.int32(0), residual, outside)


def _is_shared(mdp: MDP, grid: Grid, shared: bool | None) -> bool:
    """Whether to mix successors before they are shifted: where it can be, and takes less memory."""
    if shared is not None:
        return shared
    if mdp.states + 3 * grid.size > 2 * mdp.probability.shape[-1] * grid.size:
        return False
    if isinstance(mdp.reward, Tracer) or isinstance(mdp.probability, Tracer):
        return False
    real = np.asarray(mdp.probability) > 0
    if mdp.reward.ndim > 3:
        return False
    reward = np.asarray(mdp.reward)
    least, most = np.where(real, reward, np.inf).min(-1), np.where(real, reward, -np.inf).max(-1)
    return bool((least == most).all())


def add_reward(points: Array, reward: Array) -> Array:
    """`c + r` for every stock: of points `[C]` and rewards `[...]`, `[..., C]`.

    Of points `[C, m]` and rewards `[..., m]`, `[..., C, m]`.
    """
    if points.ndim == 1:
        return points[(None,) * reward.ndim] + reward[..., None]
    return points[(None,) * (reward.ndim - 1)] + reward[..., None, :]


def _listed(mdp: MDP, utility: Utility, grid: Grid, gamma: Any, rounding: Rounding) -> Any:
    """The backup `[S, C] -> [S, A, C]`, outcome by outcome."""
    total = add_reward(grid.points(), mdp.reward)  # [S, A, K, C]
    index, weight, beyond = grid.locate(total / gamma, rounding)
    scale, shift = utility.scaling(gamma)
    ended = jnp.where(mdp.ends, mdp.probability, 0.0)[..., None]
    going = jnp.where(mdp.ends, 0.0, mdp.probability)[..., None]
    # NaN (no known tail) times a probability of 0 would be NaN.
    known = jnp.where(ended > 0, ended * utility.utility(total), 0.0)
    tail = jnp.where(going > 0, going * (scale * utility.beyond(beyond) + shift), 0.0)
    known = (known + tail).sum(2)
    weight = scale * going[..., None] * weight
    index = mdp.successor[..., None, None] * grid.size + index
    # Outcome by outcome, so that what is summed lies side by side in memory.
    parts = [
        (weight[:, :, k, :, j], index[:, :, k, :, j])
        for k in range(index.shape[2])
        for j in range(index.shape[4])
    ]

    def backup(values: Array) -> Array:
        return known + sum(_weigh(utility, w, _take(values, i)) for w, i in parts)

    return backup


def _shared(mdp: MDP, utility: Utility, grid: Grid, gamma: Any, rounding: Rounding) -> Any:
    """The same where the reward depends on state and action alone: mix, then shift."""
    first = mdp.probability.argmax(-1)[..., None]
    reward = jnp.take_along_axis(mdp.reward, first, 2)[..., 0]
    total = add_reward(grid.points(), reward)  # [S, A, C]
    index, weight, beyond = grid.locate(total / gamma, rounding)
    scale, shift = utility.scaling(gamma)
    transition = mdp.transition()
    going = transition.sum(-1)[..., None]
    known = jnp.where(going < 1, (1 - going) * utility.utility(total), 0.0)
    tail = jnp.where(going > 0, going * (scale * utility.beyond(beyond) + shift), 0.0)
    known = known + tail
    weight = scale * weight
    rows = jnp.arange(mdp.states * mdp.actions, dtype=jnp.int32).reshape(mdp.states, -1, 1, 1)
    index = rows * grid.size + index
    parts = [(weight[..., j], index[..., j]) for j in range(index.shape[-1])]

    def backup(values: Array) -> Array:
        mixed = jnp.einsum("sat,tc->sac", transition, values)
        return known + sum(_weigh(utility, w, _take(mixed, i)) for w, i in parts)

    return backup


def _take(values: Array, index: Array) -> Array:
    """Entries of the flat `values`; all are in bounds, and checking takes time."""
    return values.reshape(-1).at[index].get(mode="promise_in_bounds")


def _weigh(utility: Utility, weight: Array, values: Array) -> Array:
    """Their product; what is unknown (NaN) and has no weight does not count."""
    if utility.tail == "none":
        values = jnp.where(weight == 0, 0.0, values)
    return weight * values
