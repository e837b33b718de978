"""Drawings of other suites' environments: by their own renderers where these need no display.

A suite that is not here is drawn from its observations.
"""

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxrl_reward.render.canvas import (
    BLUE,
    FAINT,
    GREEN,
    HEIGHT,
    INK,
    MUTED,
    ORANGE,
    PINK,
    RED,
    SKY,
    WIDTH,
    Canvas,
    blend,
)

_HOME = "jaxrl_reward.envs.suites."
# Craftax-Classic's blocks by number: outside twice, grass, water, stone, tree, wood, path, coal,
# iron, diamond, table, furnace, sand, lava, plants. The full game has more.
_BLOCKS = (
    *(INK, INK, "#7DBE6A", SKY, MUTED, GREEN, "#8B5A2B", "#D9CBB0", INK, "#E8B08A", "#FFFFFF"),
    *("#B5651D", "#555555", "#F0E0A0", RED, "#A8E06A", PINK),
)


def drawn(env: Any) -> bool:
    """Whether an environment is drawn from its states."""
    return _drawing(env) is not None


def draw(env: Any, states: Sequence[Any]) -> Iterator[Canvas]:
    """One frame for each state of an episode in an environment that is `drawn`."""
    make = _drawing(env)
    assert make is not None
    with _no_window() if make is _jumanji else contextlib.nullcontext():
        frame = make(env)
        for state in states:
            yield frame(state)


def _drawing(env: Any) -> Callable[[Any], Callable[[Any], Canvas]] | None:
    kind = type(env.environment).__module__
    suite = kind.removeprefix(_HOME) if kind.startswith(_HOME) else ""
    if suite == "jaxmarl" and not hasattr(env.environment.suite, "rad"):
        return _soldiers if hasattr(env.environment.suite, "heuristic_policy") else None
    if suite == "pgx" and env.environment.name != "2048":
        return None  # MinAtar's planes are its observation
    return _SUITES.get(suite)


def _jumanji(env: Any) -> Callable[[Any], Canvas]:
    suite = copy.copy(env.environment.suite)
    name = next(each for each in ("_viewer", "_env_viewer", "viewer") if hasattr(suite, each))
    viewer = copy.copy(getattr(suite, name))
    viewer.figure_size = (5.0, 5.0)
    shown: list[Any] = []  # not all of them give back what they draw
    viewer._display = lambda figure: shown.append(viewer._display_rgb_array(figure))
    setattr(suite, name, viewer)

    def frame(state: Any) -> Canvas:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a figure that cannot be shown
            suite.render(state.suite)
        return _picture(shown.pop())

    return frame


def _xminigrid(env: Any) -> Callable[[Any], Canvas]:
    suite, params = env.environment.suite, env.params.xminigrid
    return lambda state: _picture(suite.render(params, state))


def _navix(env: Any) -> Callable[[Any], Canvas]:
    from importlib import import_module

    rgb = import_module("navix.observations").rgb
    return lambda state: _picture(rgb(state.state))


