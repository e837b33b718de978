"""Rewards for each token that are learnt from outcomes alone: an implicit process reward."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrl_reward.nn.networks import mlp
from jaxrl_reward.rewards.core import checks, vectors
from jaxrl_reward.rewards.core.base import State, static
from jaxrl_reward.rewards.core.checks import Count, CountOrNone, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Learned, LearnedState
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, groups_of, totals
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.types import Array, Metrics, Transition, UserError


def log_ratio(scores: Array, reference: Array, action: Array) -> Array:
    """`log pi(a) - log pi_ref(a)` of the policy `pi_ref exp(scores)`, over its sum.

    Args:
      scores: of all actions, `[..., V]`.
      reference: their log-probabilities under the reference, `[..., V]`.
      action: those taken, `[...]` int.
    """
    taken = jnp.take_along_axis(scores, action[..., None].astype(jnp.int32), -1)[..., 0]
    return taken - jax.nn.logsumexp(reference + scores, axis=-1)


@register("implicit_process", {"actions": 2, "width": 4, "updates": 1, "batch_size": 2})
class implicit_process(Learned):  # noqa: N801
    """`beta log(pi(a) / pi_ref(a))` of every step, pi learnt from outcomes: credit without labels.

    Yuan et al. 2024, "Free Process Rewards without Process Labels" (proposition 3.1), and
    Cui et al. 2025, "Process Reinforcement through Implicit Rewards" (PRIME). The sum r over
    an episode is the logit of its outcome, and pi is trained by
    `-l log sigmoid(r) - (1 - l) log(1 - sigmoid(r))`, l whether the environment's return is
    at least 1/2. Then the sum up to step t is the soft value
    `beta log E_ref[exp(r / beta) | steps to t]`, so a step is paid what it adds to that.

    pi is `pi_ref exp(f) / sum`, f a network of the observation and 0 at first, where the
    papers train a copy of the reference. pi_ref is `policy["reference"]`, log-probabilities
    `[V]` that `group_pg` gives, and uniform where there is none. Of several episodes in a
    column the first is learnt from. The reward of a block is that of before the block;
    PRIME learns from it first. As in
    `stack(env, implicit_process(actions=9, tokens=10)) | prime()`.

    Attributes:
      actions: how many there are, V.
      tokens: of observations that are texts, how many kinds, nothing included; 0 if they
        are vectors.
      width: of the network's hidden layer.
      beta: the papers' 0.05. r is at most `-beta log pi_ref` of the episode, so that short ones
        want more.
      batch_size: episodes of an update.
    """

    actions: Count = static(default=1)
    tokens: CountOrNone = static(default=0)
    width: Count = static(default=64)
    beta: Positive = 0.05
    scope = "group"
    learns_in_order = True

    def init_params(self, key: Array, example: Transition) -> Any:
        vectors.check_actions(self, example)
        if example.action.size != 1:
            raise UserError(f"{self} is of one whole number a step, not {example.action.size}")
        known = example.policy.get("reference")
        if known is not None and known.shape != (self.actions,):
            raise UserError(
                f"{self}: the reference has {known.shape[-1]} actions, not {self.actions}"
            )
        return self._net().init(key, self._seen(example.obs))

    def reward(self, params: Any, transition: Transition) -> Array:
        scores = self._net().apply(params, self._seen(transition.obs))
        uniform = jnp.full(self.actions, -jnp.log(1.0 * self.actions))
        reference = jax.lax.stop_gradient(transition.policy.get("reference", uniform))
        return self.beta * log_ratio(scores, reference, transition.action.reshape(()))

    def logits(self, params: Any, block: Transition) -> Array:
        """Of the outcomes of a block `[T, B]`, `[B]`: the sums over the first episodes."""
        paid = jax.vmap(jax.vmap(lambda t: self.reward(params, t)))(block)
        return groups_of(block).total(paid)

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        """The cross-entropy of the outcomes of whole episodes, `batch` is `[T, B]`."""
        del key
        logits, right = self.logits(params, batch), self._right(batch)
        return (jax.nn.softplus(logits) - right * logits).mean()

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        optimiser, episodes = optax.adam(self.learning_rate), block.first.shape[1]

        def update(learned: LearnedState, key: Array) -> tuple[LearnedState, Array]:
            rows = jax.random.randint(key, (self.batch_size,), 0, episodes)
            batch = jax.tree.map(lambda x: x[:, rows], block)
            loss, gradient = jax.value_and_grad(self.loss)(learned.params, key, batch)
            change, opt_state = optimiser.update(gradient, learned.opt_state)
            return LearnedState(optax.apply_updates(learned.params, change), opt_state), loss

        learned, losses = jax.lax.scan(update, state.shared, jax.random.split(key, self.updates))
        told = (self.logits(state.shared.params, block) > 0) == (self._right(block) > 0.5)
        metrics = {"loss": losses.mean(), "accuracy": told.mean()}
        logged = {f"{self.name}/{name}": value for name, value in metrics.items()}
        return state.replace(shared=learned), logged

    def _right(self, block: Transition) -> Array:
        return (groups_of(block).total(block.env_reward) >= 0.5).astype(jnp.float32)

    def _seen(self, obs: Array) -> Array:
        seen = vectors.observation(obs)
        if not self.tokens:
            return seen
        return jax.nn.one_hot(seen.astype(jnp.int32), self.tokens).reshape(-1)

    def _net(self) -> Any:
        return mlp((self.width, self.actions), "relu", 0.0)


@register("prime")
class prime(Grouped):  # noqa: N801
    """Of `stack(outcome, process)`, RLOO of the outcome, and of the process from each step on.

    PRIME (Cui et al. 2025, equation 5, without a discount): the credit of step t is
    `R - mean R of the others + sum_{s >= t} (p_s - b)`, b the mean over the others of the group
    of the mean p of their steps. What all steps earn alike thus pays for no length. A
    group of one has no baseline, and both are 0.
    """

    own_step = True

    def rule(self, block: Transition, groups: Groups) -> Array:
        outcome, _ = checks.parts(self, totals(block, groups), 2)
        process, size = vector(block)[..., 1], groups.size()

        def others(values: Array) -> Array:
            return (groups.sum(values) - values) / jnp.maximum(size - 1.0, 1.0)

        steps = process - others(groups.average(process))[None]
        steps = jnp.where(groups.alive & (size > 1)[None], steps, 0.0)
        to_go = jnp.flip(jnp.cumsum(jnp.flip(steps, 0), 0), 0)
        return jnp.where(size > 1, outcome - others(outcome), 0.0)[None] + to_go
