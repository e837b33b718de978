"""The losses of IQL and RIQL, and the one gradient step that they take together.

Symbols: V a value, Qbar_i the slow copies of K critics, pi a policy, u the
advantage `quantile(Qbar(s, a)) - V(s)`, y the target `r + gamma V(s')`.
"""

import dataclasses
import math
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxrl_reward import rounding
from jaxrl_reward.agents.common import actions, replay
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.data.measures import kurtosis
from jaxrl_reward.envs import spaces
from jaxrl_reward.nn import distributions, kinds, networks
from jaxrl_reward.types import Array

UNBOUNDED_POLICY = "gaussian"
SMALL = 0.01  # the last layer of critics and policies, so that they begin near zero


# ---- losses ------------------------------------------------------------------------


def quantile(values: Array, alpha: ArrayLike) -> Array:
    """The alpha-quantile over the first axis, `[K, ...] -> [...]`, by linear interpolation.

    0 is the minimum, 1/2 the median. Both K and the order of sorting are static:
    the exchanges are elementwise, and alpha may be traced.
    """
    rows = sort(list(values))
    at = jnp.asarray(alpha) * (len(rows) - 1)
    # Of the weights, only those of the two neighbours of `at` are not zero.
    weights = [jnp.maximum(1.0 - jnp.abs(at - i), 0.0) for i in range(len(rows))]
    total = weights[0] * rows[0]
    for weight, row in zip(weights[1:], rows[1:], strict=True):
        total = total + weight * row
    return total


def sort(rows: list[Array]) -> list[Array]:
    """The rows with each column in ascending order, by odd-even transposition."""
    rows = list(rows)
    for turn in range(len(rows)):
        for i in range(turn % 2, len(rows) - 1, 2):
            a, b = rows[i], rows[i + 1]
            rows[i], rows[i + 1] = jnp.minimum(a, b), jnp.maximum(a, b)
    return rows


def huber(error: Array, delta: ArrayLike) -> Array:
    """`x^2 / (2 delta)` up to delta, then `|x| - delta / 2`; `x^2 / 2` for a delta of 0.

    This is Huber's loss divided by delta, whose slope is at most 1, as in RIQL's
    program (which is told sigma, and delta is 1 / sigma^2).
    """
    size, given = jnp.abs(error), jnp.asarray(delta) > 0.0
    delta = jnp.where(given, delta, 1.0)
    linear = given & (size > delta)
    return jnp.where(linear, size - 0.5 * delta, 0.5 * jnp.square(error) / delta)


def expectile(error: Array, tau: ArrayLike) -> Array:
    """`|tau - 1{u < 0}| u^2` (Kostrikov et al. 2021, arXiv:2110.06169, equation 5)."""
    return jnp.where(error < 0.0, 1.0 - tau, tau) * jnp.square(error)


def weight(advantage: Array, beta: ArrayLike, most: ArrayLike) -> Array:
    """`min(exp(beta u), most)`: how much an action is imitated (equation 7)."""
    # The exponent is cut as well: that of a large advantage is infinite.
    return jnp.minimum(jnp.exp(jnp.minimum(beta * advantage, 80.0)), most)


def cosine(rate: ArrayLike, step: Array, steps: ArrayLike) -> Array:
    """A learning rate that falls to 0 within `steps`; for 0 of them it stays.

    Where the run's length is to be followed and is not known, they are a million.
    """
    steps = jnp.where(jnp.asarray(steps) < 0.0, 1e6, steps)
    share = jnp.clip(step / jnp.maximum(steps, 1.0), 0.0, 1.0)
    falling = 0.5 * (1.0 + jnp.cos(math.pi * share))
    return jnp.asarray(rate) * jnp.where(steps > 0.0, falling, 1.0)


