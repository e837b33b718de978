"""Drawings of rigid bodies in space, of MuJoCo's kind: no GPU, no window, no OpenGL.

Shapes are sorted by their distance from the camera and painted from the
farthest to the nearest.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxrl_reward.render.canvas import (
    BLUE,
    FAINT,
    GREEN,
    HEIGHT,
    INK,
    ORANGE,
    PAPER,
    PINK,
    RED,
    SKY,
    Canvas,
    blend,
)

# MuJoCo's numbers for the kinds of a geom (mjtGeom).
PLANE, SPHERE, CAPSULE, ELLIPSOID, CYLINDER = 0, 2, 3, 4, 5
_COLOURS = (ORANGE, BLUE, SKY, GREEN, PINK, RED)
_FLOOR = 9  # tiles to each side


@dataclass(frozen=True)
class Shape:
    """A geom in its body's frame.

    Attributes:
      kind: MuJoCo's number.
      body: whose frame; -1 is the world's.
      position: `[3]`.
      rotation: unit quaternion, real part first, `[4]`.
      size: MuJoCo's half-sizes, `[3]`.
      colour: of the whole.
    """

    kind: int
    body: int
    position: np.ndarray
    rotation: np.ndarray
    size: np.ndarray
    colour: str


def pose(env: Any, state: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Of the first of N states, the bodies' positions `[L, 3]` and quaternions `[L, 4]`.

    None where an environment has no bodies.
    """
    kind = type(env.environment).__module__
    if kind == "jaxrl_reward.envs.brax":
        x = state.brax.pipeline_state.x
        found = x.pos, x.rot
    elif kind == "jaxrl_reward.envs.suites.playground":
        found = (each[:, 1:] for each in (state.suite.data.xpos, state.suite.data.xquat))
    elif hasattr(state, "suite") and hasattr(state.suite, "pipeline_state"):  # a team's, in brax
        x = state.suite.pipeline_state.x
        found = x.pos, x.rot
    else:
        return None
    position, rotation = (np.asarray(each[0], float) for each in found)
    return position, rotation


def model_of(env: Any) -> Any:
    """The `mujoco.MjModel` of an environment with bodies."""
    kind, environment = type(env.environment).__module__, env.environment
    if kind == "jaxrl_reward.envs.brax":
        return environment.brax.sys.mj_model
    if kind == "jaxrl_reward.envs.suites.playground":
        return environment.suite.mj_model
    return environment.suite.env.sys.mj_model


def shapes(model: Any) -> list[Shape]:
    """What is to be drawn of an `mujoco.MjModel`; a mesh becomes its box."""
    found = []
    for i in range(model.ngeom):
        kind, body = int(model.geom_type[i]), int(model.geom_bodyid[i]) - 1
        position, size = model.geom_pos[i], model.geom_size[i]
        rotation = model.geom_quat[i]
        if kind not in (PLANE, SPHERE, CAPSULE, CYLINDER):
            size = model.geom_aabb[i, 3:]
            position = position + rotate(rotation, model.geom_aabb[i, :3])
        colour = INK if body < 0 else _COLOURS[body % len(_COLOURS)]
        found.append(Shape(kind, body, position, rotation, size, colour))
    return found


