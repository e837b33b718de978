"""Pessimism where the world is steep: PURPLE, an operator on any reward."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward.nn.networks import mlp
from jaxrl_reward.rewards.core import vectors
from jaxrl_reward.rewards.core.base import State, static
from jaxrl_reward.rewards.core.checks import Count, NotNegative, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Learned
from jaxrl_reward.types import Array, Metrics, Transition

WINDOW = 10  # penalties whose spread is the scale
LEAST_SPREAD = 0.1


@register("purple", {"width": 4, "updates": 1, "batch_size": 4, "actions": 2})
class purple(Learned):  # noqa: N801
    """`kappa * r`, with `kappa = max(least, exp(-max(0, n - steepest)^2 / s))`.

    Pessimistic reward preconditioning enforcing Lipschitzness (Blonde et al. 2022,
    arXiv:2006.16785): n is the length of the gradient, by state and action, of the sum of
    what a learned model of the dynamics predicts, and s the standard deviation of the last
    ten batches' mean penalties, at least 0.1. A critic's slope is at most that of the
    reward times what the dynamics add; where these are steep, less is paid. Here kappa is
    of each step, where the authors' program takes one for all of a call: what a step
    earns may not depend on which others are asked for.

    Attributes:
      steepest: the slope tau that costs nothing.
      least: what kappa never falls below.
      actions: how many, where they are discrete.
      width: of the model's two hidden layers.
    """

    steepest: NotNegative = 7.0
    least: Share = 0.7
    actions: Count = static(default=1)
    width: Count = static(default=100)

    def init_params(self, key: Array, example: Transition) -> Any:
        vectors.check_actions(self, example)
        size = example.next_obs.size
        return {
            "model": self._model(size).init(key, vectors.both(example, self.actions)),
            "past": jnp.zeros(WINDOW),
        }

    def reward(self, params: Any, transition: Transition) -> Array:
        spread = jnp.maximum(params["past"].std(), LEAST_SPREAD)
        kappa = jnp.exp(-self.excess(params, transition) / spread)
        return jnp.maximum(kappa, self.least) * transition.reward

    def excess(self, params: Any, transition: Transition) -> Array:
        """`max(0, n - steepest)^2` at ONE step."""
        size = transition.next_obs.size
        total = lambda x: self._model(size).apply(params["model"], x).sum()  # noqa: E731
        slope = jnp.linalg.norm(jax.grad(total)(vectors.both(transition, self.actions)))
        return jnp.square(jnp.maximum(slope - self.steepest, 0.0))

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        del key

        def error(one: Transition) -> Array:
            after = vectors.observation(one.next_obs)
            guess = self._model(after.size).apply(params["model"], vectors.both(one, self.actions))
            return jnp.square(guess - after).mean()

        return jax.vmap(error)(batch).mean()

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        state, metrics = super().learn(state, key, block)
        params = state.shared.params
        count = min(self.batch_size, block.first.size)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], block)
        steep = jax.vmap(lambda one: self.excess(params, one))(flat).mean()
        past = jnp.roll(params["past"], 1).at[0].set(steep)
        shared = state.shared.replace(params={**params, "past": past})
        return state.replace(shared=shared), {**metrics, f"{self.name}/excess": steep}

    def _model(self, size: int) -> Any:
        return mlp((self.width, self.width, size), "swish", 1.0)
