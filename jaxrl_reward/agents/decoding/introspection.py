"""How many responses to go on with, from what the writer foresees of each: ZIP-RC's utility.

Of each prefix a law of (reward, remaining length) is foreseen; going on with several pays the
best of them and costs their tokens, or the longest's time (Manvi et al. 2025, "Zero-Overhead
Introspection for Adaptive Test-Time Compute"). The head that foresees is the caller's.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrl_reward.types import Array, UserError


class Foreseen(NamedTuple):
    """What going on with some prefixes is worth; scalars.

    Attributes:
      best: E max V, of the largest reward.
      tokens: E sum L, all that are written.
      time: E max L, how long the longest takes.
    """

    best: Array
    tokens: Array
    time: Array


def foresee(joint: Array, rewards: Array, lengths: Array, on: Array) -> Foreseen:
    """The moments of prefixes that are gone on with; each ends apart from the others.

    Args:
      joint: the probability of each reward and length, `[N, R, L]`, of sum 1.
      rewards: of the bins, rising, `[R]`.
      lengths: of the bins, rising, `[L]`.
      on: which prefixes are gone on with, `[N]` bool; with none all is 0.

    Raises:
      UserError: the shapes do not fit.
    """
    if joint.ndim != 3 or joint.shape != (on.shape[0], rewards.shape[0], lengths.shape[0]):
        raise UserError(
            f"joint must be [N, R, L], not {list(joint.shape)} of {on.shape[0]} prefixes, "
            f"{rewards.shape[0]} rewards and {lengths.shape[0]} lengths"
        )
    by_length = joint.sum(1)
    return Foreseen(
        best=_largest(joint.sum(2), rewards, on),
        tokens=jnp.where(on, by_length @ lengths, 0.0).sum(),
        time=_largest(by_length, lengths, on),
    )


def utility(foreseen: Foreseen, beta: Array | float, alpha: Array | float) -> Array:
    """`U = E max V - beta (alpha E sum L + (1 - alpha) E max L)`.

    Args:
      foreseen: the moments.
      beta: the price of a token.
      alpha: how much of it is for work, the rest for time.
    """
    return foreseen.best - beta * (alpha * foreseen.tokens + (1.0 - alpha) * foreseen.time)


def _largest(chances: Array, values: Array, on: Array) -> Array:
    """The mean of the largest of independent draws, `[N, R]` chances of rising `values[R]`."""
    below = jnp.where(on[:, None], jnp.cumsum(chances, 1), 1.0).prod(0)
    found = jnp.diff(below, prepend=0.0) @ values
    return jnp.where(on.any(), found, 0.0)
