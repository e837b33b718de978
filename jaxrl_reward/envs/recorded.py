"""The spaces of data in the place of an environment: nothing can be played in it.

An agent that learns from data needs to know what is observed and what can be done; an
environment is needed only to evaluate it by playing.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from gymnax.environments import environment, spaces

from jaxrl_reward.types import Array, UserError


class Recorded(environment.Environment):
    """What was observed and done, by shape; a step leads to zeros and pays nothing.

    Attributes:
      observations: a Box.
      actions: a Box or a Discrete.
      assumed: what the data do not say of the actions, in words; empty where they do.
    """

    def __init__(self, name: str, observations: Any, actions: Any, assumed: str = ""):
        self._name, self.observations, self.actions = name, observations, actions
        self.assumed = assumed

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_actions(self) -> int:
        return int(getattr(self.actions, "n", math.prod(self.actions.shape)))

    @property
    def default_params(self) -> Any:
        return None

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        return jnp.zeros(self.observations.shape), jnp.int32(0)

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        obs = jnp.zeros(self.observations.shape)
        return obs, state, jnp.float32(0.0), jnp.array(False), {}

    def is_truncated(self, state: Any, params: Any) -> Array:
        return jnp.array(False)

    def observation_space(self, params: Any) -> Any:
        return self.observations

    def action_space(self, params: Any = None) -> Any:
        return self.actions


# ---- what can be done ----------------------------------------------------------------


def actions_of(rows: np.ndarray) -> tuple[Any, str]:
    """The space that recorded actions `[N, ...]` seem to be of, and what that assumes.

    Whole numbers, one a row, are of a Discrete that ends with the largest; others of a Box
    from -1 to 1 if all are within it, as is usual, else from the least to the largest of each
    number.

    Raises:
      UserError: they are whole numbers that cannot be choices.
    """
    if rows.dtype.kind in "iu":
        if rows.ndim > 1:
            raise UserError(f"the data's actions are {rows.shape[1]} whole numbers at once")
        if rows.min() < 0:
            raise UserError(f"the data's actions are whole numbers from {rows.min()}, not from 0")
        n = int(rows.max()) + 1
        return spaces.Discrete(n), f"actions are 0 to {n - 1}, the largest of the data"
    low, high = rows.min(0), rows.max(0)
    if np.all(low >= -1.0) and np.all(high <= 1.0):
        return spaces.Box(-1.0, 1.0, rows.shape[1:]), "actions lie between -1 and 1"
    ends = f"{np.min(low):g} and {np.max(high):g}"
    return spaces.Box(low, high, rows.shape[1:]), f"actions lie between the data's ends, {ends}"


def actions_from(given: Any, shape: tuple[int, ...]) -> Any:
    """The space of actions that a user names.

    Args:
      given: a space; a number of choices; or two bounds, numbers or `[A]`.
      shape: of one action in the data.

    Raises:
      UserError: it is none of these, or of another shape.
    """
    if isinstance(given, spaces.Box | spaces.Discrete):
        found = given
    elif isinstance(given, int) and not isinstance(given, bool) and given > 0:
        found = spaces.Discrete(given)
    else:
        try:
            ends: Any = given
            low, high = (np.broadcast_to(np.asarray(x, np.float32), shape) for x in ends)
        except (TypeError, ValueError):
            raise UserError(
                f"actions must be a number of choices, or two bounds of {list(shape)}, not {given}"
            ) from None
        if not np.all(low < high):
            raise UserError(f"actions need bounds with low < high, not {given}")
        found = spaces.Box(jnp.asarray(low), jnp.asarray(high), shape)
    if tuple(found.shape) != shape:
        raise UserError(
            f"actions={given} are of shape {list(found.shape)}, the data's {list(shape)}"
        )
    return found


# ---- as plain numbers ----------------------------------------------------------------


def described(space: Any) -> dict[str, Any]:
    """A Box or a Discrete for JSON."""
    if isinstance(space, spaces.Discrete):
        return {"kind": "Discrete", "n": int(space.n)}
    ends = (
        np.broadcast_to(np.asarray(x, np.float32), space.shape) for x in (space.low, space.high)
    )
    low, high = (_one(x) for x in ends)
    return {"kind": "Box", "shape": list(space.shape), "low": low, "high": high}


def space_of(known: dict[str, Any]) -> Any:
    """The space that `described` has described.

    Raises:
      UserError: it is neither.
    """
    if known.get("kind") == "Discrete":
        return spaces.Discrete(int(known["n"]))
    if known.get("kind") == "Box":
        shape = tuple(known["shape"])
        low, high = (np.asarray(known[end], np.float32) for end in ("low", "high"))
        low, high = (x if x.ndim else float(x) for x in (low, high))
        return spaces.Box(low, high, shape)
    raise UserError(f"{known.get('kind')} is no space of arrays")


def _one(ends: np.ndarray) -> Any:
    """Bounds as one number where they are the same."""
    return float(ends.flat[0]) if ends.size and np.all(ends == ends.flat[0]) else ends.tolist()
