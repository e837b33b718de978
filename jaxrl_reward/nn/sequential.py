"""Networks along episodes, behind one interface: some remember the steps before, some do not.

A block is `[T, N, ...]`, time and environments. What a network remembers is begun
anew where an episode begins.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import gru, kinds, networks
from jaxrl_reward.types import Array


def make(
    kind: Any,
    sizes: Sequence[int],
    activation: str,
    final_scale: float = 1.0,
    shape: tuple[int, ...] | None = None,
    **seen: Any,
) -> Any:
    """A `Forgetful` or a `Remembering` network.

    Args:
      kind: `gru`, or what `nn.kinds.make` knows.
      sizes: widths of the layers, see `networks.mlp` and `gru.gru`.
      activation: a name that `networks` knows.
      final_scale: the gain of the last layer.
      shape: of one observation, see `nn.kinds.make`.
      **seen: `layout` and `agents`, see there.
    """
    if kind == kinds.GRU:
        return Remembering(gru.gru(sizes, activation, final_scale))
    return Forgetful(kinds.make(kind, shape, sizes, activation, final_scale, **seen))


@dataclasses.dataclass(frozen=True)
class Forgetful:
    """A network of each step alone."""

    network: networks.Network

    def init(self, key: Array, example: Array) -> Any:
        """The parameters; only the shape of the example is read."""
        return self.network.init(key, example)

    def start(self, num: int) -> Any:
        """The memory at the start of `num` episodes, leaves `[num, ...]`."""
        del num
        return ()

    def follow(self, params: Any, memory: Any, inputs: Array, first: Array) -> tuple[Any, Any]:
        """The memory after a step `[N, D]`, and what `output` needs of it: nothing that waits."""
        del params, inputs, first
        return memory, ()

    def output(self, params: Any, followed: Any, inputs: Array) -> Array:
        """The output `[..., O]` at steps that were followed."""
        del followed
        return self.network.apply(params, inputs)

    def after(self, params: Any, memory: Any, inputs: Array) -> Array:
        """The output `[..., O]` at inputs that go on from a memory `[..., H]`."""
        del memory
        return self.network.apply(params, inputs)

    def rows(self, block: Any) -> Any:
        """A block as the rows of which minibatches are made: steps."""
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), block)

    def context(self, memory: Any, first: Array) -> Any:
        """What `replay` needs of the memory before a block `[N, ...]`, and of `first`, `[T, N]`."""
        del memory, first
        return ()

    def replay(self, params: Any, context: Any, rows: Array) -> Array:
        """The output at rows, as it was played with these parameters."""
        del context
        return self.network.apply(params, rows)


@dataclasses.dataclass(frozen=True)
class Remembering:
    """A recurrent network; see `Forgetful` for what its functions are.

    Rows are environments, each with its steps, so that gradients flow through time as
    far as a block goes, from the memory before it, which is kept (Hausknecht and Stone
    2015, arXiv:1507.06527, "sequential updates").
    """

    network: gru.Recurrent

    def init(self, key: Array, example: Array) -> Any:
        return self.network.init(key, example)

    def start(self, num: int) -> Array:
        return self.network.start(num)

    def follow(self, params: Any, memory: Array, inputs: Array, first: Array) -> Any:
        return self.network.step(params, memory, inputs, first)

    def output(self, params: Any, followed: Array, inputs: Array) -> Array:
        del params, inputs
        return followed

    def after(self, params: Any, memory: Array, inputs: Array) -> Array:
        lead = inputs.shape[:-1]
        memory, inputs = (x.reshape(-1, x.shape[-1]) for x in (memory, inputs))
        out = self.network.step(params, memory, inputs, jnp.zeros(inputs.shape[0], bool))[1]
        return out.reshape(*lead, out.shape[-1])

    def rows(self, block: Any) -> Any:
        return jax.tree.map(lambda x: x.swapaxes(0, 1), block)

    def context(self, memory: Array, first: Array) -> tuple[Array, Array]:
        return memory, first.swapaxes(0, 1)

    def replay(self, params: Any, context: tuple[Array, Array], rows: Array) -> Array:
        memory, first = context
        steps = (rows.swapaxes(0, 1), first.swapaxes(0, 1))
        return self.network.unroll(params, memory, *steps)[1].swapaxes(0, 1)
