"""Rewards from demonstrations: a discriminator tells the agent's steps from an expert's.

GAIL (Ho and Ermon 2016, arXiv:1606.03476), with replay DAC (Kostrikov et al. 2019,
arXiv:1809.02925): with relabelling the reward of an update is the current
discriminator's. What keeps it Lipschitz is in `penalties`; Blonde et al. 2022
(arXiv:2006.16785) find that off-policy imitation fails without. Bounded forms are
expressions: `gail(demos='expert.npz') | clip(0, 5)`.
"""

import math
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.rewards.core import checks, vectors
from jaxrl_reward.rewards.core.base import State, static
from jaxrl_reward.rewards.core.checks import Count, CountOrNone, Discount, NotNegative, OneOf, Share
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Learned
from jaxrl_reward.rewards.imitation import penalties
from jaxrl_reward.rewards.imitation.demonstrations import NOISE, shown
from jaxrl_reward.types import Array, Metrics, Transition, UserError

FORMS = ("minimax", "log", "logit")
INPUTS = ("state_action", "state", "states")
LEAK = 0.1  # slope of a hidden unit below zero
TINY = {"demos": NOISE, "width": 4, "updates": 1, "batch_size": 4, "actions": 2}


class Rows(NamedTuple):
    """What the discriminator sees of steps.

    Attributes:
      state: `[B, S]`, with a flag for absorbing states behind.
      action: `[B, A]`; A is 0 where it does not see them.
      live: whether the successor's value counts, `[B]`.
      weight: how much a row counts, `[B]`.
    """

    state: Array
    action: Array
    live: Array
    weight: Array


