"""What agents share that learn the law of each action's return by quantiles, from replay.

DQN prefers an action by its mean and deep eta-networks by a functional of the
law and the stock; all else is the same.
"""

import dataclasses
import math
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.agents.common import replay, rollout
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.envs import masks, spaces
from jaxrl_reward.nn import networks
from jaxrl_reward.types import Array, Mean

LOSSES = ("q_loss", "q_mean")


class Choice(NamedTuple):
    """Of an action: which one, the scores of all, and the probability of a random one.

    Which actions were allowed, `[..., A]` bool, comes last; `()` where all are.
    """

    action: Array
    scores: Array
    epsilon: Array
    allowed: Any = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(off_policy.Learner):
    """Networks `online` and `target`; `opt_state` is the optimiser's and the steps so far."""

    spaces = (spaces.Discrete,)
    losses = LOSSES
    update_keys = 0

    def score(self, config: Any, quantiles: Array, inputs: Array) -> Array:
        """By what actions are compared, `[..., A]`, of `quantiles[..., (m,) K, A]`."""
        raise NotImplementedError

    def best(self, config: Any, quantiles: Array, inputs: Array) -> Array:
        """The allowed action that is preferred, `[...]` int32, at normalised inputs."""
        return masks.best(self.score(config, quantiles, inputs), self.allowed(inputs))

    def encode(self, inputs: Array) -> Array:
        """What of those inputs goes into the network, `[..., F]`."""
        return inputs

    def init(self, config: Any, inputs: Array, key: Array) -> tuple[Any, Any]:
        online = self.network.init(key, self.encode(inputs))
        params = {"online": online, "target": jax.tree.map(jnp.copy, online)}
        return params, (optimiser(config).init(online), jnp.int32(0))

    # ---- the network and the policy -----------------------------------------------

    @property
    def num_actions(self) -> int:
        return int(self.space.n)

    @cached_property
    def network(self) -> networks.Network:
        """From encoded inputs `[..., F]` to `[..., m * quantiles * actions]`."""
        config = self.config
        sizes = (*config.hidden, math.prod((*self.parts, config.quantiles, self.num_actions)))
        return self.dense(sizes, layer_norm=config.layer_norm)

    def quantiles(self, params: Any, inputs: Array) -> Array:
        """Of the return of each action, from normalised inputs, `[..., (m,) K, A]`.

        Row i is that of level `(i + 1/2) / K`; a single one is the mean.
        """
        out = self.network.apply(params, self.encode(inputs))
        return out.reshape(*out.shape[:-1], *self.parts, self.config.quantiles, self.num_actions)

    def epsilon(self, config: Any, iteration: Array) -> Array:
        """The probability of a random action at each step of a block, `[T]`."""
        time = jnp.arange(config.num_steps, dtype=jnp.float32)
        steps = (iteration.astype(jnp.float32) * config.num_steps + time) * config.num_envs
        left = jnp.maximum(1.0 - steps / config.epsilon_steps, 0.0)
        return config.epsilon_end + (config.epsilon_start - config.epsilon_end) * left

    def noise(self, state: Any, key: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """Whether to act at random, how, and the probability of it; `[T, N]`, or now `[N]`."""
        epsilon = self.epsilon(state.config, state.iteration)
        epsilon = jnp.broadcast_to(epsilon[:, None] if len(shape) > 1 else epsilon[:1], shape)
        key_whether, key_action = jax.random.split(key)
        whether = jax.random.uniform(key_whether, shape) < epsilon
        if self.mask is not None:  # one that is allowed, which only the step knows
            return whether, jax.random.uniform(key_action, shape), epsilon
        return whether, jax.random.randint(key_action, shape, 0, self.num_actions), epsilon

    def act(self, state: Any, memory: Any, inputs: Array, first: Array, noise: Any) -> Any:
        """Actions, and with them the values of all and the probability of a random one."""
        inputs = self.normalize(state, inputs)
        quantiles = self.quantiles(state.params["online"], inputs)
        q = self.score(state.config, quantiles, inputs)
        allowed = self.allowed(inputs)
        choice: Any = masks.best(q, allowed)
        epsilon = jnp.zeros(q.shape[:-1])
        if noise is not None:
            whether, anything, epsilon = noise
            anything = anything if allowed is None else masks.draw(allowed, anything)
            choice = jnp.where(whether, anything, choice)
        action = jnp.asarray(choice, self.space.dtype)
        return memory, action, Choice(choice, q, epsilon, () if allowed is None else allowed)

    def policy_info(self, state: Any, inputs: Array, extra: Choice) -> dict[str, Array]:
        choice, q, epsilon = extra[:3]
        allowed: Any = None if self.mask is None else extra.allowed
        greedy = jax.nn.one_hot(masks.best(q, allowed), self.num_actions)
        chosen = jax.nn.one_hot(choice, self.num_actions)
        epsilon = epsilon[..., None]
        if allowed is None:
            probs = epsilon / self.num_actions + (1.0 - epsilon) * greedy
        else:
            share = allowed * epsilon / allowed.sum(-1, keepdims=True)
            probs = share + (1.0 - epsilon) * greedy
        return {
            "log_prob": jnp.log((chosen * probs).sum(-1)),
            "entropy": -jax.scipy.special.xlogy(probs, probs).sum(-1),
            "value": (chosen * q).sum(-1),
        }

    def choice(self, extra: Choice) -> Array:
        return extra.action

    def measure(
        self, state: Any, recorder: replay.Recorder, played: rollout.Rollout, key: Array
    ) -> dict[str, Mean]:
        return {"epsilon": Mean.of(played.extra.epsilon)}

    # ---- learning -----------------------------------------------------------------

    def update(
        self, config: Any, learned: tuple[Any, Any], batches: replay.Batch
    ) -> tuple[tuple[Any, Any], dict[str, Array]]:
        def step(learned: Any, batch: replay.Batch) -> Any:
            params, (adam, updates) = learned
            target = self.target(config, params, batch)
            loss = partial(self.loss, config, batch=batch, target=target)
            (q_loss, q_mean), gradient = jax.value_and_grad(loss, has_aux=True)(params["online"])
            change, adam = optimiser(config).update(gradient, adam)
            online, updates = optax.apply_updates(params["online"], change), updates + 1
            moves = updates % config.target_every == 0
            rate = jnp.where(moves, jnp.asarray(config.target_rate), 0.0)
            slow = optax.incremental_update(online, params["target"], rate)
            params = {"online": online, "target": slow}
            return (params, (adam, updates)), {"q_loss": q_loss, "q_mean": q_mean}

        return jax.lax.scan(step, learned, batches)

    def target(self, config: Any, params: Any, batch: replay.Batch) -> Array:
        """The return from here as the networks see it, by quantiles, `[B, (m,) K]`."""
        slow = self.quantiles(params["target"], batch.next_inputs)
        judge = self.quantiles(params["online"], batch.next_inputs) if config.double else slow
        best = _take(slow, self.best(config, judge, batch.next_inputs))
        weight = batch.weight.reshape(-1, *(1,) * (best.ndim - 1))
        return batch.reward[..., None] + weight * best

    def loss(
        self, config: Any, online: Any, batch: replay.Batch, target: Array
    ) -> tuple[Array, Array]:
        """Equation 10 of Dabney et al. (2018), summed over quantiles; and the mean value.

        A single quantile is not weighed by its level: the loss is Huber's of
        the error, as in Mnih et al. (2015).
        """
        value = _take(self.quantiles(online, batch.inputs), batch.choice)
        error = target[..., None, :] - value[..., :, None]
        loss = optax.huber_loss(error, delta=config.huber_delta)
        if config.quantiles > 1:
            level = (jnp.arange(config.quantiles) + 0.5) / config.quantiles
            level = level.reshape(*(1,) * (error.ndim - 2), -1, 1)
            loss = jnp.abs(level - (error < 0.0)) * loss
        return loss.mean(-1).sum(-1).mean(), value.mean()


def _take(values: Array, action: Array) -> Array:
    """`[B, ..., K]` of `[B, ..., K, A]`: a select, not a gather, without a scatter backwards."""
    chosen = jax.nn.one_hot(action, values.shape[-1], dtype=bool)
    chosen = chosen.reshape(-1, *(1,) * (values.ndim - 2), values.shape[-1])
    return jnp.where(chosen, values, 0.0).sum(-1)


def optimiser(config: Any) -> optax.GradientTransformation:
    """Adam with the traced numbers of `config`: another value compiles nothing."""
    adam = optax.adam(config.learning_rate)
    return optax.chain(optax.clip_by_global_norm(config.max_grad_norm), adam)