# ---- the policy --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Policy:
    """A deterministic, a Gaussian or a categorical policy that imitates actions.

    Attributes:
      config: has `policy`, `hidden` and `activation`.
      space: of actions, a Box; or a Discrete, of whatever `policy`.
      obs_shape, layout: of one observation, see `nn.kinds.make`.
    """

    config: Any
    space: Any
    obs_shape: tuple[int, ...] | None = None
    layout: tuple[Any, ...] = ()

    @cached_property
    def dist(self) -> Any:
        """A `Categorical`, a `DiagonalNormal` or a `TanhPoint`."""
        if isinstance(self.space, spaces.Discrete):
            return distributions.Categorical(int(self.space.n))
        gaussian = self.config.policy == UNBOUNDED_POLICY
        kind = distributions.DiagonalNormal if gaussian else distributions.TanhPoint
        return kind(math.prod(self.space.shape), support=actions.support(self.space))

    @cached_property
    def network(self) -> networks.Network:
        config, out = self.config, actions.out_size(self.dist)
        sizes = (*config.hidden, out)
        made = (config.network, self.obs_shape, sizes, config.activation, SMALL)
        return kinds.make(*made, layout=self.layout)

    def init(self, key: Array, inputs: Array) -> dict[str, Any]:
        params = {"network": self.network.init(key, inputs)}
        if actions.free_std(self.dist):
            params["log_std"] = jnp.zeros(math.prod(self.space.shape))
        return params

    def apply(self, params: Any, inputs: Array) -> Array:
        """The distribution's parameters, `[..., P]`."""
        return actions.with_std(self.dist, params, self.network.apply(params["network"], inputs))

    def held_out(self, params: Any, inputs: Array, action: Array) -> dict[str, Array]:
        """The loss of actions, their log-probability, and how many choices are the likeliest."""
        loss = self.loss(params, inputs, action).mean()
        if isinstance(self.dist, distributions.TanhPoint):
            return {"policy_loss": loss}
        found = {"policy_loss": loss, "log_prob": -loss}
        if isinstance(self.space, spaces.Discrete):
            found["agreement"] = (self.dist.mode(self.apply(params, inputs)) == action).mean()
        return found

    def loss(self, params: Any, inputs: Array, action: Array) -> Array:
        """How far off an action is, `[B]`: squared, or minus its log-probability or density.

        Actions are `[B, A]`, or whole numbers `[B]`.
        """
        out = self.apply(params, inputs)
        if not isinstance(self.dist, distributions.TanhPoint):
            return -self.dist.log_prob(out, action)
        return jnp.square(self.dist.mode(out) - action).sum(-1)


