"""A clock for suites whose environments are stepped without their own."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces
from jaxrl_reward.envs.suites import base
from jaxrl_reward.types import Array


class State(struct.PyTreeNode):
    """The suite's own state (for rendering) and the steps made."""

    suite: Any
    time: Array


class Timed(struct.PyTreeNode):
    """The time limit in steps."""

    max_steps_in_episode: int = 1000


class Untimed(struct.PyTreeNode):
    """Nothing to set: the task ends by itself."""


class Clocked(base.Adapter):
    """What ends the task terminates; the clock, if there is one, truncates."""

    def is_truncated(self, state: Any, params: Any) -> Array:
        if isinstance(params, Untimed):
            return jnp.bool_(False)
        return state.time >= params.max_steps_in_episode


def real(shape: tuple[int, ...]) -> Any:
    """The space of any numbers."""
    return spaces.Box(-jnp.inf, jnp.inf, shape, jnp.float32)


def timed(limit: int | None) -> Any:
    """Parameters with a time limit; without any for None."""
    return Untimed() if limit is None else Timed(int(limit))
