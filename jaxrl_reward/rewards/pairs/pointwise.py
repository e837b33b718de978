"""Losses that ask something of each response by itself, beside the reference.

With `a` and `c` the log-ratios to the reference of the chosen and the rejected response.
They are for unpaired data too, where each row has one of the two: a row costs the sum over
the responses that are there.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import NotNegative, OneOf, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.pairs.ways import Paired, Pairs, alone, paired
from jaxrl_reward.types import Array

log_sigmoid, sigmoid = jax.nn.log_sigmoid, jax.nn.sigmoid


def of_both(pairs: Pairs, chosen: Array, rejected: Array) -> Array:
    """The sum of what two sides cost, `[B]`, without those that are not there."""
    there = pairs.chosen.there, pairs.rejected.there
    return jnp.where(there[0], chosen, 0.0) + jnp.where(there[1], rejected, 0.0)


def _ratios(pairs: Pairs) -> tuple[Array, Array]:
    return pairs.chosen.ratio(), pairs.rejected.ratio()


@alone
@paired
def nca(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """`-log s(beta a) - log s(-beta a) / 2 - log s(-beta c) / 2`: the chosen stays likely.

    Noise contrastive alignment (Chen et al. 2024), for pairs.
    """
    a, c = (beta * x for x in _ratios(pairs))
    return of_both(pairs, -log_sigmoid(a) - 0.5 * log_sigmoid(-a), -0.5 * log_sigmoid(-c))


@register("bco", {"beta": 0.3}, {"origin": "mean"})
class bco(Paired):  # noqa: N801
    """`-log s(beta a - d) - log s(-(beta c - d))`: tells chosen from rejected, one by one.

    Binary classifier optimisation (Jung et al. 2024). Its d is the mean of `beta rho` over
    the batch, which no gradient passes, with `origin="mean"`; TRL 1.16's "bco_pair" has none.
    """

    alone = True

    beta: Positive = 0.1
    origin: Annotated[str, OneOf(("none", "mean"))] = static(default="mean")

    def loss(self, pairs: Pairs) -> Array:
        a, c = (self.beta * x for x in _ratios(pairs))
        shift = jnp.float32(0.0)
        if self.origin == "mean":
            count = pairs.chosen.there.sum() + pairs.rejected.there.sum()
            shift = jax.lax.stop_gradient(of_both(pairs, a, c).sum() / jnp.maximum(count, 1))
        return of_both(pairs, -log_sigmoid(a - shift), -log_sigmoid(shift - c))


@alone
@paired
def sppo(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """`(a - 1/(2 beta))^2 + (c + 1/(2 beta))^2`: each log-ratio is led to a number of its own.

    Self-play preference optimisation (Wu et al. 2024) with win probabilities 1 and 0, as in
    TRL's "sppo_hard".
    """
    a, c = _ratios(pairs)
    return of_both(pairs, (a - 0.5 / beta) ** 2, (c + 0.5 / beta) ** 2)


@alone
@paired
def apo_zero(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """`1 - s(beta a) + s(beta c)`: up with the chosen, down with the rejected.

    Anchored preference optimisation (D'Oosterlinck et al. 2024), where the chosen responses
    are better than what the policy writes.
    """
    a, c = (beta * x for x in _ratios(pairs))
    return of_both(pairs, 1.0 - sigmoid(a), sigmoid(c))


@paired
def apo_down(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """`s(beta a) + 1 - s(beta D)`: down with both, with the rejected more.

    D'Oosterlinck et al. 2024, where the policy writes better than the chosen responses.
    """
    a, c = (beta * x for x in _ratios(pairs))
    return sigmoid(a) + pairs.expected(lambda d: 1.0 - sigmoid(d), a - c)


@alone
@paired
def kto(
    pairs: Pairs,
    beta: Positive = 0.1,
    desirable: NotNegative = 1.0,
    undesirable: NotNegative = 1.0,
) -> Array:
    """Kahneman-Tversky optimisation: good and bad responses, not in pairs, beside a baseline.

    `desirable (1 - s(beta (a - z)))` and `undesirable (1 - s(beta (z - c)))` (Ethayarajh et
    al. 2024). z is the mean log-ratio of the batch's responses to other prompts than their
    own, at least 0, which no gradient passes. A batch is to hold both kinds; TRL 1.16's
    sampler feeds it all chosen and then all rejected of a preference set.
    """
    other = jnp.concatenate([each.ratio() for each in pairs.shifted])
    there = jnp.concatenate([pairs.chosen.there, pairs.rejected.there])
    mean = jnp.where(there, other, 0.0).sum() / jnp.maximum(there.sum(), 1)
    baseline = jax.lax.stop_gradient(jnp.maximum(mean, 0.0))
    a, c = _ratios(pairs)
    good = desirable * (1.0 - sigmoid(beta * (a - baseline)))
    bad = undesirable * (1.0 - sigmoid(beta * (baseline - c)))
    return of_both(pairs, good, bad)


@paired
def aot(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """DPO of sorted margins: the policy's are to dominate the reference's, over the batch.

    Alignment via optimal transport, paired (Melnyk et al. 2024): the margins
    `log pi(chosen) - log pi(rejected)` and the reference's are sorted, each by itself.
    """
    policy, reference = (
        pairs.chosen.sum(getattr(pairs.chosen, of))
        - pairs.rejected.sum(getattr(pairs.rejected, of))
        for of in ("log_prob", "reference")
    )
    return -log_sigmoid(beta * (jnp.sort(policy) - jnp.sort(reference)))


@paired
def aot_unpaired(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """DPO of sorted log-ratios: the chosen ones are to dominate the rejected, over the batch.

    Alignment via optimal transport, unpaired (Melnyk et al. 2024).
    """
    a, c = _ratios(pairs)
    return -log_sigmoid(beta * (jnp.sort(a) - jnp.sort(c)))
