"""SAC's networks, and the steps that its critics, policy and temperature take."""

import dataclasses
import math
import operator
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from gymnax.environments import spaces

from jaxrl_reward import distributions, networks
from jaxrl_reward.agents import actions, replay
from jaxrl_reward.types import Array, Mean

LOSSES = ("q_loss", "q_mean", "actor_loss", "entropy", "temperature")

_Dist = distributions.Categorical | distributions.TanhNormal | distributions.TanhPoint


@dataclasses.dataclass(frozen=True, eq=False)
class Learner:
    """What is learned by gradients.

    Attributes:
      config: `sac.Config`, for what is static in it; its numbers are arguments.
      space: of actions, Discrete or Box.
      confined: whether actions without bounds are kept within -1 and 1.
    """

    config: Any
    space: Any
    confined: bool = True

    def init(self, key_actor: Array, key_critic: Array, inputs: Array, temperature: Array) -> Any:
        """The parameters, and the optimisers' state.

        Args:
          key_actor: for the policy.
          key_critic: for the critics.
          inputs: an example, `[N, D]`.
          temperature: the first.
        """
        choice = self.dist.to_action(self.dist.mode(jnp.zeros((1, self.dist.param_size))))
        critic = self.critic.init(key_critic, self.judged(inputs[:1], choice))
        params = {
            "actor": self.actor.init(key_actor, inputs),
            "critic": critic,
            "target": jax.tree.map(jnp.copy, critic),  # donated beside the critic
            "log_temperature": jnp.log(temperature),
        }
        if self.config.deterministic:
            params["target_actor"] = jax.tree.map(jnp.copy, params["actor"])
        adam = optax.adam(0.0).init
        opt_state = {name: adam(params[name]) for name in ("actor", "critic")}
        return params, opt_state | {"temperature": adam(params["log_temperature"])}

    # ---- the policy and the critics -----------------------------------------------

    @cached_property
    def discrete(self) -> bool:
        return isinstance(self.space, spaces.Discrete)

    @cached_property
    def dist(self) -> _Dist:
        """The distribution of actions, before they are stretched to their bounds."""
        if self.discrete:
            return distributions.Categorical(int(self.space.n))
        kind = distributions.TanhPoint if self.config.deterministic else distributions.TanhNormal
        return kind(math.prod(self.space.shape), support=actions.support(self.space, self.confined))

    @cached_property
    def actor(self) -> networks.Network:
        sizes = (*self.config.hidden, self.dist.param_size)
        return networks.mlp(sizes, self.config.activation, 0.01)

    @cached_property
    def critic(self) -> networks.Network:
        """All of them; with discrete actions the value of each action."""
        config, out = self.config, self.dist.param_size if self.discrete else 1
        sizes, norm = (*config.hidden, out), config.layer_norm
        one = networks.mlp(sizes, config.activation, layer_norm=norm)
        # A subset is cut out of a stack.
        several = networks.ensemble if config.subset < config.critics else networks.members
        return several(one, config.critics)

    @cached_property
    def target_entropy(self) -> float:
        """The customary one, in nats."""
        if isinstance(self.dist, distributions.Categorical):
            return 0.98 * math.log(self.dist.num_actions)
        return -float(self.dist.dim)

    def anything(self, key: Array, shape: tuple[int, ...]) -> Array:
        """Draws of uniformly random actions; beyond a single bound, of a logistic's softplus."""
        if isinstance(self.dist, distributions.Categorical):
            return jax.random.randint(key, shape, 0, self.dist.num_actions)
        unit = jax.random.uniform(key, (*shape, self.dist.dim), minval=-1.0, maxval=1.0)
        raw = jnp.arctanh(0.9999 * unit)  # what a tanh makes uniform
        if not self.config.deterministic:
            return raw
        return unit if self.dist.support.bounded else self.dist.support.squash(raw)

    def judged(self, inputs: Array, choice: Array) -> Array:
        """What the critics see: the inputs, and with them an action in unit numbers."""
        return inputs if self.discrete else jnp.concatenate([inputs, choice], axis=-1)

    def value_of(self, critic: Any, inputs: Array, choice: Array) -> Array:
        """Each critic's value of an action, `[critics, ...]`, from normalised inputs."""
        q = self.critic.apply(critic, self.judged(inputs, choice))
        if not self.discrete:
            return q[..., 0]
        # A select, not a gather: without a scatter backwards.
        chosen = jax.nn.one_hot(choice, q.shape[-1], dtype=bool)
        return jnp.where(chosen[None], q, 0.0).sum(-1)

    def expect(
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
        policy = self.actor.apply(actor, inputs)
        if self.discrete:
            q = over(self.critic.apply(critic, inputs))
            return (jax.nn.softmax(policy) * q).sum(-1), self.dist.entropy(policy)
        raw = self.dist.sample(policy, noise)
        q = self.critic.apply(critic, self.judged(inputs, self.dist.to_action(raw)))
        return over(q[..., 0]), -self.dist.log_prob(policy, raw)

    # ---- learning -----------------------------------------------------------------

    def update(
        self, config: Any, params: Any, opt_state: Any, batches: replay.Batch, key: Array
    ) -> tuple[Any, Any, dict[str, Mean]]:
        """Gradient steps on batches `[updates, B, ...]`: parameters, Adam's, metrics."""
        delay, groups = config.policy_delay, config.updates // config.policy_delay

        def group(learner: tuple[Any, Any], xs: Any) -> Any:
            batches, keys, key = xs
            learner, q = jax.lax.scan(partial(self.critic_step, config), learner, (batches, keys))
            latest = jax.tree.map(lambda x: x[-1], batches.inputs)
            learner, rest = self.actor_step(config, learner, latest, key)
            return learner, q | rest

        batches = jax.tree.map(lambda x: x.reshape(groups, delay, *x.shape[1:]), batches)
        key_critic, key_actor = jax.random.split(key)
        keys = jax.random.split(key_critic, (groups, delay)), jax.random.split(key_actor, groups)
        (params, opt_state), metrics = jax.lax.scan(group, (params, opt_state), (batches, *keys))
        return params, opt_state, {name: Mean.of(metrics[name]) for name in LOSSES}

    def target(self, config: Any, params: Any, batch: replay.Batch, key: Array) -> Array:
        """Equations 2 and 3 of Haarnoja et al. (2018), `[B]`.

        A deterministic policy: sections 4.2 and 5.3 of Fujimoto et al. (2018).
        """
        key_noise, key_subset = jax.random.split(key)
        critic = params["target"]
        if config.subset < config.critics:
            # Only the chosen ones are evaluated.
            chosen = jax.random.permutation(key_subset, config.critics)[: config.subset]
            critic = jax.tree.map(lambda x: x[chosen], critic)
        noise = self.dist.noise(key_noise, batch.reward.shape)
        actor, low = params["actor"], partial(jnp.min, axis=0)
        if config.deterministic:
            noise = jnp.clip(config.target_noise * noise, -config.noise_clip, config.noise_clip)
            actor = params["target_actor"]
        value, entropy = self.expect(actor, critic, batch.next_inputs, noise, low)
        temperature = jnp.exp(params["log_temperature"])
        return batch.reward + batch.weight * (value + temperature * entropy)

    def critic_step(self, config: Any, learner: Any, xs: tuple[replay.Batch, Array]) -> Any:
        """One step of every critic towards the same target, and of their targets."""
        (params, opt_state), (batch, key) = learner, xs
        target = self.target(config, params, batch, key)

        def loss(critic: Any) -> tuple[Array, Array]:
            q = self.value_of(critic, batch.inputs, batch.choice)
            return 0.5 * jnp.square(q - target[None]).mean(1).sum(), q.mean()

        (q_loss, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params["critic"])
        critic, adam = _step(config.critic_learning_rate, gradient, opt_state, params, "critic")
        params = {**params, "critic": critic}
        if not config.deterministic:
            params = _follow(config, params, "critic", "target")
        learner = params, {**opt_state, "critic": adam}
        return learner, {"q_loss": q_loss / config.critics, "q_mean": q_mean}

    def actor_step(self, config: Any, learner: Any, inputs: Array, key: Array) -> Any:
        """One step of the policy and of the temperature.

        A deterministic policy climbs the first critic, and all targets follow now.
        """
        params, opt_state = learner
        over = partial(jnp.min if config.subset == config.critics else jnp.mean, axis=0)
        noise = self.dist.noise(key, inputs.shape[:1])
        if config.deterministic:
            over, noise = operator.itemgetter(0), jnp.zeros_like(noise)
        temperature = jnp.exp(params["log_temperature"])

        def loss(actor: Any) -> tuple[Array, Array]:
            value, entropy = self.expect(actor, params["critic"], inputs, noise, over)
            return -(value + temperature * entropy).mean(), entropy.mean()

        (actor_loss, entropy), gradient = jax.value_and_grad(loss, has_aux=True)(params["actor"])
        actor, adam = _step(config.learning_rate, gradient, opt_state, params, "actor")
        params, opt_state = {**params, "actor": actor}, {**opt_state, "actor": adam}
        if config.deterministic:
            params = _follow(config, params, "critic", "target")
            params = _follow(config, params, "actor", "target_actor")
        elif config.tune_temperature:
            # The gradient of `temperature * (entropy - target)`, equation 18.
            excess = entropy - config.target_entropy_scale * self.target_entropy
            log, adam = params["log_temperature"], opt_state["temperature"]
            change, adam = optax.adam(config.learning_rate).update(temperature * excess, adam)
            params = {**params, "log_temperature": log + change}
            opt_state = {**opt_state, "temperature": adam}
        metrics = {"actor_loss": actor_loss, "entropy": entropy, "temperature": temperature}
        return (params, opt_state), metrics


def no_losses() -> dict[str, Mean]:
    """What an iteration without an update logs."""
    return {name: Mean(jnp.float32(0.0), jnp.float32(0.0)) for name in LOSSES}


def _follow(config: Any, params: Any, fast: str, slow: str) -> Any:
    """The parameters after the slow ones have moved towards the fast ones."""
    moved = optax.incremental_update(params[fast], params[slow], config.target_rate)
    return {**params, slow: moved}


def _step(rate: Any, gradient: Any, opt_state: Any, params: Any, name: str) -> tuple[Any, Any]:
    """Adam with a traced rate: another value compiles nothing."""
    change, adam = optax.adam(rate).update(gradient, opt_state[name])
    return optax.apply_updates(params[name], change), adam
