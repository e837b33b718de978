"""A set function whose gains may be negative: the cut of a graph."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl_reward.submodular.base import SetFunction
from jaxrl_reward.types import Array


class Side(NamedTuple):
    """Which nodes were chosen, `[n]` bool, and the cut."""

    chosen: Array
    total: Array


class GraphCut(SetFunction):
    """The weight of the edges between the chosen nodes and the others.

    Submodular and not monotone: all nodes cut nothing. A gain costs O(n). What apricot and
    submodlib call graph cut has a factor lambda: `sum_{i in V, j in S} s_ij` and
    `sum_{i, j in S} s_ij`, the second taken off (apricot's `alpha` weighs the first,
    submodlib's `lambdaVal` the second). With a factor of 1 it is this one.

    Attributes:
      weights: of the edges, `[n, n]` symmetric, not negative; the diagonal does
        not count.
    """

    weights: Any

    @property
    def ground(self) -> int:
        return self.weights.shape[-1]

    @property
    def monotone(self) -> bool:
        return False

    def init(self) -> Side:
        zeros = jnp.zeros_like(self.weights[0])
        return Side(zeros != 0, zeros.sum())

    def gain(self, memory: Side, element: Array) -> tuple[Array, Side]:
        edges = jnp.asarray(self.weights)[element].at[element].set(0)
        gain = jnp.where(memory.chosen, -edges, edges).sum()
        gain = jnp.where(memory.chosen[element], 0, gain)
        return gain, Side(memory.chosen.at[element].set(True), memory.total + gain)

    def view(self, memory: Side) -> Array:
        """Which nodes were chosen, `[n]`."""
        return memory.chosen.astype(jnp.float32)

    def evaluate(self, elements: Sequence[int]) -> float:
        chosen = np.isin(np.arange(self.ground), list(elements))
        return float(np.asarray(self.weights, float)[chosen][:, ~chosen].sum())
