"""Conservative Q-learning (Kumar et al. 2020, arXiv:2006.04779), of Discrete actions.

CQL(H), equation 4: to the squared error of a double Q-learning target it adds
`alpha (log sum_a exp Q(s, a) - Q(s, b))`, b the data's action. So the values of
actions that the data lacks are pressed down, and those of the data's held up. With an
`alpha` of 0 it is fitted Q-iteration. It takes the likeliest action by its value; a
drawn one is of the softmax of values, which is the law that the term presses on.
"""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import actions, base, replay
from jaxrl_reward.agents.common.shared_settings import FromData
from jaxrl_reward.agents.from_data.iql_losses import SMALL, huber
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.agents.shells.from_data import State
from jaxrl_reward.envs import spaces
from jaxrl_reward.nn import distributions, networks
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array

__all__ = ["Config", "Learner", "State", "check", "make"]


class Config(FromData):
    """CQL's settings. Floats are leaves: `vmap` over them to sweep."""

    alpha: float = setting(1.0, "how much values beyond the data are pressed down", low=0.0)
    target_rate: float = setting(
        0.005, "how far the slow copy follows at each step", low=0.0, high=1.0
    )
    huber_delta: float = setting(
        1.0, "errors beyond it count linearly; 0 is never, as in the paper", low=0.0
    )
    double: bool = setting(
        True, "the network chooses the action whose value the slow copy gives; else that does both"
    )


def make(
    config: Config, env: envs.Env, reward: rw.RewardTransform | None = None, data: Any = None
) -> base.Agent:
    """A CQL agent: as `iql.make`, of Discrete actions.

    Raises:
      UserError: as `iql.make`.
    """
    return from_data.make("cql", config, env, reward, data, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("cql", config)


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(from_data.Learner):
    """One network of the values of all actions, and its slow copy."""

    spaces = (spaces.Discrete,)

    @property
    def dist(self) -> distributions.Categorical:
        return distributions.Categorical(int(self.space.n))

    @cached_property
    def network(self) -> networks.Network:
        return self.dense((*self.config.hidden, int(self.space.n)), SMALL)

    def init(self, config: Any, inputs: Array, key: Array) -> tuple[Any, Any]:
        del config
        online = self.network.init(key, inputs)
        slow = jax.tree.map(jnp.copy, online)  # donated beside it
        return {"online": online, "target": slow}, optax.scale_by_adam().init(online)

    def policy(self, params: Any, inputs: Array) -> Array:
        return self.network.apply(params["online"], inputs)

    def update(
        self, config: Any, learned: Any, batch: replay.Batch, key: Array, step: Array
    ) -> tuple[Any, dict[str, Array]]:
        del key, step
        params, adam = learned
        target = self.target(params, batch)
        loss = lambda online: self.loss(config, online, batch, target)  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(params["online"])
        change, adam = optax.scale_by_adam().update(gradient, adam)
        online = jax.tree.map(lambda x, d: x - config.learning_rate * d, params["online"], change)
        slow = optax.incremental_update(online, params["target"], config.target_rate)
        return ({"online": online, "target": slow}, adam), metrics

    def held_out(
        self, config: Any, params: Any, batch: replay.Batch, key: Array
    ) -> dict[str, Array]:
        """The losses, the mean absolute error, and how many choices are those of the data."""
        del key
        target = self.target(params, batch)
        _, found = self.loss(config, params["online"], batch, target)
        q = self.network.apply(params["online"], batch.inputs)
        error = jnp.abs(target - actions.chosen(q, batch.choice)).mean()
        agreement = (q.argmax(-1) == batch.choice).mean()
        return found | {"td_error": error, "agreement": agreement}

    def target(self, params: Any, batch: replay.Batch) -> Array:
        """`r + gamma Q_slow(s', argmax_a Q(s', a))`, `[B]`."""
        slow = self.network.apply(params["target"], batch.next_inputs)
        judge = slow
        if self.config.double:
            judge = self.network.apply(params["online"], batch.next_inputs)
        return batch.reward + batch.weight * actions.chosen(slow, judge.argmax(-1))

    def loss(
        self, config: Any, online: Any, batch: replay.Batch, target: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The error of the values and the term that presses on them, and what to log."""
        q = self.network.apply(online, batch.inputs)
        mine = actions.chosen(q, batch.choice)
        q_loss = huber(target - mine, config.huber_delta).mean()
        gap = (jax.nn.logsumexp(q, axis=-1) - mine).mean()
        metrics = {"q_loss": q_loss, "conservative_gap": gap, "q_mean": mine.mean()}
        return q_loss + config.alpha * gap, metrics
