"""A convolutional network for small image-like observations `[H, W, C]`, such as MinAtar's.

One layer of 16 filters of 3 x 3 without padding, and ReLU: that of Young and Tian (2019,
arXiv:1903.03176), section 3, whose dense layer is the agent's `hidden`.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import networks
from jaxrl_reward.types import Array

FILTERS, KERNEL = 16, 3


def fits(shape: tuple[int, ...]) -> bool:
    """Whether observations of that shape are images that the kernel finds room in."""
    return len(shape) == 3 and min(shape[:2]) >= KERNEL


def convolution(filters: int = FILTERS, size: int = KERNEL) -> networks.Network:
    """From images `[B, H, W, C]` to features `[B, F]`, at least 0.

    Weights are orthogonal with gain sqrt(2), as those of `networks.mlp`.
    """

    def init(key: Array, example: Array) -> dict[str, Array]:
        taken = size * size * example.shape[-1]
        kernel = networks.orthogonal(math.sqrt(2.0))(key, (taken, filters))
        return {"kernel": kernel, "bias": jnp.zeros(filters)}

    def apply(params: Any, images: Array) -> Array:
        # With the weights of several seeds, as fast on a CPU as XLA's convolution, and its
        # gradient up to twice as fast.
        seen = _patches(images, size) @ params["kernel"]
        seen = jax.nn.relu(seen + jax.lax.broadcast(params["bias"], seen.shape[:-1]))
        return seen.reshape(seen.shape[0], math.prod(seen.shape[1:]))

    return networks.Network(init, apply)


def _patches(images: Array, size: int) -> Array:
    """What a kernel sees at each of its places, `[B, H', W', size * size * C]`."""
    high, wide = (length - size + 1 for length in images.shape[1:3])
    places = [(i, j) for i in range(size) for j in range(size)]
    return jnp.concatenate([images[:, i : i + high, j : j + wide] for i, j in places], axis=-1)
