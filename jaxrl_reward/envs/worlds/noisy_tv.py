"""A corridor with a noisy TV: where a prediction error never ends, and a goal that must be found.

After the noisy TV of Burda et al. 2019, "Large-Scale Study of Curiosity-Driven
Learning": pressing the remote shows a new random picture, which no one can
predict, so a reward for surprise keeps the agent in front of it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError

PIXELS = 8
ROOMS = ("corridor",)


class CorridorState(struct.PyTreeNode):
    """The cell, the picture `[PIXELS]`, and the clock."""

    cell: Array
    picture: Array
    time: Array


class CorridorParams(struct.PyTreeNode):
    """How bright the pictures are (0: the set is off), and the time limit in steps."""

    brightness: float = 1.0
    max_steps_in_episode: int = 60


class Corridor(environment.Environment):
    """Actions: two doors, and the remote, which changes the picture and moves nothing.

    In each cell one of the doors leads forth and the other back, as a fixed draw has it,
    so that no habit leads far. Observed: the cell, one-hot `[length]`, and the
    picture. The reward is 1 in the last cell, which ends the episode, and 0 before.
    """

    def __init__(self, length: int = 30):
        self.length = length
        self.ways = tuple(int(way) for way in np.random.default_rng(0).integers(0, 2, length))

    @property
    def name(self) -> str:
        return "corridor"

    @property
    def num_actions(self) -> int:
        return 3

    @property
    def default_params(self) -> Any:
        return CorridorParams()

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        picture = params.brightness * jax.random.normal(key, (PIXELS,))
        state = CorridorState(jnp.int32(0), picture, jnp.int32(0))
        return self._observe(state), state

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        action = jnp.asarray(action, jnp.int32)
        step = jnp.where(action == jnp.asarray(self.ways)[state.cell], 1, -1)
        step = jnp.where(action == 2, 0, step)
        cell = jnp.clip(state.cell + step, 0, self.length - 1)
        shown = params.brightness * jax.random.normal(key, (PIXELS,))
        picture = jnp.where(action == 2, shown, state.picture)
        after = CorridorState(cell, picture, state.time + 1)
        found = cell == self.length - 1
        return self._observe(after), after, found.astype(jnp.float32), found, {}

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-jnp.inf, jnp.inf, (self.length + PIXELS,))

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(3)

    def _observe(self, state: Any) -> Array:
        return jnp.concatenate([jax.nn.one_hot(state.cell, self.length), state.picture])


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A corridor and its parameters: `length`, `brightness`, `max_steps_in_episode`.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    defaults = {"length": 30, "brightness": 1.0, "max_steps_in_episode": 60}
    given = check(f"tv:{name}", options, defaults)
    length = given.pop("length", defaults["length"])
    if length < 2:
        raise UserError(f"tv:{name}: length must be at least 2, not {length}")
    corridor = Corridor(length)
    return corridor, corridor.default_params.replace(**given)
