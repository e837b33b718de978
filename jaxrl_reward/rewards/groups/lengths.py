"""Returns by length: truncation, budgets, conciseness, entropy of thinking.

A plain price per token is `env - 0.01`. What is paid for being short must not pay for
being wrong, or the shortest answer wins.
"""

import jax.numpy as jnp

from jaxrl_reward import counting
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, State, no_state
from jaxrl_reward.rewards.core.checks import (
    Finite,
    Length,
    NotNegative,
    Number,
    Positive,
    PositiveRow,
)
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.groups.advantages import standard
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, grouped, groups_of, paid, totals
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.types import Array, Transition


@grouped
def within(block: Transition, groups: Groups, length: Length = 24.0) -> Array:
    """The return of an episode of at most `length` steps, else 0.

    Truncation as the only price on length: Liu et al. 2025, "DLER: Doing Length pEnalty
    Right". A right answer that is too long earns what a wrong one does.
    """
    return jnp.where(groups.length() <= length, groups.total(block.reward), 0.0)


@grouped
def within_by_success(
    block: Transition,
    groups: Groups,
    length: Length = 24.0,
    easy_length: Length = 12.0,
    success: Number = 0.5,
) -> Array:
    """As `within`, `easy_length` in groups whose mean return is at least `success` (DA-DLER).

    The paper's thresholds are half the length for prompts of which half are solved.
    """
    returns = groups.total(block.reward)
    limit = jnp.where(groups.mean(returns) >= success, easy_length, length)
    return jnp.where(groups.length() <= limit, returns, 0.0)


@grouped
def by_length(block: Transition, groups: Groups) -> Array:
    """The return of an episode, divided by its share of the longest length there is.

    Behind an advantage, with a loss that is a sum over tokens (`aggregation="constant"`), it
    makes that GRPO's, of each response the mean over its own tokens.
    """
    longest = block.first.shape[0]
    return groups.total(block.reward) * longest / jnp.maximum(groups.length(), 1.0)


@register("hbpo", {"budgets": (1.0, 4.0), "limit": 6.0})
class hbpo(Grouped):  # noqa: N801
    """An advantage within and between subgroups of a group, each with a budget of tokens.

    Hierarchical budgets (HBPO, 2025, arXiv:2507.15844). Episode j of a group has budget
    b number j modulo the number of budgets. A right one (return 1) of n tokens earns
    `beta cos(pi b / (2 limit))` up to b, and `beta cos(pi n / (2 limit)) - alpha |n - b|`
    up to `limit`; everything else 0. The advantage is the subgroup's mean less
    `beta cos(pi b / (2 limit))`, plus `(r - mean) / std` of the group. The paper
    announces the budget in the prompt; here it shapes the reward alone.
    """

    budgets: PositiveRow
    limit: Positive = 64.0
    beta: NotNegative = 4.0
    alpha: NotNegative = 1.0 / 4096.0
    ordered = True

    def rule(self, block: Transition, groups: Groups) -> Array:
        budgets = jnp.stack([jnp.asarray(b, jnp.float32) for b in self.budgets])
        which = groups.position() % budgets.shape[0]
        budget, length = budgets[which], groups.length()
        wave = lambda n: self.beta * jnp.cos(jnp.pi * n / (2.0 * self.limit))  # noqa: E731
        late = wave(length) - self.alpha * jnp.abs(length - budget)
        reward = jnp.where(length <= budget, wave(budget), late)
        right = (groups.total(block.reward) >= 0.5) & (length <= self.limit)
        reward = jnp.where(right, reward, 0.0)
        mine = which[:, None] == jnp.arange(budgets.shape[0])[None]
        sums = groups.sum(jnp.where(mine, reward[:, None], 0.0))
        means = (sums / jnp.maximum(groups.sum(mine), 1.0) * mine).sum(1)
        return means - wave(budget) + standard(reward, groups)


class Annealed(Grouped):
    """A term that counts its blocks: how far training has come. Override `annealed`."""

    steps: Positive = 1000.0
    varies = True

    def annealed(self, block: Transition, groups: Groups, done: Array) -> Array:
        """What each episode earns, `[N]`, when `done` blocks have gone before."""
        raise NotImplementedError

    def init(self, key: Array, example: Transition) -> State:
        del key
        return no_state(example, counting.zero())

    def apply(self, state: State, block: Transition) -> Applied:
        groups = groups_of(block)
        earned = self.annealed(block, groups, state.shared.value)
        return Applied(state.replace(shared=state.shared.add(1)), paid(earned, groups), {}, ())


