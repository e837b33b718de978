"""What agents share that climb critics which learn from replay: SAC, TD3."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.agents.common import actions, replay
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.envs import masks
from jaxrl_reward.types import Array

Learned = tuple[Any, Any]  # parameters, and the optimisers' state


class Learner(off_policy.Learner):
    """Learns `params` of an `actor`, whose output a draw is made from, and of a `critic`.

    Random actions come first; then so many steps of the critics, `policy_delay`, for one
    of the actor.
    """

    init_keys = 2

    @property
    def dist(self) -> Any:
        """The distribution of actions, before they are stretched to their bounds."""
        raise NotImplementedError

    @property
    def actor(self) -> Any:
        """The network that gives the distribution's parameters."""
        raise NotImplementedError

    def value_of(self, critic: Any, inputs: Array, choice: Array) -> Array:
        """Each critic's value of an action, `[critics, ...]`, from normalised inputs."""
        raise NotImplementedError

    def target(self, config: Any, params: Any, batch: replay.Batch, key: Array) -> Array:
        """What the critics learn, `[B]`."""
        raise NotImplementedError

    def actor_step(self, config: Any, learned: Learned, inputs: Array, key: Array) -> Any:
        """One step of the actor: what is learned, and metrics."""
        raise NotImplementedError

    # ---- acting -------------------------------------------------------------------

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> Array:
        return self.dist.noise(key, shape)

    def explore(self, state: Any, key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """What draws are made from, and the draws of random actions."""
        key_noise, key_warm = jax.random.split(key)
        if self.mask is not None:  # one that is allowed, which only the step knows
            return self.noise(state, key_noise, shape), jax.random.uniform(key_warm, shape)
        return self.noise(state, key_noise, shape), actions.anything(self.dist, key_warm, shape)

    def act(self, state: Any, memory: Any, inputs: Array, first: Array, noise: Any) -> Any:
        """Actions, and with them the draws and what they are drawn from."""
        inputs = self.normalize(state, inputs)
        allowed = self.allowed(inputs)
        params = actions.allow(self.actor.apply(state.params["actor"], inputs), allowed)
        noise, anything = noise if isinstance(noise, tuple) else (noise, None)
        if anything is not None and allowed is not None:
            anything = masks.draw(allowed, anything)
        instead = None if anything is None else (off_policy.warming(state), anything)
        action, raw = actions.draw(self.space, self.dist, params, noise, instead)
        return memory, action, (raw, params)

    def policy_info(self, state: Any, inputs: Array, extra: Any) -> dict[str, Array]:
        raw, params = extra
        inputs, choice = self.normalize(state, inputs), self.dist.to_action(raw)
        return {
            "log_prob": self.dist.log_prob(params, raw),
            "entropy": self.dist.entropy(params, raw),
            "value": self.value_of(state.params["critic"], inputs, choice).min(0),
        }

    def choice(self, extra: Any) -> Array:
        return self.dist.to_action(extra[0])

    # ---- learning -----------------------------------------------------------------

    def update(
        self, config: Any, learned: Learned, batches: replay.Batch, key: Array
    ) -> tuple[Learned, dict[str, Array]]:
        delay, groups = config.policy_delay, config.updates // config.policy_delay

        def group(learned: Learned, xs: Any) -> Any:
            batches, keys, key = xs
            learned, q = jax.lax.scan(partial(self.critic_step, config), learned, (batches, keys))
            latest = jax.tree.map(lambda x: x[-1], batches.inputs)
            learned, rest = self.actor_step(config, learned, latest, key)
            return learned, q | rest

        batches = jax.tree.map(lambda x: x.reshape(groups, delay, *x.shape[1:]), batches)
        key_critic, key_actor = jax.random.split(key)
        keys = jax.random.split(key_critic, (groups, delay)), jax.random.split(key_actor, groups)
        return jax.lax.scan(group, learned, (batches, *keys))

    def critic_step(self, config: Any, learned: Learned, xs: tuple[replay.Batch, Array]) -> Any:
        """One step of every critic towards the same target."""
        batch, key = xs
        target = self.target(config, learned[0], batch, key)

        def loss(critic: Any) -> tuple[Array, Array]:
            q = self.value_of(critic, batch.inputs, batch.choice)
            return 0.5 * jnp.square(q - target[None]).mean(1).sum(), q

        critic = learned[0]["critic"]
        (q_loss, q), gradient = jax.value_and_grad(loss, has_aux=True)(critic)
        learned = adam_step(config.critic_learning_rate, gradient, learned, "critic")
        return learned, {"q_loss": q_loss / q.shape[0], "q_mean": q.mean()}


def adam_step(rate: Any, gradient: Any, learned: Learned, name: str) -> Learned:
    """Adam's step of the parameters of that name; another rate, if traced, compiles nothing."""
    params, opt_state = learned
    change, adam = optax.adam(rate).update(gradient, opt_state[name])
    moved = optax.apply_updates(params[name], change)
    return {**params, name: moved}, {**opt_state, name: adam}


def move_target(rate: Any, learned: Learned, online: str, target: str) -> Learned:
    """The target parameters moved towards the online ones."""
    params, opt_state = learned
    moved = optax.incremental_update(params[online], params[target], rate)
    return {**params, target: moved}, opt_state
