"""Where the states of a world are, for those that lie on a map."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxrl_reward.tabular import mazes, worlds

Places = list[tuple[int, int]]


class Map(NamedTuple):
    """Rows and columns of a world.

    Attributes:
      places: of each state.
      ends: of what ends an episode and is no state.
    """

    places: Places
    ends: Places

    def with_clock(self, horizon: int) -> "Map":
        """That of `tabular.with_clock`, where times follow each other; 0 has none."""
        return self._replace(places=self.places * max(horizon, 1))


def of(name: str, **options: Any) -> Map | None:
    """The map of a world; None for one without.

    Args:
      name: the world's.
      **options: all of its own.
    """
    return _MAPS[name](**options) if name in _MAPS else None


def _grid(rows: int, columns: int) -> Map:
    return Map([(row, column) for row in range(rows) for column in range(columns)], [])


def _line_key(length: int, **_: Any) -> Map:
    """The upper row is that with the key."""
    return Map([(1 - key, x) for key in (0, 1) for x in range(length)], [])


def _sea(**_: Any) -> Map:
    return Map(worlds.open_sea(), [(depth, x) for x, depth in enumerate(worlds.DEPTHS)])


_MAPS: dict[str, Callable[..., Map]] = {
    "pantry": lambda size: _grid(size, size),
    "deep_sea_treasure": _sea,
    "risky_grid": lambda **_: _grid(3, 4),
    "windy_cliff": lambda **_: _grid(4, 6),
    "chain": lambda right, left, **_: _grid(1, left + right + 1),
    "line_key": _line_key,
    "rooms": lambda size, **_: Map(mazes.floor(size), [(0, size - 1)]),
}
