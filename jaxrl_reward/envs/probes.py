"""Tiny environments with known values, one for each thing that can break in an agent.

After A. Jones, "Debugging reinforcement learning systems" (2021). Values are
those of the optimal policy.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.types import Array, UserError, nearest

PROBES = {
    "constant": "one step, reward 1: value 1",
    "observation": "one step, reward = obs in {-1, 1}: value = obs",
    "delayed": "two steps, reward 1 at the end: value gamma, then 1",
    "action": "one step, reward 1 for action 1, -1 for 0: value 1",
    "both": "one step, reward 1 if the action's sign is the observation's, else -1: value 1",
    "truncation": "reward 1 a step, a clock of 10 and no end: value 1 / (1 - gamma)",
}


class ProbeState(struct.PyTreeNode):
    """The observation and the clock."""

    obs: Array
    time: Array


class ProbeParams(struct.PyTreeNode):
    """The time limit."""

    max_steps_in_episode: int = 10


class Probe(environment.Environment):
    """One of `PROBES`: a scalar observation in a vector of one, two actions."""

    def __init__(self, kind: str):
        self.kind = kind

    @property
    def name(self) -> str:
        return self.kind

    @property
    def num_actions(self) -> int:
        return 2

    @property
    def default_params(self) -> Any:
        return ProbeParams()

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0)
        obs = sign if self.kind in ("observation", "both") else jnp.zeros(())
        return obs[None], ProbeState(obs[None], jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        move, sign = 2.0 * action - 1.0, state.obs[0]
        after = ProbeState(state.obs, state.time + 1)
        ended = jnp.bool_(True)
        if self.kind == "delayed":
            ended = after.time == 2
            after = after.replace(obs=jnp.ones((1,)))
        if self.kind == "truncation":
            ended = jnp.bool_(False)
        reward = {
            "constant": jnp.float32(1.0),
            "observation": sign,
            "delayed": ended.astype(jnp.float32),
            "action": move,
            "both": move * sign,
            "truncation": jnp.float32(1.0),
        }[self.kind]
        return after.obs, after, reward, ended, {}

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-1.0, 1.0, (1,), jnp.float32)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(2)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """The probe and its parameters.

    Raises:
      UserError: an unknown probe or option.
    """
    if name not in PROBES:
        raise UserError(f"unknown environment 'probe:{name}', {nearest(name, PROBES)}")
    if options:
        raise UserError(f"probe:{name} has no options, not even {sorted(options)[0]!r}")
    probe = Probe(name)
    return probe, probe.default_params
