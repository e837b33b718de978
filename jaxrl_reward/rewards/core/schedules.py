"""Weights that change over training."""

from typing import Any

import jax.numpy as jnp

from jaxrl_reward import counting
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state
from jaxrl_reward.rewards.core.checks import Finite, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.types import Array, Transition


@register("scheduled", {"steps": 24.0})
class scheduled(RewardTransform):  # noqa: N801
    """A weight going linearly from `start` to `end` in `steps` environment steps.

    Multiply a reward by it: `scheduled(1, 0, 100000) * potential("norm")`.
    The weight of a block is the one at its start.
    """

    start: Finite = 1.0
    end: Finite = 0.0
    steps: Positive = 1e6
    varies = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        return no_state(example, counting.zero())

    def apply(self, state: State, block: Transition) -> Applied:
        reward = self.relabel(state.shared, block, ())
        count = counting.of(state.shared).add(block.first.size)
        return Applied(state.replace(shared=count), reward, {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        share = jnp.clip(counting.of(shared).value / self.steps, 0.0, 1.0)
        return jnp.ones_like(batch.reward) * (self.start + share * (self.end - self.start))
