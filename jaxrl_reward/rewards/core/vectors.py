"""Observations and actions as the vectors that networks take."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array, Transition, UserError


def observation(obs: Any) -> Array:
    """One observation as float32 `[D]`."""
    return jnp.asarray(obs, jnp.float32).reshape(-1)


def action(action: Any, actions: int) -> Array:
    """One action as float32 `[A]`; one-hot, of `actions`, if it is discrete."""
    action = jnp.asarray(action).reshape(-1)
    if jnp.issubdtype(action.dtype, jnp.integer):
        return jax.nn.one_hot(action, actions).reshape(-1)
    return action.astype(jnp.float32)


def both(one: Transition, actions: int) -> Array:
    """The observation and the action of ONE step."""
    return jnp.concatenate([observation(one.obs), action(one.action, actions)])


def check_actions(term: Any, example: Transition) -> None:
    """Raises a `UserError` unless `term.actions` says how many discrete actions there are."""
    if jnp.issubdtype(example.action.dtype, jnp.integer) and term.actions < 2:
        raise UserError(f"{term.name} needs the number of actions, as in {term.name}(actions=4)")