# ---- the whole step ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(from_data.Learner):
    """A policy, a value and critics, of an `iql.Config`."""

    spaces = (spaces.Box, spaces.Discrete)

    @cached_property
    def actor(self) -> Policy:
        return Policy(self.config, self.space, self.obs_shape, self.layout)

    @property
    def dist(self) -> Any:
        return self.actor.dist

    @cached_property
    def value(self) -> networks.Network:
        return self.dense((*self.config.hidden, 1), SMALL)

    @cached_property
    def critic(self) -> networks.Network:
        """All of them, from observations with actions behind, `[..., O + A]`.

        Of Discrete actions, from observations to the values of all n, `[..., n]`.
        """
        one = self.value
        if self.discrete:
            one = self.dense((*self.config.hidden, int(self.space.n)), SMALL)
        return networks.members(one, self.config.critics)

    @property
    def discrete(self) -> bool:
        """Whether actions are one of n choices."""
        return isinstance(self.space, spaces.Discrete)

    def judge(self, critic: Any, inputs: Array, choice: Array) -> Array:
        """Each critic's value of each action, `[K, B]`."""
        if self.discrete:
            return actions.chosen(self.critic.apply(critic, inputs), choice)
        return self.critic.apply(critic, jnp.concatenate([inputs, choice], axis=-1))[..., 0]

    def init(self, config: Any, inputs: Array, key: Array) -> tuple[Any, Any]:
        del config
        key_policy, key_value, key_critic = jax.random.split(key, 3)
        beside = 0 if self.discrete else math.prod(self.space.shape)
        both = jnp.zeros((1, inputs.shape[-1] + beside))
        learned = {
            "policy": self.actor.init(key_policy, inputs),
            "value": self.value.init(key_value, inputs),
            "critic": self.critic.init(key_critic, both),
        }
        slow = jax.tree.map(jnp.copy, learned["critic"])  # donated beside the critic
        return learned | {"target": slow}, optax.scale_by_adam().init(learned)

    def policy(self, params: Any, inputs: Array) -> Array:
        return self.actor.apply(params["policy"], inputs)

    def update(
        self, config: Any, learned: Any, batch: replay.Batch, key: Array, step: Array
    ) -> tuple[Any, dict[str, Array]]:
        """One step of V, then of the critics and their slow copies, then of the policy.

        Each loss reads of the others only what was known before the step, as in
        RIQL's program; so the order does not matter, and one gradient is taken of
        their sum.
        """
        del key
        params, adam = learned
        slow = params["target"]
        learned = {name: params[name] for name in ("policy", "value", "critic")}
        loss = lambda learned: self.loss(config, learned, slow, batch)  # noqa: E731
        gradient, metrics = jax.grad(loss, has_aux=True)(learned)
        # All reads of the parameters are over here: a loop need not keep a copy of them.
        gradient, learned, adam, slow = jax.lax.optimization_barrier(
            (gradient, learned, adam, slow)
        )
        change, adam = _adam(gradient, adam)
        rates = dict.fromkeys(learned, config.learning_rate)
        rates["policy"] = cosine(config.learning_rate, step, config.policy_decay)
        moved = {
            name: jax.tree.map(lambda x, d, rate=rate: x - rate * d, learned[name], change[name])
            for name, rate in rates.items()
        }
        slow = optax.incremental_update(moved["critic"], slow, config.target_rate)
        return (moved | {"target": slow}, adam), metrics

    def loss(
        self, config: Any, learned: Any, slow: Any, batch: replay.Batch
    ) -> tuple[Array, dict[str, Array]]:
        """The sum of the three losses, and what to log."""
        worth = quantile(self.judge(slow, batch.inputs, batch.choice), config.quantile)
        value = self.value.apply(learned["value"], batch.inputs)[..., 0]
        advantage = worth - value
        value_loss = expectile(advantage, config.expectile).mean()

        fixed = jax.lax.stop_gradient(learned["value"])
        after = self.value.apply(fixed, batch.next_inputs)[..., 0]
        target = self.target(config, batch, after)
        q = self.judge(learned["critic"], batch.inputs, batch.choice)
        q_loss = huber(target[None] - q, config.huber_delta).mean()

        # Advantages are those of V before its step.
        trust = weight(jax.lax.stop_gradient(advantage), config.beta, config.max_weight)
        off = self.actor.loss(learned["policy"], batch.inputs, batch.choice)
        policy_loss = (trust * off).mean()
        metrics = {
            "value_loss": value_loss,
            "q_loss": q_loss,
            "policy_loss": policy_loss,
            "value_mean": value.mean(),
            "q_mean": q.mean(),
            "weight_mean": trust.mean(),
            "target_kurtosis": jnp.where(rounding.varies(target), kurtosis(target), 0.0),
        }
        return value_loss + q_loss + policy_loss, metrics

    def held_out(
        self, config: Any, params: Any, batch: replay.Batch, key: Array
    ) -> dict[str, Array]:
        """The losses, the mean absolute error of the critics, and the policy's."""
        del key
        _, losses = self.loss(config, params, params["target"], batch)
        after = self.value.apply(params["value"], batch.next_inputs)[..., 0]
        q = self.judge(params["critic"], batch.inputs, batch.choice)
        found = {name: losses[name] for name in ("value_loss", "q_loss", "q_mean")}
        found["td_error"] = jnp.abs(self.target(config, batch, after)[None] - q).mean()
        return found | self.actor.held_out(params["policy"], batch.inputs, batch.choice)

    def target(self, config: Any, batch: replay.Batch, after: Array) -> Array:
        """`r + gamma V(s')`, kept within its bounds, `[B]`."""
        return jnp.clip(batch.reward + batch.weight * after, config.target_low, config.target_high)


def _adam(gradient: Any, state: Any) -> tuple[Any, Any]:
    """Adam's direction: to be scaled by a rate of each network."""
    return optax.scale_by_adam().update(gradient, state)
