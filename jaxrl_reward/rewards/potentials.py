"""Named functions of one observation, for shaping by name."""

from collections.abc import Callable

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
    if function not in _NAMED:
        raise UserError(f"unknown potential {function!r}, {nearest(str(function), _NAMED)}")
    return _NAMED[function]
