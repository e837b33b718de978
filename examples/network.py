r"""A network of one's own: three filters that look along rows, columns and diagonals.

    jaxrl-reward train ppo gymnax:Breakout-MinAtar --import examples/network.py \
        --network lines --num-envs 4 --num-steps 16 --hidden 16 \
        --total-steps 128 --evals 2 --eval-episodes 2 --out runs/network
    jaxrl-reward evaluate runs/network --episodes 2
    jaxrl-reward render runs/network --max-steps 5 --out runs/network/episode.gif

A network maps a batch of observations `[B, *obs_shape]` to a vector of features for each,
`[B, F]`; the agent's `hidden` layers are behind it (`--hidden 128`), and those of the policy,
the value or the critics begin with parameters of their own. In Python `network=Lines(8)` does
without a name. A flax nnx module is given as its class, made of `(shape, rngs)`, and a pair
of functions as `(init, apply)`.
"""

import flax.linen as nn
import jax.numpy as jnp

import jaxrl_reward as jr


@jr.nn.register("lines")
class Lines(nn.Module):
    """Convolutions that are as long as five pixels, one way each."""

    filters: int = 8

    @nn.compact
    def __call__(self, images):
        kernels = ((1, 5), (5, 1), (3, 3))
        seen = [nn.relu(nn.Conv(self.filters, kernel)(images)) for kernel in kernels]
        return jnp.concatenate([x.reshape(x.shape[0], -1) for x in seen], axis=-1)
