"""EXPLORS: a learner that designs its own reward.

Devidze, Kamalaruban and Singla 2022, "Exploration-Guided Reward Shaping for
Reinforcement Learning under Sparse Rewards". It is paid `r + phi(s, a) + B(s')`:

    B(s)  = lambda / sqrt((lambda / largest)^2 + n(s)),   0 at an end
    phi(s, a) += rate * sum over steps of pi(a_t|s) (G_t - V(s)) (1[a = a_t] - pi(a|s))

n counts visits, G is the task's own return from the step on, and V its running mean. B
vanishes with the visits, and phi grows where the task's own reward is found: it is the
gradient of the task's return after one step of a policy gradient on phi.
"""

import jax.numpy as jnp
from flax import struct

from jaxrl_reward.design.episodes import Episodes
from jaxrl_reward.tabular import numerics
from jaxrl_reward.types import Array


class Explors(struct.PyTreeNode):
    """Its settings; with `scale` and `rate` 0 the task's reward stays as it is.

    Attributes:
      scale: lambda, of the bonus.
      largest: the bonus of a state never visited.
      rate: of phi.
      critic_rate: of V.
      clip: the largest |phi|.
    """

    scale: float | Array = 1.0
    largest: float | Array = 1.0
    rate: float | Array = 0.01
    critic_rate: float | Array = 0.01
    clip: float | Array = float("inf")


class Shaping(struct.PyTreeNode):
    """What it has learnt.

    Attributes:
      phi: `[S, A]`.
      values: V, `[S]`.
      counts: n, `[S]`.
    """

    phi: Array
    values: Array
    counts: Array


def start(states: int, actions: int) -> Shaping:
    """Before the first episode."""
    return Shaping(jnp.zeros((states, actions)), jnp.zeros(states), jnp.zeros(states))


def bonus(settings: Explors, counts: Array) -> Array:
    """B of each state, `[S]`, from its visits."""
    # scale / sqrt((scale / largest)^2 + n), which also holds at scale = 0, in any unit
    scale, largest = jnp.asarray(settings.scale), jnp.asarray(settings.largest)
    unit = numerics.unit(jnp.maximum(1.0 * scale, 1.0 * largest))
    scale, largest = scale / unit, largest / unit
    below = scale**2 + largest**2 * counts
    return unit * jnp.where(
        below > 0, largest * scale / jnp.sqrt(jnp.where(below > 0, below, 1)), 0
    )


def paid(settings: Explors, shaping: Shaping, episodes: Episodes) -> Array:
    """What is paid beside the task's reward, `[H, B]`."""
    curious = jnp.where(episodes.ends, 0.0, bonus(settings, shaping.counts)[episodes.successor])
    return episodes.live * (shaping.phi[episodes.state, episodes.action] + curious)


def update(
    settings: Explors, shaping: Shaping, episodes: Episodes, policy: Array, own: Array
) -> Shaping:
    """After some episodes.

    Args:
      settings: of EXPLORS.
      shaping: before them.
      episodes: `[H, B]`.
      policy: which played them, `[S, A]`.
      own: the task's return from each step on, `[H, B]`.
    """
    at = (episodes.state, episodes.action)
    error = episodes.live * (own - shaping.values[episodes.state])
    push = jnp.zeros_like(policy).at[at].add(policy[at] * error)
    push -= policy * push.sum(-1, keepdims=True)
    visits = jnp.zeros_like(shaping.counts).at[episodes.state].add(episodes.live)
    missed = jnp.zeros_like(shaping.values).at[episodes.state].add(error)
    phi = jnp.clip(shaping.phi + settings.rate * push, -settings.clip, settings.clip)
    mean = settings.critic_rate * missed / jnp.maximum(visits.sum(), 1.0)
    return Shaping(phi, shaping.values + mean, shaping.counts + visits)
