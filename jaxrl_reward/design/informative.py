"""Designed rewards: informative, sparse, and with the task's optimal policies.

ExpRD: Devidze, Radanovic, Kamalaruban and Singla 2021, "Explicable Reward Design for
Reinforcement Learning Agents". A reward is informative if an agent need not look far
ahead to see which actions are worse: over horizons h and states s,

    I(R) = - mean_{h, s} max(0, gap(s) - min_{a worse} Q_h(s, pi(s)) - Q_h(s, a))

which is at most 0 and concave in R, so that the best R over a set of states is the
solution of a linear program. Which states may pay is chosen greedily.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxrl_reward.design.targets import Target, losses, on
from jaxrl_reward.types import UserError

HORIZONS = (1, 4, 8, 16, 32)  # of the paper's experiments
SLACK = 1e-5  # of the gaps that are asked for: the task's own reward must stay feasible


class Design(NamedTuple):
    """A designed reward.

    Attributes:
      reward: `[S, A]`.
      states: those that may pay, in the order in which they were chosen.
      informativeness: I, at most 0, after each choice.
    """

    reward: np.ndarray
    states: tuple[int, ...]
    informativeness: tuple[float, ...]


def informativeness(to: Target, reward: np.ndarray, horizons: Sequence[int] = HORIZONS) -> float:
    """I of a reward `[S, A]`: 0 if every worse action is seen to be so at every horizon."""
    return _informativeness(to, reward, all_losses(to, horizons))


def _informativeness(to: Target, reward: np.ndarray, maps: Sequence[np.ndarray]) -> float:
    missing = []
    for each in maps[1:]:
        lost = (each @ np.asarray(reward, float).reshape(-1)).reshape(to.size)
        least = np.where(to.optimal, np.inf, lost).min(1)
        missing.append(np.maximum(to.gap - least, 0.0))
    return -float(np.mean(missing))


def all_losses(to: Target, horizons: Sequence[int]) -> list[np.ndarray]:
    """`losses` without a horizon, and at each of the horizons."""
    return [losses(to), *(losses(to, horizon) for horizon in horizons)]


def invariant(
    to: Target, basis: np.ndarray, ever: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The invariance of the reward `basis @ w` as `matrix @ w <= vector`.

    The target policy stays optimal, and actions that are not optimal for the task lose at
    least `gap`: so whatever is optimal for the reward is optimal for the task. `ever` is
    `losses(to)`, if it is there already.
    """
    ever = losses(to) if ever is None else ever
    least = np.where(to.optimal, 0.0, to.gap[:, None] * (1 - SLACK)).reshape(-1)
    own = np.zeros(to.size, bool)
    own[np.arange(len(own)), to.policy] = True
    rows = ~own.reshape(-1)
    return -(ever @ basis)[rows], -least[rows]


def most_informative(
    to: Target,
    basis: np.ndarray,
    horizons: Sequence[int] = HORIZONS,
    bound: float | None = None,
    maps: Sequence[np.ndarray] | None = None,
) -> tuple[np.ndarray, float]:
    """The most informative invariant reward among `basis @ w`.

    Args:
      to: the target.
      basis: `[S A, D]`.
      horizons: of I.
      bound: the largest reward, in size; the task's by default.
      maps: `losses` without a horizon and at each of them, if they are there already.

    Returns:
      The reward `[S, A]` and its informativeness.

    Raises:
      UserError: no reward of the basis is invariant.
    """
    states, actions = to.size
    worse = ~to.optimal.reshape(-1)
    state = np.repeat(np.arange(states), actions)[worse]
    count, columns = len(horizons) * states, basis.shape[1]
    maps = all_losses(to, horizons) if maps is None else maps
    matrix, vector = invariant(to, basis, maps[0])
    rows = [np.hstack([matrix, np.zeros((len(matrix), count))])]
    limits = [vector]
    for i, lost in enumerate(maps[1:]):  # a variable for what is missing at each (h, s)
        missing = np.zeros((len(state), count))
        missing[np.arange(len(state)), i * states + state] = 1.0
        rows.append(-np.hstack([(lost @ basis)[worse], missing]))
        limits.append(-to.gap[state])
    cost = np.concatenate([np.zeros(columns), np.full(count, 1.0 / count)])
    found = solve(to, basis, cost, np.vstack(rows), np.concatenate(limits), bound)
    return found, _informativeness(to, found, maps)


def solve(
    to: Target,
    basis: np.ndarray,
    cost: np.ndarray,
    matrix: np.ndarray,
    vector: np.ndarray,
    bound: float | None = None,
) -> np.ndarray:
    """The reward `[S, A]` of the cheapest w of a linear program, within the bound.

    Args:
      to: the target.
      basis: `[S A, D]`; `basis @ w` is the reward.
      cost: of w and of the variables behind it, which are at least 0.
      matrix: with `matrix @ (w, ...) <= vector`.
      vector: see there.
      bound: the largest reward, in size; the task's by default.

    Raises:
      UserError: nothing is feasible.
    """
    from scipy.optimize import linprog

    bound = to.bound if bound is None else bound
    # A solver's tolerances are absolute: it sees rewards in units of the largest.
    unit = float(2.0 ** np.floor(np.log2(bound))) if bound > 0 else 1.0
    vector, bound = vector / unit, bound / unit
    columns = basis.shape[1]
    limits: list[tuple[float | None, float | None]] = [(None, None)] * columns
    if ((basis != 0).sum(1) <= 1).all() and np.isin(basis, (0, 1)).all():
        limits = [(-bound, bound)] * columns  # each w is a reward, or several
    else:
        used = basis[(basis != 0).any(1)]
        wide = np.hstack([used, np.zeros((len(used), len(cost) - columns))])
        matrix = np.vstack([matrix, wide, -wide])
        vector = np.concatenate([vector, np.full(2 * len(used), bound)])
    limits += [(0.0, None)] * (len(cost) - columns)
    found = linprog(cost, A_ub=matrix, b_ub=vector, bounds=limits, method="highs")
    if found.status != 0:
        raise UserError(f"no reward on this basis keeps the optimal policies: {found.message}")
    return unit * (basis @ found.x[:columns]).reshape(to.size)


def exprd(
    to: Target,
    states: int,
    *,
    candidates: Sequence[int] | None = None,
    horizons: Sequence[int] = HORIZONS,
    bound: float | None = None,
) -> Design:
    """The reward on few states that greedy choice finds most informative.

    Args:
      to: the target.
      states: how many may pay beside those that pay in the task.
      candidates: the states to choose from; all by default.
      horizons: of I.
      bound: the largest reward, in size; the task's by default.

    Raises:
      UserError: `states` is negative.
    """
    if states < 0:
        raise UserError(f"the number of states must not be negative, it is {states}")
    chosen = [int(s) for s in np.flatnonzero(np.abs(to.reward).max(1) > 0)]
    left = [s for s in (candidates or range(to.size[0])) if s not in chosen]
    maps = all_losses(to, horizons)

    def best_on(states: list[int]) -> tuple[np.ndarray, float]:
        return most_informative(to, on(states, to), horizons, bound, maps)

    reward, value = best_on(chosen)
    values = [value]
    for _ in range(min(states, len(left))):
        found = {s: best_on([*chosen, s]) for s in left}
        best = max(left, key=lambda s: found[s][1])
        reward, value = found[best]
        chosen.append(best)
        left.remove(best)
        values.append(value)
    return Design(reward, tuple(chosen), tuple(values))
