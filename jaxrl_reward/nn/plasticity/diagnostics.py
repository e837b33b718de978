"""Whether a network can still learn: the rank of its features, and units that are off."""

import jax.numpy as jnp

from jaxrl_reward.types import Array


def rank_me(singular: Array) -> Array:
    """`exp H(sigma / sum sigma)` of singular values `[D]`: how many directions are used.

    Garrido et al. 2023, "RankMe"; k equal ones give k.
    """
    share = singular / singular.sum()
    return jnp.exp(
        -jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1.0)), 0).sum()
    )


def alpha_req(eigenvalues: Array, first: int = 1, last: int | None = None) -> Array:
    """The slope alpha of `lambda_i ~ i^-alpha`, by least squares of logarithms.

    Agrawal et al. 2022, "alpha-ReQ".

    Args:
      eigenvalues: of the features' covariance, falling, `[D]`.
      first: where the range of the fit begins, counted from 1.
      last: where it ends, inclusive; all by default.
    """
    kept = eigenvalues[first - 1 : last]
    x = jnp.log(jnp.arange(first, first + kept.shape[0], dtype=kept.dtype))
    x = x - x.mean()
    return -(x * jnp.log(kept)).sum() / (x**2).sum()


def active_units(activations: Array) -> Array:
    """FAU: the share of samples and units `[N, D]` whose output after a ReLU is above 0."""
    return (activations > 0).mean()


def dormant_units(activations: Array, tau: Array | float = 0.025) -> Array:
    """The share of units whose mean size is at most tau of the layer's mean, of `[N, D]`.

    Sokar et al. 2023, "The dormant neuron phenomenon"; 1 where all are 0.
    """
    size = jnp.abs(activations).mean(0)
    return (size <= tau * size.mean()).mean()
