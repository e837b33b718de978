"""What exact tools compute with: finite MDPs, their dynamics, and grids of stocks."""

import math
from typing import Literal

import jax.numpy as jnp
from flax import struct

from jaxrl_reward.types import Array

Rounding = Literal["linear", "nearest", "down", "up"]
SNAP = 1024  # roundings of a spacing: nearer than this to a point is on it


class MDP(struct.PyTreeNode):
    """`S` states, `A` actions, at most `K` outcomes of each.

    Attributes:
      probability: of each outcome, `[S, A, K]`, sums to 1 over K; outcomes
        that do not exist have probability 0.
      successor: the state that follows, `[S, A, K]` int32.
      reward: `[S, A, K]`, or `[S, A, K, m]` for a vector of m rewards.
      ends: whether the episode ends with it, `[S, A, K]` bool.
      start: the probability of starting in each state, `[S]`.
    """

    probability: Array
    successor: Array
    reward: Array
    ends: Array
    start: Array

    @property
    def states(self) -> int:
        """S."""
        return self.probability.shape[-3]

    @property
    def actions(self) -> int:
        """A."""
        return self.probability.shape[-2]

    def transition(self) -> Array:
        """The probability of going on in each state, `[S, A, S']`; the rest ends."""
        going = jnp.where(self.ends, 0.0, self.probability)
        s, a, _ = jnp.indices(going.shape, sparse=True)
        table = jnp.zeros((self.states, self.actions, self.states), going.dtype)
        return table.at[s, a, self.successor].add(going)

    def under(self, policy: Array) -> Array:
        """The probability of going on in each state under a policy `[S, A]`, `[S, S']`."""
        going = policy[..., None] * jnp.where(self.ends, 0.0, self.probability)
        table = jnp.zeros((self.states, self.states), going.dtype)
        return table.at[jnp.arange(self.states)[:, None, None], self.successor].add(going)

    def expected_reward(self) -> Array:
        """`[S, A]`, or `[S, A, m]`."""
        return jnp.einsum("sak,sak...->sa...", self.probability, self.reward)


class Dynamics(struct.PyTreeNode):
    """`S` states and `A` actions, for ever.

    Attributes:
      transition: `[S, A, S']`, sums to 1 over S'.
      start: the probability of starting in each state, `[S]`.
      gamma: the discount, below 1.
    """

    transition: Array
    start: Array
    gamma: Array | float

    @property
    def states(self) -> int:
        """S."""
        return self.transition.shape[0]

    @property
    def actions(self) -> int:
        """A."""
        return self.transition.shape[1]

    @property
    def possible(self) -> Array:
        """Which transitions happen at all, `[S, A, S']` bool."""
        return self.transition > 0

    def uniform(self) -> Array:
        """The policy that acts at random, `[S, A]`."""
        return jnp.full(self.transition.shape[:2], 1.0 / self.actions, self.transition.dtype)

    def expect(self, values: Array) -> Array:
        """`E[v(S') | s, a]`, `[S, A]`, from `[S]`."""
        return self.transition @ values

    def level(self, reward: Array) -> Array:
        """`E[R(s, a, S') | s, a]`, `[S, A]`, from `[S, A, S']`."""
        return (self.transition * reward).sum(-1)


class Grid(struct.PyTreeNode):
    """Evenly spaced stocks. Their place is a leaf; their number C is static.

    Attributes:
      low: the first point, a scalar, or `[m]` for a vector stock.
      spacing: between points, of the same shape.
      shape: the number of points, along each of the m axes.
    """

    low: Array
    spacing: Array
    shape: tuple[int, ...] = struct.field(pytree_node=False)

    @property
    def size(self) -> int:
        """C, the number of points."""
        return math.prod(self.shape)

    def points(self) -> Array:
        """`[C]`, or `[C, m]` in the order of `reshape(*shape)`."""
        places = jnp.stack(jnp.indices(self.shape), -1).reshape(self.size, -1)
        low, spacing = jnp.atleast_1d(self.low), jnp.atleast_1d(self.spacing)
        points = low[None] + spacing[None] * places
        return points if jnp.ndim(self.low) else points[:, 0]

    def locate(self, stock: Array, rounding: Rounding = "linear") -> tuple[Array, Array, Array]:
        """Stocks as weighted grid points.

        Args:
          stock: `[...]`, or `[..., m]`.
          rounding: "linear" between the neighbours, or one of them.

        Returns:
          Their indices `[..., J]` and weights `[..., J]`, and how far the
          stock is beyond the grid, in its own shape, signed.
        """
        vector = bool(jnp.ndim(self.low))
        stock = jnp.asarray(stock, jnp.result_type(stock, self.low))
        stock = stock if vector else stock[..., None]
        lead = (None,) * (stock.ndim - 1)
        low, spacing = jnp.atleast_1d(self.low)[lead], jnp.atleast_1d(self.spacing)[lead]
        last = jnp.array(self.shape, stock.dtype)[lead] - 1
        place = (stock - low) / spacing
        whole = jnp.round(place)
        snap = SNAP * jnp.finfo(place.dtype).eps
        place = jnp.where(jnp.abs(place - whole) < snap, whole, place)
        inside = jnp.clip(place, 0.0, last)
        beyond = (place - inside) * spacing
        if rounding == "linear":
            below = jnp.floor(inside)
            share = inside - below
        else:
            below = {"nearest": jnp.round, "down": jnp.floor, "up": jnp.ceil}[rounding](inside)
            share = None
        index = jnp.zeros((*stock.shape[:-1], 1), jnp.int32)
        weight = jnp.ones(index.shape, stock.dtype)
        for axis, size in enumerate(self.shape):
            at = below[..., axis, None].astype(jnp.int32)
            index = index * size
            if share is None:
                index = index + at
                continue
            up, part = jnp.minimum(at + 1, size - 1), share[..., axis, None]
            index = jnp.concatenate([index + at, index + up], -1)
            weight = jnp.concatenate([weight * (1 - part), weight * part], -1)
        return index, weight, beyond if vector else beyond[..., 0]
