"""Rewards from demonstrations without an adversary: they do not move."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.nn.networks import mlp
from jaxrl_reward.rewards.core import vectors
from jaxrl_reward.rewards.core.base import State, no_state, static
from jaxrl_reward.rewards.core.checks import Count, CountOrNone
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Learned, LearnedState
from jaxrl_reward.rewards.imitation.demonstrations import NOISE, shown
from jaxrl_reward.types import Array, Metrics, Transition


@register("red", {"demos": NOISE, "width": 4, "features": 4, "fits": 2, "actions": 2})
class red(Learned):  # noqa: N801
    """Random expert distillation: `exp(-l / s)`, l the error in predicting a random network.

    Wang et al. 2019 (arXiv:1905.06750): the predictor is fitted to the random network
    on the expert's steps, before the first step of the agent, so that its error is small
    there. `s` is the standard deviation of its losses as it was fitted, as in Blonde
    et al. 2022. The reward never moves.

    Attributes:
      demos: as of `gail`.
      episodes: as of `gail`.
      every: as of `gail`.
      actions: how many, where they are discrete.
      fits: steps of Adam.
      width: of the three layers' hidden ones.
      features: of the random network.
    """

    demos: Any = static(default=None)
    episodes: CountOrNone = static(default=0)
    every: Count = static(default=1)
    actions: Count = static(default=1)
    fits: Count = static(default=1000)
    width: Count = static(default=100)
    features: Count = static(default=100)
    varies = False

    def init(self, key: Array, example: Transition) -> State:
        one = jax.tree.map(lambda x: jnp.zeros(x.shape[2:], x.dtype), example)
        return no_state(example, LearnedState(self.init_params(key, one), ()))

    def init_params(self, key: Array, example: Transition) -> Any:
        vectors.check_actions(self, example)
        found = shown(self, example)
        parts = vectors.observation, lambda x: vectors.action(x, self.actions)
        both = zip(parts, (found.obs, found.action), strict=True)
        rows = jnp.concatenate([jax.vmap(f)(jnp.asarray(x)) for f, x in both], -1)
        key_goal, key_net, key_fit = jax.random.split(key, 3)
        goal, start = (self._net().init(k, rows[0]) for k in (key_goal, key_net))
        optimiser = optax.adam(self.learning_rate)

        def fit(carry: Any, key: Array) -> tuple[Any, Array]:
            params, opt_state = carry
            batch = rows[jax.random.randint(key, (self.batch_size,), 0, rows.shape[0])]
            error = lambda p: jax.vmap(lambda x: self._error(goal, p, x))(batch).mean()  # noqa: E731
            loss, gradient = jax.value_and_grad(error)(params)
            change, opt_state = optimiser.update(gradient, opt_state)
            return (optax.apply_updates(params, change), opt_state), loss

        keys = jax.random.split(key_fit, self.fits)
        (params, _), losses = jax.lax.scan(fit, (start, optimiser.init(start)), keys)
        return {"goal": goal, "net": params, "scale": jnp.maximum(losses.std(), 1e-6)}

    def reward(self, params: Any, transition: Transition) -> Array:
        seen = vectors.both(transition, self.actions)
        return jnp.exp(-self._error(params["goal"], params["net"], seen) / params["scale"])

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        del key, block
        return state, {}

    def _error(self, goal: Any, params: Any, x: Array) -> Array:
        return jnp.square(self._net().apply(params, x) - self._net().apply(goal, x)).mean()

    def _net(self) -> Any:
        return mlp((self.width, self.width, self.features), "relu", 1.0)
