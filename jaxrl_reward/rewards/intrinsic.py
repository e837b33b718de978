"""Learned novelty."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.networks import mlp
from jaxrl_reward.rewards.base import static
from jaxrl_reward.rewards.checks import Count
from jaxrl_reward.rewards.registry import register
from jaxrl_reward.rewards.ways import Learned
from jaxrl_reward.types import Array, Transition


@register("rnd", {"width": 8, "features": 4, "updates": 1, "batch_size": 8})
class rnd(Learned):  # noqa: N801
    """Random network distillation: `mean((f(s') - g(s'))^2)`, g fixed and random.

    Burda et al. 2018, equation 1. Normalise it by its own return, as the paper
    does: `rnd() | normalize(gamma=0.99)`.
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
