"""Work on many rows: in pieces on a CPU, and spread over a mesh of devices.

A network applied to thousands of rows at once sends the activations of each
layer through memory, and XLA's CPU backend shares each product among the cores,
which wait for each other. Pieces of some hundred rows stay in a core's cache
and are not shared. Cores are used by giving each one a device of its own: where
a mesh with the axis `envs` is in use (`jax.set_mesh`), gradients are computed
by each device on its part of the rows, and averaged.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from jaxrl_reward.partition import shard_map
from jaxrl_reward.types import Array

PIECE = 256  # rows; half or twice as many are no faster with layers of 64 units
AXIS = "envs"

T = TypeVar("T")


def piece_of(rows: int) -> int:
    """How many of `rows` to work on at once: a divisor of it, all on accelerators."""
    if jax.default_backend() != "cpu":
        return rows
    size = max(n for n in range(1, min(rows, PIECE) + 1) if rows % n == 0)
    return size if size >= PIECE // 4 else rows


def by_steps(function: Callable[..., T], *args: Any) -> T:
    """`function(*args)` for a function of each row, leaves `[T, N, ...]` in and out.

    On a CPU, where a step has rows enough, one step after the other.
    """
    rows = jax.tree.leaves(args)[0].shape[1]
    if jax.default_backend() != "cpu" or rows < PIECE // 2:
        return function(*args)
    return jax.lax.map(lambda step: function(*step), args)


def mean_gradient(
    loss: Callable[[Any, Any], tuple[Array, dict[str, Array]]],
    params: Any,
    batch: Any,
    rows: Array,
) -> tuple[Any, dict[str, Array]]:
    """The gradient of a mean over the rows of a minibatch, and the means of its metrics.

    Args:
      loss: from parameters and a minibatch to its mean loss and mean metrics.
      params: any pytree, the same on all devices.
      batch: leaves `[B, ...]`, of which the minibatch is taken.
      rows: which rows, `[M]` int32.

    Returns:
      What `jax.grad(loss, has_aux=True)` gives for all of the minibatch, up to
      the order of summation.
    """
    devices = jax.sharding.get_abstract_mesh().shape.get(AXIS, 1)
    if devices == 1 or rows.shape[0] % devices:
        return _by_pieces(loss, params, batch, rows)

    def local(params: Any, batch: Any, rows: Array) -> Any:
        return jax.lax.pmean(_by_pieces(loss, params, batch, rows), AXIS)

    spread = shard_map(local, (P(), P(), P(AXIS)), P(), axis_names=frozenset({AXIS}))
    return spread(params, batch, rows)


def _by_pieces(loss: Any, params: Any, batch: Any, rows: Array) -> tuple[Any, dict[str, Array]]:
    def gradient(rows: Array) -> Any:
        minibatch = jax.tree.map(lambda x: x[rows], batch)
        return jax.grad(loss, has_aux=True)(params, minibatch)

    size = piece_of(rows.shape[0])
    if size == rows.shape[0]:
        return gradient(rows)
    pieces = rows.reshape(-1, size)

    def add(total: Any, rows: Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(rows)), None

    shapes = jax.eval_shape(gradient, pieces[0])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    total, _ = jax.lax.scan(add, zeros, pieces)
    return jax.tree.map(lambda x: x / pieces.shape[0], total)
