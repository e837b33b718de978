"""Which prompts are asked, and how many responses each gets."""

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array


def spread_weights(rates: Array) -> Array:
    """`p (1 - p)`, the variance of a 0/1 outcome of mean p, `[...]`.

    Outcome variance of MMR1's variance-aware sampling (2025): a prompt that is always or
    never solved has no gradient in its group.
    """
    rates = jnp.clip(rates, 0.0, 1.0)
    return rates * (1.0 - rates)


def draw(key: Array, weights: Array, count: int) -> Array:
    """`count` numbers in proportion to `weights[P]`, with replacement, int32.

    By bisection, so that as many prompts as there may be cost one sum.
    """
    total = jnp.cumsum(weights)
    place = jax.random.uniform(key, (count,)) * total[-1]
    found = jnp.searchsorted(total, place, side="right")
    return jnp.minimum(found, weights.shape[0] - 1).astype(jnp.int32)


def group_value(size: Array, rate: Array) -> Array:
    """`(1 - p^n - (1 - p)^n) p (1 - p)^2`: what a group of n responses is worth.

    Knapsack RL (2025, "Unlocking Exploration of LLMs via Optimizing Budget Allocation"):
    the chance that the group has both outcomes, times what can be learnt from it.
    """
    both = 1.0 - rate**size - (1.0 - rate) ** size
    return both * rate * (1.0 - rate) ** 2


def knapsack(rates: Array, total: int, low: int, high: int) -> Array:
    """How many responses each of B prompts gets, `[B]` int32, `total` of them together.

    What one more response adds to `group_value` falls as the group grows, so the best
    allocation takes the largest gains one after the other. Rates that are 0 or 1 count as
    0.02 and 0.98: what was never solved gets what is left, before what always is.

    Args:
      rates: the share of right responses of each prompt, `[B]`.
      total: between `B * low` and `B * high`.
      low: responses of a prompt, at least.
      high: at most.
    """
    rates = jnp.clip(rates, 0.02, 0.98)
    sizes = jnp.arange(low, high + 1, dtype=jnp.float32)
    values = jax.vmap(lambda size: group_value(size, rates), out_axes=1)(sizes)
    gains = jnp.diff(values, axis=1)
    best = jnp.argsort(-gains.reshape(-1), stable=True)[: total - low * rates.shape[0]]
    return jnp.full(rates.shape, low, jnp.int32).at[best // gains.shape[1]].add(1)


def groups_of_sizes(sizes: Array, total: int) -> Array:
    """The group of each of `total` responses side by side, `[total]` int32."""
    ends = jnp.cumsum(sizes)
    return jnp.searchsorted(ends, jnp.arange(total), side="right").astype(jnp.int32)
