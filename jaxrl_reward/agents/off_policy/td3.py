"""Twin delayed deep deterministic policy gradients (Fujimoto et al. 2018, arXiv:1802.09477).

A deterministic policy climbs the first of two critics, which learn the lesser of their
target copies' values at the slow policy's action with clipped noise on it.
"""

import dataclasses
import math
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward import settings
from jaxrl_reward.agents.common import actions, base, replay
from jaxrl_reward.agents.common.shared_settings import ActorCritic
from jaxrl_reward.agents.off_policy import actor_critic
from jaxrl_reward.agents.off_policy.actor_critic import Learned, adam_step, move_target
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.envs import spaces
from jaxrl_reward.nn import distributions, networks
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, UserError


class Config(ActorCritic):
    """TD3's settings. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = 2
    updates: int = 2
    policy_delay: int = setting(
        2,
        "gradient steps of the critics for one of the policy and of all target copies; must divide "
        "`updates`",
        low=1,
    )
    target_rate: float = setting(help="how far the target copies follow when they do")
    exploration_noise: float = setting(
        0.1, "deviation of the noise on actions; their bounds are at -1 and 1", low=0.0
    )
    target_noise: float = setting(0.2, "the same in a target", low=0.0)
    noise_clip: float = setting(0.5, "the most of the latter", low=0.0)

    def validate(self, owner: str) -> None:
        super().validate(owner)
        delay, updates = self.policy_delay, self.updates
        if updates % delay:
            raise UserError(f"{owner}'s policy_delay={delay} must divide updates={updates}")


def make(config: Config, env: Any, reward: Any = None) -> base.Agent:
    """A TD3 agent, of an environment with Box actions; the rest as `sac.make`."""
    return off_policy.make("td3", config, env, reward, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("td3", config)


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(actor_critic.Learner):
    """A policy, two critics, and a slow copy of each."""

    spaces = (spaces.Box,)
    losses = ("q_loss", "q_mean", "actor_loss")

    @cached_property
    def dist(self) -> distributions.TanhPoint:
        support = actions.support(self.space, confined=True)
        return distributions.TanhPoint(math.prod(self.space.shape), support=support)

    @cached_property
    def actor(self) -> networks.Network:
        return self.dense((*self.config.hidden, self.dist.dim), 0.01)

    @cached_property
    def critic(self) -> networks.Network:
        one = self.dense((*self.config.hidden, 1), layer_norm=self.config.layer_norm)
        return networks.members(one, 2)

    def value_of(self, critic: Any, inputs: Array, choice: Array) -> Array:
        return self.critic.apply(critic, jnp.concatenate([inputs, choice], -1))[..., 0]

    def init(self, config: Any, inputs: Array, key_actor: Array, key_critic: Array) -> Any:
        both = jnp.zeros((1, inputs.shape[-1] + self.dist.dim))
        fast = {"actor": self.actor.init(key_actor, inputs)}
        fast["critic"] = self.critic.init(key_critic, both)
        slow = {f"target_{name}": jax.tree.map(jnp.copy, fast[name]) for name in fast}
        return fast | slow, {name: optax.adam(0.0).init(fast[name]) for name in fast}

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> Array:
        return self.dist.noise(key, shape) * state.config.exploration_noise

    def target(self, config: Any, params: Any, batch: replay.Batch, key: Array) -> Array:
        """Sections 4.2 and 5.3 of the paper, `[B]`."""
        noise = config.target_noise * self.dist.noise(key, batch.reward.shape)
        noise = jnp.clip(noise, -config.noise_clip, config.noise_clip)
        slow = self.actor.apply(params["target_actor"], batch.next_inputs)
        choice = self.dist.sample(slow, noise)
        values = self.value_of(params["target_critic"], batch.next_inputs, choice)
        return batch.reward + batch.weight * values.min(0)

    def actor_step(self, config: Any, learned: Learned, inputs: Array, key: Array) -> Any:
        """One step of the policy, and of all target copies."""
        critic = learned[0]["critic"]

        def loss(actor: Any) -> Array:
            choice = self.dist.mode(self.actor.apply(actor, inputs))
            return -self.value_of(critic, inputs, choice)[0].mean()

        actor_loss, gradient = jax.value_and_grad(loss)(learned[0]["actor"])
        learned = adam_step(config.learning_rate, gradient, learned, "actor")
        for name in ("actor", "critic"):
            learned = move_target(config.target_rate, learned, name, f"target_{name}")
        return learned, {"actor_loss": actor_loss}
