"""Tiny environments with known values, one for each thing that can break in an agent.

After A. Jones, "Debugging reinforcement learning systems" (2021). Values are
those of the optimal policy.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.types import Array

PROBES = {
    "constant": "one step, reward 1: value 1",
    "observation": "one step, reward = obs in {-1, 1}: value = obs",
    "delayed": "two steps, reward 1 at the end: value gamma, then 1",
    "action": "one step, reward 1 for action 1, -1 for 0: value 1",
    "action_continuous": "one step, reward 1 - (action - 0.5)^2: value 1, by action 0.5",
    "both": "one step, reward 1 if the action's sign is the observation's, else -1: value 1",
    "recall": "four steps, reward 1 if the last action's sign is the first observation's, "
    "else -1, and nothing is seen between: value gamma^3, for who remembers",
    "truncation": "reward 1 a step, a clock of 10 and no end: value 1 / (1 - gamma)",
}


class ProbeState(struct.PyTreeNode):
    """The observation, `[1]`, the clock, and the sign that the episode began with."""

    obs: Array
    time: Array
    sign: Array


class ProbeParams(struct.PyTreeNode):
    """The time limit in steps."""

    max_steps_in_episode: int = 10


class Probe(environment.Environment):
    """One of `PROBES`: an observation `[1]`, and two actions or one in [-1, 1].

    Only `truncation`, `delayed` and `recall` last longer than one step.
    """

    def __init__(self, kind: str):
        self.kind = kind

    @property
    def name(self) -> str:
        return self.kind

    @property
    def num_actions(self) -> int:
        return 1 if self.kind == "action_continuous" else 2

    @property
    def default_params(self) -> Any:
        return ProbeParams()

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        shown = self.kind in ("observation", "both", "recall")
        obs = sign if shown else jnp.zeros(())
        return obs[None], ProbeState(obs[None], jnp.int32(0), sign)

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        del key, params
        after = ProbeState(state.obs, state.time + 1, state.sign)
        terminated = jnp.bool_(self.kind != "truncation")
        if self.kind == "delayed":
            terminated = after.time == 2
            after = after.replace(obs=jnp.ones((1,)))
        if self.kind == "recall":
            terminated = after.time == 4
            after = after.replace(obs=jnp.zeros((1,)))
        reward = self._reward(state.sign, jnp.asarray(action), terminated)
        return after.obs, after, reward, terminated, {}

    def _reward(self, sign: Array, action: Array, terminated: Array) -> Array:
        if self.kind == "observation":
            return sign
        if self.kind == "delayed":
            return terminated.astype(jnp.float32)
        if self.kind == "action":
            return 2.0 * action - 1.0
        if self.kind == "action_continuous":
            return 1.0 - jnp.square(action[0] - 0.5)
        if self.kind == "both":
            return sign * (2.0 * action - 1.0)
        if self.kind == "recall":
            return jnp.where(terminated, sign * (2.0 * action - 1.0), 0.0)
        return jnp.float32(1.0)

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-1.0, 1.0, (1,), jnp.float32)

    def action_space(self, params: Any = None) -> Any:
        continuous = self.kind == "action_continuous"
        return spaces.Box(-1.0, 1.0, (1,), jnp.float32) if continuous else spaces.Discrete(2)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """The probe and its parameters; probes have no options.

    Raises:
      UserError: an option is given.
    """
    check(f"probe:{name}", options, {})
    probe = Probe(name)
    return probe, probe.default_params
