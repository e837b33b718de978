"""SAC's networks: how its policy acts, and the steps that critics, policy and temperature take."""

import dataclasses
import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.agents.common import actions, replay, steepness
from jaxrl_reward.agents.off_policy import actor_critic
from jaxrl_reward.agents.off_policy.actor_critic import Learned, adam_step, move_target
from jaxrl_reward.envs import spaces
from jaxrl_reward.nn import distributions, networks
from jaxrl_reward.types import Array, Mean

LOSSES = ("q_loss", "q_mean", "actor_loss", "entropy", "temperature")


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(actor_critic.Learner):
    """A policy, critics and their target copies, and a temperature.

    Attributes:
      confined: whether actions without bounds are kept within -1 and 1.
    """

    confined: bool = True
    losses = LOSSES

    def init(
        self, config: Any, inputs: Array, key_actor: Array, key_critic: Array
    ) -> tuple[Any, Any]:
        choice = self.dist.to_action(self.dist.mode(jnp.zeros((1, self.dist.param_size))))
        critic = self.critic.init(key_critic, self.critic_input(inputs[:1], choice))
        params = {
            "actor": self.actor.init(key_actor, inputs),
            "critic": critic,
            "target": jax.tree.map(jnp.copy, critic),  # donated beside the critic
            "log_temperature": jnp.log(config.temperature),
        }
        names = ("actor", "critic", "log_temperature")
        return params, {name: optax.adam(0.0).init(params[name]) for name in names}

    # ---- the policy and the critics -----------------------------------------------

    @cached_property
    def discrete(self) -> bool:
        return isinstance(self.space, spaces.Discrete)

    @cached_property
    def dist(self) -> distributions.Categorical | distributions.TanhNormal:
        """The distribution of actions, before they are stretched to their bounds."""
        if self.discrete:
            return distributions.Categorical(int(self.space.n))
        support = actions.support(self.space, self.confined)
        return distributions.TanhNormal(math.prod(self.space.shape), support=support)

    @cached_property
    def actor(self) -> networks.Network:
        sizes = (*self.config.hidden, self.dist.param_size)
        return self.dense(sizes, 0.01)

    @cached_property
    def critic(self) -> networks.Network:
        """All of them; with discrete actions the value of each action."""
        config, out = self.config, self.dist.param_size if self.discrete else 1
        one = self.dense((*config.hidden, out), layer_norm=config.layer_norm)
        # A subset is cut out of a stack.
        several = networks.ensemble if config.subset < config.critics else networks.members
        return several(one, config.critics)

    def target_entropy(self, inputs: Array) -> float | Array:
        """The customary one, in nats; of the actions allowed, on average over inputs `[B, D]`."""
        if not isinstance(self.dist, distributions.Categorical):
            return -float(self.dist.dim)
        allowed = self.allowed(inputs)
        if allowed is None:
            return 0.98 * math.log(self.dist.num_actions)
        return 0.98 * jnp.log(allowed.sum(-1).astype(jnp.float32)).mean()

    def critic_input(self, inputs: Array, choice: Array) -> Array:
        """What the critics see: the inputs, and with them an action in unit numbers."""
        return inputs if self.discrete else jnp.concatenate([inputs, choice], axis=-1)

    def value_of(self, critic: Any, inputs: Array, choice: Array) -> Array:
        """Each critic's value of an action, `[critics, ...]`, from normalised inputs."""
        q = self.critic.apply(critic, self.critic_input(inputs, choice))
        if not self.discrete:
            return q[..., 0]
        # A select, not a gather: without a scatter backwards.
        chosen = jax.nn.one_hot(choice, q.shape[-1], dtype=bool)
        return jnp.where(chosen[None], q, 0.0).sum(-1)

    def soft_value(
        self, actor: Any, critic: Any, inputs: Array, noise: Array, over: Callable
    ) -> tuple[Array, Array]:
        """The policy's value and its entropy, `[B]` each, from one draw if continuous.

        Args:
          actor: the policy's parameters.
          critic: those of some critics.
          inputs: normalised, `[B, D]`.
          noise: the draw's.
          over: from the critics' values `[critics, ...]` to one.
        """
        policy = actions.allow(self.actor.apply(actor, inputs), self.allowed(inputs))
        if self.discrete:
            q = over(self.critic.apply(critic, inputs))
            return (jax.nn.softmax(policy) * q).sum(-1), self.dist.entropy(policy)
        raw = self.dist.sample(policy, noise)
        q = self.critic.apply(critic, self.critic_input(inputs, self.dist.to_action(raw)))
        return over(q[..., 0]), -self.dist.log_prob(policy, raw)

    def measure(
        self, state: Any, recorder: replay.Recorder, played: Any, key: Array
    ) -> dict[str, Mean]:
        del played
        return steepness.measure(recorder, self, state, key) if self.config.slopes else {}

    # ---- learning -----------------------------------------------------------------

    def target(self, config: Any, params: Any, batch: replay.Batch, key: Array) -> Array:
        """Equations 2 and 3 of Haarnoja et al. (2018), `[B]`."""
        key_noise, key_subset = jax.random.split(key)
        critic = params["target"]
        if config.subset < config.critics:
            # Only the chosen ones are evaluated.
            chosen = jax.random.permutation(key_subset, config.critics)[: config.subset]
            critic = jax.tree.map(lambda x: x[chosen], critic)
        noise = self.dist.noise(key_noise, batch.reward.shape)
        low = partial(jnp.min, axis=0)
        value, entropy = self.soft_value(params["actor"], critic, batch.next_inputs, noise, low)
        temperature = jnp.exp(params["log_temperature"])
        return batch.reward + batch.weight * (value + temperature * entropy)

    def critic_step(self, config: Any, learned: Learned, xs: tuple[replay.Batch, Array]) -> Any:
        """One step of every critic towards the same target, and of their target copies."""
        learned, metrics = super().critic_step(config, learned, xs)
        return move_target(config.target_rate, learned, "critic", "target"), metrics

    def actor_step(self, config: Any, learned: Learned, inputs: Array, key: Array) -> Any:
        """One step of the policy and of the temperature."""
        params = learned[0]
        over = partial(jnp.min if config.subset == config.critics else jnp.mean, axis=0)
        noise = self.dist.noise(key, inputs.shape[:1])
        temperature = jnp.exp(params["log_temperature"])

        def loss(actor: Any) -> tuple[Array, Array]:
            value, entropy = self.soft_value(actor, params["critic"], inputs, noise, over)
            return -(value + temperature * entropy).mean(), entropy.mean()

        (actor_loss, entropy), gradient = jax.value_and_grad(loss, has_aux=True)(params["actor"])
        learned = adam_step(config.learning_rate, gradient, learned, "actor")
        if config.tune_temperature:
            # The gradient of `temperature * (entropy - target)`, equation 18.
            excess = entropy - config.target_entropy_scale * self.target_entropy(inputs)
            learned = adam_step(
                config.learning_rate, temperature * excess, learned, "log_temperature"
            )
        metrics = {"actor_loss": actor_loss, "entropy": entropy, "temperature": temperature}
        return learned, metrics
