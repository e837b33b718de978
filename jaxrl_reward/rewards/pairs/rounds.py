"""Losses for pairs that the policy of the last round wrote, by their rewards or win rates.

Here chosen and rejected are the first and the second response, and `reward` is what each is
worth: a reward, or the probability with which it beats what that policy writes.
"""

import math
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import number, static
from jaxrl_reward.rewards.core.checks import Length, OneOf, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.pairs.ways import Paired, Pairs, Side, paired
from jaxrl_reward.types import Array, UserError


@register("p3o", {"clip": 0.2}, {"form": "joint"})
class p3o(Paired):  # noqa: N801
    """The pairwise policy gradient: `-(r1 - r2) / 2` times the difference of log-probabilities.

    Wu et al. 2023, "Pairwise Proximal Policy Optimization". What is added to the rewards of
    both responses to a prompt changes nothing. Off policy each ratio `w = pi / pi_old` of a
    response is clipped to `1 -+ clip` (`form="separate"`), or the log of the ratio of ratios
    to `-+ clip` ("joint"); the algebra of the two clips is not confirmed by the paper's text.
    """

    clip: Positive = 0.2
    form: Annotated[str, OneOf(("separate", "joint"))] = static(default="separate")

    def loss(self, pairs: Pairs) -> Array:
        first, second = (s.sum(s.log_prob - s.old) for s in (pairs.chosen, pairs.rejected))
        ahead = pairs.chosen.reward - pairs.rejected.reward
        if self.form == "joint":
            apart = first - second
            kept = jnp.minimum(ahead * apart, ahead * jnp.clip(apart, -self.clip, self.clip))
            return -0.5 * jax.lax.stop_gradient(jnp.exp(first + second)) * kept
        total = jnp.zeros_like(ahead)
        for change, advantage in ((first, ahead), (second, -ahead)):
            ratio = jnp.exp(change)
            clipped = jnp.clip(ratio, 1.0 - self.clip, 1.0 + self.clip)
            total -= 0.5 * jnp.minimum(ratio * advantage, clipped * advantage)
        return total


@register("inpo", {"eta": 0.5, "tau": 0.1})
class inpo(Paired):  # noqa: N801
    """`(h - 1 / (2 eta))^2`: one step of mirror descent towards the policy that none beats.

    `h = D_pi - (tau / eta) D_ref - (1 - tau / eta) D_old`, of log-probabilities (INPO, Zhang
    et al. 2024, "Iterative Nash Policy Optimization"). Its fixed point is the minimax winner
    of the preferences with a KL of weight tau to the reference. Where a label is not sure the
    loss is the mean over which response wins.

    Args:
      eta: how short a step is; the next policy is `ref^(tau/eta) old^(1-tau/eta) e^(P/eta)`.
      tau: the weight of the reference, at most eta.
    """

    eta: Positive = 7.5e-3
    tau: Positive = 2.5e-3

    def validate(self) -> None:
        eta, tau = number(self.eta), number(self.tau)
        if eta is not None and tau is not None and tau > eta:
            raise UserError(f"inpo needs tau <= eta, not tau={tau:g}, eta={eta:g}")

    def loss(self, pairs: Pairs) -> Array:
        share = self.tau / self.eta

        def ahead(side: Side) -> Array:
            behind = share * side.reference + (1.0 - share) * side.old
            return side.sum(side.log_prob - behind)

        square = lambda h: (h - 0.5 / self.eta) ** 2  # noqa: E731
        return pairs.expected(square, ahead(pairs.chosen) - ahead(pairs.rejected))


@paired
def dno(pairs: Pairs, eta: Positive = 1.0) -> Array:
    """Cross-entropy of which of two win rates is higher, on the log-ratio to the last policy.

    `s = sigmoid(r1 - r2)` with r the expected preference over what the last policy writes,
    and the policy's `sigmoid(eta D)` to that policy (DNO, Rosset et al. 2024, "Direct Nash
    Optimization"). At its optimum the policy is `old e^(r / eta)`, normalised.
    """
    first, second = (s.sum(s.log_prob - s.old) for s in (pairs.chosen, pairs.rejected))
    ahead = eta * (first - second)
    wins = jax.nn.sigmoid(pairs.chosen.reward - pairs.rejected.reward)
    return -wins * jax.nn.log_sigmoid(ahead) - (1.0 - wins) * jax.nn.log_sigmoid(-ahead)


@paired
def prdp(pairs: Pairs, beta: Positive = 0.1, clip: Length = math.inf) -> Array:
    """`(beta D - (r1 - r2))^2`: the log-ratios are to say what the rewards say.

    Deng et al. 2024, "PRDP: Proximal Reward Difference Prediction". 0 just where the policy
    is `ref e^(r / beta)`, normalised. With a finite `clip` each token's log-ratio counts at
    most that far from the last policy's, and of the two losses the larger one; the paper's
    size of it is not confirmed.
    """
    wanted = pairs.chosen.reward - pairs.rejected.reward

    def total(side: Side, kept: Array) -> Array:
        return side.sum(kept - side.reference)

    def error(near: bool) -> Array:
        kept = [
            jnp.clip(s.log_prob, s.old - clip, s.old + clip) if near else s.log_prob
            for s in (pairs.chosen, pairs.rejected)
        ]
        ahead = total(pairs.chosen, kept[0]) - total(pairs.rejected, kept[1])
        return (beta * ahead - wanted) ** 2

    return jnp.maximum(error(False), error(True))
