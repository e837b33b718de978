"""Losses of the policy's own log-probabilities, and factors that weigh a loss.

To be added to or multiplied with others: RPO is `dpo(beta=b) + eta*b * sft()` (Liu et al.
2024, "Provably Mitigating Overoptimization in RLHF"), VPO is `dpo(beta=b) + alpha*b *
calibration()` online and `- alpha*b * calibration()` offline (Cen et al. 2024), CPO is
`cpo() + sft()`, ORPO `odds_ratio() + sft(tokens="mean")`.
"""

from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import NotNegative, OneOf, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.pairs.contrasts import Flips, Tokens
from jaxrl_reward.rewards.pairs.ways import Paired, Pairs, Side, paired
from jaxrl_reward.types import Array


@register("sft", {"tokens": "sum"}, {"tokens": "batch"})
class sft(Paired):  # noqa: N801
    """Minus the log-probability of the better response.

    Args:
      tokens: "sum" over the response, its "mean", or "batch", the mean over all tokens of the
        batch's better responses, of which long ones have more (TRL's "sft").
    """

    alone = True

    tokens: Annotated[str, OneOf(("sum", "mean", "batch"))] = static(default="sum")

    def loss(self, pairs: Pairs) -> Array:

        def weigh(of: Callable[[Side], Array]) -> Array:
            chosen, rejected = (
                jnp.where(side.there, of(side), 0.0) for side in (pairs.chosen, pairs.rejected)
            )
            return pairs.label * chosen + (1.0 - pairs.label) * rejected

        if self.tokens == "mean":
            return -weigh(lambda s: s.mean(s.log_prob))
        total = -weigh(lambda s: s.sum(s.log_prob))
        if self.tokens == "sum":
            return total
        count = weigh(lambda s: s.length()).sum()
        return total * total.shape[0] / jnp.maximum(count, 1.0)


@paired
def calibration(pairs: Pairs) -> Array:
    """The log-ratio to the reference of a response to the prompt that no one judged.

    VPO's term (Cen et al. 2024): added, it draws the policy away from where such responses
    come from, the optimism of online data; subtracted, it holds it there, the pessimism of
    offline data.
    """
    return pairs.calibration.ratio()


@register("cpo", {"beta": 0.3, "flips": 0.1})
class cpo(Paired):  # noqa: N801
    """`-log s(beta (log pi(chosen) - log pi(rejected)))`, without a reference.

    Contrastive preference optimisation (Xu et al. 2024), which adds `sft()`. With
    `tokens="mean"` and a target margin SimPO (Meng et al. 2024): `cpo(beta=2, margin=1,
    tokens="mean")`, whose margin is subtracted from beta times the difference. TRL's
    CPOTrainer adds a likelihood term to SimPO as well unless `cpo_alpha=0`.
    """

    beta: Positive = 0.1
    margin: NotNegative = 0.0
    flips: Flips = 0.0
    tokens: Tokens = static(default="sum")

    def loss(self, pairs: Pairs) -> Array:
        of = lambda s: getattr(s, self.tokens)(s.log_prob)  # noqa: E731
        logistic = lambda d: -jax.nn.log_sigmoid(self.beta * d - self.margin)  # noqa: E731
        return pairs.expected(logistic, of(pairs.chosen) - of(pairs.rejected), self.flips)


@paired
def odds_ratio(pairs: Pairs) -> Array:
    """`-log s(log odds)`: the chosen response's odds against the rejected one's.

    ORPO's term (Hong et al. 2024), of probabilities that are geometric means over tokens,
    to be added to the likelihood: `sft(tokens="mean") + 0.1*odds_ratio()`. TRL's ORPOTrainer
    takes that likelihood over the prompt too; here it is the response's.
    """

    def log_odds(mean: Array) -> Array:
        return mean - jnp.log(-jnp.expm1(jnp.minimum(mean, -1e-7)))

    first, second = (log_odds(s.mean(s.log_prob)) for s in (pairs.chosen, pairs.rejected))
    return pairs.expected(lambda d: -jax.nn.log_sigmoid(d), first - second)


@paired
def wpo(pairs: Pairs) -> Array:
    """A factor for a loss: how likely the policy is to write such a pair itself.

    WPO (Zhou et al. 2024), `dpo() * wpo()`: of each response the geometric mean of
    `pi(token) / sum of pi(v)^2 over all v`, multiplied; no gradient passes it. It is above 1
    where the tokens are likelier than such a mean, as in TRL, which does not cap it.
    """
    mean = [s.mean(s.log_prob - s.collision) for s in (pairs.chosen, pairs.rejected)]
    return jax.lax.stop_gradient(jnp.exp(mean[0] + mean[1]))