@register("gail", {**TINY, "spectral": True, "absorbing": True})
class gail(Learned):  # noqa: N801
    """An imitation reward: `-log(1 - P)`, P the probability that a step is the expert's.

    P is the sigmoid of a logit D(s, a) that learns to be above 0 on the expert's steps
    and below on the agent's, by cross-entropy, less `entropy` times its entropy, and a
    gradient penalty `weight * mean h(|dD/dx|)`.

    Attributes:
      demos: the expert's steps: the path of a data set, or `demonstrations(...)`.
      episodes: how many whole episodes of it, 0 for all rows.
      every: one step in as many of each.
      form: `minimax`, -log(1 - P), never negative, so that it pays to survive; `log`,
        log P, never positive, so that it pays to end; `logit`, their sum, D.
      inputs: `state_action`, `state`, or `states` (a state and its successor).
      actions: how many, where they are discrete.
      penalty: where the slope is looked at, see `penalties.points`; `none` for no penalty.
      weight: of the penalty.
      target: the slope aimed at.
      one_sided: only slopes above the target are penalised.
      noise: standard deviation around points, of `dragan` and `nagard`.
      joint: `wgan` mixes states and actions in the same proportion.
      spectral: divide the matrices of hidden layers by their largest singular value
        (Miyato et al. 2018, arXiv:1802.05957).
      label_low: expert's labels are drawn between this
      label_high: and this; (0.7, 1.2) is the paper's smoothing.
      entropy: weight of the discriminator's entropy.
      unlabelled: 0, or the share eta of expert-like steps among the agent's, for the
        positive-unlabelled loss (Xu and Denil 2019, arXiv:1911.00459), which is
        `eta E_expert[-log P] + max(0, E_agent[-log(1 - P)] - eta E_expert[-log(1 - P)])`
        (Kiryo et al. 2017, arXiv:1703.00593).
      clamp: states are kept within it, where the slope is then 0; 0 for no bound.
      absorbing: after a step that ends an episode its reward has that of the
        absorbing state behind it, `gamma / (1 - gamma)` times, and the discriminator is
        shown one such state: without, the form decides whether to live (DAC, section 4.2).
      gamma: the agent's discount, for `absorbing`.
      width: of both hidden layers.
    """

    other_gamma = "absorbing states are not worth what the agent's returns say"

    demos: Any = static(default=None)
    episodes: CountOrNone = static(default=0)
    every: Count = static(default=1)
    form: Annotated[str, OneOf(FORMS)] = static(default="minimax")
    inputs: Annotated[str, OneOf(INPUTS)] = static(default="state_action")
    actions: Count = static(default=1)
    penalty: Annotated[str, OneOf(penalties.WHERE)] = static(default="wgan")
    weight: NotNegative = 10.0
    target: NotNegative = 1.0
    one_sided: bool = static(default=True)
    noise: NotNegative = 10.0
    joint: bool = static(default=True)
    spectral: bool = static(default=False)
    label_low: NotNegative = 1.0
    label_high: NotNegative = 1.0
    entropy: NotNegative = 0.001
    unlabelled: Share = static(default=0.0)
    clamp: NotNegative = 5.0
    absorbing: bool = static(default=False)
    gamma: Discount = None
    width: Count = static(default=100)

    def validate(self) -> None:
        checks.rising(self, "label_low", "label_high")
        if self.absorbing and checks.reaches(self.discount, 1.0):
            raise UserError(f"{self.name}'s gamma must be below 1 where absorbing states are paid")

    # ---- the discriminator --------------------------------------------------------

    def init_params(self, key: Array, example: Transition) -> Any:
        vectors.check_actions(self, example)
        shown(self, example)  # says what is wrong with them before anything runs
        batch = jax.tree.map(lambda x: x[None], example)
        rows = self.rows(batch.obs, batch.action, batch.next_obs, batch.terminated)
        return self.init_net(key, rows)

    def init_net(self, key: Array, rows: Rows) -> Any:
        """Parameters for rows of this size."""
        return net_init(key, rows.state.shape[-1] + rows.action.shape[-1], self.width)

    def logit(self, params: Any, state: Array, action: Array, live: Array) -> Array:
        """D of ONE row, a scalar."""
        del live
        return net(params, jnp.concatenate([self.bounded(state), action]), self.spectral)

    def bounded(self, state: Array) -> Array:
        """The state within `clamp`."""
        clamp = jnp.asarray(self.clamp)
        return jnp.where(clamp > 0, jnp.clip(state, -clamp, clamp), state)

    def settle(self, params: Any) -> Any:
        return power_iteration(params) if self.spectral else params

    # ---- what it sees -------------------------------------------------------------

    def rows(self, obs: Array, action: Array, next_obs: Array, terminated: Array) -> Rows:
        """Steps `[B, ...]`; with `absorbing`, behind them one state after each end, `[2 B]`."""
        count = obs.shape[0]
        flat = [jax.vmap(vectors.observation)(x) for x in (obs, next_obs)]
        state = jnp.concatenate(flat, -1) if self.inputs == "states" else flat[0]
        if self.inputs != "state_action":
            action = jnp.zeros((count, 0))
        else:
            action = jax.vmap(lambda x: vectors.action(x, self.actions))(action)
        ended = jnp.asarray(terminated, jnp.float32).reshape(count)
        rows = Rows(jnp.pad(state, ((0, 0), (0, 1))), action, 1.0 - ended, jnp.ones(count))
        if not self.absorbing:
            return rows
        nothing = jax.tree.map(jnp.zeros_like, rows)
        after = nothing._replace(state=nothing.state.at[:, -1].set(1.0), weight=ended)
        return jax.tree.map(lambda *x: jnp.concatenate(x), rows, after)

    def drawn(self, key: Array, batch: Transition) -> Rows:
        """As many of the expert's steps as the batch has."""
        example = jax.tree.map(lambda x: x[0], batch)
        found = jax.tree.map(jnp.asarray, shown(self, example))
        which = jax.random.randint(key, (batch.first.shape[0],), 0, found.obs.shape[0])
        return self.rows(*(x[which] for x in found))

    # ---- the reward and its learning ----------------------------------------------

    def reward(self, params: Any, transition: Transition) -> Array:
        one = jax.tree.map(lambda x: x[None], transition)
        rows = self.rows(one.obs, one.action, one.next_obs, one.terminated)
        paid = self.paid(jax.vmap(partial(self.logit, params))(*rows[:3]))
        if not self.absorbing:
            return paid[0]
        return paid[0] + rows.weight[1] * self.discount / (1.0 - self.discount) * paid[1]

    def paid(self, logit: Array) -> Array:
        """The reward's form."""
        if self.form == "logit":
            return logit
        return jax.nn.softplus(logit) if self.form == "minimax" else -jax.nn.softplus(-logit)

    def loss(self, params: Any, key: Array, batch: Transition) -> Array:
        key_expert, key_label, key_point = jax.random.split(key, 3)
        agent = self.rows(batch.obs, batch.action, batch.next_obs, batch.terminated)
        expert = self.drawn(key_expert, batch)
        judge = jax.vmap(partial(self.logit, params))
        ours, theirs = judge(*agent[:3]), judge(*expert[:3])
        span = jnp.asarray(self.label_high) - self.label_low
        label = self.label_low + span * jax.random.uniform(key_label, theirs.shape)
        told = self.told(ours, theirs, label, agent.weight, expert.weight)
        both = jnp.concatenate([ours, theirs])
        weights = jnp.concatenate([agent.weight, expert.weight])
        total = told - self.entropy * mean(binary_entropy(both), weights)
        if self.penalty == "none":
            return total
        # Of steps alone: all absorbing states are one point.
        n = batch.first.shape[0]
        pair = (agent.state[:n], agent.action[:n]), (expert.state[:n], expert.action[:n])
        at = penalties.points(self.penalty, key_point, *pair, self.noise, self.joint)
        steep = penalties.penalty(self.slopes(params, at), self.target, self.one_sided)
        return total + self.weight * steep

    def told(self, ours: Array, theirs: Array, label: Array, w: Array, v: Array) -> Array:
        """How well steps are told apart: cross-entropy, or the positive-unlabelled loss.

        The agent's steps are no negatives: a share of them is as the expert's, whose part
        is taken off. What is left is a mean of losses, and so is cut at 0.
        """
        positive, negative = mean(cross_entropy(theirs, label), v), mean(jax.nn.softplus(ours), w)
        if not self.unlabelled:
            return negative + positive
        left = negative - self.unlabelled * mean(jax.nn.softplus(theirs), v)
        return self.unlabelled * positive + jnp.maximum(0.0, left)

    def slopes(self, params: Any, at: penalties.Parts) -> Array:
        """The length of the logit's gradient at points within episodes, `[B]`."""
        live = jnp.float32(1.0)
        return penalties.slopes(lambda s, a: self.logit(params, s, a, live), at)

    def learn(self, state: State, key: Array, block: Transition) -> tuple[State, Metrics]:
        state, metrics = super().learn(state, key, block)
        count = min(self.batch_size, block.first.size)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], block)
        agent = self.rows(flat.obs, flat.action, flat.next_obs, flat.terminated)
        expert, params = self.drawn(key, flat), state.shared.params
        judge = jax.vmap(partial(self.logit, params))
        right = [mean(judge(*agent[:3]) < 0, agent.weight)]
        right += [mean(judge(*expert[:3]) > 0, expert.weight)]
        slope = mean(self.slopes(params, agent[:2]), agent.weight)
        found = {"accuracy": 0.5 * (right[0] + right[1]), "slope": slope}
        return state, metrics | {f"{self.name}/{name}": value for name, value in found.items()}


