"""Scaling a reward by the spread of its discounted return."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.base import Applied, RewardTransform, State
from jaxrl_reward.rewards.checks import Discount, NotNegative
from jaxrl_reward.rewards.registry import register
from jaxrl_reward.types import Array, Transition


class Moments(NamedTuple):
    """Count, mean and sum of squared deviations of the discounted return."""

    count: Array
    mean: Array
    squares: Array


@register("normalize", {}, {"gamma": 0.5})
class normalize(RewardTransform):  # noqa: N801
    """`r / std(G)`, G the running discounted return of every environment.

    One variance for all environments, merged block by block (Chan et al.
    1979); the one used on a block is from before it, 1 at first. The mean is
    not taken off, which would change the task (Engstrom et al. 2020,
    "Implementation Matters", appendix A.1).
    """

    gamma: Discount = None
    epsilon: NotNegative = 1e-8
    scope = "learned"
    varies = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        zero = jnp.float32(0.0)
        return State(Moments(zero, zero, zero), jnp.zeros(example.first.shape[1], jnp.float32))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return state.replace(local=jnp.where(first, 0.0, state.local))

    def apply(self, state: State, block: Transition) -> Applied:
        def step(running: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
            reward, first = xs
            running = jnp.where(first, 0.0, running) * self.discount + reward
            return running, running

        local, returns = jax.lax.scan(step, state.local, (block.reward, block.first))
        reward = self.relabel(state.shared, block, ())
        shared = _merge(state.shared, returns)
        std = jnp.sqrt(_variance(shared))
        return Applied(State(shared, local), reward, {"normalize/std": std}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        return batch.reward * jax.lax.rsqrt(_variance(shared) + self.epsilon)


def _variance(m: Moments) -> Array:
    return jnp.where(m.count > 1, m.squares / jnp.maximum(m.count, 1.0), 1.0)


def _merge(m: Moments, values: Array) -> Moments:
    size = jnp.float32(values.size)
    mean = values.mean()
    squares = ((values - mean) ** 2).sum()
    # A float32 count stops growing at 2**24; capping it keeps the window moving.
    count = jnp.minimum(m.count, 1e7)
    kept = m.squares * count / jnp.maximum(m.count, 1.0)
    total = count + size
    delta = mean - m.mean
    return Moments(
        total, m.mean + delta * size / total, kept + squares + delta**2 * count * size / total
    )