def _craftax(env: Any) -> Callable[[Any], Canvas]:
    """The blocks around the player; those of the full game by a colour each, on its floor."""

    def frame(state: Any) -> Canvas:
        blocks = np.asarray(state.map)
        if blocks.ndim == 3:
            blocks = blocks[int(state.player_level)]
        row, column = (int(x) for x in np.asarray(state.player_position))
        rows, columns = 9, 13
        padded = np.pad(blocks, ((rows // 2,) * 2, (columns // 2,) * 2), constant_values=1)
        view = padded[row : row + rows, column : column + columns]
        colours = [[_BLOCKS[block % len(_BLOCKS)] for block in line] for line in view]
        canvas, at = _tiles(colours)
        canvas.disc(at(rows // 2, columns // 2), 0.32, ORANGE)
        for name, colour in (("zombies", GREEN), ("cows", PINK), ("skeletons", "#FFFFFF")):
            for place in _mobs(getattr(state, name, None)):
                there = (place[0] - row + rows // 2, place[1] - column + columns // 2)
                if 0 <= there[0] < rows and 0 <= there[1] < columns:
                    canvas.disc(at(*there), 0.3, INK)
                    canvas.disc(at(*there), 0.24, colour)
        return canvas

    return frame


def _mobs(mobs: Any) -> list[tuple[int, int]]:
    if mobs is None:
        return []
    places, alive = np.asarray(mobs.position), np.asarray(mobs.mask)
    return [(int(place[0]), int(place[1])) for place in places[alive]]


def _pgx(env: Any) -> Callable[[Any], Canvas]:
    """2048's board."""

    def frame(state: Any) -> Canvas:
        board = np.asarray(state.pgx._board).reshape(4, 4)
        shades = [[blend(FAINT, ORANGE, min(x / 11, 1.0)) for x in line] for line in board]
        canvas, at = _tiles(shades)
        for place in np.argwhere(board > 0):
            x, y = canvas.pixel(at(*place))
            words = str(2 ** int(board[tuple(place)]))
            canvas.text((x / 3 - 5 * len(words), y / 3 - 12), words, INK, 18)
        return canvas

    return frame


def _particles(env: Any) -> Callable[[Any], Canvas]:
    """JaxMARL's particles: the agents in blue, others in orange, landmarks in grey."""
    suite, ours = env.environment.suite, set(env.environment.agents)
    radius, agents = np.asarray(suite.rad), suite.agents

    def frame(state: Any) -> Canvas:
        places = np.asarray(state.suite.p_pos)
        reach = max(1.5, float(np.abs(places).max()) + 0.2)
        canvas = Canvas((0.0, 14.0 * reach / 140.0), 140.0 / reach)
        for i in reversed(range(len(places))):
            name = agents[i] if i < len(agents) else ""
            colour = BLUE if name in ours else ORANGE if name else MUTED
            canvas.disc(places[i], float(radius[i]), colour)
        return canvas

    return frame


def _soldiers(env: Any) -> Callable[[Any], Canvas]:
    """SMAX's units: ours in blue, theirs in orange, paler the less health they have."""
    suite = env.environment.suite._env
    size, count = max(suite.map_width, suite.map_height), suite.num_allies

    def frame(state: Any) -> Canvas:
        now = state.suite.state
        scale = (HEIGHT - 40) / size
        canvas = Canvas((size / 2, size / 2 + 14 / scale), scale)
        canvas.box((0, 0), (size, size), FAINT)
        full = np.asarray(suite.unit_type_health)[np.asarray(now.unit_types)]
        health = np.asarray(now.unit_health) / full
        for i in np.flatnonzero(np.asarray(now.unit_alive)):
            colour = blend("#FFFFFF", BLUE if i < count else ORANGE, 0.3 + 0.7 * float(health[i]))
            radius = float(np.asarray(suite.unit_type_radiuses)[int(now.unit_types[i])])
            canvas.disc(np.asarray(now.unit_positions[i]), radius, colour)
        return canvas

    return frame


_SUITES: dict[str, Callable[[Any], Callable[[Any], Canvas]]] = {
    "craftax": _craftax,
    "jaxmarl": _particles,
    "jumanji": _jumanji,
    "navix": _navix,
    "pgx": _pgx,
    "xminigrid": _xminigrid,
}


def _picture(pixels: Any) -> Canvas:
    canvas = Canvas()
    canvas.paste(np.ascontiguousarray(np.asarray(pixels)[..., :3], dtype=np.uint8))
    return canvas


def _tiles(colours: Sequence[Sequence[str]]) -> tuple[Canvas, Callable[[int, int], Any]]:
    """A board of coloured squares, and where the middle of one is."""
    rows, columns = len(colours), len(colours[0])
    size = min((HEIGHT - 40) / rows, (WIDTH - 20) / columns)
    canvas = Canvas((columns / 2, -rows / 2 + 14 / size), size)
    for row, line in enumerate(colours):
        for column, colour in enumerate(line):
            canvas.box((column + 0.02, -row - 0.98), (column + 0.98, -row - 0.02), colour)
    return canvas, lambda row, column: (column + 0.5, -row - 0.5)


@contextlib.contextmanager
def _no_window() -> Iterator[None]:
    """Matplotlib draws into memory, whatever display there is, and leaves no figure behind."""
    import matplotlib
    from matplotlib import pyplot

    before, open_before = matplotlib.get_backend(), set(pyplot.get_fignums())
    pyplot.switch_backend("agg")
    try:
        yield
    finally:
        for number in set(pyplot.get_fignums()) - open_before:
            pyplot.close(number)
        if before.lower() != "agg":
            pyplot.switch_backend(before)
