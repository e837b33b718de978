"""Options that give gymnax's environments what the originals of their names have.

`sticky`: MinAtar repeats the last action with probability 0.1 by default, and gymnax never.
`wall`: a car of Gymnasium's MountainCarContinuous stops at the left wall; gymnax's keeps its
speed there.
"""

import copy
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces  # before anything else imports gymnax
from jaxrl_reward.types import Array, UserError

from gymnax.environments import environment  # isort: skip

_CAR = "MountainCarContinuous-v0"


class StickyState(struct.PyTreeNode):
    """The game's own state, and the action that it was given last."""

    game: Any
    action: Array


class StickyParams(struct.PyTreeNode):
    """The game's own parameters, how likely an action is repeated, and the time limit."""

    game: Any
    sticky: float
    max_steps_in_episode: int


class Sticky(environment.Environment):
    """A game that repeats the last action with a probability; an episode's first is 0."""

    def __init__(self, game: Any):
        self.game = game

    @property
    def name(self) -> str:
        return self.game.name

    def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
        obs, state = self.game.reset_env(key, params.game)
        return obs, StickyState(state, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Any, Any, Array, Array, dict[Any, Any]]:
        key_repeat, key_step = jax.random.split(key)
        repeated = jax.random.uniform(key_repeat) < params.sticky
        action = jnp.where(repeated, state.action, jnp.asarray(action, jnp.int32))
        obs, game, *rest = self.game.step_env(key_step, state.game, action, params.game)
        return obs, StickyState(game, action), *rest

    def is_truncated(self, state: Any, params: Any) -> Array:
        return state.game.time >= params.max_steps_in_episode

    def observation_space(self, params: Any) -> spaces.Space:
        return self.game.observation_space(params.game)

    def action_space(self, params: Any = None) -> spaces.Space:
        return self.game.action_space(None if params is None else params.game)


def options(name: str) -> dict[str, Any]:
    """What may be restored of one of gymnax's environments, and gymnax's own choice."""
    if name.endswith("-MinAtar"):
        return {"sticky": 0.0}
    return {"wall": False} if name == _CAR else {}


def apply(made: Any, params: Any, chosen: dict[str, Any]) -> tuple[Any, Any]:
    """An environment of gymnax and its parameters, with what was chosen of `options`.

    Raises:
      UserError: a value does not fit.
    """
    if chosen.get("wall"):
        return _walled(made), params
    if "sticky" in chosen:
        if not 0.0 <= chosen["sticky"] < 1.0:
            raise UserError(f"sticky must be in [0, 1), not {chosen['sticky']}")
        return Sticky(made), StickyParams(params, chosen["sticky"], params.max_steps_in_episode)
    return made, params


def _walled(car: Any) -> Any:
    """A car that stops at the wall, where its speed would take it further to the left."""
    made = copy.copy(car)

    def step_env(key: Array, state: Any, action: Any, params: Any) -> Any:
        _, after, *rest = car.step_env(key, state, action, params)
        held = (after.position <= params.min_position) & (after.velocity < 0.0)
        after = after.replace(velocity=jnp.where(held, 0.0, after.velocity))
        return car.get_obs(after), after, *rest

    made.step_env = step_env
    return made
