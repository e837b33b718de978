"""Losses of the difference `D` of two log-ratios to the reference: DPO and its kin.

With `rho = log pi(y) - log pi_ref(y)`, sums over tokens, `D = rho(chosen) - rho(rejected)`.
Where a label is not sure, each is the mean over which response is the better one; a tie
then pulls neither way.
"""

from typing import Annotated

import jax
import jax.numpy as jnp

from jaxrl_reward.intervals import Interval
from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import Finite, NotNegative, OneOf, Positive, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.pairs.ways import Paired, Pairs, Side, paired
from jaxrl_reward.types import Array, UserError

Flips = Annotated[float, Interval(0, 0.5, below=True)]
Tokens = Annotated[str, OneOf(("sum", "mean"))]
DIVERGENCES = ("reverse_kl", "forward_kl", "js", "alpha")


@register("dpo", {"beta": 0.3, "flips": 0.1})
class dpo(Paired):  # noqa: N801
    """`-log sigmoid(beta D)`: the chosen response is more likely, the rejected one less.

    Direct preference optimisation (Rafailov et al. 2023). With `flips`, the share of labels
    that are expected to be wrong, cDPO (TRL 1.16's "sigmoid" ignores its label_smoothing;
    OpenRLHF's is this). Other divergences than the reverse KL are f-DPO's (Wang et al. 2024),
    of the ratio of whole responses, as in TRL.

    Args:
      beta: how little the policy may move from the reference.
      flips: see above.
      tokens: "mean" divides each side's log-ratio by its length (TRL's "sigmoid_norm").
      divergence: "reverse_kl", "forward_kl", "js" or "alpha".
      alpha: of that divergence.
      beyond: the weight of tokens beyond the length of the shorter response (LD-DPO, Liu et
        al. 2024); 1 is all of it.
    """

    beta: Positive = 0.1
    flips: Flips = 0.0
    alpha: Finite = 0.5
    beyond: Share = 1.0
    tokens: Tokens = static(default="sum")
    divergence: Annotated[str, OneOf(DIVERGENCES)] = static(default="reverse_kl")

    def validate(self) -> None:
        if self.divergence == "alpha" and isinstance(self.alpha, int | float) and self.alpha == 1:
            raise UserError('dpo\'s alpha cannot be 1, which is divergence="reverse_kl"')

    def loss(self, pairs: Pairs) -> Array:
        shorter = jnp.minimum(pairs.chosen.length(), pairs.rejected.length())
        chosen, rejected = (self.score(each, shorter) for each in (pairs.chosen, pairs.rejected))
        logistic = lambda d: -jax.nn.log_sigmoid(self.beta * d)  # noqa: E731
        return pairs.expected(logistic, chosen - rejected, self.flips)

    def score(self, side: Side, shorter: Array) -> Array:
        """What a response is worth, `[B]`, before it is multiplied by beta."""
        place = jnp.arange(side.alive.shape[1])[None]
        weight = jnp.where(place < shorter[:, None], 1.0, self.beyond)
        ratio = side.sum(weight * (side.log_prob - side.reference))
        if self.tokens == "mean":
            ratio = ratio / jnp.maximum(side.length(), 1.0)
        if self.divergence == "forward_kl":
            return 1.0 - jnp.exp(-ratio)
        if self.divergence == "js":
            return jnp.log(2.0) + jax.nn.log_sigmoid(ratio)
        if self.divergence == "alpha":
            power = self.alpha - 1.0
            return jnp.expm1(power * ratio) / power
        return ratio


@register("ipo", {"beta": 0.4}, {"tokens": "mean"})
class ipo(Paired):  # noqa: N801
    """`(D - 1 / (2 beta))^2`: the difference is led to a number, and not beyond.

    Azar et al. 2024, "A General Theoretical Paradigm to Understand Learning from Human
    Preferences", with sums over tokens, as in OpenRLHF and TRL's online DPO; TRL's
    DPOTrainer has `tokens="mean"`.
    """

    beta: Positive = 0.1
    tokens: Tokens = static(default="sum")

    def loss(self, pairs: Pairs) -> Array:
        of = lambda s: getattr(s, self.tokens)(s.log_prob - s.reference)  # noqa: E731
        square = lambda d: (d - 0.5 / self.beta) ** 2  # noqa: E731
        return pairs.expected(square, of(pairs.chosen) - of(pairs.rejected))


