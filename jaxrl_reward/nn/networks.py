"""Neural networks as a pair of pure functions.

The only module that knows flax's `linen`: everyone else sees `init`, `apply`
and a pytree of parameters.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array, UserError, nearest

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "elu": nn.elu,
    "gelu": nn.gelu,
    "relu": nn.relu,
    "swish": nn.swish,
    "tanh": jnp.tanh,
}

NARROW = 6  # columns up to which one product per column is faster on a CPU


class Network(NamedTuple):
    """A function with parameters.

    Attributes:
      init: `init(key, example_obs) -> params`; of the example, with or without
        leading axes, only the shape is read.
      apply: `apply(params, obs) -> out`, for any leading axes.
    """

    init: Callable[[Array, Any], Any]
    apply: Callable[[Any, Any], Array]


def activation(name: str) -> Callable[[Array], Array]:
    """The elementwise function of that name.

    Raises:
      UserError: there is none.
    """
    if name not in ACTIVATIONS:
        raise UserError(f"unknown activation {name!r}; {nearest(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]


def orthogonal(scale: float = 1.0) -> Callable[..., Array]:
    """`jax.nn.initializers.orthogonal`, which `vmap` runs one at a time on a CPU.

    XLA runs a batch of QR decompositions in the threads that all devices share, and
    waits for them in one of these. In jaxlib 0.11.0 two devices that do it at once use
    up the threads of two cores and wait forever; in others, they wait for each other.
    """
    draw = jax.nn.initializers.orthogonal(scale)

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        def one(key: Array) -> Array:
            return draw(key, tuple(shape), dtype)

        alone = jax.default_backend() == "cpu"
        return jax.custom_batching.sequential_vmap(one)(key) if alone else one(key)

    return init


def mlp(
    sizes: Sequence[int],
    activation: str = "tanh",
    final_scale: float = 1.0,
    *,
    obs_rank: int = 1,
    layer_norm: bool = False,
) -> Network:
    """Dense layers, the last of them linear.

    Weights are orthogonal, with gain sqrt(2) in hidden layers and `final_scale`
    in the last, and biases zero (Andrychowicz et al. 2021, section 3.2, find a
    small scale for a policy's last layer to matter: 0.01 is customary).

    Args:
      sizes: the width of each layer; the last is the output's.
      activation: a name in `ACTIVATIONS`, applied after each hidden layer.
      final_scale: the gain of the last layer.
      obs_rank: how many trailing axes make up one observation, flattened
        before the first layer: 3 for images, 0 for a single number.
      layer_norm: normalise each hidden layer before its activation.

    Returns:
      A network from `[..., *obs_shape]`, of any dtype, to `[..., sizes[-1]]`
      float32.

    Raises:
      UserError: an unknown activation, or sizes that are not positive.
    """
    if not sizes or any(size < 1 for size in sizes):
        raise UserError(f"layer sizes {tuple(sizes)} must be positive; name at least the output's")
    module = _MLP(tuple(sizes), _named(activation), final_scale, layer_norm)

    def init(key: Array, example_obs: Any) -> Any:
        return module.init(key, _flat(jnp.zeros(jnp.shape(example_obs)), obs_rank))

    def apply(params: Any, obs: Any) -> Array:
        # `Module.apply` may return a pair, but not when nothing is mutable.
        return module.apply(params, _flat(obs, obs_rank))  # pyright: ignore[reportReturnType]

    return Network(init, apply)


def ensemble(network: Network, size: int) -> Network:
    """`size` networks of one shape, each with its own parameters.

    Parameters have a leading axis `[size, ...]`; all see the same input, and
    the output is `[size, ...]`.
    """

    def init(key: Array, example_obs: Any) -> Any:
        return jax.vmap(lambda key: network.init(key, example_obs))(jax.random.split(key, size))

    return Network(init, jax.vmap(network.apply, in_axes=(0, None)))


def members(network: Network, size: int) -> Network:
    """As `ensemble`, but the parameters are a tuple of each network's own.

    On a CPU the networks are then applied one after the other: products of
    matrices, which are up to twice as fast as those of stacks of matrices, and no
    gradient that has to be cut up. Elsewhere all are applied at once.
    """

    def init(key: Array, example_obs: Any) -> Any:
        keys = jax.random.split(key, size)
        stacked = jax.vmap(lambda key: network.init(key, example_obs))(keys)
        return tuple(jax.tree.map(lambda x, i=i: x[i], stacked) for i in range(size))

    def apply(params: Any, obs: Any) -> Array:
        if jax.default_backend() == "cpu":
            return jnp.stack([network.apply(each, obs) for each in params])
        stacked = jax.tree.map(lambda *each: jnp.stack(each), *params)
        return jax.vmap(network.apply, in_axes=(0, None))(stacked, obs)

    return Network(init, apply)


_named = activation  # under a name that no argument hides


class _MLP(nn.Module):
    sizes: tuple[int, ...]
    activation: Callable[[Array], Array]
    final_scale: float
    layer_norm: bool

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for size in self.sizes[:-1]:
            x = _dense(size, math.sqrt(2.0))(x)
            if self.layer_norm:
                # flax's default, E x^2 - (E x)^2, loses a small spread on a large mean.
                x = nn.LayerNorm(use_fast_variance=False)(x)
            x = self.activation(x)
        return _dense(self.sizes[-1], self.final_scale)(x)


def _dense(size: int, scale: float) -> nn.Dense:
    return nn.Dense(size, kernel_init=orthogonal(scale), dot_general=_product)


def _product(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """`jax.lax.dot_general` of `[..., I]` and `[I, O]`.

    On a CPU the product with two to six columns, and its gradients, take up to
    eight times as long as that many products with one.
    """
    few = 1 < kernel.shape[1] <= NARROW
    if jax.default_backend() != "cpu" or not few:
        return jax.lax.dot_general(x, kernel, dimensions, **options)
    columns = [jax.lax.index_in_dim(kernel, i, 1, keepdims=False) for i in range(kernel.shape[1])]
    products = [jax.lax.dot_general(x, column, dimensions, **options) for column in columns]
    return jnp.stack(products, axis=-1)


def _flat(obs: Any, obs_rank: int) -> Array:
    """`[..., *obs_shape]` of any dtype as `[..., size]` float32."""
    obs = jnp.asarray(obs)
    leading = obs.ndim - obs_rank
    chex.assert_scalar_non_negative(leading)
    size = math.prod(obs.shape[leading:])
    return jax.lax.reshape(obs, (*obs.shape[:leading], size)).astype(jnp.float32)
