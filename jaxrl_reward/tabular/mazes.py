"""Sparse tasks that need exploration: a chain, four rooms, a line with a key.

Worlds of the kind that R. Devidze's thesis, "Reward Design for Reinforcement Learning
Agents" (2025), designs rewards for. Each pays in one place only.
"""

from typing import Any

from jaxrl_reward.tabular.mdp import from_outcomes
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import UserError

MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left

Outcome = tuple[float, int | None, Any]


def chain(right: int = 20, left: int = 40, slip: float = 0.05, distractor: float = 0.0) -> MDP:
    """Left or right; 1 for every step right at the right end, for ever.

    The right end is `right` steps from the start; a step left off the left end, `left`
    steps from the start, ends the episode with nothing. Half way to the left, a step
    left pays `distractor`. With probability `slip` the direction is drawn.
    """
    _positive(right=right, left=left)
    last, trap = left + right, left // 2

    def go(at: int, by: int) -> tuple[int | None, float]:
        paid = 1.0 if (at, by) == (last, 1) else distractor if (at, by) == (trap, -1) else 0.0
        return (None if at + by < 0 else min(at + by, last)), paid

    def outcomes(at: int, by: int) -> list[Outcome]:
        return _mixed([(1 - slip, go(at, by)), *((slip / 2, go(at, d)) for d in (-1, 1))])

    return from_outcomes([[outcomes(at, by) for by in (-1, 1)] for at in range(last + 1)], left)


def rooms(size: int = 7, slip: float = 0.1) -> MDP:
    """Four rooms; 1 for reaching the upper right corner from the lower left, and the end.

    Walls stand in the middle row and column of the `size` x `size` cells, with a door in
    each of their four parts. With probability `slip` the direction is drawn.
    """
    if size < 5 or size % 2 == 0:
        raise UserError(f"rooms need an odd size of at least 5, not {size}")
    cells, goal = floor(size), (0, size - 1)
    index = {cell: i for i, cell in enumerate(cells)}

    def go(at: tuple[int, int], by: tuple[int, int]) -> tuple[int | None, float]:
        to = (at[0] + by[0], at[1] + by[1])
        if to == goal:
            return None, 1.0
        return index.get(to, index[at]), 0.0

    def outcomes(at: tuple[int, int], by: tuple[int, int]) -> list[Outcome]:
        return _mixed([(1 - slip, go(at, by)), *((slip / 4, go(at, d)) for d in MOVES)])

    return from_outcomes(
        [[outcomes(at, by) for by in MOVES] for at in cells], start=index[(size - 1, 0)]
    )


def floor(size: int) -> list[tuple[int, int]]:
    """The cells of four rooms without the goal: row and column of each state."""
    wall, doors, goal = size // 2, (size // 4, size - 1 - size // 4), (0, size - 1)
    return [
        (row, column)
        for row in range(size)
        for column in range(size)
        if (row != wall or column in doors)
        and (column != wall or row in doors)
        and (row, column) != goal
    ]


def line_key(length: int = 10, slip: float = 0.05) -> MDP:
    """Left, right or pick up; 1 for leaving at the right end with the key of the left end.

    The key lies in the two cells next to the first, the start is in the middle, and a step
    right off the last cell ends the episode, with or without the key. With probability
    `slip` another action is taken. State `length + x` is cell x with the key.
    """
    if length < 6:
        raise UserError(f"a line with a key needs at least 6 cells, not {length}")

    def go(state: int, action: int) -> tuple[int | None, float]:
        key, at = divmod(state, length)
        if action == 2:
            return (length + at if at in (1, 2) else state), 0.0
        to = max(at + (1 if action else -1), 0)
        return (None, float(key)) if to == length else (key * length + to, 0.0)

    def outcomes(state: int, action: int) -> list[Outcome]:
        others = [(slip / 2, go(state, other)) for other in range(3) if other != action]
        return _mixed([(1 - slip, go(state, action)), *others])

    return from_outcomes(
        [[outcomes(state, action) for action in range(3)] for state in range(2 * length)],
        start=length // 2,
    )


def _mixed(parts: list[tuple[float, tuple[int | None, float]]]) -> list[Outcome]:
    """Outcomes of the same successor and reward as one; those of probability 0 left out."""
    total: dict[tuple[int | None, float], float] = {}
    for probability, landed in parts:
        total[landed] = total.get(landed, 0.0) + probability
    return [(p, *landed) for landed, p in total.items() if p > 0]


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UserError(f"a chain's {name} must be at least 1, not {value}")
