"""Where the states of a world are, for those that lie on a map."""

from collections.abc import Callable
from typing import Any

from jaxrl_reward.tabular import mazes, worlds

Places = list[tuple[int, int]]


def places(name: str, **options: Any) -> Places | None:
    """Row and column of each state of a world; None for one without a map.

    Args:
      name: the world's.
      **options: all of its own.
    """
    return _MAPS[name](**options) if name in _MAPS else None


def _grid(rows: int, columns: int) -> Places:
    return [(row, column) for row in range(rows) for column in range(columns)]


# What a world's options change of its map; a key lifts a line to the upper row.
_MAPS: dict[str, Callable[..., Places]] = {
    "pantry": lambda size: _grid(size, size),
    "deep_sea_treasure": lambda **_: worlds.open_sea(),
    "risky_grid": lambda **_: _grid(3, 4),
    "windy_cliff": lambda **_: _grid(4, 6),
    "chain": lambda right, left, **_: _grid(1, left + right + 1),
    "line_key": lambda length, **_: [(1 - key, x) for key in (0, 1) for x in range(length)],
    "rooms": lambda size, **_: mazes.floor(size),
}
