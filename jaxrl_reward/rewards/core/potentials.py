"""Named functions of one observation, for shaping by name."""

from collections.abc import Callable, Iterable
from typing import Any

import jax.numpy as jnp

from jaxrl_reward.types import Array, UserError, nearest


def first(obs: Array) -> Array:
    """The first component."""
    return obs.reshape(-1)[0]


def norm(obs: Array) -> Array:
    """Minus the Euclidean length: nearer to the origin is better."""
    return -jnp.sqrt((obs**2).sum() + 1e-12)


def mountain_car_height(obs: Array) -> Array:
    """MountainCar: the height of the track, `sin(3 x)`, in [-1, 1]."""
    return jnp.sin(3 * obs[0])


def mountain_car_energy(obs: Array) -> Array:
    """MountainCar: mechanical energy in units of the track's height.

    The force of gravity is `0.0025 cos(3x)`, so the potential energy is
    `0.0025 / 3 * sin(3x)` and energy / (0.0025 / 3) = sin(3x) + 600 v^2.
    """
    return jnp.sin(3 * obs[0]) + 600 * obs[1] ** 2


def cartpole_upright(obs: Array) -> Array:
    """CartPole: the cosine of the pole's angle."""
    return jnp.cos(obs[2])


def pendulum_upright(obs: Array) -> Array:
    """Pendulum: the cosine of the angle, 1 when upright."""
    return obs[0]


def acrobot_height(obs: Array) -> Array:
    """Acrobot: the height of the tip, `-cos(a) - cos(a + b)`."""
    cos_a, sin_a, cos_b, sin_b = obs[0], obs[1], obs[2], obs[3]
    return -cos_a - (cos_a * cos_b - sin_a * sin_b)


# Functions that read the observations of one environment, by part of its name.
_WORLDS = {
    "mountain_car_height": "MountainCar",
    "mountain_car_energy": "MountainCar",
    "mountain_car_push": "MountainCar-",  # whose actions are numbered
    "cartpole_upright": "CartPole",
    "pendulum_upright": "Pendulum",
    "acrobot_height": "Acrobot",
}


def fitting(known: Iterable[str], env: str) -> list[str]:
    """Those of the names that have a meaning in the environment of this name."""
    return sorted(name for name in known if _WORLDS.get(name, env) in env)


def check(reward: Any, env: str) -> None:
    """Raises a `UserError` where an expression names a function of another environment."""
    function = getattr(reward, "function", None)
    if isinstance(function, str) and _WORLDS.get(function, env) not in env:
        known = _ADVICE if function in _ADVICE else _NAMED
        raise UserError(
            f"{reward} reads observations of {_WORLDS[function].strip('-')}, not of {env}; "
            f"these fit: {', '.join(fitting(known, env))}"
        )
    for part in reward.children():
        check(part, env)


_NAMED = {
    f.__name__: f
    for f in (
        first,
        norm,
        mountain_car_height,
        mountain_car_energy,
        cartpole_upright,
        pendulum_upright,
        acrobot_height,
    )
}


def names() -> list[str]:
    """The names that `potential` takes."""
    return sorted(_NAMED)


def lookup(function: str | Callable[[Array], Array]) -> Callable[[Array], Array]:
    """The function of this name; a function as it is.

    Raises:
      UserError: no function has this name; the message suggests the nearest.
    """
    if callable(function):
        return function
    if not isinstance(function, str) or function not in _NAMED:
        raise UserError(f"unknown potential {function!r}, {nearest(str(function), _NAMED)}")
    return _NAMED[function]


# ---- of an observation and an action ----------------------------------------------------


def action(obs: Array, action: Array) -> Array:
    """The action's first component, or its number."""
    del obs
    return action.reshape(-1)[0].astype(jnp.float32)


def sum_to_one(obs: Array, action: Array) -> Array:
    """Minus the squared distance of the components' sum from 1: a task for a team."""
    del obs
    return -((action.astype(jnp.float32).sum() - 1.0) ** 2)


def mountain_car_push(obs: Array, action: Array) -> Array:
    """MountainCar: 1 for pushing the way the car rolls, which gains energy, else 0."""
    return (action.reshape(-1)[0] == jnp.where(obs[1] < 0, 0, 2)).astype(jnp.float32)


_ADVICE = {f.__name__: f for f in (action, sum_to_one, mountain_car_push)}


def advice_names() -> list[str]:
    """The names that terms of an observation and an action take."""
    return sorted(_ADVICE)


def advice(function: str | Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """The function of an observation and an action of this name; a function as it is.

    Raises:
      UserError: no function has this name; the message suggests the nearest.
    """
    if callable(function):
        return function
    if not isinstance(function, str) or function not in _ADVICE:
        raise UserError(f"unknown advice {function!r}, {nearest(str(function), _ADVICE)}")
    return _ADVICE[function]
