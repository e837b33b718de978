"""Outcomes joined with what else is judged: confidence, thinking, many tests, each step."""

from typing import Annotated

import jax.numpy as jnp
from jax.scipy.special import xlog1py

from jaxrl_reward import rounding
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import NotNegative, OneOf, Positive, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.lengths import Annealed
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, totals
from jaxrl_reward.rewards.objectives.scalarise import Scalariser, vector
from jaxrl_reward.types import Array, Transition


@register("rlcr", {}, {"score": "log"})
class rlcr(Scalariser):  # noqa: N801
    """Of `stack(right, confidence)`, `right - (confidence - right)^2`: right, and well calibrated.

    RLCR (Damani et al. 2025, "Beyond Binary Rewards"): the Brier score is proper, so the
    best confidence is the true chance, and bounded, so the best answer is the likeliest
    one. `score="log"` adds the log of the probability given to what happened (at least
    0.001) instead: proper, but so steep that a sure wrong answer costs more than a
    right one earns.
    """

    score: Annotated[str, OneOf(("brier", "log"))] = static(default="brier")

    def combine(self, rewards: Array) -> Array:
        right, sure = checks.parts(self, rewards, 2)
        if self.score == "brier":
            return right - (sure - right) ** 2
        given = jnp.where(right >= 0.5, sure, 1.0 - sure)
        # Before the end both are 0, and so is the log of 1.
        return right + jnp.log(jnp.maximum(given, 1e-3))


@register("trust")
class trust(Annealed):  # noqa: N801
    """Of `stack(outcome, thinking)`, `R + alpha gamma exp(-blocks / steps) thinking`.

    Trust-GRPO (SophiaVL-R1, 2025): gamma is 1 if the thinking of the group's right
    responses (outcome at least 0.5) is judged at least as good on average as that of its
    wrong ones, else `exp(mean of right - mean of wrong)`, so that a judge who prefers
    wrong responses is not followed. In groups without both kinds gamma is 1.
    """

    alpha: NotNegative = 0.3

    def annealed(self, block: Transition, groups: Groups, done: Array) -> Array:
        outcome, thinking = checks.parts(self, totals(block, groups), 2)
        right = outcome >= 0.5
        counts = groups.count(right), groups.count(~right)
        means = [
            groups.sum(jnp.where(where, thinking, 0.0)) / jnp.maximum(count, 1.0)
            for where, count in zip((right, ~right), counts, strict=True)
        ]
        both = (counts[0] > 0) & (counts[1] > 0)
        gamma = jnp.where(both, jnp.exp(jnp.minimum(means[0] - means[1], 0.0)), 1.0)
        return outcome + self.alpha * gamma * jnp.exp(-done / self.steps) * thinking


@register("verpo")
class verpo(Grouped):  # noqa: N801
    """Of a vector of tests passed (0 or 1), an advantage from all of them and from each.

    VeRPO (2026), for responses of one turn: rho_j is the share of the group that passes
    test j, `w_j = exp(-alpha rho_j) / (sum_i exp(-(rho_j - rho_i)^2 / (2 width^2)) + delta)`,
    so that hard tests count more, and each of many alike less. With D = sum_j w_j p_j the
    advantage is `all - mean(all) + beta (D - mean(D))`, means over the group, and no
    division by a deviation. The paper's constants are not known to us.
    """

    alpha: NotNegative = 2.0
    beta: NotNegative = 1.0
    width: Positive = 0.1
    delta: NotNegative = 1e-6

    def rule(self, block: Transition, groups: Groups) -> Array:
        passed = totals(block, groups)
        rate = groups.mean(passed)
        distance = (rate[:, :, None] - rate[:, None, :]) ** 2
        density = jnp.exp(-distance / (2.0 * self.width**2)).sum(-1)
        weight = jnp.exp(-self.alpha * rate) / (density + self.delta)
        dense = (weight * passed).sum(-1)
        every = (passed >= 0.5).all(-1).astype(jnp.float32)
        return groups.centre(every) + self.beta * groups.centre(dense)


# ---- a credit of its own for each step -----------------------------------------------------


@register("empg", {}, {"k": 2.0, "clarity": 0.1})
class empg(Grouped):  # noqa: N801
    """Of `stack(advantage, entropy)`, `A g_t + clarity f_t` less its mean over the block.

    Entropy-modulated policy gradients (2025): with H_t scaled to [0, 1] by the block's
    smallest and largest, `g_t = exp(-k H_t)` over its mean, and `f_t = exp(-k H_{t+1})`,
    0 at the last step. A sure step of a good episode is lifted more, and so is one that
    leads to a sure one. As in
    `stack(env | grpo(), signal('entropy', when='step')) | empg()`.
    """

    k: NotNegative = 1.0
    clarity: NotNegative = 0.05
    own_step = True

    def rule(self, block: Transition, groups: Groups) -> Array:
        advantage, _ = checks.parts(self, totals(block, groups), 2)
        entropy, alive = vector(block)[..., 1], groups.alive
        low = jnp.where(alive, entropy, jnp.inf).min()
        high = jnp.where(alive, entropy, -jnp.inf).max()
        # Entropies that only rounding tells apart are all as sure.
        varies = high - low > rounding.ulps(high)
        scaled = jnp.where(varies, (entropy - low) / jnp.where(varies, high - low, 1.0), 0.0)
        sure = jnp.where(alive, jnp.exp(-self.k * jnp.where(alive, scaled, 0.0)), 0.0)
        count = alive.sum()
        behind = jnp.concatenate([sure[1:], jnp.zeros_like(sure[:1])])
        credit = advantage[None] * sure / (sure.sum() / count) + self.clarity * behind
        return credit - jnp.where(alive, credit, 0.0).sum() / count


@register("pav", {}, {"alpha": 0.5, "best_of": 1.0})
class pav(Grouped):  # noqa: N801
    """Of `stack(advantage, value)`, `A + alpha (v_t - v_{t-1})`: progress of another policy.

    Setlur et al. 2024, "Rewarding Progress": the value is a prover's chance to get it
    right from the text as it is after step t, and `v = 1 - (1 - value)^best_of` that of
    the best of several tries. `start` is the value of the prompt alone. The progress is
    added to the step's own credit, as in the paper: as a reward it would telescope, a
    potential. As in `stack(env | centred(), signal('value', when='step')) | pav()`.
    """

    alpha: NotNegative = 3.0
    best_of: Positive = 4.0
    start: Share = 0.0
    own_step = True

    def rule(self, block: Transition, groups: Groups) -> Array:
        advantage, _ = checks.parts(self, totals(block, groups), 2)
        value = vector(block)[..., 1]
        first = jnp.full_like(value[:1], 1.0) * self.start
        value = jnp.clip(jnp.concatenate([first, value]), 0.0, 1.0)
        best = -jnp.expm1(xlog1py(self.best_of, -value))
        return advantage[None] + self.alpha * jnp.diff(best, axis=0)