@register("crf")
class crf(Annealed):  # noqa: N801
    """Of `stack(outcome, conciseness)`, `R (1 + alpha c (s + d))`: a bonus for right answers only.

    The conciseness reward function of "Efficient Reasoning via Reward Model" (2025): c in
    [0.1, 1] is how concise the response is, s = 1 - blocks / steps is annealed, and d is
    the mean outcome of the group, so that easy prompts are pressed harder. s, d and
    alpha are our reading: the paper's values are not known to us.
    """

    alpha: NotNegative = 0.3

    def annealed(self, block: Transition, groups: Groups, done: Array) -> Array:
        outcome, concise = checks.parts(self, totals(block, groups), 2)
        factor = jnp.clip(1.0 - done / self.steps, 0.0, 1.0) + groups.mean(outcome)
        return outcome * (1.0 + self.alpha * jnp.clip(concise, 0.1, 1.0) * factor)


@register("pear", {}, {"alpha": 0.5, "wrong": 0.1})
class pear(Grouped):  # noqa: N801
    """Of `stack(outcome, scratch, entropy)`, `min(1, 1 - P)` if right, else `wrong`.

    PEAR (phase entropy aware reward, 2025): `P = max(0, H_think - alpha H_answer)`, the
    mean entropies of the tokens before and behind the mark that ends the thinking.
    `scratch` is the number of tokens up to and with that mark, 0 without it, told at the
    end, and the entropy is told at every step:
    `stack(env, signal('scratch'), signal('entropy', when='step')) | pear()`.
    Where thinking ends without a mark (`sequence:think`), `info["mark"]` is 0, and all of
    the scratch is thinking.
    """

    alpha: NotNegative = 1.0
    wrong: Finite = 0.0

    def rule(self, block: Transition, groups: Groups) -> Array:
        outcome, scratch, _ = checks.parts(self, totals(block, groups), 3)
        entropy = vector(block)[..., 2]
        step = jnp.arange(entropy.shape[0])[:, None]
        mark = groups.final(block.info["mark"]) if "mark" in block.info else 1.0
        thinks = groups.alive & (step < (scratch - mark)[None])
        answers = groups.alive & (step >= scratch[None])

        def mean(where: Array) -> Array:
            return jnp.where(where, entropy, 0.0).sum(0) / jnp.maximum(where.sum(0), 1)

        price = jnp.maximum(mean(thinks) - self.alpha * mean(answers), 0.0)
        return jnp.where(outcome >= 0.5, jnp.minimum(1.0, 1.0 - price), self.wrong)


@register("drpo", {}, {"temperature": 2.0})
class drpo(Grouped):  # noqa: N801
    """Of `stack(outcome, log_prob)`, weights that lift right responses and push wrong ones.

    DRPO (decoupled reward policy optimisation, 2025), whose objective is, with s the mean
    log-probability of a response's tokens,
    `sum over right of w s - temperature log sum over wrong of exp(s / temperature)`,
    w the softmax over the group's right responses of `(1 - length / limit) / sharpness`.
    Its gradient weighs a right response by w and a wrong one by minus its softmax share
    of `s / temperature`: these are the weights, of the policy that played. No right
    response is pushed down, however long. Groups without both kinds give 0. Use it with
    `aggregation="sequence"`, as
    `stack(env, signal('log_prob', when='step')) | drpo()`.
    """

    temperature: Positive = 10.0
    sharpness: Positive = 0.1
    limit: Positive = 64.0

    def rule(self, block: Transition, groups: Groups) -> Array:
        outcome, log_prob = checks.parts(self, totals(block, groups), 2)
        right, length = outcome >= 0.5, groups.length()
        score = log_prob / jnp.maximum(length, 1.0) / self.temperature
        short = (1.0 - length / self.limit) / self.sharpness
        lifted = _softmax(short, right, groups)
        pushed = _softmax(score, ~right, groups)
        both = (groups.count(right) > 0) & (groups.count(~right) > 0)
        return jnp.where(both, lifted - pushed, 0.0)


def _softmax(values: Array, where: Array, groups: Groups) -> Array:
    """The softmax over those of the group where `where`, `[N]`; 0 elsewhere."""
    top = groups.max(jnp.where(where, values, -jnp.inf))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    exp = jnp.where(where, jnp.exp(jnp.where(where, values - top, 0.0)), 0.0)
    return exp / jnp.maximum(groups.sum(exp), 1e-30)
