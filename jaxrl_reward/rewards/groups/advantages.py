"""Advantages from groups: what an episode's return is beside those of the same prompt.

R is an episode's return, G the number of episodes of its group. A constant that
is added to every return of a group cancels in all of these but `reinforce`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlog1py, xlogy
from jax.typing import ArrayLike

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, State, no_state, static
from jaxrl_reward.rewards.core.checks import AboveZero, Count, Finite, NotNegative, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, grouped, groups_of, paid, totals
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.types import Array, Transition


@grouped
def reinforce(block: Transition, groups: Groups) -> Array:
    """`R - mean`, the mean over the whole block (Williams 1992): prompts are not told apart."""
    returns = groups.total(block.reward)
    return returns - returns.mean()


@grouped
def centred(block: Transition, groups: Groups) -> Array:
    """`R - mean`, the mean over the group: REINFORCE with the prompt's mean as its baseline.

    The advantage of Dr. GRPO (Liu et al. 2025, "Understanding R1-Zero-Like Training").
    """
    return groups.centre(groups.total(block.reward))


@grouped
def rloo(block: Transition, groups: Groups) -> Array:
    """`R - mean of the others of the group`, which is `G / (G - 1)` times `centred`.

    Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!": unbiased,
    since the baseline does not depend on the episode. A group of one has none, and gives 0.
    """
    returns, size = groups.total(block.reward), groups.size()
    return groups.centre(returns) * size / jnp.maximum(size - 1.0, 1.0)


@grouped
def grpo(
    block: Transition, groups: Groups, epsilon: NotNegative = 1e-6, ddof: NotNegative = 0.0
) -> Array:
    """`(R - mean) / (std + epsilon)` over the group, the std of the population.

    Shao et al. 2024, "DeepSeekMath", section 4.1. A group whose returns are equal but for
    rounding gives 0. Any positive factor that a whole group has in common cancels.
    `ddof=1` takes the std of a sample, as TRL's `GRPOTrainer` does (seen in 1.16): in a
    group of G advantages are `sqrt((G - 1) / G)` times as large, of 4 0.866 times.
    """
    rounding = groups.rounding(block.reward)
    return standard(groups.total(block.reward), groups, rounding, epsilon, ddof)


def standard(
    returns: Array,
    groups: Groups,
    rounding: Array | None = None,
    epsilon: Any = 1e-6,
    ddof: ArrayLike = 0.0,
) -> Array:
    """The returns `[N]` less the group's mean, over its std; 0 where only rounding differs."""
    scaled: Array = groups.centre(returns) / (groups.std(returns, ddof) + epsilon)
    return jnp.where(groups.differ(returns, rounding), scaled, 0.0)


@grouped
def whitened(block: Transition, groups: Groups, epsilon: NotNegative = 1e-8) -> Array:
    """`R - mean of the group`, then less the mean and over the std of all tokens of the block.

    Batch whitening of Liu et al. 2025, "DLER: Doing Length pEnalty Right": every token
    counts once, so long episodes weigh more in the moments. Unlike `grpo`, a group with
    a small spread is not blown up. DLER's other half is `within(length)`.
    """
    returns, length = groups.total(block.reward), groups.length()
    differ = groups.differ(returns, groups.rounding(block.reward))
    centre = jnp.where(differ, groups.centre(returns), 0.0)
    mean = (centre * length).sum() / length.sum()
    spread = jnp.sqrt((length * (centre - mean) ** 2).sum() / length.sum())
    return jnp.where(spread > 0, (centre - mean) / (spread + epsilon), 0.0)


@register("bnpo", {}, {"alpha": 1.5, "beta": 1.5})
class bnpo(Grouped):  # noqa: N801
    """`(R - p) / f(p)`, p the mean of the group and f the density of a Beta distribution.

    BNPO (Xiao et al. 2025, arXiv:2506.02864), for returns in [0, 1]. The Beta has
    `alpha = max(1, 1 + a / 3)` and `beta = max(1, 1 + b / 3)` of the a, b that fit the
    means of the block's groups by their moments; where these are all the same, 1 and
    1. `1 / f` is at most 1e6. `alpha` and `beta` above 0 are taken as given: (1, 1) is
    `centred`, and (3/2, 3/2) is `grpo` times pi / 8. Of a vector reward it is the mean
    over its parts. TRL's `loss_type="bnpo"` is no advantage but a mean over the tokens of
    the local batch, here `aggregation="token"`.
    """

    alpha: NotNegative = 0.0
    beta: NotNegative = 0.0

    def rule(self, block: Transition, groups: Groups) -> Array:
        returns, rounding = totals(block, groups), groups.rounding(vector(block))
        one = lambda r, off: self._one(r, off, groups)  # noqa: E731
        return jax.vmap(one, 1, 1)(returns, rounding).mean(1)

    def _one(self, returns: Array, rounding: Array, groups: Groups) -> Array:
        rate = groups.mean(returns)
        mean = groups.over_groups(rate)
        spread = groups.over_groups((rate - mean) ** 2)
        fitted = spread > 1e-6
        size = jnp.where(fitted, mean * (1 - mean) / jnp.where(fitted, spread, 1.0) - 1.0, 0.0)
        alpha = jnp.maximum(1.0, 1.0 + size * mean / 3.0)
        beta = jnp.maximum(1.0, 1.0 + size * (1.0 - mean) / 3.0)
        alpha = jnp.where(jnp.asarray(self.alpha) > 0, self.alpha, alpha)
        beta = jnp.where(jnp.asarray(self.beta) > 0, self.beta, beta)
        rate = jnp.clip(rate, 0.0, 1.0)
        log_beta = gammaln(alpha) + gammaln(beta) - gammaln(alpha + beta)
        log_density = xlogy(alpha - 1.0, rate) + xlog1py(beta - 1.0, -rate) - log_beta
        weight = jnp.minimum(jnp.exp(-log_density), 1e6)
        return jnp.where(groups.differ(returns, rounding), groups.centre(returns) * weight, 0.0)


