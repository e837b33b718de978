"""Users who disagree: a latent for each, inferred from a few of their own labels.

Poddar et al. 2024, "Personalizing Reinforcement Learning from Human Feedback with
Variational Preference Learning": an encoder reads a user's labelled pairs, and the
reward depends on what it tells, z. One Bradley-Terry model of all users would
average those who want opposite things.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.nn.networks import Network, mlp
from jaxrl_reward.preferences import losses
from jaxrl_reward.types import Array


class Variational(NamedTuple):
    """The networks: `encoder` from a user's pairs to mean and log-variance, `reward` of (s, z).

    `width` is that of `variational`'s hidden layers, 0 of networks that are made otherwise.
    """

    encoder: Network
    reward: Network
    latent: int
    width: int = 0


class Pairs(NamedTuple):
    """Labelled pairs of users: `first`, `second` `[U, P, F]`, `label` `[U, P]`, of features F."""

    first: Array
    second: Array
    label: Array


def variational(latent: int = 32, width: int = 256) -> Variational:
    """Networks with two hidden layers of `width`."""
    encoder = mlp((width, width, 2 * latent), "relu", 0.1)
    return Variational(encoder, mlp((width, width, 1), "relu", 1.0), latent, width)


def init(net: Variational, key: Array, features: int) -> Any:
    """Parameters for segments of so many features."""
    one, two = jax.random.split(key)
    pair = jnp.zeros(2 * features + 1)
    return {
        "encoder": net.encoder.init(one, pair),
        "reward": net.reward.init(two, jnp.zeros(features + net.latent)),
    }


def encode(net: Variational, params: Any, pairs: Pairs) -> tuple[Array, Array]:
    """Mean and log-variance of every user's z, each `[U, latent]`, whatever the pairs' order."""
    read = jnp.concatenate([pairs.first, pairs.second, pairs.label[..., None]], -1)
    out = net.encoder.apply(params["encoder"], read).mean(1)
    return out[..., : net.latent], out[..., net.latent :]


def score(net: Variational, params: Any, features: Array, z: Array) -> Array:
    """The reward `[U, P]` of features `[U, P, F]` for users with latents `[U, latent]`."""
    shape = (*features.shape[:-1], net.latent)
    told = jnp.broadcast_to(jnp.expand_dims(z, 1), shape)
    return net.reward.apply(params["reward"], jnp.concatenate([features, told], -1))[..., 0]


def divergence(mean: Array, log_variance: Array) -> Array:
    """`KL(N(mean, exp(log_variance)) | N(0, 1))`, summed over the last axis."""
    return 0.5 * (mean**2 + jnp.expm1(log_variance) - log_variance).sum(-1)


def loss(
    net: Variational, params: Any, key: Array, context: Pairs, pairs: Pairs, beta: Array | float
) -> Array:
    """The negative evidence bound of `pairs`, with z drawn from what `context` tells.

    The Bradley-Terry loss, summed over a user's pairs, plus `beta` times the divergence
    from N(0, 1), as a mean over users. (The published program leaves out the half
    in the divergence: that is twice this `beta`. It is annealed, cyclically, up to 1.)
    """
    mean, log_variance = encode(net, params, context)
    z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
    first, second = (score(net, params, x, z) for x in (pairs.first, pairs.second))
    likelihood = losses.bradley_terry(first - second, pairs.label).sum(-1)
    return (likelihood + beta * divergence(mean, log_variance)).mean()


def win_share(scores: Array, reference: Array) -> Array:
    """`mean_j sigmoid(score - reference_j)` of scores `[...]` against others `[R]`, in (0, 1).

    The paper's answer to latents whose rewards differ in scale: the probability of
    being preferred to a comparison set (1000 states there).
    """
    return jax.nn.sigmoid(scores[..., None] - reference.reshape((1,) * scores.ndim + (-1,))).mean(
        -1
    )
