"""What a frozen judge knows: linear probes of its features, one for each factor.

Wang et al. 2025, "MRMBench": a judge that only scores may still tell by what; the distance
from the probe's plane says how sure it is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array


class Probe(NamedTuple):
    """A plane in the space of features, standardised by those it was fitted to.

    Attributes:
      weights: `[H]`.
      bias: a scalar.
      mean: of the features, `[H]`.
      scale: their deviations, `[H]`; 1 where a feature is constant.
    """

    weights: Array
    bias: Array
    mean: Array
    scale: Array

    def logits(self, features: Array) -> Array:
        """Of features `[N, H]`, `[N]`: above 0 the factor is there."""
        return _standard(features, self.mean, self.scale) @ self.weights + self.bias

    def confidence(self, features: Array) -> Array:
        """The distances from the plane, `[N]`."""
        return jnp.abs(self.logits(features)) / jnp.maximum(jnp.linalg.norm(self.weights), 1e-12)


def probe(features: Array, there: Array, ridge: float = 1.0, iterations: int = 20) -> Probe:
    """Logistic regression of a factor by frozen features, with `ridge / 2` times the squared
    length of the weights; by Newton's method.

    Args:
      features: `[N, H]`.
      there: whether the factor is there, `[N]`.
      ridge: its bias is free.
      iterations: of Newton's method, from 0.
    """
    mean, scale = features.mean(0), features.std(0)
    scale = jnp.where(scale > 1e-6, scale, 1.0)
    ones = jnp.ones((features.shape[0], 1))
    x = jnp.concatenate([_standard(features, mean, scale), ones], 1)
    y = jnp.asarray(there, x.dtype)
    penalty = ridge * jnp.ones(x.shape[1]).at[-1].set(1e-6)

    def newton(w: Array, _: None) -> tuple[Array, None]:
        chance = jax.nn.sigmoid(x @ w)
        slope = x.T @ (chance - y) + penalty * w
        bend = (x.T * (chance * (1 - chance))[None]) @ x + jnp.diag(penalty)
        return w - jnp.linalg.solve(bend, slope), None

    w, _ = jax.lax.scan(newton, jnp.zeros(x.shape[1]), None, length=iterations)
    return Probe(w[:-1], w[-1], mean, scale)


def probe_accuracy(features: Array, there: Array, train: int, ridge: float = 1.0) -> Array:
    """The share of rows from number `train` on of which a probe of the rows before is right.

    Args:
      features: `[N, H]`, in random order.
      there: whether the factor is there, `[N]` bool.
      train: how many rows the probe is fitted to.
      ridge: see `probe`.
    """
    fitted = probe(features[:train], there[:train], ridge)
    return ((fitted.logits(features[train:]) > 0) == there[train:]).mean()


def _standard(features: Array, mean: Array, scale: Array) -> Array:
    return (features - mean[None]) / scale[None]
