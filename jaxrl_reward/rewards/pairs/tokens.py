"""Losses that say of each token how much it counts."""

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.checks import NotNegative, Positive
from jaxrl_reward.rewards.pairs.ways import Pairs, Side, paired
from jaxrl_reward.types import Array


@paired
def tgdpo(pairs: Pairs, beta: Positive = 0.1, alpha: NotNegative = 0.5) -> Array:
    """DPO that moves the tokens that a guide prefers further, and the others less.

    With `u = log pi_guide - log pi_ref` of a token, its log-ratio counts `1 + alpha beta u`
    times in the chosen response and `1 - alpha beta u` times in the rejected one (TGDPO, Zhu
    et al. 2025). The guide is a policy that was tuned before.
    """

    def total(side: Side, sign: float) -> Array:
        pull = 1.0 + sign * alpha * beta * (side.guide - side.reference)
        return side.sum(pull * (side.log_prob - side.reference))

    ahead = total(pairs.chosen, 1.0) - total(pairs.rejected, -1.0)
    return pairs.expected(lambda d: -jax.nn.log_sigmoid(beta * d), ahead)


@paired
def treg(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """What DPO adds to heed the credit of tokens: `-w sum of beta r_t log pi(token)`.

    `dpo(beta=b) + alpha * treg(beta=b)`, both responses' tokens, w the probability that the
    policy has the pair wrong, which no gradient passes (T-REG, Zhou et al. 2024). Its credit
    `r_t` in [-1/2, 1/2] is that of a judge of better and worse.
    """
    wrong = jax.lax.stop_gradient(jax.nn.sigmoid(-beta * pairs.difference()))
    heeded = [side.sum(side.credit * side.log_prob) for side in (pairs.chosen, pairs.rejected)]
    return -wrong * beta * jnp.add(*heeded)
