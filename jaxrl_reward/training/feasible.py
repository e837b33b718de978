"""Optimistic feasible search: the best of a few settings that keeps its constraints, by trying.

A bandit for one number of a run: a penalty's weight, a threshold. Of arms whose constraints may
hold, as far as is known, the one is tried whose reward may be the largest; where none may, the
one that may violate least (Optimistic Feasible Search). The radius `C sqrt(log(1 + t) / n)` is
ours: the paper's constant is not known here.
"""

import jax.numpy as jnp
from flax import struct

from jaxrl_reward.types import Array


class Tried(struct.PyTreeNode):
    """What is known of K arms: how often each was tried, and its sums.

    Attributes:
      count: `[K]`.
      reward: `[K]`.
      residual: of each constraint, at most 0 where it holds, `[K, C]`.
    """

    count: Array
    reward: Array
    residual: Array


def nothing(arms: int, constraints: int) -> Tried:
    """No arm has been tried."""
    return Tried(jnp.zeros(arms), jnp.zeros(arms), jnp.zeros((arms, constraints)))


def tell(tried: Tried, arm: Array | int, reward: Array | float, residual: Array) -> Tried:
    """What is known after one more try, of `residual[C]`."""
    return Tried(
        tried.count.at[arm].add(1.0),
        tried.reward.at[arm].add(reward),
        tried.residual.at[arm].add(residual),
    )


def choose(tried: Tried, scale: Array | float) -> Array:
    """The arm to try next, int32; each is tried once first.

    Args:
      tried: what is known.
      scale: C, of the radius, in the units of reward and residuals; 0 believes the means.
    """
    count = jnp.maximum(tried.count, 1.0)
    radius = scale * jnp.sqrt(jnp.log1p(tried.count.sum()) / count)
    least = (tried.residual / count[:, None] - radius[:, None]).max(-1)
    feasible = least <= 0.0
    score = jnp.where(feasible, tried.reward / count + radius, -jnp.inf)
    found = jnp.where(feasible.any(), score.argmax(), least.argmin())
    new = tried.count == 0.0
    return jnp.where(new.any(), new.argmax(), found).astype(jnp.int32)
