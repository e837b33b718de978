"""Set functions that count what was reached: items, groups of items, customers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.submodular.base import SetFunction, add_bits, no_bits, unpack_bits
from jaxrl_reward.types import Array, UserError


class Covered(NamedTuple):
    """The items covered so far, as bits, and their total weight."""

    words: Array
    total: Array


class Covering(SetFunction):
    """Every element covers some items, and the weight of all covered items counts.

    A gain costs O(k), k the most items that one element covers.
    """

    @property
    def size(self) -> int:
        """The number of items, m."""
        raise NotImplementedError

    def footprint(self, element: Array) -> tuple[Array, Array]:
        """The distinct items of an element, `[k]` int32, and which of them exist, `[k]`."""
        raise NotImplementedError

    def worth(self, items: Array) -> Array:
        """The weights of items, `[k]`."""
        raise NotImplementedError

    def init(self) -> Covered:
        return Covered(no_bits(self.size), jnp.zeros((), self.worth(jnp.zeros(1, int)).dtype))

    def gain(self, memory: Covered, element: Array) -> tuple[Array, Covered]:
        items, exist = self.footprint(element)
        words, new = add_bits(memory.words, items, exist)
        gain = jnp.where(new, self.worth(jnp.where(exist, items, 0)), 0).sum()
        return gain, Covered(words, memory.total + gain)

    def view(self, memory: Covered) -> Array:
        """Which items are covered, `[m]`."""
        return unpack_bits(memory.words, self.size)

    def covers(self, element: int) -> dict[int, float]:
        """The items of an element and their weights, from the definition."""
        raise NotImplementedError

    def evaluate(self, elements: Sequence[int]) -> float:
        covered: dict[int, float] = {}
        for element in elements:
            covered |= self.covers(element)
        return float(sum(covered.values()))


class Coverage(Covering):
    """Coverage by a table; make it with `coverage`.

    Attributes:
      items: the items of each element, `[n, k]` int32, filled up with m.
      weights: of the items, `[m]`, not negative.
    """

    items: Any
    weights: Any

    @property
    def ground(self) -> int:
        return self.items.shape[-2]

    @property
    def size(self) -> int:
        return self.weights.shape[-1]

    def footprint(self, element: Array) -> tuple[Array, Array]:
        items = jnp.asarray(self.items)[element]
        return items, items < self.size

    def worth(self, items: Array) -> Array:
        return jnp.asarray(self.weights)[items]

    def covers(self, element: int) -> dict[int, float]:
        items = np.asarray(self.items)[element]
        return {item: float(self.weights[item]) for item in items.tolist() if item < self.size}


def coverage(covers: Sequence[Sequence[int]], weights: Any = None) -> Coverage:
    """Weighted coverage.

    Args:
      covers: the items of each element.
      weights: of the items `[m]`, all 1 by default.

    Raises:
      UserError: an item or a weight is negative, or an item has no weight.
    """
    rows = [sorted(set(row)) for row in covers]
    most = max((row[-1] + 1 for row in rows if row), default=0)
    weights = np.ones(most, np.float32) if weights is None else np.asarray(weights)
    if most > len(weights) or any(row[0] < 0 for row in rows if row):
        raise UserError(f"coverage has {len(weights)} weights, for items 0 to {most - 1}")
    if (weights < 0).any():
        raise UserError("coverage needs weights that are not negative")
    width = max(1, max(map(len, rows), default=0))
    items = np.full((len(rows), width), len(weights), np.int32)
    for row, filled in zip(rows, items, strict=True):
        filled[: len(row)] = row
    floating = weights if weights.dtype == np.float64 else weights.astype(np.float32)
    return Coverage(items, floating)


class GridCoverage(Covering):
    """Elements and items are the cells of a grid; a cell covers those around it.

    The same as `coverage` of such a table, without the table.

    Attributes:
      rows, cols: the size of the grid; cell `r * cols + c`.
      offsets: (row, column) differences of the cells covered.
      weight: of every cell.
    """

    rows: int = struct.field(pytree_node=False)
    cols: int = struct.field(pytree_node=False)
    offsets: tuple[tuple[int, int], ...] = struct.field(pytree_node=False)
    weight: Any = 1.0

    @property
    def ground(self) -> int:
        return self.rows * self.cols

    @property
    def size(self) -> int:
        return self.rows * self.cols

    def footprint(self, element: Array) -> tuple[Array, Array]:
        offsets, element = np.asarray(self.offsets, np.int32), jnp.asarray(element, jnp.int32)
        cols = jnp.int32(self.cols)  # and no sign to think of, unlike in `//`
        row = jax.lax.div(element, cols) + offsets[:, 0]
        col = jax.lax.rem(element, cols) + offsets[:, 1]
        exist = (row >= 0) & (row < self.rows) & (col >= 0) & (col < self.cols)
        return row * self.cols + col, exist

    def worth(self, items: Array) -> Array:
        return jnp.full(items.shape, self.weight, jnp.result_type(self.weight, jnp.float32))

    def covers(self, element: int) -> dict[int, float]:
        row, col = divmod(element, self.cols)
        cells = {(row + r, col + c) for r, c in self.offsets}
        inside = ((r, c) for r, c in cells if 0 <= r < self.rows and 0 <= c < self.cols)
        return {r * self.cols + c: float(self.weight) for r, c in inside}


def square(reach: int) -> tuple[tuple[int, int], ...]:
    """Offsets of the cells at most `reach` rows and columns away."""
    span = range(-reach, reach + 1)
    return tuple((r, c) for r in span for c in span)


def disc(reach: int) -> tuple[tuple[int, int], ...]:
    """Offsets of the cells whose centre is within `reach + 1/2` cells."""
    return tuple((r, c) for r, c in square(reach) if r * r + c * c <= (reach + 0.5) ** 2)


def neighbourhoods(adjacency: Any, hops: int = 1) -> list[list[int]]:
    """Covering on a graph: the nodes at most `hops` edges away from each node.

    Args:
      adjacency: `[n, n]`, not zero where an edge leads from row to column.
      hops: how far a node covers.
    """
    edges = np.asarray(adjacency) != 0
    reached = np.eye(len(edges), dtype=bool)
    for _ in range(hops):
        reached |= (reached.astype(int) @ edges) > 0
    return [np.flatnonzero(row).tolist() for row in reached]


# ---- groups -----------------------------------------------------------------------


class Collected(NamedTuple):
    """The elements so far, as bits, how many of each group, and F."""

    words: Array
    counts: Array
    total: Array


class Groups(SetFunction):
    """`sum_g w_g min(|S & group g|, cap_g)`: each group pays until its demand is met.

    A gain costs O(number of groups).

    Attributes:
      member: `[n, G]`, 1 where an element is in a group, which may overlap.
      caps: the demands, `[G]`.
      weights: of the groups, `[G]`, not negative.
    """

    member: Any
    caps: Any
    weights: Any

    @property
    def ground(self) -> int:
        return self.member.shape[-2]

    def init(self) -> Collected:
        counts = jnp.zeros_like(self.caps)
        return Collected(no_bits(self.ground), counts, jnp.zeros((), counts.dtype))

    def gain(self, memory: Collected, element: Array) -> tuple[Array, Collected]:
        element = jnp.asarray(element, jnp.int32)[None]
        words, new = add_bits(memory.words, element, jnp.ones(1, bool))
        added = jnp.where(new, jnp.asarray(self.member)[element[0]], 0)
        counts = memory.counts + added
        met = jnp.minimum(counts, self.caps) - jnp.minimum(memory.counts, self.caps)
        gain = (self.weights * met).sum()
        return gain, Collected(words, counts, memory.total + gain)

    def view(self, memory: Collected) -> Array:
        """Which elements were chosen, and how much of each demand is met, `[n + G]`."""
        met = jnp.minimum(memory.counts / jnp.maximum(self.caps, 1), 1.0)
        return jnp.concatenate([unpack_bits(memory.words, self.ground), met])

    def evaluate(self, elements: Sequence[int]) -> float:
        counts = np.asarray(self.member, float)[sorted(set(elements))].sum(0)
        capped = np.minimum(counts, np.asarray(self.caps, float))
        return float((np.asarray(self.weights, float) * capped).sum())


def groups(members: Sequence[Sequence[int]], caps: Any, ground: int, weights: Any = None) -> Groups:
    """Capped counts of groups (a partition matroid's rank, where they are disjoint).

    Args:
      members: the elements of each of G groups.
      caps: their demands, `[G]`.
      ground: the number of elements.
      weights: of the groups, `[G]`, all 1 by default.

    Raises:
      UserError: not one cap (and weight) for each group, or an element that is none.
    """
    caps = np.asarray(caps, np.float32)
    weights = np.ones(len(caps), np.float32) if weights is None else np.asarray(weights, np.float32)
    if not len(members) == len(caps) == len(weights):
        raise UserError(
            f"groups needs a cap and a weight each: {len(members)} groups, "
            f"{len(caps)} caps, {len(weights)} weights"
        )
    member = np.zeros((ground, len(caps)), np.float32)
    for g, elements in enumerate(members):
        if any(not 0 <= element < ground for element in elements):
            raise UserError(f"group {g} has an element that is not in 0 to {ground - 1}")
        member[list(elements), g] = 1
    return Groups(member, caps, weights)


# ---- facility location ------------------------------------------------------------


class Served(NamedTuple):
    """How well each customer is served so far, `[m]`, and the sum."""

    best: Array
    total: Array


class FacilityLocation(SetFunction):
    """`sum_j max_{v in S} similarity[v, j]`: each of m customers takes the best.

    A gain costs O(m).

    Attributes:
      similarity: `[n, m]`, not negative.
    """

    similarity: Any

    @property
    def ground(self) -> int:
        return self.similarity.shape[-2]

    def init(self) -> Served:
        zeros = jnp.zeros_like(self.similarity[0])
        return Served(zeros, zeros.sum())

    def gain(self, memory: Served, element: Array) -> tuple[Array, Served]:
        best = jnp.maximum(memory.best, jnp.asarray(self.similarity)[element])
        gain = (best - memory.best).sum()
        return gain, Served(best, memory.total + gain)

    def view(self, memory: Served) -> Array:
        """How well each customer is served, `[m]`."""
        return memory.best.astype(jnp.float32)

    def evaluate(self, elements: Sequence[int]) -> float:
        chosen = np.asarray(self.similarity, float)[sorted(set(elements))]
        return float(chosen.max(0, initial=0.0).sum())