@register("airl", TINY)
class airl(gail):  # noqa: N801
    """Adversarial inverse RL: `g(s, a) + gamma (1 - end) h(s') - h(s)` tells steps apart.

    Fu et al. 2018 (arXiv:1710.11248), section 6: the difference of h is shaping, so that
    g is the task; with `inputs="state"` g sees states only, as their theorem needs.
    The discriminator here is the sigmoid of this sum itself: the logarithm of the
    policy's probability, which the paper takes from it, is not known of the expert's
    steps to a reward.

    Attributes:
      shaped: pay the whole sum; else g alone, which outlives a change of dynamics.
    """

    other_gamma = "the difference of h is no shaping of the agent's task"

    form: Annotated[str, OneOf(FORMS)] = static(default="logit")
    shaped: bool = static(default=True)

    def validate(self) -> None:
        super().validate()
        if self.absorbing:
            raise UserError("airl values the end of an episode at 0; leave absorbing out")
        if self.inputs == "states":
            raise UserError("airl's g sees a state, or a state and an action; its h the successor")

    def init_net(self, key: Array, rows: Rows) -> Any:
        size, keys = rows.state.shape[-1] // 2, jax.random.split(key)
        return {
            "g": net_init(keys[0], size + rows.action.shape[-1], self.width),
            "h": net_init(keys[1], size, self.width),
        }

    def rows(self, obs: Array, action: Array, next_obs: Array, terminated: Array) -> Rows:
        rows = super().rows(obs, action, next_obs, terminated)
        after = super().rows(next_obs, action, next_obs, terminated)
        return rows._replace(state=jnp.concatenate([rows.state, after.state], -1))

    def logit(self, params: Any, state: Array, action: Array, live: Array) -> Array:
        now, after = jnp.split(self.bounded(state), 2)
        h = partial(net, params["h"], spectral=self.spectral)
        return self.task(params, now, action) + self.discount * live * h(after) - h(now)

    def task(self, params: Any, now: Array, action: Array) -> Array:
        """g."""
        return net(params["g"], jnp.concatenate([now, action]), self.spectral)

    def settle(self, params: Any) -> Any:
        return {name: super(airl, self).settle(each) for name, each in params.items()}

    def reward(self, params: Any, transition: Transition) -> Array:
        if self.shaped:
            return super().reward(params, transition)
        one = jax.tree.map(lambda x: x[None], transition)
        rows = self.rows(one.obs, one.action, one.next_obs, one.terminated)
        now = jnp.split(self.bounded(rows.state[0]), 2)[0]
        return self.task(params, now, rows.action[0])


