"""Observations with Gaussian noise on them: what a smoothed policy is trained on."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces  # before anything else imports gymnax
from jaxrl_reward.envs import own, registry
from jaxrl_reward.types import Array, UserError

from gymnax.environments import environment  # isort: skip

_NOISE = 2**29 - 1  # sets the noise's keys apart from those of the environment


class NoisyParams(struct.PyTreeNode):
    """The environment's own parameters, the noise's standard deviation, and the time limit."""

    inner: Any
    sigma: Array | float
    max_steps_in_episode: int | None


class Noisy(environment.Environment):
    """An environment whose observations are seen with noise; all else is the same to the bit."""

    def __init__(self, inner: Any):
        self.inner = inner

    @property
    def name(self) -> str:
        return self.inner.name

    def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
        obs, state = self.inner.reset_env(key, params.inner)
        return _seen(key, obs, params), state

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Any, Any, Array, Array, dict[Any, Any]]:
        obs, *rest = self.inner.step_env(key, state, action, params.inner)
        return _seen(key, obs, params), *rest

    def is_truncated(self, state: Any, params: Any) -> Array:
        return self.inner.is_truncated(state, params.inner)

    def observation_space(self, params: Any) -> spaces.Space:
        shape = self.inner.observation_space(params.inner).shape
        return spaces.Box(-jnp.inf, jnp.inf, shape)

    def action_space(self, params: Any = None) -> spaces.Space:
        return self.inner.action_space(None if params is None else params.inner)


def noisy(env: Any, sigma: float) -> registry.Env:
    """An environment whose observations have `N(0, sigma^2)` added to each number, anew each step.

    Args:
      env: one environment, or its name; its observations must be one array.
      sigma: standard deviation, at least 0.

    Raises:
      UserError: sigma is negative or not finite, or observations are no array of numbers.
    """
    env = own.given(env)
    if not 0.0 <= sigma < float("inf"):
        raise UserError(f"sigma must be a finite number of at least 0, not {sigma}")
    if not isinstance(env.environment.observation_space(env.params), spaces.Box):
        raise UserError(f"{env.name} cannot be noisy: its observations are no array of numbers")
    params = NoisyParams(env.params, sigma, env.max_steps)
    return registry.Env(f"{env.name}+noise", Noisy(env.environment), params)


def _seen(key: Array, obs: Array, params: NoisyParams) -> Array:
    noise = jax.random.normal(jax.random.fold_in(key, _NOISE), jnp.shape(obs), jnp.float32)
    return obs + params.sigma * noise
