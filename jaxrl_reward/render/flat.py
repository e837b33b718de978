"""Drawings from the observation alone: classic control, grids, and any other vector."""

import math
from collections.abc import Callable

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
)

_COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, RED, INK)


def draw(name: str, obs: np.ndarray, peak: float | None = None) -> Canvas:
    """One frame.

    Args:
      name: the environment's, with its prefix and without its options.
      obs: the observation: a grid of numbers `[H, W]`, one of channels
        `[H, W, C]`, or anything else, shown as bars.
      peak: the largest magnitude in the episode, so that all of its frames
        have one scale; by default the observation's own.
    """
    obs = finite(obs)
    if name in _CLASSIC:
        return _CLASSIC[name](obs)
    peak = float(np.abs(obs).max(initial=0.0)) if peak is None else peak
    if obs.ndim in (2, 3) and min(obs.shape[:2]) > 1:
        return _grid(obs, peak)
    return _bars(obs.reshape(-1), peak)


def finite(obs: np.ndarray) -> np.ndarray:
    """What can be drawn: 0 for a simulation that has exploded."""
    return np.nan_to_num(np.asarray(obs, float), nan=0.0, posinf=0.0, neginf=0.0)


def _cart_pole(obs: np.ndarray) -> Canvas:
    position, _, angle, _ = obs
    canvas = Canvas((0.0, 0.5), 90.0)
    canvas.line([(-2.4, 0.0), (2.4, 0.0)], MUTED, 2)
    for end in (-2.4, 2.4):
        canvas.line([(end, -0.1), (end, 0.1)], MUTED, 2)
    canvas.box((position - 0.25, -0.13), (position + 0.25, 0.13), INK)
    # Twice the half-length of the dynamics, as is the custom.
    tip = (position + math.sin(angle), 0.13 + math.cos(angle))
    canvas.line([(position, 0.13), tip], ORANGE, 10)
    canvas.disc((position, 0.13), 0.05, BLUE)
    return canvas


def _mountain_car(obs: np.ndarray) -> Canvas:
    def height(x: np.ndarray) -> np.ndarray:
        return np.sin(3.0 * x) * 0.45 + 0.55

    position, goal = float(obs[0]), 0.5
    canvas = Canvas((-0.3, 0.6), 230.0)
    x = np.linspace(-1.2, 0.6, 90)
    hill = np.stack([x, height(x)], axis=1)
    canvas.polygon([(-1.2, -0.2), *hill, (0.6, -0.2)], FAINT)
    canvas.line(hill, MUTED, 2)
    foot = float(height(np.asarray(goal)))
    canvas.line([(goal, foot), (goal, foot + 0.2)], INK, 2)
    canvas.polygon([(goal, foot + 0.2), (goal, foot + 0.11), (goal + 0.1, foot + 0.155)], GREEN)
    slope = math.atan(3.0 * 0.45 * math.cos(3.0 * position))
    along = np.array([math.cos(slope), math.sin(slope)])
    up = np.array([-along[1], along[0]])
    base = np.array([position, float(height(np.asarray(position)))])
    corners = [(-0.06, 0.025), (-0.06, 0.075), (0.06, 0.075), (0.06, 0.025)]
    canvas.polygon([base + a * along + b * up for a, b in corners], BLUE)
    for a in (-0.035, 0.035):
        canvas.disc(base + a * along + 0.02 * up, 0.02, INK)
    return canvas


def _pendulum(obs: np.ndarray) -> Canvas:
    cosine, sine = obs[:2]  # of the angle from the top, anticlockwise
    canvas = Canvas((0.0, 0.0), 120.0)
    canvas.line([(0.0, 0.0), (-sine, cosine)], RED, 18)
    canvas.disc((0.0, 0.0), 0.05, INK)
    return canvas


def _acrobot(obs: np.ndarray) -> Canvas:
    first = math.atan2(obs[1], obs[0])
    second = first + math.atan2(obs[3], obs[2])
    elbow = np.array([math.sin(first), -math.cos(first)])
    hand = elbow + np.array([math.sin(second), -math.cos(second)])
    canvas = Canvas((0.0, 0.0), 68.0)
    canvas.line([(-2.2, 1.0), (2.2, 1.0)], GREEN, 2)  # the hand must get above this
    canvas.line([(0.0, 0.0), elbow], BLUE, 10)
    canvas.line([elbow, hand], SKY, 10)
    for joint in ((0.0, 0.0), elbow):
        canvas.disc(joint, 0.1, ORANGE)
    return canvas


_CLASSIC: dict[str, Callable[[np.ndarray], Canvas]] = {
    "gymnax:CartPole-v1": _cart_pole,
    "gymnax:MountainCar-v0": _mountain_car,
    "gymnax:MountainCarContinuous-v0": _mountain_car,
    "gymnax:Pendulum-v1": _pendulum,
    "gymnax:Acrobot-v1": _acrobot,
}


def _grid(obs: np.ndarray, peak: float) -> Canvas:
    """A colour for each channel; the last one present in a cell is on top."""
    channels = obs[..., None] if obs.ndim == 2 else obs
    rows, columns, _ = channels.shape
    size = min((HEIGHT - 40) / rows, (WIDTH - 20) / columns)
    canvas = Canvas((columns / 2, -rows / 2 + 14 / size), size)
    for row in range(rows):
        for column in range(columns):
            cell = np.abs(channels[row, column]) > max(0.05 * peak, 1e-9)
            present = np.flatnonzero(cell)
            colour = _COLOURS[present[-1] % len(_COLOURS)] if len(present) else FAINT
            canvas.box((column + 0.04, -row - 0.96), (column + 0.96, -row - 0.04), colour)
    return canvas


def _bars(values: np.ndarray, peak: float) -> Canvas:
    """One bar for each number, on a scale that grows like its logarithm."""
    heights = np.sign(values) * np.log1p(np.abs(values))
    canvas = Canvas((0.0, 0.0), 1.0)
    width = min(40.0, (WIDTH - 40) / max(len(values), 1))
    unit = 120.0 / max(math.log1p(peak), math.log(2.0))
    left = -width * len(values) / 2
    for i, height in enumerate(heights * unit):
        low, high = sorted((0.0, float(height)))
        canvas.box((left + (i + 0.1) * width, low), (left + (i + 0.9) * width, high), BLUE)
    canvas.line([(left, 0.0), (-left, 0.0)], MUTED, 1)
    return canvas
