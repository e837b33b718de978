"""Laws of returns as weighted particles, and three ways to keep them small.

A law is `values[..., M]` (`[..., M, m]` of vectors) with `weights[..., M]`. One
backup multiplies the number of particles; `project` brings it back to M:

- `Categorical`: fixed values, weights by linear interpolation, which keeps the
  mean (Bellemare et al. 2017); exact if all returns are atoms.
- `Quantiles`: equal weights, values the quantiles at their midpoints (Dabney et
  al. 2018).
- `Particles`: both free, equal ones merged: exact while there is room for all,
  and the only one for vectors.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward.tabular import numerics
from jaxrl_reward.types import Array


class Laws(NamedTuple):
    """Laws, as weighted particles.

    Attributes:
      values: `[..., M]`, or `[..., M, m]`.
      weights: `[..., M]`, sum to 1.
      lost: the probability that found no particle of its own, `[...]`; 0 where
        the laws are exact, and for the first two kinds always.
    """

    values: Array
    weights: Array
    lost: Array

    def mean(self) -> Array:
        """`[...]`, or `[..., m]`."""
        if self.values.ndim == self.weights.ndim:
            return (self.values * self.weights).sum(-1)
        return (self.values * self.weights[..., None]).sum(-2)


class Representation(struct.PyTreeNode):
    """How laws are kept. Override `size` and `project`."""

    @property
    def size(self) -> int:
        """M."""
        raise NotImplementedError

    def project(self, values: Array, weights: Array) -> Laws:
        """One law of any number P of particles as one of M.

        Args:
          values: `[P]`, or `[P, m]`.
          weights: `[P]`, sum to 1.
        """
        raise NotImplementedError

    def zero(self, shape: tuple[int, ...], parts: tuple[int, ...] = (), dtype: Any = None) -> Laws:
        """The laws `[*shape]` that are 0 for certain; `parts` is `(m,)` for vectors."""
        law = self.project(jnp.zeros((1, *parts), dtype), jnp.ones(1, dtype))
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (*shape, *x.shape)), law)


class Categorical(Representation):
    """`atoms` values from `low` to `high`; what is outside counts at the ends."""

    low: Any
    high: Any
    atoms: int = struct.field(pytree_node=False, default=51)

    @property
    def size(self) -> int:
        return self.atoms

    def project(self, values: Array, weights: Array) -> Laws:
        low, high = numerics.astype((self.low, self.high), values.dtype)
        spacing = (high - low) / (self.atoms - 1)
        place = jnp.clip((values - low) / spacing, 0.0, self.atoms - 1.0)
        below = jnp.minimum(jnp.floor(place), self.atoms - 2.0)
        index, share = below.astype(jnp.int32), place - below
        total = jnp.zeros(self.atoms, values.dtype).at[index].add(weights * (1 - share))
        total = total.at[index + 1].add(weights * share)
        atoms = low + spacing * jnp.arange(self.atoms, dtype=values.dtype)
        return Laws(atoms, total, jnp.zeros((), values.dtype))


class Quantiles(Representation):
    """`count` equally likely values; a law's `(2 i - 1) / (2 count)` quantiles."""

    count: int = struct.field(pytree_node=False, default=51)

    @property
    def size(self) -> int:
        return self.count

    def project(self, values: Array, weights: Array) -> Laws:
        order = jnp.argsort(values)
        below = weights[order].cumsum()
        levels = (jnp.arange(self.count, dtype=weights.dtype) + 0.5) / self.count
        found = jnp.searchsorted(below, levels * below[-1] - numerics.rounding(below, 8))
        equal = jnp.full(self.count, 1.0 / self.count, weights.dtype)
        chosen = values[order][jnp.minimum(found, values.size - 1)]
        return Laws(chosen, equal, jnp.zeros((), weights.dtype))


class Particles(Representation):
    """At most `capacity` values of any weight; those within rounding are one.

    If there are more, the largest share one particle at their mean, and `lost`
    is their probability. `tolerance` is a share of a law's largest value.
    """

    capacity: int = struct.field(pytree_node=False, default=64)
    tolerance: float = 1e-5

    @property
    def size(self) -> int:
        return self.capacity

    def project(self, values: Array, weights: Array) -> Laws:
        rows = values.reshape(values.shape[0], -1)
        there = weights > 0
        # What is not there goes last; the first component decides first.
        order = jnp.lexsort((*(rows[:, i] for i in reversed(range(rows.shape[1]))), ~there))
        rows, weights, there = rows[order], weights[order], there[order]
        near = self.tolerance * jnp.max(jnp.abs(rows), 0, where=there[:, None], initial=0.0)
        apart = (jnp.abs(rows[1:] - rows[:-1]) > near[None]).any(1)
        new = jnp.concatenate([jnp.zeros(1, bool), apart & there[1:]])
        group = new.cumsum()
        last = self.capacity - 1
        lost = jnp.where(group.max() > last, jnp.where(group >= last, weights, 0.0).sum(), 0.0)
        group = jnp.minimum(group, last)
        total = jax.ops.segment_sum(weights, group, self.capacity)
        means = jax.ops.segment_sum(rows * weights[:, None], group, self.capacity)
        means = means / jnp.where(total > 0, total, 1.0)[:, None]
        return Laws(means.reshape(self.capacity, *values.shape[1:]), total, lost)
