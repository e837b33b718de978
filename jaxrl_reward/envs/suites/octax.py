"""Octax (extra `octax`): games of the CHIP-8 of the 1970s, as their screens' last frames.

Observations are `[32, 64, frames]`: rows, columns, the oldest frame first (Octax has frames,
columns, rows). The game's end terminates, the clock truncates. `info` has `score`, the game's
own. Every episode starts in the same state; only some games draw random numbers.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces
from jaxrl_reward.envs.suites.base import Adapter
from jaxrl_reward.envs.suites.loading import load, quiet
from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError

# Three are made by their levels; Octax's maker reads a number behind the name alone.
_LEVELS = {"cavern": (1, 2, 3, 5, 6), "space_flight": range(1, 11), "target_shooter": (1, 2, 3)}
_NAMES = (
    *("airplane", "blinky", "brix", "deep", "filter", "flight_runner", "missile", "pong"),
    *("rocket", "shooting_stars", "spacejam", "squash", "submarine", "tank", "tetris", "ufo"),
    *("vertical_brix", "wipe_off", "worm"),
    *(f"{game}{level}" for game, levels in _LEVELS.items() for level in levels),
)
_OPTIONS = {
    "max_num_steps_per_episodes": 4500,
    "instruction_frequency": 700,
    "fps": 60,
    "frame_skip": 4,
}


class OctaxParams(struct.PyTreeNode):
    """The time limit in steps."""

    max_steps_in_episode: int = _OPTIONS["max_num_steps_per_episodes"]


class Octax(Adapter):
    """A game of Octax; the state is its own."""

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del params
        state, obs, _ = self.suite.reset(key)
        return jnp.transpose(obs), state

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        del key, params
        with quiet():  # JAX warns of how the suite writes to its memory
            after, obs, reward, terminated, _, told = self.suite.step(state, action)
        score = jnp.asarray(told["score"], jnp.float32)
        return jnp.transpose(obs), after, reward, terminated, {"score": score}

    def is_truncated(self, state: Any, params: Any) -> Any:
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params: Any) -> Any:
        height, width = 32, 64
        return spaces.Box(0.0, 1.0, (height, width, self.suite.frame_skip))

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(self.suite.num_actions)


def names() -> tuple[str, ...]:
    """Octax's games."""
    return _NAMES


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A game and its parameters.

    Args:
      name: one of `names()`.
      options: `max_num_steps_per_episodes`, `frame_skip`, how many frames are seen at once and
        pass in a step, `instruction_frequency` and `fps`.

    Raises:
      UserError: Octax or OpenCV is not installed, or an option is unknown or does not fit.
    """
    given = check(f"octax:{name}", options, _OPTIONS)
    for option, value in given.items():
        if value < 1:
            raise UserError(f"octax:{name}: {option} must be at least 1, not {value}")
    games = load("octax", "octax.environments")
    with quiet():
        return adapt(games.create_environment(name, render_mode="rgb_array", **given)[0])


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """A game that the user made; beside it Octax gives a description, which is not read."""
    known = OctaxParams(environment.max_num_steps_per_episodes)
    params = params if isinstance(params, OctaxParams) else known
    # The file of the game is called otherwise than the game.
    name = str(environment.score_fn.__module__).rpartition(".")[2]
    return Octax(name, environment, params), params
