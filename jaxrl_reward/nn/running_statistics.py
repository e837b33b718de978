"""Mean and variance of a stream, such as all the observations of a run.

Batches are merged by Chan, Golub and LeVeque's (1979) update of Welford's
recurrence. Late in a long run a batch moves the mean by less than float32
resolves, and what is rounded off is not symmetric for a variance: the sums are
therefore compensated (Kahan 1965).
"""

import math
from collections.abc import Sequence

import chex
import jax
import jax.numpy as jnp
from flax import struct
from jax.typing import ArrayLike

from jaxrl_reward import rounding
from jaxrl_reward.counting import add_up
from jaxrl_reward.types import Array

# From here on the oldest samples are slowly forgotten; 2**31 would overflow.
MAX_COUNT = 2**30


class RunningStatistics(struct.PyTreeNode):
    """What is known of a stream of arrays of one shape.

    Attributes:
      count: samples seen, `[]` int32, at most `MAX_COUNT`.
      mean: `shape`.
      variance: of the samples themselves (divided by n), `shape`.
      mean_rest: what rounding left out of `mean`, `shape`.
      variance_rest: the same for `variance`.
    """

    count: Array
    mean: Array
    variance: Array
    mean_rest: Array
    variance_rest: Array

    @property
    def std(self) -> Array:
        """Standard deviation, `shape`."""
        return jnp.sqrt(self.variance)


def init(shape: Sequence[int] = ()) -> RunningStatistics:
    """Statistics of nothing yet."""
    zeros = jnp.zeros(tuple(shape), jnp.float32)
    return RunningStatistics(jnp.zeros((), jnp.int32), zeros, zeros, zeros, zeros)


def update(stats: RunningStatistics, batch: ArrayLike) -> RunningStatistics:
    """Adds every sample of `batch` `[..., *shape]`; each leading axis counts."""
    batch = jnp.asarray(batch)
    shape = stats.mean.shape
    leading = batch.ndim - len(shape)
    chex.assert_scalar_non_negative(leading)
    chex.assert_shape(batch, (..., *shape))
    added = math.prod(batch.shape[:leading])
    if not added:
        return stats
    batch = jax.lax.reshape(batch, (added, *shape)).astype(jnp.float32)

    # Deviations from one of the samples are small, whatever the mean, and so
    # are summed without loss.
    pivot = batch[:1]
    deviation = batch - pivot
    batch_mean = deviation.mean(0, keepdims=True)
    batch_variance = jnp.square(deviation - batch_mean).mean(0)
    delta = (pivot[0] - stats.mean) + batch_mean[0]

    count = jnp.minimum(stats.count, MAX_COUNT - added) + added
    weight = added / count.astype(jnp.float32)
    mean, mean_rest = add_up(stats.mean, stats.mean_rest, weight * delta)
    change = batch_variance - stats.variance + (1.0 - weight) * jnp.square(delta)
    variance, variance_rest = add_up(stats.variance, stats.variance_rest, weight * change)
    return RunningStatistics(count, mean, jnp.maximum(variance, 0.0), mean_rest, variance_rest)


def normalize(
    stats: RunningStatistics, x: ArrayLike, clip: float = 10.0, epsilon: float = 1e-8
) -> Array:
    """`[..., *shape]` with mean 0 and variance 1, clipped to `[-clip, clip]`.

    Before the first update it only clips.
    """
    x = jnp.asarray(x).astype(jnp.float32)
    chex.assert_shape(x, (..., *stats.mean.shape))
    leading = range(x.ndim - stats.mean.ndim)
    scale = jnp.where(stats.count > 0, jax.lax.rsqrt(stats.variance + epsilon), 1.0)
    centred = x - jnp.expand_dims(stats.mean, leading)
    return jnp.clip(centred * jnp.expand_dims(scale, leading), -clip, clip)


def spread(stats: RunningStatistics) -> Array:
    """The standard deviation to divide by: 1 where nothing has differed yet, `shape`.

    Where all samples were alike there is no scale to take from them, and what differs for
    the first time is taken as it is.
    """
    return jnp.where(differ(stats), stats.std, 1.0)


def differ(stats: RunningStatistics) -> Array:
    """Whether samples have differed, by more than the mean is rounded, `shape` bool."""
    return stats.std > rounding.ulps(stats.mean)
