"""Rewards on a scale that follows the data: moments, ranges, percentiles, ranks.

What is known of the rewards so far lives in the shared state, and a block is
judged by what was known before it. Taking off a mean changes the task wherever
episodes differ in length: every step then pays or costs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward import rounding
from jaxrl_reward.nn import running_statistics
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.core.checks import Count, Discount, NotNegative, Percent, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.types import Array, Metrics, Transition, UserError


class Running(RewardTransform):
    """What follows the rewards of all environments. Override `start`, `update`, `normalize`."""

    scope = "learned"
    varies = True

    def start(self) -> Any:
        """What is known before the first reward."""
        raise NotImplementedError

    def update(self, stats: Any, rewards: Array) -> Any:
        """What is known after the rewards `[T, N]`."""
        raise NotImplementedError

    def normalize(self, stats: Any, rewards: Array) -> Array:
        """The rewards, of any shape, in the light of what is known."""
        raise NotImplementedError

    def init(self, key: Array, example: Transition) -> State:
        del key
        return no_state(example, self.start())

    def apply(self, state: State, block: Transition) -> Applied:
        reward = self.normalize(state.shared, block.reward)
        shared = self.update(state.shared, block.reward)
        return Applied(state.replace(shared=shared), reward, {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        return self.normalize(shared, batch.reward)


def scale(stats: running_statistics.RunningStatistics, epsilon: Any) -> Array:
    """`1 / sqrt(variance + epsilon)`; 1 while nothing has differed."""
    differ = running_statistics.differ(stats)
    return jnp.where(differ, jax.lax.rsqrt(stats.variance + epsilon), 1.0)


@register("standardize")
class standardize(Running):  # noqa: N801
    """`(r - mean) / std` of all rewards so far; the reward itself before there are any.

    While all were alike the deviation is 1: there is no scale to take from them.
    The mean-std comparison of Fu et al. 2025, "Reward Shaping to Mitigate Reward
    Hacking in RLHF".
    """

    epsilon: NotNegative = 1e-8

    def start(self) -> Any:
        return running_statistics.init()

    def update(self, stats: Any, rewards: Array) -> Any:
        return running_statistics.update(stats, rewards)

    def normalize(self, stats: Any, rewards: Array) -> Array:
        seen: Array = stats.count > 0
        scaled: Array = (rewards - stats.mean) * scale(stats, self.epsilon)
        return jnp.where(seen, scaled, rewards)


@register("clip_spread", {"width": 0.5})
class clip_spread(standardize):  # noqa: N801
    """Clips to `[mean - width std, mean + width std]` of all rewards so far.

    While all were alike nothing is clipped: there is no spread to clip to.
    The running clip of Fu et al. 2025, as `standardize`.
    """

    width: NotNegative = 1.0

    def normalize(self, stats: Any, rewards: Array) -> Array:
        reach = self.width * jnp.sqrt(stats.variance + self.epsilon)
        reach = jnp.where(running_statistics.differ(stats), reach, jnp.finfo(jnp.float32).max)
        return jnp.clip(rewards, stats.mean - reach, stats.mean + reach)


class Range(NamedTuple):
    """The lowest and the highest reward so far, and whether there was any."""

    low: Array
    high: Array
    seen: Array


@register("min_max")
class min_max(Running):  # noqa: N801
    """`(r - min) / (max - min)` of all rewards so far, clipped to [0, 1]; at first 0.5.

    The min-max of Fu et al. 2025, as `standardize`; clipped, because a reward may be out of
    the range that was known before it.
    """

    def start(self) -> Range:
        return Range(jnp.float32(0.0), jnp.float32(0.0), jnp.bool_(False))

    def update(self, stats: Range, rewards: Array) -> Range:
        low, high = rewards.min(), rewards.max()
        low = jnp.where(stats.seen, jnp.minimum(stats.low, low), low)
        high = jnp.where(stats.seen, jnp.maximum(stats.high, high), high)
        return Range(low, high, jnp.bool_(True))

    def normalize(self, stats: Range, rewards: Array) -> Array:
        size = stats.high - stats.low
        varies = size > rounding.ulps(jnp.maximum(jnp.abs(stats.low), jnp.abs(stats.high)))
        share = jnp.clip((rewards - stats.low) / jnp.where(varies, size, 1.0), 0.0, 1.0)
        return jnp.where(varies, share, 0.5)


class Recent(NamedTuple):
    """The last rewards `[size]`, of which the last `filled` ones count."""

    values: Array
    filled: Array


@register("rank", {"size": 8})
class rank(Running):  # noqa: N801
    """The share of the last `size` rewards that are lower, ties by half; at first 0.5.

    Any increasing function of the reward earns the same, so neither its scale nor
    its outliers matter (a win rate against one's own past, as in Swamy et al. 2024).
    """

    size: Count = static(default=256)

    def start(self) -> Recent:
        return Recent(jnp.zeros(self.size), jnp.int32(0))

    def update(self, stats: Recent, rewards: Array) -> Recent:
        values = jnp.concatenate([stats.values, rewards.reshape(-1)])[-self.size :]
        return Recent(values, jnp.minimum(stats.filled + rewards.size, self.size))

    def normalize(self, stats: Recent, rewards: Array) -> Array:
        return win_share(stats, rewards)


def win_share(stats: Recent, values: Array) -> Array:
    """The share of the `known` values below each of `values`, ties by half.

    What differs by a few roundings is a tie.
    """
    absent = jnp.arange(stats.values.shape[0]) < stats.values.shape[0] - stats.filled
    ordered = jnp.sort(jnp.where(absent, jnp.inf, stats.values))
    unsure = rounding.ulps(values)
    below = jnp.searchsorted(ordered, values - unsure)
    below += jnp.searchsorted(ordered, values + unsure, side="right")
    share = below / (2.0 * jnp.maximum(stats.filled, 1))
    return jnp.where(stats.filled > 0, share, 0.5)


# ---- by the discounted return -----------------------------------------------------


class OfReturns(Running):
    """What follows the running discounted return of every environment.

    Attributes:
      gamma: the discount.
      episodic: whether the return begins anew with every episode.
    """

    other_gamma = "the scale is not that of the agent's returns"

    gamma: Discount = None
    episodic: bool = static(default=True, kw_only=True)

    def validate(self) -> None:
        if not self.episodic and checks.reaches(self.discount, 1.0):
            raise UserError(
                f"{self.name}'s gamma must be below 1 with episodic=False: else the return "
                "that it divides by grows without end"
            )

    def metrics(self, stats: Any) -> Metrics:
        """What to log of them."""
        del stats
        return {}

    def init(self, key: Array, example: Transition) -> State:
        del key
        return State(self.start(), jnp.zeros(example.first.shape[1], jnp.float32))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return state.replace(local=self._begun(state.local, first))

    def apply(self, state: State, block: Transition) -> Applied:
        def step(running: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
            reward, first = xs
            running = self._begun(running, first) * self.discount + reward
            return running, running

        local, returns = jax.lax.scan(step, state.local, (block.reward, block.first))
        reward = self.normalize(state.shared, block.reward)
        shared = self.update(state.shared, returns)
        return Applied(State(shared, local), reward, self.metrics(shared), ())

    def _begun(self, running: Array, first: Array) -> Array:
        return jnp.where(first, 0.0, running) if self.episodic else running


class Averages(NamedTuple):
    """Moving averages of the return, of its squared deviation, and of what they began at.

    Attributes:
      mean: of the returns that were seen.
      spread: the sum of their squared deviations from it, each with its weight.
      weight: of all of them.
      before: the weight that is left to the 1 at which the square is said to start.
    """

    mean: Array
    spread: Array
    weight: Array
    before: Array


@register("popart", {"gamma": 0.5, "rate": 0.1})
class popart(OfReturns):  # noqa: N801
    """`r / sigma`, sigma^2 = nu - mu^2 from moving averages of the return and its square.

    The statistics of PopArt (van Hasselt et al. 2016, equation 6): mu and nu move by
    `rate` at every step, and sigma stays in [1e-4, 1e6]; nu starts at 1, and sigma is 1
    until returns have differed. Unlike in `normalize`, old returns are forgotten. The
    mean is not taken off, and no value is rescaled: an agent's value follows as sigma moves.
    """

    rate: Share = 3e-4

    def start(self) -> Averages:
        return Averages(*(jnp.float32(x) for x in (0.0, 0.0, 0.0, 1.0)))

    def update(self, stats: Averages, rewards: Array) -> Averages:
        steps = rewards.shape[0]
        # As if the steps had come one by one, each the mean over environments.
        kept = (1.0 - self.rate) ** jnp.arange(steps, -1, -1, dtype=jnp.float32)
        weights, old = self.rate * kept[1:], kept[0] * stats.weight
        new = weights.sum()
        weight, tiny = old + new, jnp.finfo(jnp.float32).tiny
        mean = weights @ rewards.mean(1) / jnp.maximum(new, tiny)
        gap, share = mean - stats.mean, new / jnp.maximum(weight, tiny)
        # About the means: as nu - mu^2 a spread far below the mean is lost.
        spread = kept[0] * stats.spread + weights @ ((rewards - mean) ** 2).mean(1)
        spread += gap**2 * old * share
        return Averages(stats.mean + gap * share, spread, weight, kept[0] * stats.before)

    def normalize(self, stats: Averages, rewards: Array) -> Array:
        square = stats.weight * stats.mean**2
        variance = stats.spread + stats.before * (1.0 + square)
        differ = stats.spread > 1e-10 * square  # by more than rounding
        return rewards / jnp.where(differ, jnp.clip(jnp.sqrt(variance), 1e-4, 1e6), 1.0)


@register("percentile_scale", {"low": 10.0, "high": 90.0, "rate": 0.5})
class percentile_scale(OfReturns):  # noqa: N801
    """`r / max(1, S)`, S a moving average of the return's range between two percentiles.

    Hafner et al. 2023, DreamerV3, equation 7: robust to outliers, and never enlarges
    what is small. S moves by `rate` with every block and starts at 0.
    """

    low: Percent = 5.0
    high: Percent = 95.0
    rate: Share = 0.01

    def validate(self) -> None:
        checks.rising(self, "low", "high", strictly=True)

    def start(self) -> Array:
        return jnp.float32(0.0)

    def update(self, stats: Array, rewards: Array) -> Array:
        ends = jnp.stack([jnp.asarray(self.low), jnp.asarray(self.high)]).astype(jnp.float32)
        low, high = jnp.percentile(rewards, ends)
        return stats + self.rate * (high - low - stats)

    def normalize(self, stats: Array, rewards: Array) -> Array:
        return rewards / jnp.maximum(stats, 1.0)


# ---- across the environments of one step --------------------------------------------


class Scale(NamedTuple):
    """`(r - first - mean) * gain`: in two parts, as their sum would round."""

    first: Array
    mean: Array
    gain: Array


@register("standardize_batch")
class standardize_batch(RewardTransform):  # noqa: N801
    """`(r - mean) / (std + epsilon)` over the environments of the same step.

    0 where their rewards are equal, or differ by rounding alone.

    Batch standardisation without rollout groups: what is common to all environments
    at a step is no signal. It needs at least two of them, and replay keeps the
    mean and deviation of the step that a transition came from.
    """

    epsilon: NotNegative = 1e-8
    scope = "causal"
    reads_history = True  # what is recorded is stale once the stage before it changes

    def init(self, key: Array, example: Transition) -> State:
        del key
        if example.first.shape[1] < 2:
            raise UserError("standardize_batch needs at least two environments (num_envs)")
        return no_state(example)

    def apply(self, state: State, block: Transition) -> Applied:
        reward = block.reward
        first = reward[:, :1]
        above = reward - first  # of equal rewards it is 0, and a large mean costs no digits
        mean = above.mean(1, keepdims=True)
        spread = jnp.sqrt(jnp.square(above - mean).mean(1, keepdims=True))
        differ = rounding.varies(reward, axis=1, keepdims=True)
        gain = jnp.where(differ, 1.0 / (spread + self.epsilon), 0.0)
        effect = Scale(*(jnp.broadcast_to(x, reward.shape) for x in (first, mean, gain)))
        return Applied(state, self.relabel((), block, effect), {}, effect)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared
        return (batch.reward - features.first - features.mean) * features.gain
