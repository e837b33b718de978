"""Tilted laws, and the best of n: how much reward a divergence from a reference buys, exactly.

Of all laws at one divergence KL(law | p) the tilted one, p e^{lambda r} / Z, earns most:
it is what reinforcement learning with a KL penalty of 1 / lambda ends at. Yang et al.
2024, "Asymptotics of Language Model Alignment", show that the best of e^{m delta}
responses of m tokens comes to it as m grows, delta its divergence a token.

A law is `[Y]`, over responses; all functions are of one law, `vmap` for several.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from jaxrl_reward.intervals import Interval
from jaxrl_reward.tabular import checks
from jaxrl_reward.types import Array, UserError

_LARGEST = 2**22  # responses that are written out
_BISECTIONS = 80


class Aligned(NamedTuple):
    """A law made from a reference by a reward.

    Attributes:
      law: the probability of each response, `[Y]`.
      divergence: KL(law | reference), in nats.
      reward: its mean.
    """

    law: Array
    divergence: Array
    reward: Array


def tilt(law: Array, reward: Array, strength: Array | float) -> Aligned:
    """The law `p e^{lambda r} / Z`: the most reward at its divergence from `p`.

    Args:
      law: the reference p, `[Y]`.
      reward: r, `[Y]`.
      strength: lambda, one over the price of a nat; below 0 it seeks the worst.

    Raises:
      UserError: `law` is no law, or a reward is not finite, or of another shape.
    """
    law, reward = _checked("tilt", law, reward)
    return _described(_tilted(law, reward, strength), law, reward)


def tilt_to(law: Array, reward: Array, divergence: Array | float) -> tuple[Aligned, Array]:
    """The tilted law at a divergence from `p`, and its strength lambda >= 0, by bisection.

    A divergence that no tilting reaches (more than `-log p(best)`) gives the largest
    lambda that was tried, whose law is as good as all on the best responses.

    Args:
      law: the reference p, `[Y]`.
      reward: r, `[Y]`.
      divergence: KL(law | p), in nats.

    Raises:
      UserError: as for `tilt`, or a negative divergence.
    """
    law, reward = _checked("tilt_to", law, reward)
    checks.number("tilt_to", "divergence", divergence, checks.TOLERANCE)
    spread = jnp.ptp(reward)
    highest = 1e4 / jnp.where(spread > 0, spread, 1.0)

    def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = bounds
        middle = jnp.where(low > 0, jnp.sqrt(low * high), high * 1e-8)
        short = kl(_tilted(law, reward, middle), law) < divergence
        return (jnp.where(short, middle, low), jnp.where(short, high, middle)), None

    (_, found), _ = jax.lax.scan(halve, (0.0 * highest, highest), None, length=_BISECTIONS)
    found = jnp.where(jnp.asarray(divergence) > 0, found, 0.0)
    return tilt(law, reward, found), found


def best_of(
    law: Array, reward: Array, count: Array | float, *, tolerance: Array | float = 0.0
) -> Aligned:
    """The law of the best of n responses of `p`, one of the equally good at random.

    Its divergence is exact. `log n - (n - 1) / n` is that of scores of which no two are
    equal and none has weight; where scores tie it is only an upper bound (Beirami et al.
    2024, "Theoretical guarantees on the best-of-n alignment policy").

    Args:
      law: the reference p, `[Y]`.
      reward: r, `[Y]`.
      count: n, at least 1; need not be whole, as e^{m delta} is not.
      tolerance: how near two rewards count as equal.

    Raises:
      UserError: as for `tilt`, or n below 1.
    """
    law, reward = _checked("best_of", law, reward)
    checks.number("best_of", "count", count, Interval(1))
    order = jnp.argsort(reward)
    ranked, zero = reward[order], jnp.zeros(1, law.dtype)
    mass = jnp.concatenate([zero, jnp.cumsum(law[order])])
    mass = jnp.minimum(mass / mass[-1], 1.0)
    below = mass[jnp.searchsorted(ranked, reward - tolerance, side="left")]
    upto = mass[jnp.searchsorted(ranked, reward + tolerance, side="right")]
    level = upto - below
    chance = _power(upto, count) - _power(below, count)
    found = law * chance / jnp.where(level > 0, level, 1.0)
    return _described(found, law, reward)


def responses(law: Array, reward: Array, length: int) -> tuple[Array, Array]:
    """All responses of `length` tokens drawn alike: their law and sum of rewards, `[A^m]` each.

    Args:
      law: of a token, `[A]`.
      reward: of a token, `[A]`.
      length: m, tokens.

    Raises:
      UserError: as for `tilt`, or there are too many responses to write out.
    """
    law, reward = _checked("responses", law, reward)
    checks.number("responses", "length", length, checks.COUNT)
    if law.shape[0] ** length > _LARGEST:
        raise UserError(
            f"responses: {law.shape[0]}^{length} are too many to write out, at most {_LARGEST}"
        )
    chance, total = law, reward
    for _ in range(length - 1):
        chance = (chance[:, None] * law[None]).reshape(-1)
        total = (total[:, None] + reward[None]).reshape(-1)
    return chance, total


def kl(law: Array, reference: Array) -> Array:
    """`KL(law | reference)` in nats; infinite where the reference never goes."""
    ratio = jnp.where(law > 0, law / jnp.where(reference > 0, reference, 0.0), 1.0)
    return xlogy(law, ratio).sum()


def _tilted(law: Array, reward: Array, strength: Array | float) -> Array:
    return jax.nn.softmax(jnp.log(law) + strength * (reward - reward.max()))


def _described(found: Array, law: Array, reward: Array) -> Aligned:
    return Aligned(found, kl(found, law), found @ reward)


def _power(mass: Array, count: Array | float) -> Array:
    return jnp.exp(count * jnp.log(mass))


def _checked(where: str, law: Array, reward: Array) -> tuple[Array, Array]:
    law, reward = jnp.asarray(law), jnp.asarray(reward)
    if law.ndim != 1 or law.shape != reward.shape:
        shapes = f"{list(law.shape)} and {list(reward.shape)}"
        raise UserError(f"{where}: law and reward must be [Y], not {shapes}")
    checks.distributions(where, "law", law)
    checks.finite(where, "reward", reward)
    kind = jnp.result_type(law, reward, jnp.float32)
    return law.astype(kind), reward.astype(kind)
