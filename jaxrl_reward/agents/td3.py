"""Twin delayed deep deterministic policy gradients (Fujimoto et al. 2018, arXiv:1802.09477).

A deterministic policy climbs the first of two critics, which learn the lesser of their
slow copies' values at the slow policy's action with clipped noise on it.
"""

import dataclasses
import math
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from gymnax.environments import spaces

from jaxrl_reward import distributions, networks
from jaxrl_reward.agents import actions, actor_critic, base, replay, rollout
from jaxrl_reward.agents.actor_critic import Learned, adam_step, follow
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.types import Array, UserError


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """TD3's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      num_envs: environments played side by side, N.
      num_steps: steps of each before the updates, T.
      updates: gradient steps of the critics after every N * T steps.
      policy_delay: of those for one of the policy and of all slow copies; divides `updates`.
      batch_size: steps of a batch.
      buffer_size: steps to keep; the oldest are overwritten.
      learning_starts: steps of random actions before the first update.
      n_step: rewards before the value in a target, within an episode.
      hidden: widths of the hidden layers of actor and critics.
      activation: between layers, a name that `networks` knows.
      placement: `block`, the policy is blind to the reward's memory, or `step`, it sees it.
      normalize_obs: by the mean and variance of what the policy saw so far.
      reset: `fresh` or `cached` initial states, see `envs.vectorize`.
      learning_rate: Adam's, of the policy.
      critic_learning_rate: Adam's, of the critics.
      gamma: discount per step.
      target_rate: how far the slow copies follow when they do.
      exploration_noise: deviation of the noise on actions; their bounds are at -1 and 1.
      target_noise: the same in a target.
      noise_clip: the most of the latter.
    """

    num_envs: int = _static(2)
    num_steps: int = _static(1)
    updates: int = _static(2)
    policy_delay: int = _static(2)
    batch_size: int = _static(256)
    buffer_size: int = _static(100_000)
    learning_starts: int = _static(1_000)
    n_step: int = _static(1)
    hidden: tuple[int, ...] = _static((128, 128))
    activation: str = _static("relu")
    placement: Literal["block", "step"] = _static("block")
    normalize_obs: bool = _static(False)
    reset: Literal["fresh", "cached"] = _static("fresh")
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    gamma: float = 0.99
    target_rate: float = 0.005
    exploration_noise: float = 0.1
    target_noise: float = 0.2
    noise_clip: float = 0.5


def make(config: Config, env: Any, reward: Any = None) -> base.Agent:
    """A TD3 agent, of an environment with Box actions; the rest as `sac.make`."""
    return off_policy.make("td3", config, env, reward, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    rollout.check("td3", config)
    replay.check("td3", config)
    base.check_positive("td3", "policy_delay", config.policy_delay)
    delay, updates = config.policy_delay, config.updates
    if updates % delay:
        raise UserError(f"td3's policy_delay={delay} must divide updates={updates}")
    noises = ("exploration_noise", "target_noise", "noise_clip")
    for name in ("learning_rate", "critic_learning_rate", *noises):
        base.check_range("td3", name, getattr(config, name), 0.0)
    base.check_range("td3", "target_rate", config.target_rate, 0.0, 1.0)


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
        return networks.mlp((*self.config.hidden, self.dist.dim), self.config.activation, 0.01)

    @cached_property
    def critic(self) -> networks.Network:
        return networks.members(networks.mlp((*self.config.hidden, 1), self.config.activation), 2)

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
        """One step of the policy, and of all slow copies."""
        critic = learned[0]["critic"]

        def loss(actor: Any) -> Array:
            choice = self.dist.mode(self.actor.apply(actor, inputs))
            return -self.value_of(critic, inputs, choice)[0].mean()

        actor_loss, gradient = jax.value_and_grad(loss)(learned[0]["actor"])
        learned = adam_step(config.learning_rate, gradient, learned, "actor")
        for name in ("actor", "critic"):
            learned = follow(config.target_rate, learned, name, f"target_{name}")
        return learned, {"actor_loss": actor_loss}
