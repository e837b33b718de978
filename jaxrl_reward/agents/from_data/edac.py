"""EDAC (An et al. 2021, arXiv:2110.01548): a soft actor-critic that doubts what data lacks.

Many critics, and the least of them counts: where they disagree, away from the
data, values are low. So that few critics suffice, they are kept apart: the
gradients by the action of each two should not point the same way, weighed by
`eta`. With an `eta` of 0 it is SAC-N of the same paper. The rest is `sac`'s.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, replay, rollout
from jaxrl_reward.agents.common.shared_settings import FromData, SoftCritics
from jaxrl_reward.agents.off_policy import sac_losses
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.agents.shells.from_data import State
from jaxrl_reward.envs.bounds import scale_action, unit_action
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array

__all__ = ["Attacker", "Config", "State", "attacker", "check", "diversity", "make"]


class Config(FromData, SoftCritics):
    """EDAC's settings. Floats are leaves: `vmap` over them to sweep."""

    critics: int = 10
    hidden: tuple[int, ...] = (256, 256, 256)
    critic_learning_rate: float = 3e-4
    target_rate: float = setting(help="how far the target critics follow at each step")
    target_entropy_scale: float = setting(help="of minus the number of action dimensions")
    eta: float = setting(1.0, "how much critics are kept apart; 0 is SAC-N", low=0.0)

    @property
    def subset(self) -> int:
        """As `sac`'s: a target is the minimum over all critics."""
        return self.critics


def make(
    config: Config, env: envs.Env, reward: rw.RewardTransform | None = None, data: Any = None
) -> base.Agent:
    """An EDAC agent: as `iql.make`.

    Raises:
      UserError: as `iql.make`.
    """
    return from_data.make("edac", config, env, reward, data, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("edac", config)


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(from_data.Learner):
    """SAC's networks and its policy's step, with a critics' step of its own."""

    @cached_property
    def sac(self) -> sac_losses.Learner:
        seen = {"obs_shape": self.obs_shape, "layout": self.layout}
        return sac_losses.Learner(self.config, self.space, confined=False, **seen)

    @property
    def dist(self) -> Any:
        return self.sac.dist

    def init(self, config: Any, inputs: Array, key: Array) -> tuple[Any, Any]:
        key_actor, key_critic = jax.random.split(key)
        return self.sac.init(config, inputs, key_actor, key_critic)

    def held_out(
        self, config: Any, params: Any, batch: replay.Batch, key: Array
    ) -> dict[str, Array]:
        """The critics' loss and mean absolute error."""
        target = self.sac.target(config, params, batch, key)
        q = self.sac.value_of(params["critic"], batch.inputs, batch.choice)
        error = target[None] - q
        return {
            "q_loss": jnp.square(error).mean(),
            "td_error": jnp.abs(error).mean(),
            "q_mean": q.mean(),
        }

    def policy(self, params: Any, inputs: Array) -> Array:
        return self.sac.actor.apply(params["actor"], inputs)

    def update(
        self, config: Any, learned: Any, batch: replay.Batch, key: Array, step: Array
    ) -> tuple[Any, dict[str, Array]]:
        """The policy and the temperature, then the critics and their slow copies."""
        del step
        key_actor, key_critic = jax.random.split(key)
        learned, metrics = self.sac.actor_step(config, learned, batch.inputs, key_actor)
        params, opt_state = learned
        target = self.sac.target(config, params, batch, key_critic)

        def loss(critic: Any) -> tuple[Array, dict[str, Array]]:
            q, slopes = self.slopes(critic, batch.inputs, batch.choice)
            q_loss, alike = jnp.square(q - target[None]).mean(1).sum(), diversity(slopes)
            found = {"q_loss": q_loss / config.critics, "q_mean": q.mean(), "alike": alike}
            return q_loss + config.eta * alike, found

        gradient, found = jax.grad(loss, has_aux=True)(params["critic"])
        adam = optax.adam(config.critic_learning_rate)
        change, adam_state = adam.update(gradient, opt_state["critic"])
        critic = optax.apply_updates(params["critic"], change)
        slow = optax.incremental_update(critic, params["target"], config.target_rate)
        params = {**params, "critic": critic, "target": slow}
        return (params, {**opt_state, "critic": adam_state}), metrics | found

    def slopes(self, critic: Any, inputs: Array, choice: Array) -> tuple[Array, Array]:
        """Each critic's values `[K, B]` and their gradients by the action, `[K, B, A]`."""

        def total(choices: Array) -> tuple[Array, Array]:
            each = zip(critic, choices, strict=True)
            q = jnp.stack([self.sac.value_of((one,), inputs, choice)[0] for one, choice in each])
            return q.sum(), q

        # A copy of the action for each, so that one sum has all of the gradients.
        copies = jnp.broadcast_to(choice, (self.config.critics, *choice.shape))
        slopes, q = jax.grad(total, has_aux=True)(copies)
        return q, slopes


def diversity(slopes: Array) -> Array:
    """How alike critics are, from gradients `[K, B, A]`: what `eta` weighs.

    The mean over B of `1 / (K - 1) * sum_{i != j} <g_i, g_j>`, where g_i has length
    1; it is the squared length of the sum of all g_i, less the K squared lengths.
    """
    unit = slopes * jax.lax.rsqrt(jnp.square(slopes).sum(-1, keepdims=True) + 1e-12)
    pairs = jnp.square(unit.sum(0)).sum(-1) - jnp.square(unit).sum((0, 2))
    return pairs.mean() / max(slopes.shape[0] - 1, 1)


# ---- as an attacker ----------------------------------------------------------------


class Attacker(NamedTuple):
    """What an adversary knows of the task.

    Attributes:
      value: `value(obs[..., *O], action[..., *A]) -> [...]`, the mean of the critics.
      policy: `policy(obs[..., *O]) -> action[..., *A]`, the likeliest.
    """

    value: Callable[[Array, Array], Array]
    policy: Callable[[Array], Array]


def attacker(agent: base.Agent, state: State) -> Attacker:
    """The critics and the policy of one trained seed, leaves `[...]`, as functions."""
    space = agent.env.action_space
    shape = agent.env.observation_space.shape
    learner = Learner(agent.config, space, obs_shape=shape, layout=agent.env.parts)
    rank = len(shape)

    def value(obs: Array, action: Array) -> Array:
        lead = obs.shape[: obs.ndim - rank]
        inputs = from_data.normalize(state, obs.reshape(*lead, -1))
        choice = unit_action(space, action.reshape(-1, math.prod(space.shape)))
        choice = choice.reshape(*lead, -1)
        return learner.sac.value_of(state.params["critic"], inputs, choice).mean(0)

    def policy(obs: Array) -> Array:
        lead = obs.shape[: obs.ndim - rank]
        inputs = from_data.normalize(state, rollout.flatten(obs, len(lead)))
        unit = learner.dist.to_action(learner.dist.mode(learner.policy(state.params, inputs)))
        return scale_action(space, unit)

    return Attacker(value, policy)
