"""The data that environments, rewards and agents exchange.

A *block* is a `Transition` whose leaves are `[T, N, ...]`: time, then
environments. Seeds are an outer `vmap` and never appear here.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward.errors import UserError as UserError
from jaxrl_reward.errors import nearest as nearest

Array = jax.Array
Metrics = dict[str, Array]


class Transition(struct.PyTreeNode):
    """One step of `N` environments, or a block of `T` such steps.

    Attributes:
      obs: observation before the action, `[..., *obs_shape]`.
      action: what the environment received, `[..., *action_shape]`.
      env_reward: the environment's own reward, never modified, `[...]`.
      reward: the running value inside a reward expression; starts as
        `env_reward`, `[...]` (`[..., K]` between `stack` and a scalariser).
      next_obs: the true successor, never the observation after a reset.
      first: true on the first step of an episode, `[...]` bool.
      terminated: the task ended; no value follows (cuts bootstrapping).
      truncated: only the clock ended; value follows. Both may be true, and
        then `terminated` wins.
      info: the environment's extra arrays.
      policy: what the agent knows of its choice (`log_prob`, `entropy`,
        `value`), for rules that read it.
    """

    obs: Array
    action: Array
    env_reward: Array
    reward: Array
    next_obs: Array
    first: Array
    terminated: Array
    truncated: Array
    info: dict[str, Any] = struct.field(default_factory=dict)
    policy: dict[str, Any] = struct.field(default_factory=dict)

    @property
    def last(self) -> Array:
        """True where the episode ends, for either reason, `[...]` bool."""
        return self.terminated | self.truncated


class Mean(struct.PyTreeNode):
    """A running mean that adds up across steps, chunks and devices.

    Metrics are carried as sums and counts, so that nothing grows with the
    length of a run and "no episode ended" is a count of zero, not a NaN.
    """

    total: Array
    count: Array

    @classmethod
    def of(cls, values: Array, where: Array | None = None) -> "Mean":
        """The mean of `values`, over the entries where `where` is true."""
        values = jnp.asarray(values, jnp.float32)
        if where is None:
            return cls(values.sum(), jnp.float32(values.size))
        where = jnp.broadcast_to(where, values.shape)
        return cls(jnp.where(where, values, 0.0).sum(), where.sum(dtype=jnp.float32))

    @property
    def value(self) -> Array:
        """The mean itself; NaN of nothing."""
        return self.total / self.count

    def __add__(self, other: "Mean") -> "Mean":
        return Mean(self.total + other.total, self.count + other.count)
