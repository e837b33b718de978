"""Any finite MDP as an environment: one adapter, whatever the MDP is."""

import inspect
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.tabular import maps
from jaxrl_reward.tabular.maps import Map
from jaxrl_reward.tabular.mdp import with_clock
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.tabular.worlds import WORLDS
from jaxrl_reward.types import Array


class FiniteState(struct.PyTreeNode):
    """The state's index, and the clock."""

    index: Array
    time: Array


class FiniteParams(struct.PyTreeNode):
    """The MDP, and the time limit in steps."""

    mdp: MDP
    max_steps_in_episode: int = 100


class Finite(environment.Environment):
    """A finite MDP; a state is observed as its index, which `envs.Env` makes one-hot.

    A vector of rewards is in `info["rewards"]`, `[m]`, and the reward is its sum.

    Attributes:
      mdp: as it is by default; what is played is that of the parameters.
      map: where its states lie on a map: for drawings.
    """

    def __init__(self, mdp: MDP, name: str = "finite", map: Map | None = None):
        self.mdp, self.map = mdp, map
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_actions(self) -> int:
        return self.mdp.actions

    @property
    def default_params(self) -> Any:
        return FiniteParams(self.mdp)

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        index = _draw(key, params.mdp.start)
        return index, FiniteState(index, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        mdp: MDP = params.mdp
        at = (state.index, jnp.asarray(action))
        at = (*at, _draw(key, mdp.probability[at]))
        after = FiniteState(mdp.successor[at], state.time + 1)
        reward, terminated = mdp.reward[at], mdp.ends[at]
        info = {"rewards": reward} if reward.ndim else {}
        return after.index, after, reward.sum(), terminated, info

    def observation_space(self, params: Any) -> Any:
        return spaces.Discrete(self.mdp.states)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(self.mdp.actions)


def names() -> Iterable[str]:
    """The worlds that `make` knows."""
    return WORLDS


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """One of the worlds and its parameters.

    Args:
      name: one of `names()`.
      options: the world's own, `max_steps_in_episode`, and `horizon`: above 0,
        episodes end after so many steps and the state tells the time.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    world = WORLDS[name]
    own = {key: each.default for key, each in inspect.signature(world).parameters.items()}
    every = {"max_steps_in_episode": 100, "horizon": 0}
    given = check(f"tabular:{name}", options, {**own, **every})
    limit, horizon = (given.pop(key, default) for key, default in every.items())
    mdp, where = world(**given), maps.of(name, **{**own, **given})
    mdp = with_clock(mdp, horizon) if horizon else mdp
    finite = Finite(mdp, name, where and where.with_clock(horizon))
    return finite, finite.default_params.replace(max_steps_in_episode=limit)


def _draw(key: Array, probability: Array) -> Array:
    """An index with these probabilities, int32; never one of probability 0."""
    return jax.random.categorical(key, jnp.log(probability)).astype(jnp.int32)
