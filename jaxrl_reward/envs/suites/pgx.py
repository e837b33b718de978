"""pgx's games for one player (extra `pgx`): MinAtar with sticky actions, and 2048.

Games of two need an opponent and are left out. pgx ends Freeway by its clock, which here
truncates; its other games of MinAtar have no time limit. 2048 tells which moves are allowed,
as the part `action_mask` of its observation, and ends with -1 at one that is not.
"""

import copy
from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces
from jaxrl_reward.envs.clock import NEVER
from jaxrl_reward.envs.suites.base import Adapter
from jaxrl_reward.envs.suites.loading import load
from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError

_MINATAR = {
    "minatar-asterix": "MinAtarAsterix",
    "minatar-breakout": "MinAtarBreakout",
    "minatar-freeway": "MinAtarFreeway",
    "minatar-seaquest": "MinAtarSeaquest",
    "minatar-space_invaders": "MinAtarSpaceInvaders",
}
_OPPONENT = "it needs an opponent; of pgx's games, those for one player are here"
_TWO = (
    *("animal_shogi", "backgammon", "chess", "connect_four", "gardner_chess", "go_19x19"),
    *("go_9x9", "hex", "kuhn_poker", "leduc_holdem", "othello", "shogi", "sparrow_mahjong"),
    "tic_tac_toe",
)
LEFT_OUT = dict.fromkeys(_TWO, _OPPONENT)
_FREEWAY = 2501  # the step at which pgx ends it


class PgxState(struct.PyTreeNode):
    """pgx's own state, without the observation, and the clock."""

    pgx: Any
    time: Array


class PgxParams(struct.PyTreeNode):
    """The time limit in steps, and how likely MinAtar repeats an action; None where absent."""

    max_steps_in_episode: int | None = None
    sticky_action_prob: float | None = None


class Pgx(Adapter):
    """A game for one player: its rules terminate, the clock truncates."""

    def __init__(self, name: str, suite: Any, params: Any):
        super().__init__(name, suite, params)
        # pgx starts a game to tell them, each time that it is asked.
        self._seen, self._actions = suite.observation_shape, int(suite.num_actions)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del params
        state = self.suite.init(key)
        if hasattr(state, "_terminate_timer"):
            state = state.replace(_terminate_timer=jnp.int32(NEVER))  # Freeway's own clock
        return self._observe(state), PgxState(state.replace(observation=()), jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        game = self.suite
        if params.sticky_action_prob is not None:
            game = copy.copy(game)
            game.sticky_action_prob = params.sticky_action_prob
        after = game.step(state.pgx, action, key)
        told = {"highest_tile": 2.0 ** after._board.max()} if hasattr(after, "_board") else {}
        new = PgxState(after.replace(observation=()), state.time + 1)
        return self._observe(after), new, after.rewards[0], after.terminated, told

    def is_truncated(self, state: Any, params: Any) -> Any:
        limit = params.max_steps_in_episode
        return jnp.bool_(False) if limit is None else state.time >= limit

    def observation_space(self, params: Any) -> Any:
        seen = spaces.Box(0.0, 1.0, self._seen)
        if self.suite.id in _MINATAR:
            return seen  # its mask is always true
        allowed = spaces.Box(0.0, 1.0, (self._actions,))
        return spaces.Dict({spaces.MASK: allowed, "observation": seen})

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(self._actions)

    def _observe(self, state: Any) -> Any:
        if self.suite.id in _MINATAR:
            return state.observation
        return {spaces.MASK: state.legal_action_mask, "observation": state.observation}


def names() -> tuple[str, ...]:
    """pgx's names for its games for one player."""
    return ("2048", *_MINATAR)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A game and its parameters.

    Args:
      name: one of `names()`.
      options: `max_steps_in_episode`, none by default but Freeway's 2501; of MinAtar also
        `sticky_action_prob`, 0.1 by default, and `use_minimal_action_set`, true by default.

    Raises:
      UserError: pgx is not installed, or an option is unknown or does not fit.
    """
    known: dict[str, Any] = {"max_steps_in_episode": _FREEWAY}
    if name in _MINATAR:
        known |= {"sticky_action_prob": 0.1, "use_minimal_action_set": True}
    given = check(f"pgx:{name}", options, known)
    limit = given.pop("max_steps_in_episode", None)
    if name in _MINATAR:
        short = name.removeprefix("minatar-")
        game = getattr(load("pgx", f"pgx.minatar.{short}"), _MINATAR[name])(**given)
    else:
        game = load("pgx", "pgx").make(name)
    environment, params = adapt(game)
    return environment, params if limit is None else params.replace(max_steps_in_episode=limit)


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """A game that the user made.

    Raises:
      UserError: it is for two players.
    """
    name = environment.id
    if environment.num_players != 1:
        raise UserError(f"pgx:{name} is left out: {_OPPONENT}")
    if not isinstance(params, PgxParams):
        sticky = getattr(environment, "sticky_action_prob", None)
        params = PgxParams(_FREEWAY if name == "minatar-freeway" else None, sticky)
    return Pgx(name, environment, params), params
