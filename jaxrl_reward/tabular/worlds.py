"""Small worlds: those with answers known by hand, and grids.

`WORLDS` are the ones that `envs.make("tabular:NAME")` knows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxrl_reward.tabular import mazes
from jaxrl_reward.tabular.mdp import from_outcomes
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import UserError, nearest

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left

Outcomes = Sequence[Sequence[Sequence[tuple[float, int | None, Any]]]]


def lotteries() -> MDP:
    """0 or 10 by chance, then 4 for certain (action 0) or again 0 or 10 (action 1).

    What is best depends on the first draw for nearly every measure of risk.
    """
    coin = [(0.5, 1, 0.0), (0.5, 1, 10.0)]
    return from_outcomes([[coin], [[(1.0, None, 4.0)], [(0.5, None, 0.0), (0.5, None, 10.0)]]])


def digits() -> MDP:
    """One state without an end, and actions worth 0 and 1: with gamma = 1/2, binary digits."""
    return from_outcomes([[[(1.0, 0, 0.0)], [(1.0, 0, 1.0)]]])


def postponed() -> MDP:
    """Nothing, then 0 for certain (action 0), or -2 or 3.2 by chance (action 1).

    Discounted, an exponential utility prefers otherwise in advance than later.
    """
    gamble = [(0.5, None, -2.0), (0.5, None, 3.2)]
    return from_outcomes([[[(1.0, 1, 0.0)]], [[(1.0, None, 0.0)], gamble]])


def spread() -> MDP:
    """0 or 10 by chance, then 0 for certain (action 0), or 9 or 11 by chance (action 1).

    The least variance needs the riskier action after 0.
    """
    coin = [(0.5, 1, 0.0), (0.5, 1, 10.0)]
    return from_outcomes([[coin], [[(1.0, None, 0.0)], [(0.5, None, 9.0), (0.5, None, 11.0)]]])


def homeostasis() -> MDP:
    """Eat (2, -1), drink (-1, 2) or rest (0, 0), for ever: two stocks to keep at 0."""
    return from_outcomes([[[(1.0, 0, r)] for r in ((2.0, -1.0), (-1.0, 2.0), (0.0, 0.0))]])


def mine(damage: float = 0.3) -> MDP:
    """Rest (0, 0), or dig: earns 1, at the risk of losing 1 of what may be lost; for ever.

    Two rewards: how long to go on digging depends on how much may still be lost.
    """
    dig = [(1 - damage, 0, (1.0, 0.0)), (damage, 0, (1.0, -1.0))]
    return from_outcomes([[[(1.0, 0, (0.0, 0.0))], dig]])


def pantry(size: int = 4) -> MDP:
    """A grid with food in one corner and water in the opposite one, for ever.

    Every step uses up (1, 1); the corners give (size, 0) and (0, size) to whoever
    stays there: two stocks to keep at 0 from afar.
    """

    def paid(place: tuple[int, int]) -> tuple[float, float]:
        food, water = place == (0, 0), place == (size - 1, size - 1)
        return (size * food - 1.0, size * water - 1.0)

    def outcome(place: tuple[int, int]) -> list[tuple[float, int | None, Any]]:
        return [(1.0, place[0] * size + place[1], paid(place))]

    places = [(row, column) for row in range(size) for column in range(size)]
    return from_outcomes(
        [[outcome(_move(at, by, (size, size))) for by in (*MOVES, (0, 0))] for at in places],
        start=places.index((size // 2, size // 2)),
    )


TREASURES = (1.0, 2.0, 3.0, 5.0, 8.0, 16.0, 24.0, 50.0, 74.0, 124.0)
CONVEX_TREASURES = (0.7, 8.2, 11.5, 14.0, 15.1, 16.1, 19.6, 20.3, 22.4, 23.7)
DEPTHS = (1, 2, 3, 4, 4, 4, 7, 7, 9, 10)  # the row of each column's treasure


def deep_sea_treasure(convex: bool = False) -> MDP:
    """10 columns of sea over a falling bed; two rewards: the treasure found, and -1 a step.

    A submarine dives from the upper left corner; a treasure ends the episode, and
    the farther ones are worth more. The front of the original (Vamplew et al.
    2011, "Empirical evaluation methods for multiobjective reinforcement learning
    algorithms") is concave: a weighted sum reaches its two ends alone. With
    `convex` the treasures are those of Yang et al. 2019. Moves off the map or into the
    bed stay in place.
    """
    values, sea = CONVEX_TREASURES if convex else TREASURES, open_sea()

    def outcome(at: tuple[int, int], by: tuple[int, int]) -> list[tuple[float, int | None, Any]]:
        row, column = _move(at, by, (max(DEPTHS) + 1, len(DEPTHS)))
        if row > DEPTHS[column]:
            row, column = at
        if row == DEPTHS[column]:
            return [(1.0, None, (values[column], -1.0))]
        return [(1.0, sea.index((row, column)), (0.0, -1.0))]

    return from_outcomes([[outcome(at, by) for by in MOVES] for at in sea])


def open_sea() -> list[tuple[int, int]]:
    """Where one may dive for a treasure: row and column of each state."""
    return [(row, column) for column, depth in enumerate(DEPTHS) for row in range(depth)]


def risky_grid(hit: float = 0.1, cost: float = 8.0) -> MDP:
    """3 x 4; from one corner of the top row to the other, each move -1.

    Entering the two cells between costs `cost` more with probability `hit`; the
    way around takes two moves more.
    """
    shape, goal = (3, 4), (0, 3)

    def outcome(place: tuple[int, int]) -> list[tuple[float, int | None, Any]]:
        after = None if place == goal else place[0] * shape[1] + place[1]
        if place in ((0, 1), (0, 2)):
            return [(1 - hit, after, -1.0), (hit, after, -1.0 - cost)]
        return [(1.0, after, -1.0)]

    return _grid(shape, outcome)


def windy_cliff(wind: float = 0.1, fall: float = 20.0) -> MDP:
    """4 x 6; along a cliff from the lower left corner to the lower right, each move -1.

    The cells between them on the lowest row are the cliff: it costs `fall` more
    and leads back to the start. With probability `wind` any move is blown down.
    """
    rows, columns = shape = (4, 6)
    start = (rows - 1, 0)

    def land(place: tuple[int, int]) -> tuple[int | None, float]:
        if place == (rows - 1, columns - 1):
            return None, -1.0
        if place[0] == rows - 1 and place[1] > 0:
            return start[0] * columns + start[1], -1.0 - fall
        return place[0] * columns + place[1], -1.0

    def outcomes(at: tuple[int, int], by: tuple[int, int]) -> list[tuple[float, int | None, Any]]:
        calm, blown = land(_move(at, by, shape)), land(_move(at, (1, 0), shape))
        return [(1 - wind, *calm), (wind, *blown)]

    places = [(row, column) for row in range(rows) for column in range(columns)]
    return from_outcomes(
        [[outcomes(at, by) for by in MOVES] for at in places], start=places.index(start)
    )


def _move(at: tuple[int, int], by: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """One step further, or the same place where a wall is."""
    row, column = np.clip(np.add(at, by), 0, np.subtract(shape, 1))
    return int(row), int(column)


def _grid(shape: tuple[int, int], outcome: Callable[[tuple[int, int]], Any]) -> MDP:
    places = [(row, column) for row in range(shape[0]) for column in range(shape[1])]
    return from_outcomes([[outcome(_move(at, by, shape)) for by in MOVES] for at in places])


WORLDS: dict[str, Callable[..., MDP]] = {
    each.__name__: each
    for each in (
        lotteries,
        deep_sea_treasure,
        digits,
        postponed,
        spread,
        homeostasis,
        mine,
        pantry,
        risky_grid,
        windy_cliff,
        mazes.chain,
        mazes.line_key,
        mazes.rooms,
    )
}


def make(name: str, **options: Any) -> MDP:
    """A world by name.

    Raises:
      UserError: there is none of this name; the message suggests the nearest.
    """
    if name not in WORLDS:
        raise UserError(f"unknown world {name!r}, {nearest(name, WORLDS)}")
    return WORLDS[name](**options)