@register("copo", {}, {"gamma": 2.0, "rho": 0.3})
class copo(Grouped):  # noqa: N801
    """Of `stack(outcome, answer)`, `w A + (1 - w) B`, A within the group and B between groups.

    COPO (consistency-aware policy optimisation, 2025): `A = (R - mean) / std` of the
    group, B its mean return in units of those of the block's groups, and
    `w = sigmoid(gamma (H - rho))` by the entropy H, in nats, of the answers of the
    group. A group whose returns are all equal still learns from B. The paper mixes the
    losses, which is the same where the clip does not bind.
    """

    gamma: NotNegative = 20.0
    rho: Finite = 1.5

    def rule(self, block: Transition, groups: Groups) -> Array:
        returns, answer = checks.parts(self, totals(block, groups), 2)
        rounding = groups.rounding(vector(block))[:, 0]
        mean = groups.mean(returns)
        above = mean - mean.min()
        middle = groups.over_groups(above)
        spread = jnp.sqrt(groups.over_groups((above - middle) ** 2))
        differ = above.max() > rounding.max()
        between = jnp.where(differ, (above - middle) / (spread + 1e-6), 0.0)
        weight = jax.nn.sigmoid(self.gamma * (answer_entropy(answer, groups) - self.rho))
        return weight * standard(returns, groups, rounding) + (1.0 - weight) * between


def answer_entropy(answer: Array, groups: Groups) -> Array:
    """The entropy in nats of the group's answers `[N]`, `[N]`."""
    return -groups.mean(jnp.log(groups.agree(answer) / groups.size()))


class Quantiles(NamedTuple):
    """Of the bundles' scores: the lower and the upper one, `[2]`, and whether any were seen."""

    values: Array
    seen: Array


@register("riskpo", {"bundle": 2}, {"bundle": 1, "low": 0.3, "weight": 0.5})
class riskpo(Grouped):  # noqa: N801
    """Risk-averse credit by the scores of bundles of groups: their lower tail weighs more.

    RiskPO (2025). X is the sum over `bundle` groups of the j-th return of each, and
    q_low, q_high are quantiles of X that are tracked from block to block (rate 0.1; the
    first block's own at first). A bundle's advantage is
    `(weight C + M) / (weight + 1) / std(X)` over its G scores, with
    `C = -max(q_low - X, 0) / low` and
    `M = (max(X - q_low, 0) - max(X - q_high, 0)) / (high - low)`. A group takes the share
    of it that its own `R - mean` has of the bundle's, or an equal one if that is 0.
    """

    bundle: Count = static(default=5)
    low: AboveZero = 0.2
    high: Share = 0.8
    weight: NotNegative = 1.5
    rate: Share = 0.1
    varies = True
    ordered = True

    def validate(self) -> None:
        checks.rising(self, "low", "high", strictly=True)

    def init(self, key: Array, example: Transition) -> State:
        del key
        return no_state(example, Quantiles(jnp.zeros(2), jnp.bool_(False)))

    def apply(self, state: State, block: Transition) -> Applied:
        groups, known = groups_of(block), state.shared
        returns = groups.total(block.reward)
        # Groups side by side, and the j-th of each: one score.
        within = Groups(self._bundles(groups), groups.alive)
        scores = within.sum(returns)
        levels = jnp.stack([jnp.asarray(x, jnp.float32) for x in (self.low, self.high)])
        empirical = jnp.quantile(scores, jnp.clip(levels, 0.0, 1.0))
        quantiles: Quantiles = known
        at = jnp.where(quantiles.seen, quantiles.values, empirical)
        unsure = within.sum(groups.rounding(block.reward))
        earned = self._credit(returns, scores, unsure, at, groups, within)
        below = (scores[:, None] < at[None]).mean(0)
        after = Quantiles(at + self.rate * (levels - below), jnp.bool_(True))
        return Applied(state.replace(shared=after), paid(earned, groups), {}, ())

    def _bundles(self, groups: Groups) -> Array:
        """The number of the score that each episode is part of, `[N]`."""
        largest = groups.size().max().astype(jnp.int32)
        return groups.ids // self.bundle * largest + groups.position()

    def _credit(
        self,
        returns: Array,
        scores: Array,
        unsure: Array,
        at: Array,
        groups: Groups,
        within: Groups,
    ) -> Array:
        over = jax.nn.relu(scores[:, None] - at[None])
        middle = (over[:, 0] - over[:, 1]) / (self.high - self.low)
        tail = -jax.nn.relu(at[0] - scores) / self.low
        bundles = Groups(groups.ids // self.bundle, groups.alive)
        spread = bundles.std(scores)
        advantage = (self.weight * tail + middle) / (self.weight + 1.0) / (spread + 1e-6)
        share = groups.centre(returns)
        whole = within.sum(share)
        equal = jnp.abs(whole) <= unsure
        share = jnp.where(equal, 1.0 / within.size(), share / jnp.where(equal, 1.0, whole))
        return jnp.where(bundles.differ(scores, unsure), advantage * share, 0.0)