# ---- the network ----------------------------------------------------------------------


def net_init(key: Array, size: int, width: int) -> list[dict[str, Array]]:
    """Two hidden layers and a logit that begins near 0."""
    layers, keys, root = [], jax.random.split(key, 3), math.sqrt(2.0)
    shapes = ((size, width), root), ((width, width), root), ((width, 1), 0.01)
    for one, (shape, gain) in zip(keys, shapes, strict=True):
        kernel = gain / math.sqrt(shape[0]) * jax.random.normal(one, shape)
        turned = jnp.ones(shape[1]) / math.sqrt(shape[1])
        layers.append({"w": kernel, "b": jnp.zeros(shape[1]), "u": turned})
    return layers


def net(params: list[dict[str, Array]], x: Array, spectral: bool = False) -> Array:
    """The logit of ONE row `[D]`, a scalar."""
    *hidden, head = params
    for layer in hidden:
        kernel = layer["w"] / singular_value(layer) if spectral else layer["w"]
        x = x @ kernel + layer["b"]
        x = jnp.where(x > 0, x, LEAK * x)
    return (x @ head["w"] + head["b"])[0]


def singular_value(layer: dict[str, Array]) -> Array:
    """The largest of a matrix, by the vector that power iteration has come to."""
    u = jax.lax.stop_gradient(layer["u"])
    image = layer["w"] @ u
    v = jax.lax.stop_gradient(image / jnp.maximum(jnp.linalg.norm(image), 1e-12))
    return jnp.maximum(v @ image, 1e-12)


def power_iteration(params: list[dict[str, Array]]) -> list[dict[str, Array]]:
    """One step towards the singular vectors of all layers."""

    def turned(layer: dict[str, Array]) -> dict[str, Array]:
        u = layer["w"].T @ (layer["w"] @ layer["u"])
        return {**layer, "u": u / jnp.maximum(jnp.linalg.norm(u), 1e-12)}

    return [turned(layer) for layer in params]


# ---- losses ---------------------------------------------------------------------------


def cross_entropy(logit: Array, label: Array) -> Array:
    """`-y log P - (1 - y) log(1 - P)`."""
    return jax.nn.softplus(logit) - label * logit


def binary_entropy(logit: Array) -> Array:
    """Of the sigmoid's coin, in nats."""
    return jax.nn.softplus(logit) - logit * jax.nn.sigmoid(logit)


def mean(x: Array, weight: Array) -> Array:
    """Weighted; 0 if no row counts."""
    return (x * weight).sum() / jnp.maximum(weight.sum(), 1e-6)
