"""A gated recurrent unit between dense layers, by steps and over sequences.

    r  = sigmoid(W_r x + U_r h + b_r)
    z  = sigmoid(W_z x + U_z h + b_z)
    n  = tanh(W_n x + b_n + r * (U_n h + c_n))
    h' = (1 - z) * n + z * h

after Cho et al. (2014, arXiv:1406.1078), with the reset applied behind the
product, as in cuDNN and in flax. The memory is zero where an episode begins.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import networks
from jaxrl_reward.types import Array, UserError


class Recurrent(NamedTuple):
    """A network with a memory `[N, H]`.

    Attributes:
      init: `init(key, example[..., D]) -> params`; only the shape is read.
      start: `start(num) -> memory`, the empty one `[num, H]`.
      step: `step(params, memory, inputs[N, D], first[N]) -> (memory, out[N, O])`.
      unroll: `unroll(params, memory, inputs[T, N, D], first[T, N]) -> (memories
        after each step [T, N, H], out[T, N, O])`: the same as that many steps.
    """

    init: Callable[[Array, Array], Any]
    start: Callable[[int], Array]
    step: Callable[[Any, Array, Array, Array], tuple[Array, Array]]
    unroll: Callable[[Any, Array, Array, Array], tuple[Array, Array]]


def gru(sizes: Sequence[int], activation: str = "tanh", final_scale: float = 1.0) -> Recurrent:
    """Dense layers, a GRU, and a linear layer.

    Args:
      sizes: widths: of the dense layers, if any; of the memory; of the output.
      activation: of the dense layers, a name that `networks` knows.
      final_scale: the gain of the last layer.

    Raises:
      UserError: fewer than two sizes, or what `networks.mlp` refuses.
    """
    if len(sizes) < 2:
        raise UserError(
            f"a gru needs the width of its memory: hidden is empty, sizes {tuple(sizes)}"
        )
    *before, width, out = sizes
    squash = networks.activation(activation)
    dense = networks.mlp(before, activation) if before else None
    head = networks.mlp((out,), activation, final_scale)

    def init(key: Array, example: Array) -> dict[str, Any]:
        key_dense, key_in, key_memory, key_head = jax.random.split(key, 4)
        size = before[-1] if before else example.shape[-1]
        return {
            "dense": dense.init(key_dense, example) if dense else (),
            "input": _gates(key_in, size, width),
            "bias": jnp.zeros(3 * width),
            "memory": _gates(key_memory, width, width),
            "memory_bias": jnp.zeros(width),
            "head": head.init(key_head, jnp.zeros((1, width))),
        }

    def feed(params: Any, inputs: Array) -> Array:
        """What the gates get from the inputs, `[..., 3 H]`."""
        if dense:
            inputs = squash(dense.apply(params["dense"], inputs))
        fed = inputs @ params["input"]
        return fed + jax.lax.broadcast(params["bias"], fed.shape[:-1])

    def cell(params: Any, memory: Array, fed: Array, first: Array) -> Array:
        memory = jnp.where(first[:, None], 0.0, memory)
        recalled = memory @ params["memory"]
        gates = jax.nn.sigmoid(fed[:, : 2 * width] + recalled[:, : 2 * width])
        reset, keep = gates[:, :width], gates[:, width:]
        recalled = recalled[:, 2 * width :] + params["memory_bias"][None]
        new = jnp.tanh(fed[:, 2 * width :] + reset * recalled)
        return (1.0 - keep) * new + keep * memory

    def step(params: Any, memory: Array, inputs: Array, first: Array) -> tuple[Array, Array]:
        memory = cell(params, memory, feed(params, inputs), first)
        return memory, head.apply(params["head"], memory)

    def unroll(params: Any, memory: Array, inputs: Array, first: Array) -> tuple[Array, Array]:
        def one(memory: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            memory = cell(params, memory, *now)
            return memory, memory

        # All products that do not wait for the step before are made at once.
        memories = jax.lax.scan(one, memory, (feed(params, inputs), first))[1]
        return memories, head.apply(params["head"], memories)

    return Recurrent(init, lambda num: jnp.zeros((num, width)), step, unroll)


def _gates(key: Array, inputs: int, width: int) -> Array:
    """Orthogonal weights of the three gates, side by side, `[inputs, 3 * width]`."""
    draw = networks.orthogonal()
    return jnp.concatenate([draw(key, (inputs, width)) for key in jax.random.split(key, 3)], axis=1)
