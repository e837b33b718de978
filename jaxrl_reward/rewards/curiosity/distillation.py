"""Learned novelty."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.nn import running_statistics
from jaxrl_reward.nn.networks import mlp
from jaxrl_reward.rewards.core.base import Applied, State, static
from jaxrl_reward.rewards.core.checks import Count
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Learned
from jaxrl_reward.types import Array, Metrics, Transition

FARTHEST = 5.0  # what a whitened component is at most


class Whitened(Learned):
    """A learned term whose networks see components of one scale.

    Else what is large in an observation hides what is small. Observations are whitened by
    all successors before the block, and clipped to [-5, 5], as in Burda et al. 2018,
    section 2.4, and in their "Large-Scale Study of Curiosity-Driven Learning", section 2.2;
    before there are any they are only clipped.

    Attributes:
      whiten: whether to; else the networks see what the environment shows.
    """

    whiten: bool = static(default=True, kw_only=True)

    def init(self, key: Array, example: Transition) -> State:
        state = super().init(key, example)
        if not self.whiten:
            return state
        stats = running_statistics.init(example.next_obs.shape[2:])
        return state.replace(shared=state.shared.replace(stats=stats))

    def apply(self, state: State, block: Transition) -> Applied:
        out = super().apply(state, self.seen(state.shared, block))
        if not self.whiten:
            return out
        stats = running_statistics.update(state.shared.stats, block.next_obs)
        return out._replace(state=state.replace(shared=state.shared.replace(stats=stats)))

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return super().relabel(shared, self.seen(shared, batch), features)

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        return super().learn(state, key, self.seen(state.shared, block))

    def seen(self, shared: Any, batch: Transition) -> Transition:
        """Transitions `[..., *obs_shape]` as the networks see them."""
        if not self.whiten:
            return batch
        obs, next_obs = (
            running_statistics.normalize(shared.stats, x, FARTHEST)
            for x in (batch.obs, batch.next_obs)
        )
        return batch.replace(obs=obs, next_obs=next_obs)


@register("rnd", {"width": 8, "features": 4, "updates": 1, "batch_size": 8})
class rnd(Whitened):  # noqa: N801
    """Random network distillation: `mean((f(s') - g(s'))^2)`, g fixed and random.

    Burda et al. 2018, equation 1. Divide it by the deviation of its own return, which in
    the paper runs on through the ends of episodes: `rnd() | normalize(episodic=False)`.
    """

    width: Count = static(default=64)
    features: Count = static(default=32)

    def init_params(self, key: Array, example: Transition) -> Any:
        target, predictor = jax.random.split(key)
        obs = example.next_obs.reshape(-1)
        return {n: self._net().init(k, obs) for n, k in [("f", predictor), ("g", target)]}

    def reward(self, params: Any, transition: Transition) -> Array:
        obs = transition.next_obs.reshape(-1)
        goal = jax.lax.stop_gradient(self._net().apply(params["g"], obs))
        return ((self._net().apply(params["f"], obs) - goal) ** 2).mean()

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        del key
        return jnp.mean(jax.vmap(lambda t: self.reward(params, t))(batch))

    def _net(self) -> Any:
        return mlp((self.width, self.features), "relu", 1.0)
