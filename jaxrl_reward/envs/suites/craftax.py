"""Craftax and Craftax-Classic (extra `craftax`), deaths and the time limit told apart.

Craftax says `done` for both. Here a death (in lava, or by the boss's end) terminates and
`max_timesteps` truncates. `info` has `achievement/NAME`, 1 on the step that first earns it in
the episode, and `achievements`, how many the episode has so far.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces
from jaxrl_reward.envs.clock import NEVER
from jaxrl_reward.envs.suites.base import Adapter
from jaxrl_reward.envs.suites.loading import load
from jaxrl_reward.options import check
from jaxrl_reward.types import Array

# Those of pixels draw their textures on being made, for a minute or two the first time, and
# keep them in the folder of the package.
_NAMES = (
    "Craftax-Classic-Pixels-v1",
    "Craftax-Classic-Symbolic-v1",
    "Craftax-Pixels-v1",
    "Craftax-Symbolic-v1",
)


class CraftaxParams(struct.PyTreeNode):
    """Craftax's own parameters, whose `max_timesteps` is not read, and the time limit in steps."""

    craftax: Any
    max_steps_in_episode: int


class Craftax(Adapter):
    """Craftax's bare steps: an end of life terminates, the clock truncates."""

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        return self.suite.reset_env(key, params.craftax)

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        timeless = params.craftax.replace(max_timesteps=NEVER)
        obs, after, reward, terminated, _ = self.suite.step_env(key, state, action, timeless)
        had, has = (jnp.asarray(each.achievements, bool) for each in (state, after))
        new = (has & ~had).astype(jnp.float32)
        told = {f"achievement/{name}": new[i] for i, name in _achievements(self.suite)}
        return obs, after, reward, terminated, told | {"achievements": has.sum(dtype=jnp.float32)}

    def is_truncated(self, state: Any, params: Any) -> Any:
        return state.timestep >= params.max_steps_in_episode

    def observation_space(self, params: Any) -> Any:
        shape = self.suite.observation_space(params.craftax).shape
        return spaces.Box(0.0, 1.0, shape)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(self.suite.num_actions)


def names() -> tuple[str, ...]:
    """Craftax's names."""
    return _NAMES


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """An environment and its parameters; the options are the numbers of Craftax's `EnvParams`.

    Raises:
      UserError: Craftax is not installed, or an option is unknown or does not fit.
    """
    made = load("craftax", "craftax.craftax_env")
    load("craftax", f"craftax.craftax{'_classic' if 'Classic' in name else ''}.constants")
    environment = made.make_craftax_env_from_name(name, auto_reset=False)
    params = environment.default_params
    numbers = {k: v for k, v in vars(params).items() if isinstance(v, bool | int | float)}
    return adapt(environment, params.replace(**check(f"craftax:{name}", options, numbers)))


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """An environment that the user made, and its parameters, by default its own."""
    params = environment.default_params if params is None else params
    known = CraftaxParams(params, params.max_timesteps)
    return Craftax(environment.name, environment, known), known


def _achievements(environment: Any) -> list[tuple[int, str]]:
    """Where each achievement lies, and its name, as the variant has them."""
    kind = type(environment).__module__.partition(".envs.")[0]
    known = load("craftax", f"{kind}.constants").Achievement
    return [(each.value, each.name.lower()) for each in known]
