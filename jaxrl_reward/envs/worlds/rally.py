"""A small Pong whose score can be aimed at: balls to return or to let through.

A ball falls from a random column, straight or aslant, off the walls. Under it is
a paddle, one column wide. Each ball returned scores 1 and each one missed -1,
and the game is over after some of them: whoever can play can reach every
second score from `-balls` to `balls`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError

SIZE = 6  # rows and columns: a ball is as long on its way as the paddle at most
GAMES = ("rally",)


class RallyState(struct.PyTreeNode):
    """Places on the board, the ball's drift (-1, 0, 1), balls played, and the clock."""

    row: Array
    column: Array
    drift: Array
    paddle: Array
    played: Array
    time: Array


class RallyParams(struct.PyTreeNode):
    """Balls of a game, and the time limit in steps."""

    balls: int = 5
    max_steps_in_episode: int = 1000


class Rally(environment.Environment):
    """Actions: left, stay, right.

    Observed as `[SIZE, SIZE, 4]`: the ball, where it will be, the paddle, and on
    as much of the last plane as of the game is over, ones.
    """

    @property
    def name(self) -> str:
        return "rally"

    @property
    def num_actions(self) -> int:
        return 3

    @property
    def default_params(self) -> Any:
        return RallyParams()

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        zero = jnp.int32(0)
        row, column, drift = _serve(key)
        state = RallyState(row, column, drift, jnp.int32(SIZE // 2), zero, zero)
        return _observe(state, params), state

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        paddle = jnp.clip(state.paddle + jnp.asarray(action, jnp.int32) - 1, 0, SIZE - 1)
        row, column, drift = _fly(state)
        down = row == SIZE - 1
        reward = jnp.where(down, jnp.where(column == paddle, 1.0, -1.0), 0.0)
        served = _serve(key)
        flying = (row, column, drift)
        row, column, drift = (jnp.where(down, x, y) for x, y in zip(served, flying, strict=True))
        played = state.played + down
        after = RallyState(row, column, drift, paddle, played, state.time + 1)
        return _observe(after, params), after, reward, played >= params.balls, {}

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(0.0, 1.0, (SIZE, SIZE, 4))

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(3)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A game and its parameters: `balls` and `max_steps_in_episode`.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    defaults = {"balls": 5, "max_steps_in_episode": 1000}
    given = check(f"arcade:{name}", options, defaults)
    if given.get("balls", 1) < 1:
        raise UserError(f"arcade:{name}: balls must be at least 1, not {given['balls']}")
    game = Rally()
    return game, game.default_params.replace(**given)


def _serve(key: Array) -> tuple[Array, Array, Array]:
    """Row, column and drift of a new ball."""
    index = jax.random.randint(key, (), 0, 3 * SIZE)
    return jnp.int32(0), index // 3, index % 3 - 1


def _fly(state: RallyState) -> tuple[Array, Array, Array]:
    """Row, column and drift one step later."""
    off = (state.column + state.drift < 0) | (state.column + state.drift >= SIZE)
    drift = jnp.where(off, -state.drift, state.drift)
    return state.row + 1, state.column + drift, drift


def _observe(state: RallyState, params: Any) -> Array:
    row, column, _ = _fly(state)
    cell = lambda row, column: jax.nn.one_hot(row * SIZE + column, SIZE * SIZE)  # noqa: E731
    over = jnp.arange(SIZE * SIZE) < state.played * SIZE * SIZE / params.balls
    planes = (
        cell(state.row, state.column),
        cell(row, column),
        cell(SIZE - 1, state.paddle),
        over.astype(jnp.float32),
    )
    return jnp.stack(planes, -1).reshape(SIZE, SIZE, 4)
