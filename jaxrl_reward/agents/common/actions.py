"""From a network's output to what the environment receives: what agents share."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.envs import bounds, spaces
from jaxrl_reward.nn import distributions
from jaxrl_reward.types import Array

NORMALS = {"normal": distributions.DiagonalNormal, "tanh_normal": distributions.TanhNormal}


def distribution(space: Any, name: str) -> distributions.Distribution:
    """The distribution of actions, before they are stretched to their bounds.

    Args:
      space: of the actions, Discrete, MultiDiscrete or Box.
      name: of continuous ones, in `NORMALS`.
    """
    if isinstance(space, spaces.Discrete):
        return distributions.Categorical(int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return distributions.MultiCategorical(space.nvec)
    return NORMALS[name](math.prod(space.shape), support=support(space))


def support(space: spaces.Box, confined: bool = False) -> distributions.Support:
    """Where the unit numbers of actions lie, see `envs.bounds`.

    Args:
      space: of the actions.
      confined: those without any bound are kept within -1 and 1.
    """
    low, high = (np.isfinite(x) for x in bounds.limits(space))
    both = low & high | (~(low | high) & confined)
    return distributions.Support(
        tuple(np.where(low | both, -1.0, -np.inf).tolist()),
        tuple(np.where(high | both, 1.0, np.inf).tolist()),
    )


def size(space: spaces.Box) -> int:
    """How many numbers an action is."""
    return math.prod(space.shape)


def chosen(values: Array, action: Array) -> Array:
    """Of `[..., A]` that of each action `[...]`: a select, without a scatter backwards."""
    return jnp.where(jax.nn.one_hot(action, values.shape[-1], dtype=bool), values, 0.0).sum(-1)


def free_std(dist: distributions.Distribution) -> bool:
    """Whether the log-std is a parameter by itself, the same in every state."""
    return type(dist) is distributions.DiagonalNormal


def out_size(dist: distributions.Distribution) -> int:
    """How many numbers the network gives."""
    return dist.param_size // 2 if free_std(dist) else dist.param_size


def with_std(dist: distributions.Distribution, params: dict[str, Any], out: Array) -> Array:
    """The distribution's parameters `[..., param_size]`, from the network's output.

    Args:
      dist: the distribution.
      params: the agent's, with `log_std` where that is free.
      out: the network's output, `[..., out_size]`.
    """
    if not free_std(dist):
        return out
    log_std = jax.lax.broadcast(params["log_std"], out.shape[:-1])
    return jnp.concatenate([out, log_std], axis=-1)


def allow(params: Array, allowed: Array | None) -> Array:
    """Logits `[..., A]` that only draw what is allowed, if that is known, `[..., A]` bool."""
    return params if allowed is None else jnp.where(allowed, params, -jnp.inf)


def anything(dist: Any, key: Array, shape: tuple[int, ...]) -> Array:
    """Draws of uniformly random actions; beyond a single bound, of a logistic's softplus.

    Where not all actions are allowed, draws have to wait for that: see `masks.draw`.

    Args:
      dist: the distribution whose draws they stand for.
      key: a key.
      shape: of the draws, `[*shape]` or `[*shape, dim]`.
    """
    if isinstance(dist, distributions.Categorical):
        return jax.random.randint(key, shape, 0, dist.num_actions)
    unit = jax.random.uniform(key, (*shape, dist.dim), minval=-1.0, maxval=1.0)
    raw = jnp.arctanh(0.9999 * unit)  # what a tanh makes uniform
    if not isinstance(dist, distributions.TanhPoint):
        return raw
    return unit if dist.support.bounded else dist.support.squash(raw)


def draw(
    space: Any,
    dist: Any,
    params: Array,
    noise: Array | None,
    instead: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """What the environment receives, and the draw that it is made of.

    Args:
      space: of the actions.
      dist: their distribution.
      params: its parameters, `[N, param_size]`.
      noise: what the draw is made from; the likeliest action without.
      instead: whether to take other draws, and these.
    """
    raw: Any = dist.mode(params) if noise is None else dist.sample(params, noise)
    if instead is not None:
        raw = jnp.where(instead[0], instead[1], raw)
    action = dist.to_action(raw)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return action.astype(space.dtype), raw
    return bounds.scale_action(space, action), raw
