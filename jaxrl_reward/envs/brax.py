"""brax (extra `brax`) behind gymnax's interface: true flags, no wrappers."""

from typing import Any

import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.envs.registry import check_options
from jaxrl_reward.types import Array, UserError, nearest

NAMES = (
    "ant",
    "fast",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_double_pendulum",
    "inverted_pendulum",
    "pusher",
    "reacher",
    "swimmer",
    "walker2d",
)
BACKENDS = ("spring", "generalized", "positional", "mjx")


class BraxState(struct.PyTreeNode):
    """brax's own state (`brax.pipeline_state` for rendering) and the clock."""

    brax: Any
    time: Array


class BraxParams(struct.PyTreeNode):
    """The time limit."""

    max_steps_in_episode: int = 1000


class Brax(environment.Environment):
    """A bare brax environment: brax's end flag terminates, the clock truncates."""

    def __init__(self, name: str, env: Any):
        self._name, self.brax = name, env

    @property
    def name(self) -> str:
        return self._name

    @property
    def default_params(self) -> Any:
        return BraxParams()

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        state = self.brax.reset(key)
        return state.obs, BraxState(state, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        after = self.brax.step(state.brax, action)
        terminated = after.done > 0.5
        return after.obs, BraxState(after, state.time + 1), after.reward, terminated, {}

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-jnp.inf, jnp.inf, (self.brax.observation_size,), jnp.float32)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Box(-1.0, 1.0, (self.brax.action_size,), jnp.float32)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A brax environment and its parameters.

    Raises:
      UserError: brax is not installed, or an unknown name, option or backend.
    """
    if name not in NAMES:
        raise UserError(f"unknown environment 'brax:{name}', {nearest(name, NAMES)}")
    known = {"backend": "spring", "episode_length": 1000}
    chosen = {**known, **check_options(f"brax:{name}", options, known)}
    if chosen["backend"] not in BACKENDS:
        raise UserError(
            f"unknown brax backend {chosen['backend']!r}, {nearest(chosen['backend'], BACKENDS)}"
        )
    try:
        from brax import envs
    except ImportError:
        raise UserError('brax is not installed: pip install "jaxrl_reward[brax]"') from None
    env = envs.get_environment(name, backend=chosen["backend"])
    return Brax(name, env), BraxParams(chosen["episode_length"])