class Scene:
    """A camera that follows the first body, and the shapes before it.

    Args:
      model: an `mujoco.MjModel`.
      position: the bodies' positions at the start, `[L, 3]`: they fill about
        half of the picture.
      rotation: their quaternions, `[L, 4]`.
    """

    def __init__(self, model: Any, position: np.ndarray, rotation: np.ndarray):
        self._shapes = shapes(model)
        bodies = [shape for shape in self._shapes if shape.body >= 0]
        middles = np.array(
            [position[s.body] + rotate(rotation[s.body], s.position) for s in bodies]
        )
        reach = np.array([[s.size[:2].sum()] for s in bodies])  # of a capsule, from its middle
        low, high = (middles - reach).min(0), (middles + reach).max(0)
        extent = max(float((high - low).max()), 0.1)
        self._distance = 2.2 * extent
        # Of the middle of the shapes above that of the bodies, which are their joints.
        self._lift = float((low + high)[2] / 2 - position[:, 2].mean())
        self._tile = extent / 3.0  # of the floor
        self._floor = any(shape.kind == PLANE for shape in self._shapes)
        azimuth, elevation = math.radians(-70.0), math.radians(18.0)
        back = np.array([math.cos(azimuth), math.sin(azimuth), 0.0]) * math.cos(elevation)
        self._back = back + np.array([0.0, 0.0, math.sin(elevation)])
        right = np.cross([0.0, 0.0, 1.0], self._back)
        self._right = right / np.linalg.norm(right)
        self._up = np.cross(self._back, self._right)

    def draw(self, position: np.ndarray, rotation: np.ndarray) -> Canvas:
        """One frame, from the bodies' positions `[L, 3]` and quaternions `[L, 4]`."""
        canvas = Canvas((0.0, 0.0), HEIGHT * 1.1)
        target = np.array([position[0, 0], position[0, 1], position[:, 2].mean() + self._lift])
        eye = target + self._back * self._distance
        if self._floor:
            self._draw_floor(canvas, target, eye)
        placed: list[tuple[float, Shape, np.ndarray, np.ndarray]] = []
        for shape in self._shapes:
            if shape.kind == PLANE:
                continue
            place, turn = shape.position, shape.rotation
            if shape.body >= 0:
                body = rotation[shape.body]
                place = position[shape.body] + rotate(body, place)
                turn = multiply(body, turn)
            placed.append((float((eye - place) @ self._back), shape, place, turn))
        # What is fixed to the world comes first: a rail would flicker through its cart.
        for depth, shape, place, turn in sorted(placed, key=lambda p: (p[1].body >= 0, -p[0])):
            if depth > 0.05:
                self._draw_shape(canvas, eye, shape, place, turn)
        return canvas

    def _project(self, eye: np.ndarray, point: np.ndarray) -> tuple[np.ndarray, float]:
        """A point in the picture's plane, and its depth."""
        offset = point - eye
        depth = max(float(-offset @ self._back), 1e-3)
        return np.array([offset @ self._right, offset @ self._up]) / depth, depth

    def _draw_floor(self, canvas: Canvas, target: np.ndarray, eye: np.ndarray) -> None:
        tile = self._tile
        origin = np.floor(target[:2] / tile)
        for i in range(-_FLOOR, _FLOOR + 1):
            for j in range(-_FLOOR, _FLOOR + 1):
                low = (origin + np.array([i, j])) * tile
                square = [(0, 0), (tile, 0), (tile, tile), (0, tile)]
                corners = [np.array([low[0] + a, low[1] + b, 0.0]) for a, b in square]
                if min(float((eye - corner) @ self._back) for corner in corners) < 0.1:
                    continue  # behind the camera
                dark = int(origin.sum() + i + j) % 2
                fade = min(math.hypot(i, j) / _FLOOR, 1.0)  # into the background
                colour = blend("#D4D4D4" if dark else FAINT, PAPER, fade)
                canvas.polygon([self._project(eye, corner)[0] for corner in corners], colour)

    def _draw_shape(
        self,
        canvas: Canvas,
        eye: np.ndarray,
        shape: Shape,
        place: np.ndarray,
        turn: np.ndarray,
    ) -> None:
        light = blend(shape.colour, PAPER, 0.35)
        for radius, shift, colour in ((1.0, 0.0, shape.colour), (0.55, 0.25, light)):
            if shape.kind == SPHERE:
                ends = [place, place]
            elif shape.kind in (CAPSULE, CYLINDER):
                axis = rotate(turn, np.array([0.0, 0.0, shape.size[1]]))
                ends = [place - axis, place + axis]
            else:
                _draw_hull(canvas, [self._project(eye, p)[0] for p in _corners(shape, place, turn)],
                           shape.colour)  # fmt: skip
                return
            lift = shift * shape.size[0] * (self._up - self._right)
            flat = [self._project(eye, end + lift) for end in ends]
            points = [point for point, _ in flat]
            sizes = [radius * shape.size[0] / depth for _, depth in flat]
            _draw_capsule(canvas, points, sizes, colour)


def _draw_capsule(
    canvas: Canvas, points: list[np.ndarray], sizes: list[float], colour: str
) -> None:
    """Two discs and what is between them."""
    for point, size in zip(points, sizes, strict=True):
        canvas.disc(point, size, colour)
    along = points[1] - points[0]
    length = float(np.linalg.norm(along))
    if length > 1e-6:
        side = np.array([-along[1], along[0]]) / length
        (a, b), (r, s) = points, sizes
        canvas.polygon([a + r * side, b + s * side, b - s * side, a - r * side], colour)


def _draw_hull(canvas: Canvas, points: list[np.ndarray], colour: str) -> None:
    from scipy.spatial import ConvexHull, QhullError

    try:
        order = ConvexHull(np.stack(points)).vertices
    except QhullError:  # seen exactly from the side
        return
    canvas.polygon([points[i] for i in order], colour)


def _corners(shape: Shape, place: np.ndarray, turn: np.ndarray) -> Iterator[np.ndarray]:
    for signs in np.ndindex(2, 2, 2):
        yield place + rotate(turn, (2.0 * np.array(signs) - 1.0) * shape.size)


def rotate(rotation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A vector `[3]` turned by a unit quaternion `[4]`."""
    real, imaginary = rotation[0], rotation[1:]
    return vector + 2.0 * np.cross(imaginary, np.cross(imaginary, vector) + real * vector)


def multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The turn by b followed by that by a, quaternions `[4]`."""
    real = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[real], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])
