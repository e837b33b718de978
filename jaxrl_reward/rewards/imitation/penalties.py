"""Gradient penalties: how steep a discriminator may be, and where that is looked at.

Blonde et al. 2022 ("Lipschitzness Is All You Need To Tame Off-policy Generative
Adversarial Imitation Learning", arXiv:2006.16785), sections on regularisation; of
Gulrajani et al. 2017 (arXiv:1704.00028) and Kodali et al. 2017 (arXiv:1705.07215).
Gradients are those of the logit: of the probability they vanish where it saturates.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl_reward.types import Array

WHERE = ("wgan", "dragan", "nagard", "bare", "none")

Parts = tuple[Array, Array]  # of states and of actions, `[B, S]` and `[B, A]`


def points(
    where: str, key: Array, agent: Parts, expert: Parts, noise: ArrayLike, joint: bool
) -> Parts:
    """Where the slope is looked at.

    Args:
      where: `wgan`, between an agent's and an expert's step; `dragan`, around the
        expert's; `nagard`, around the agent's; `bare`, at the agent's.
      key: for what is drawn.
      agent: its steps.
      expert: as many of the expert's.
      noise: the standard deviation of what is around, per coordinate.
      joint: whether states and actions of a pair are mixed in the same proportion;
        else the point is on no straight line.
    """
    keys = jax.random.split(key, 2)
    if where == "wgan":
        keys = keys[jnp.array([0, 0])] if joint else keys
        shares = [jax.random.uniform(k, (x.shape[0], 1)) for k, x in zip(keys, agent, strict=True)]
        mixed = [u * x + (1 - u) * y for u, x, y in zip(shares, agent, expert, strict=True)]
        return mixed[0], mixed[1]
    if where == "bare":
        return agent
    centre = {"dragan": expert, "nagard": agent}[where]
    state, action = (
        x + noise * jax.random.normal(k, x.shape) for k, x in zip(keys, centre, strict=True)
    )
    return state, action


def slopes(logit: Callable[[Array, Array], Array], at: Parts) -> Array:
    """The length of the gradient by state and action at each point, `[B]`.

    Args:
      logit: of ONE state and action, a scalar.
      at: points.
    """
    state, action = jax.vmap(jax.grad(logit, argnums=(0, 1)))(*at)
    # The root of zero has no gradient.
    return jnp.sqrt(jnp.square(state).sum(-1) + jnp.square(action).sum(-1) + 1e-12)


def penalty(slope: Array, target: ArrayLike, one_sided: bool) -> Array:
    """`mean (slope - target)^2`, or of what is above the target only."""
    excess = slope - target
    return jnp.square(jnp.maximum(excess, 0.0) if one_sided else excess).mean()