@paired
def slic(pairs: Pairs, beta: Positive = 0.1, margin: NotNegative = 1.0) -> Array:
    """`max(0, margin - beta D)`: nothing more is asked once the chosen one is far enough ahead.

    SLiC's hinge (Zhao et al. 2023) on log-ratios, as in TRL's "hinge".
    """
    return pairs.expected(lambda d: jax.nn.relu(margin - beta * d), pairs.difference())


@paired
def robust_dpo(pairs: Pairs, beta: Positive = 0.1, flips: Flips = 0.1) -> Array:
    """DPO's loss as it would be without the wrong labels, on average over them.

    `((1 - e) l(D) - e l(-D)) / (1 - 2 e)` for a share e of flipped labels (Chowdhury et al.
    2024, "Provably Robust DPO"). It has no lower bound where e is above 0.
    """
    ahead, behind = (jax.nn.log_sigmoid(s * beta * pairs.difference()) for s in (1.0, -1.0))
    right, wrong = (
        pairs.label * x + (1.0 - pairs.label) * y for x, y in ((ahead, behind), (behind, ahead))
    )
    return (flips * wrong - (1.0 - flips) * right) / (1.0 - 2.0 * flips)


@paired
def exo(
    pairs: Pairs,
    beta: Positive = 0.1,
    flips: Annotated[float, Interval(0, 0.5, above=True, below=True)] = 1e-3,
) -> Array:
    """The KL from the policy's preference to the label's, in place of DPO's the other way round.

    EXO (Ji et al. 2024, "Towards Efficient Exact Optimization of Language Model Alignment"),
    for pairs, with labels smoothed by `flips`, which must not be 0.
    """
    d = beta * pairs.difference()
    right = pairs.label + flips * (1.0 - 2.0 * pairs.label)
    log_ahead, log_behind = jax.nn.log_sigmoid(d), jax.nn.log_sigmoid(-d)
    return jnp.exp(log_ahead) * (log_ahead - jnp.log(right)) + jnp.exp(log_behind) * (
        log_behind - jnp.log1p(-right)
    )


@paired
def discopop(pairs: Pairs, beta: Positive = 0.1, temperature: Positive = 0.05) -> Array:
    """Log-ratio modulated loss: exponential where the chosen one is ahead, else logistic.

    `(1 - w) (-log sigmoid(x)) + w exp(-x)` with `x = beta D`, `w = sigmoid(x / temperature)`
    (Lu et al. 2024, "Discovering Preference Optimization Algorithms").
    """

    def mixed(d: Array) -> Array:
        x = beta * d
        share = jax.nn.sigmoid(x / temperature)
        return (1.0 - share) * -jax.nn.log_sigmoid(x) + share * jnp.exp(-x)

    return pairs.expected(mixed, pairs.difference())


@paired
def mm_dpo(
    pairs: Pairs, beta: Positive = 0.1, weight: NotNegative = 0.5, rate: NotNegative = 0.5
) -> Array:
    """DPO whose temperature grows with the difference of the two rewards.

    `-log sigmoid(beta (1 + w (1 - e^(-k delta))) D)`, with `delta` the reward of the chosen
    less that of the rejected (MM-RLHF, Zhang et al. 2025; its defaults). The paper's abstract
    speaks of the weight of the loss, which is `dpo() * by_margin()` and another gradient.
    """
    d = beta * _by_margin(pairs, weight, rate) * pairs.difference()
    return pairs.expected(lambda d: -jax.nn.log_sigmoid(d), d)


@paired
def by_margin(pairs: Pairs, weight: NotNegative = 0.5, rate: NotNegative = 0.5) -> Array:
    """A factor for a loss, `1 + w (1 - e^(-k delta))`, by how far the rewards are apart.

    See `mm_dpo`.
    """
    return _by_margin(pairs, weight, rate)


def _by_margin(pairs: Pairs, weight: Array | float, rate: Array | float) -> Array:
    margin = jnp.maximum(pairs.chosen.reward - pairs.rejected.reward, 0.0)
    return 1.0 - weight * jnp.expm1(-rate * margin)


@paired
def cream(pairs: Pairs, beta: Positive = 0.1) -> Array:
    """DPO both ways round, by how far the last two policies agree on the ranking.

    `C l(w, l) + (1 - C) l(l, w)`, `C = (Kendall's tau + 1) / 2` (CREAM, Wang et al. 2025,
    "Consistency Regularized Self-Rewarding Language Models").
    """
    d, agreed = beta * pairs.difference(), pairs.agreement
    return agreed * -jax.nn.log_sigmoid(d) + (1.0 - agreed) * -jax.nn.log_sigmoid(-d)
