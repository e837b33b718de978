"""Distributional dynamic programming on (state, stock), for any functional.

The law of the return from a state s and a stock c after an action is that of
`r + gamma G'`, with G' from `(s', (c + r) / gamma)`; the greedy action maximises
K of the law of `c + r + gamma G'`. Value iteration repeats both; policy
iteration evaluates each policy in full (Avila Pires et al. 2025, sections 3
and 4).

A stock between two points of the grid sees the laws of both, mixed. So, as far
as the representation is exact, what is computed are the laws of a real policy,
one that rounds the stock it remembers at random.

Laws take `[S, C, M]` numbers and the backup of one state `[C, A, 2 K M]` at a
time, so that the whole `[S, C, A, ...]` never is in memory. For expected
utilities `stock.solve` finds the same values without laws.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular.returns.functionals import Functional, require
from jaxrl_reward.tabular.returns.laws import Laws, Representation
from jaxrl_reward.tabular.returns.stock import add_reward, size_nearby
from jaxrl_reward.tabular.types import MDP, Grid
from jaxrl_reward.types import Array, UserError, nearest

Ties = Literal["first", "mean", "uniform"]
TIES = ("first", "mean", "uniform")
TIED = 1e-5  # of the values about a stock: nearer than this to the best is as good


class Solved(NamedTuple):
    """What distributional dynamic programming gives.

    Attributes:
      laws: of the return G (not of c + G), `[S, C]`.
      policy: probabilities of the last step, `[S, C, A]`; in the order of their
        making `[N, S, C, A]` if all are kept.
      values: K of `c + G`, `[S, C]`, or `[N, S, C]`.
    """

    laws: Laws
    policy: Array
    values: Array


@checks.arguments(gamma=checks.STOCK, iterations=checks.COUNT)
def value_iteration(
    mdp: MDP,
    functional: Functional,
    grid: Grid,
    representation: Representation,
    *,
    gamma: Array | float,
    iterations: int,
    finite: bool = False,
    ties: Ties = "first",
    keep: bool = False,
    initial: Laws | None = None,
    unsound: bool = False,
) -> Solved:
    """Greedy backups of laws, from a return of 0.

    With N left to play the last policy comes first, then the one before it: the
    sequence in reverse is optimal for the horizon N; the last alone is so in the
    limit.

    Args:
      mdp: one MDP.
      functional: K.
      grid: the stocks.
      representation: of the laws.
      gamma: the discount.
      iterations: N, at least 1.
      finite: whether N is the horizon, which asks less of K.
      ties: among actions of one K the first, the one of the largest mean
        (the first of these), or each with the same probability.
      keep: give the policies and values of all iterations.
      initial: other laws `[S, C]` to start from.
      unsound: compute even where theory says that this need not be optimal.

    Raises:
      UserError: theory says so (see `functionals.problems`), `ties` is unknown, or
        there are no iterations.
    """
    require(functional, gamma, iterations if finite else None, unsound)
    if ties not in TIES:
        raise UserError(f"unknown ties {ties!r}, {nearest(ties, TIES)}")
    return _iterate(
        mdp, functional, grid, representation, initial, gamma, iterations, ties=ties, keep=keep
    )


@partial(jax.jit, static_argnames=("iterations", "ties", "keep"))
def _iterate(
    mdp: MDP,
    functional: Functional,
    grid: Grid,
    representation: Representation,
    initial: Laws | None,
    gamma: Any,
    iterations: int,
    *,
    ties: Ties,
    keep: bool,
) -> Solved:
    mdp, functional, grid, representation, initial, gamma = numerics.same_type(
        mdp, functional, grid, representation, initial, gamma
    )
    if initial is None:
        initial = _nothing(mdp, grid, representation)

    def improve(laws: Laws) -> Solved:
        return backup(mdp, functional, grid, representation, laws, gamma=gamma, ties=ties)

    def step(laws: Laws, _: None) -> tuple[Laws, tuple[Array, Array]]:
        solved = improve(laws)
        return solved.laws, (solved.policy, solved.values)

    if keep:
        laws, (policies, values) = jax.lax.scan(step, initial, None, length=iterations)
        return Solved(laws, policies, values)
    last = lambda _, solved: improve(solved.laws)  # noqa: E731
    return jax.lax.fori_loop(1, iterations, last, improve(initial))


@checks.arguments(gamma=checks.STOCK, iterations=checks.COUNT)
def evaluate(
    mdp: MDP,
    policy: Array,
    grid: Grid,
    representation: Representation,
    *,
    gamma: Array | float,
    iterations: int,
    initial: Laws | None = None,
) -> Laws:
    """The laws `[S, C]` of a policy `[S, C, A]` over so many steps.

    Each step brings them nearer to the fixed point by the factor gamma, in the
    largest Wasserstein distance over (s, c).
    """
    return _evaluate(mdp, policy, grid, representation, initial, gamma, iterations)


@jax.jit
def _evaluate(
    mdp: MDP,
    policy: Array,
    grid: Grid,
    representation: Representation,
    initial: Laws | None,
    gamma: Any,
    iterations: Any,
) -> Laws:
    mdp, policy, grid, representation, initial, gamma = numerics.same_type(
        mdp, policy, grid, representation, initial, gamma
    )
    if initial is None:
        initial = _nothing(mdp, grid, representation)

    def step(_: Any, laws: Laws) -> Laws:
        return backup(mdp, None, grid, representation, laws, gamma=gamma, policy=policy).laws

    return jax.lax.fori_loop(0, iterations, step, initial)


@checks.arguments(gamma=checks.STOCK, rounds=checks.COUNT, iterations=checks.COUNT)
def policy_iteration(
    mdp: MDP,
    functional: Functional,
    grid: Grid,
    representation: Representation,
    *,
    gamma: Array | float,
    rounds: int,
    iterations: int,
    policy: Array | None = None,
    ties: Ties = "first",
    unsound: bool = False,
) -> Solved:
    """Evaluates a policy by `iterations` backups, makes it greedy, and so on.

    Args:
      mdp, functional, grid, representation, gamma, ties, unsound: as in `value_iteration`.
      rounds: how many policies are evaluated.
      iterations: backups of each evaluation.
      policy: the first one, `[S, C, A]`; always action 0 by default.

    Returns:
      The laws of the last policy that was evaluated, and all policies
      `[rounds, S, C, A]` with their values `[rounds, S, C]`: none is worse than
      the one before it.
    """
    require(functional, gamma, None, unsound)
    if policy is None:
        policy = (
            jnp.zeros((mdp.states, grid.size, mdp.actions), mdp.reward.dtype).at[..., 0].set(1.0)
        )
    return _improve(
        mdp, functional, grid, representation, policy, gamma, iterations, rounds=rounds, ties=ties
    )


@partial(jax.jit, static_argnames=("rounds", "ties"))
def _improve(
    mdp: MDP,
    functional: Functional,
    grid: Grid,
    representation: Representation,
    policy: Array,
    gamma: Any,
    iterations: Any,
    *,
    rounds: int,
    ties: Ties,
) -> Solved:
    mdp, functional, grid, representation, policy, gamma = numerics.same_type(
        mdp, functional, grid, representation, policy, gamma
    )

    def improve(carry: tuple[Array, Laws], _: None) -> tuple[tuple[Array, Laws], Solved]:
        policy, laws = carry
        laws = evaluate(
            mdp, policy, grid, representation, gamma=gamma, iterations=iterations, initial=laws
        )
        values = functional_of(functional, grid, laws)
        better = backup(mdp, functional, grid, representation, laws, gamma=gamma, ties=ties)
        return (better.policy, laws), Solved(laws, policy, values)

    initial = _nothing(mdp, grid, representation)
    (_, laws), all_of_them = jax.lax.scan(improve, (policy, initial), None, length=rounds)
    return Solved(laws, all_of_them.policy, all_of_them.values)


def functional_of(functional: Functional, grid: Grid, laws: Laws) -> Array:
    """K of the law of `c + G`, for laws `[S, C]`: `[S, C]`."""
    points = grid.points()[None, :, None]
    return functional(points + laws.values, laws.weights)


def backup(
    mdp: MDP,
    functional: Functional | None,
    grid: Grid,
    representation: Representation,
    laws: Laws,
    *,
    gamma: Array | float,
    ties: Ties = "first",
    policy: Array | None = None,
) -> Solved:
    """One backup of laws `[S, C]`: of a policy `[S, C, A]`, or of the greedy one.

    Without a functional `values` are 0.
    """
    points = grid.points()

    def state(row: tuple[MDP, Array | None]) -> tuple[Laws, Array, Array]:
        one, given = row
        values, weights, lost = _outcomes(one, grid, laws, points, gamma)  # [A, C, P]
        lifted = points[None, :, None] + values
        worth = jnp.zeros(lost.shape, values.dtype)
        if functional is not None:
            worth = functional(lifted, weights)
        chosen = _choose(worth, values, weights, ties) if given is None else given
        chosen = chosen.astype(values.dtype)
        law = _mix(
            representation, chosen, values, weights, lost, one=given is None and ties != "uniform"
        )
        return law, chosen, (jnp.where(chosen > 0, worth.T, 0.0) * chosen).sum(-1)

    rows = mdp.replace(start=jnp.zeros_like(mdp.start))
    return Solved(*jax.lax.map(state, (rows, policy)))


def _nothing(mdp: MDP, grid: Grid, representation: Representation) -> Laws:
    """The return is 0 everywhere."""
    return representation.zero((mdp.states, grid.size), mdp.reward.shape[3:], mdp.reward.dtype)


def _outcomes(
    one: MDP, grid: Grid, laws: Laws, points: Array, gamma: Array | float
) -> tuple[Array, Array, Array]:
    """The particles of every action in one state (leaves `[A, K]`), `[A, C, P]`."""
    total = add_reward(points, one.reward)  # [A, K, C]
    index, share, _ = grid.locate(total / gamma)
    at = (one.successor[..., None, None], index)  # [A, K, C, J]
    values, weights, lost = (leaf[at] for leaf in laws)  # [A, K, C, J, M]
    parts = one.reward.shape[2:]
    reward = one.reward.reshape(*one.reward.shape[:2], 1, 1, 1, *parts)
    over = one.ends[..., None, None]
    after = jnp.where(over.reshape(over.shape + (1,) * (1 + len(parts))), 0.0, gamma * values)
    weights = weights * (share * one.probability[..., None, None])[..., None]
    lost = (lost * share * jnp.where(over, 0.0, one.probability[..., None, None])).sum((1, 3))
    values = jnp.broadcast_to(reward + after, values.shape)
    flat = lambda x: jnp.moveaxis(x, 2, 1).reshape(x.shape[0], x.shape[2], -1)  # noqa: E731
    if parts:
        split = [flat(values[..., i]) for i in range(parts[0])]
        return jnp.stack(split, -1), flat(weights), lost
    return flat(values), flat(weights), lost


def _choose(worth: Array, values: Array, weights: Array, ties: Ties) -> Array:
    """The greedy policy `[C, A]` from K `[A, C]`."""
    slack = TIED * size_nearby(worth)
    best = worth >= worth.max(0, keepdims=True) - slack
    if ties == "uniform":
        return (best / best.sum(0, keepdims=True)).T
    if ties == "mean":
        wide = weights.reshape(*weights.shape, *(1,) * (values.ndim - 3))
        mean = (values * wide).sum(tuple(range(2, values.ndim)))
        slack = TIED * size_nearby(mean)
        mean = jnp.where(best, mean, -jnp.inf)
        best = mean >= mean.max(0, keepdims=True) - slack
    return jax.nn.one_hot(best.argmax(0), worth.shape[0])


def _mix(
    representation: Representation,
    chosen: Array,
    values: Array,
    weights: Array,
    lost: Array,
    one: bool,
) -> Laws:
    """The laws `[C]` of a policy `[C, A]` in one state; `one` if it takes one action only."""
    if one:  # a factor A fewer particles to project
        action = chosen.argmax(-1)
        stock = jnp.arange(action.size)
        values, weights, lost = (x[action, stock][None] for x in (values, weights, lost))
        chosen = jnp.ones((action.size, 1), weights.dtype)
    weights = weights * chosen.T[..., None]
    join = lambda x: jnp.swapaxes(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:])  # noqa: E731
    law = jax.vmap(representation.project)(join(values), join(weights))
    return law._replace(lost=law.lost + (lost * chosen.T).sum(0))
