"""Units and precision: what solvers compute with is near 1, and of one floating type.

Neither the unit of the rewards nor how they are stored may change what is optimal, but
tolerances and squares would: so rewards are divided by a power of two near the largest
of them, which rounds nothing, and what is found is multiplied by it.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxrl_reward.rounding import ulps
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array

Tree = TypeVar("Tree")


def unit(size: Array) -> Array:
    """The power of two at or just below each size, 1 where it is 0 or not finite."""
    size = jax.lax.stop_gradient(size)
    one = jnp.ones_like(size)
    usual = jnp.where((size > 0) & jnp.isfinite(size), size, one)
    return jnp.ldexp(one, jnp.frexp(usual)[1] - 1)


def in_units(mdp: MDP) -> tuple[MDP, Array]:
    """The MDP in units of its rewards, and the unit: `[]`, or `[m]` of a vector.

    The largest expected |reward| of an action is in [1, 2) then: it is what sums of
    outcomes are rounded by, where they cancel and where they are unlikely. What cannot
    happen pays nothing, whatever was written there.
    """
    mdp = same_type(mdp)
    parts = (1,) * (mdp.reward.ndim - mdp.probability.ndim)
    probability = mdp.probability.reshape(*mdp.probability.shape, *parts)
    reward = jnp.where(probability > 0, mdp.reward, 0.0)
    one = unit((probability * jnp.abs(reward)).sum(2).max((0, 1)))
    return mdp.replace(reward=reward / one[(None,) * 3]), one


def same_type(mdp: MDP, *others: Any) -> Any:
    """An MDP, and trees beside it, with all floating numbers of the widest type among them."""
    floating = [x for x in jax.tree.leaves(others) if jnp.issubdtype(_type(x), jnp.inexact)]
    dtype = jnp.result_type(mdp.probability, mdp.reward, *floating)
    dtype = dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.result_type(float)
    own = {name: getattr(mdp, name).astype(dtype) for name in ("probability", "reward", "start")}
    mdp = mdp.replace(**own)
    return (mdp, *(astype(each, dtype) for each in others)) if others else mdp


def widest(*trees: Any) -> Any:
    """The trees with all floating numbers of the widest type among them."""
    floating = [x for x in jax.tree.leaves(trees) if jnp.issubdtype(_type(x), jnp.inexact)]
    return tuple(astype(each, jnp.result_type(*floating)) for each in trees)


def astype(tree: Tree, dtype: Any) -> Tree:
    """The tree with its floating numbers of this type."""
    cast = lambda x: jnp.asarray(x, dtype) if jnp.issubdtype(_type(x), jnp.inexact) else x  # noqa: E731
    return jax.tree.map(cast, tree)


def size(values: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """The largest absolute value that is finite."""
    known = jnp.where(jnp.isfinite(values), jnp.abs(values), 0.0)
    return known.max(axis, keepdims=keepdims)


def rounding(values: Array, operations: float = 64.0) -> Array:
    """What some operations on numbers of this size may be wrong by."""
    return ulps(size(values), operations)


def _type(x: Any) -> Any:
    return jnp.result_type(x)
