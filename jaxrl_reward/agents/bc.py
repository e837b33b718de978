"""Behaviour cloning: imitates the actions of fixed data, all of them alike.

It is `iql` with a `beta` of 0, without the critics that it then does not need.
The reward is not read but by the metrics: what to compare others with.
"""

import dataclasses
from functools import cached_property
from typing import Any, Literal

import jax
import optax
from flax import struct

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, iql_losses, replay
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.agents.shells.from_data import State
from jaxrl_reward.types import Array

__all__ = ["Config", "State", "check", "make"]


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """BC's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      updates: gradient steps of one iteration; a step of a run is one of them.
      batch_size: rows of a batch.
      hidden: widths of the hidden layers.
      activation: between layers, a name that `networks` knows.
      policy: `deterministic`, the tanh of the network's output, or `gaussian`,
        with a standard deviation that is the same in every state.
      normalize_obs: by the mean and standard deviation of the data.
      source: from which of several data sets it learns, 0 is the first.
      learning_rate: Adam's.
      policy_decay: steps in which the rate falls to 0 along a cosine; 0 keeps it,
        -1 is the length of the run, or a million where that is not known.
      gamma: discount per step; nothing depends on it.
    """

    updates: int = _static(100)
    batch_size: int = _static(256)
    hidden: tuple[int, ...] = _static((256, 256))
    activation: str = _static("relu")
    policy: Literal["deterministic", "gaussian"] = _static("deterministic")
    normalize_obs: bool = False
    source: int = 0
    learning_rate: float = 3e-4
    policy_decay: float = base.of_run()
    gamma: float = 0.99


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
    from_data.check("bc", config)
    base.check_choice("bc", "policy", config.policy, iql_losses.POLICIES)
    base.check_length("bc", "policy_decay", config.policy_decay, 0.0)
    base.check_range("bc", "gamma", config.gamma, 0.0, 1.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(from_data.Learner):
    """One policy and its loss."""

    @cached_property
    def actor(self) -> iql_losses.Policy:
        return iql_losses.Policy(self.config, self.space)

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
