"""A reward from comparisons of whole episodes, without a model of what is preferred."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, static
from jaxrl_reward.rewards.core.checks import Count
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.transforms.standardize import Recent, win_share
from jaxrl_reward.types import Array, Transition


@register("win_rate", {"size": 8})
class win_rate(RewardTransform):  # noqa: N801
    """At an episode's last step, the share of the last `size` episodes whose return is lower.

    Self-play preference optimisation (Swamy et al. 2024, "A Minimaximalist Approach
    to Reinforcement Learning from Human Feedback") for the preference "the higher
    return wins", ties by half: no reward model, and only the order of episodes counts.
    The episodes are those that ended before the block, of all environments; before
    there are any, 0.5. The paper compares within a batch too.
    """

    size: Count = static(default=256)
    scope = "causal"
    varies = True
    reads_history = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        stats = Recent(jnp.zeros(self.size), jnp.int32(0))
        return State(stats, jnp.zeros(example.first.shape[1], jnp.float32))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return state.replace(local=jnp.where(first, 0.0, state.local))

    def apply(self, state: State, block: Transition) -> Applied:
        def step(total: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
            reward, first = xs
            total = jnp.where(first, 0.0, total) + reward
            return total, total

        local, totals = jax.lax.scan(step, state.local, (block.reward, block.first))
        reward = self.relabel(state.shared, block, totals)

        ended = (totals.reshape(-1), block.last.reshape(-1))
        return Applied(State(self.update(state.shared, *ended), local), reward, {}, totals)

    def update(self, stats: Recent, returns: Array, ended: Array) -> Recent:
        """The last `size` episodes, once those of `returns` that have `ended` are in."""
        slots = jnp.arange(self.size)
        present = jnp.concatenate([slots >= self.size - stats.filled, ended])
        values = jnp.concatenate([stats.values, returns])
        latest = jnp.argsort(present, stable=True)[-self.size :]  # the present ones, in order
        return Recent(values[latest], jnp.minimum(present.sum(dtype=jnp.int32), self.size))

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return jnp.where(batch.last, win_share(shared, features), 0.0)
