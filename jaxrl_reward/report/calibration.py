"""Whether what is said to be sure is right as often as that."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.types import Array


class Calibration(NamedTuple):
    """Scalars: the Brier score and the expected calibration error; both are best at 0."""

    brier: Array
    error: Array


def calibration(confidence: Array, right: Array, bins: int = 11) -> Calibration:
    """How well `confidence[N]` in [0, 1] says how often one is `right[N]`.

    The error is the mean over responses of the distance between the mean confidence and
    the share of right ones in their bin; with 11 bins each of the tokens 0, 0.1, ..., 1
    of `sequence:confidence` has its own.
    """
    which = jnp.clip(jnp.round(confidence * (bins - 1)), 0, bins - 1).astype(jnp.int32)
    gap = jax.ops.segment_sum(confidence - right, which, bins)
    return Calibration(((confidence - right) ** 2).mean(), jnp.abs(gap).sum() / right.shape[0])
