"""Behaviour cloning: imitates the actions of fixed data, all of them alike.

It is `iql` with a `beta` of 0, without the critics that it then does not need.
The reward is not read but by the metrics: what to compare others with.
"""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import optax

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, replay
from jaxrl_reward.agents.common.shared_settings import Imitation
from jaxrl_reward.agents.from_data import iql_losses
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.agents.shells.from_data import State
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array

__all__ = ["Config", "State", "check", "make"]


class Config(Imitation):
    """BC's settings. Floats are leaves: `vmap` over them to sweep."""

    gamma: float = setting(help="discount per step; only fitted-Q evaluation depends on it")


def make(
    config: Config, env: envs.Env, reward: rw.RewardTransform | None = None, data: Any = None
) -> base.Agent:
    """A BC agent: as `iql.make`.

    Raises:
      UserError: as `iql.make`.
    """
    return from_data.make("bc", config, env, reward, data, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("bc", config)


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(from_data.Learner):
    """One policy and its loss."""

    spaces = iql_losses.Learner.spaces
    measured = "policy_loss"

    @cached_property
    def actor(self) -> iql_losses.Policy:
        return iql_losses.Policy(self.config, self.space, self.obs_shape, self.layout)

    @property
    def dist(self) -> Any:
        return self.actor.dist

    def init(self, config: Any, inputs: Array, key: Array) -> tuple[Any, Any]:
        del config
        # As IQL draws its own: the two begin with the same policy.
        params = self.actor.init(jax.random.split(key, 3)[0], inputs)
        return params, optax.scale_by_adam().init(params)

    def policy(self, params: Any, inputs: Array) -> Array:
        return self.actor.apply(params, inputs)

    def held_out(
        self, config: Any, params: Any, batch: replay.Batch, key: Array
    ) -> dict[str, Array]:
        del config, key
        return self.actor.held_out(params, batch.inputs, batch.choice)

    def update(
        self, config: Any, learned: Any, batch: replay.Batch, key: Array, step: Array
    ) -> tuple[Any, dict[str, Array]]:
        del key
        params, adam = learned
        loss = lambda p: self.actor.loss(p, batch.inputs, batch.choice).mean()  # noqa: E731
        policy_loss, gradient = jax.value_and_grad(loss)(params)
        change, adam = optax.scale_by_adam().update(gradient, adam)
        rate = iql_losses.cosine(config.learning_rate, step, config.policy_decay)
        params = jax.tree.map(lambda x, d: x - rate * d, params, change)
        return (params, adam), {"policy_loss": policy_loss}
