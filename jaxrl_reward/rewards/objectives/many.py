"""Many objectives whose weights move: by hypervolume, by constraints, by who asks.

All of them take the vector reward of `stack`. `gradient_weights` and
`min_norm_weights` need the objectives' gradients and are functions for a training
loop of one's own.
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.intervals import Interval
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.core.checks import Count, Finites, NotNegative, OneOf, Row
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.rewards.transforms.corrupted import numbered_key
from jaxrl_reward.types import Array, Transition, UserError


def hypervolume(points: Array, reference: Array) -> Array:
    """The volume that `points` `[C, K]` dominate above `reference` `[K]`; exact.

    All objectives are maximised, and a point counts from the reference up. The
    coordinates cut space into `C^K` cells, of which a point covers those below it.
    """
    count, objectives = points.shape
    points = jnp.maximum(points, reference[None])
    covered, widths = jnp.ones((count,), bool), []
    for k in range(objectives):
        edges = jnp.sort(points[:, k])
        widths.append(jnp.diff(edges, prepend=reference[k]))
        covers = points[:, k][:, None] >= edges[None]
        covered = covered[..., None] & covers.reshape(count, *(1,) * k, count)
    volume = covered.any(0).astype(jnp.float32)
    for width in reversed(widths):
        volume = volume @ width
    return volume


class Front(NamedTuple):
    """Points `[C, K]` found so far, and the factor that the last one gave."""

    points: Array
    factor: Array


@register("hypervolume_weight", {"weights": (0.3, 0.7), "reference": -1.0, "capacity": 3})
class hypervolume_weight(RewardTransform):  # noqa: N801
    """`c * sum_k w_k r_k`, c = 0.5 + 1.5 tanh(gain), larger after a block that found something new.

    Lu et al. 2025, "Learning to Optimize Multi-Objective Alignment Through Dynamic
    Reward Weighting": gain is what the point just reached, here the mean vector
    reward of a block's steps, adds to the hypervolume of those before, above
    `reference`. At first c is 1. An agent that divides a batch's advantages by
    their own deviation (PPO, unless told otherwise) cancels c. The buffer
    holds `capacity` points; then the one that adds least makes way.
    """

    weights: Row
    reference: Finites = 0.0
    capacity: Count = static(default=16)
    scope = "learned"
    varies = True

    def validate(self) -> None:
        if self.capacity ** (len(self.weights) + 1) > 2**22:
            raise UserError(f"{self.name} with {len(self.weights)} weights needs a lower capacity")

    def init(self, key: Array, example: Transition) -> State:
        del key
        points = jnp.broadcast_to(self._reference()[None], (self.capacity, len(self.weights)))
        return no_state(example, Front(points, jnp.float32(1.0)))

    def apply(self, state: State, block: Transition) -> Applied:
        reward = self.relabel(state.shared, block, ())
        front, gain = self._add(state.shared.points, vector(block).mean((0, 1)))
        shared = Front(front, 0.5 + 1.5 * jnp.tanh(gain))
        metrics = {"hypervolume_weight/factor": shared.factor}
        return Applied(state.replace(shared=shared), reward, metrics, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        rewards = vector(batch)
        if rewards.shape[-1] != len(self.weights):
            raise UserError(
                f"{self} has {len(self.weights)} weights for {rewards.shape[-1]} rewards"
            )
        return shared.factor * (rewards @ jnp.asarray(self.weights, jnp.float32))

    def _add(self, points: Array, new: Array) -> tuple[Array, Array]:
        """The front with the new point, if it adds anything, and what it adds."""
        reference = self._reference()
        rows = jnp.arange(self.capacity)

        def volume_without(i: Array) -> Array:
            rest = jnp.where((rows == i)[:, None], reference[None], points)
            return hypervolume(rest, reference)

        without = jax.vmap(volume_without)(rows)
        more = hypervolume(jnp.concatenate([points, new[None]]), reference)
        gain = jnp.maximum(more - hypervolume(points, reference), 0.0)
        least = rows == without.argmax()
        return jnp.where((least & (gain > 0))[:, None], new[None], points), gain

    def _reference(self) -> Array:
        reference = jnp.asarray(self.reference, jnp.float32).reshape(-1)
        return jnp.broadcast_to(reference, (len(self.weights),))


class Multipliers(NamedTuple):
    """What the multipliers are a function of, `[N]`, and its momentum."""

    dual: Array
    momentum: Array


SQUASH = ("relu", "sigmoid", "tanh")


def dual_weights(squash: str, dual: Array) -> Array:
    """The weights `[N]` of the bounded rewards, see `lagrangian`."""
    return {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}[squash](dual)


def main_weight(squash: str, weights: Array) -> Array:
    """That of the main reward, a scalar."""
    return jnp.where(squash == "relu", 1.0, weights.size - weights.sum())


def moved(squash: str, known: Multipliers, above: Array, rate: Array | float) -> Multipliers:
    """After returns that are `above[N]` their thresholds, see `lagrangian`."""
    if squash == "relu":
        return known._replace(dual=jax.nn.relu(known.dual - rate * above))
    gradient = jax.grad(lambda dual: (dual_weights(squash, dual) * above).sum())(known.dual)
    norm = jnp.sqrt((gradient**2).sum())
    momentum = 0.1 * known.momentum + gradient * jnp.minimum(1.0, 0.5 / (norm + 1e-12))
    return Multipliers(known.dual - rate * momentum, momentum)


@register("lagrangian", {"thresholds": (0.2,), "squash": "sigmoid"}, {"thresholds": (0.2,)})
class lagrangian(RewardTransform):  # noqa: N801
    """`r_0 + sum_i w_i r_i`, w_i learnt so that the return of reward i reaches its threshold.

    For `stack(main, r_1, ...)`.

    `squash="relu"` is plain dual ascent: w_i rises by `rate` times what the mean return
    of a block's finished episodes falls short, and is never below 0. The others are of
    Moskovitz et al. 2023, "Confronting Reward Model Overoptimization with Constrained
    RLHF": w_i = sigmoid(z_i), or tanh(z_i), which turns against what is above its
    threshold (equality); the main reward weighs N - sum w; z follows the gradient of
    `sum w_i (J_i - threshold_i)`, clipped to norm 0.5, with momentum 0.1. There the
    weights act on normalised advantages: so does `constrained`, of groups. Elsewhere bring
    the rewards to one scale first.
    """

    thresholds: Row
    rate: NotNegative = 0.1
    squash: Annotated[str, OneOf(SQUASH)] = static(default="relu")
    scope = "learned"
    varies = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        zeros = jnp.zeros(len(self.thresholds))
        return State(Multipliers(zeros, zeros), jnp.zeros((example.first.shape[1], zeros.size)))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        return state.replace(local=jnp.where(first[:, None], 0.0, state.local))

    def apply(self, state: State, block: Transition) -> Applied:
        def step(total: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
            rewards, first = xs
            total = jnp.where(first[:, None], 0.0, total) + rewards
            return total, total

        reward = self.relabel(state.shared, block, ())
        bound = vector(block)[..., 1:]
        local, totals = jax.lax.scan(step, state.local, (bound, block.first))
        ended = block.last[..., None]
        count = ended.sum()
        returns = (totals * ended).sum((0, 1)) / jnp.maximum(count, 1)
        shared = self._move(state.shared, returns)
        shared = jax.tree.map(lambda new, old: jnp.where(count > 0, new, old), shared, state.shared)
        weights = self._weights(shared.dual)
        metrics = {f"lagrangian/weight_{i}": w for i, w in enumerate(weights, 1)}
        return Applied(State(shared, local), reward, metrics, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        rewards, weights = vector(batch), self._weights(shared.dual)
        if rewards.shape[-1] != weights.size + 1:
            raise UserError(
                f"{self} needs {weights.size + 1} rewards, the main one first, "
                f"not {rewards.shape[-1]}"
            )
        main = main_weight(self.squash, weights)
        return main * rewards[..., 0] + rewards[..., 1:] @ weights

    def _weights(self, dual: Array) -> Array:
        return dual_weights(self.squash, dual)

    def _move(self, known: Multipliers, returns: Array) -> Multipliers:
        above = returns - jnp.asarray(self.thresholds, jnp.float32)
        return moved(self.squash, known, above, self.rate)


class Drawn(NamedTuple):
    """The environment's number, its steps, that at which the episode started, and its v."""

    number: Array
    steps: Array
    started: Array
    direction: Array


@register("direction")
class direction(RewardTransform):  # noqa: N801
    """`sum_k v_k r_k`, v a direction that every episode draws anew and the policy may see.

    Wang et al. 2024, "Arithmetic Control of LLMs for Diverse User Preferences": one policy
    for all preferences, told as a unit vector (`placement="step"`). v is uniform
    among those without a negative part; of two rewards `(cos a, sin a)`, a uniform in
    degrees from `low` to `high`, where a negative angle asks for less of the second. A
    linear utility misses what is concave in a Pareto front.
    """

    objectives: Count = static(default=2)
    low: Annotated[float, Interval(-360, 360)] = 0.0
    high: Annotated[float, Interval(-360, 360)] = 90.0
    scope = "causal"

    def validate(self) -> None:
        checks.rising(self, "low", "high")

    def init(self, key: Array, example: Transition) -> State:
        number = jnp.arange(example.first.shape[1], dtype=jnp.uint32)
        zero, shared = jnp.zeros_like(number), jax.random.key_data(key)
        return State(shared, Drawn(number, zero, zero, self._draw(shared, number, zero)))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        memory = state.local
        fresh = self._draw(state.shared, memory.number, memory.steps)
        started = jnp.where(first, memory.steps, memory.started)
        drawn = jnp.where(first[:, None], fresh, memory.direction)
        return state.replace(local=memory._replace(started=started, direction=drawn))

    def apply(self, state: State, block: Transition) -> Applied:
        memory, steps = state.local, block.first.shape[0]
        # By rows of the block: the numbers of steps begin again at 2**32.
        row = jnp.where(block.first, jnp.arange(steps, dtype=jnp.int32)[:, None], -1)
        row = jax.lax.cummax(row, axis=0)
        now = memory.steps[None] + row.astype(jnp.uint32)
        started = jnp.where(row < 0, memory.started[None], now)
        numbers = jnp.broadcast_to(memory.number[None], started.shape)
        drawn = self._draw(state.shared, numbers.reshape(-1), started.reshape(-1))
        drawn = drawn.reshape(*started.shape, self.objectives)
        reward = self.relabel((), block, drawn)
        after = Drawn(memory.number, memory.steps + jnp.uint32(steps), started[-1], drawn[-1])
        return Applied(state.replace(local=after), reward, {}, drawn)

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared
        rewards = vector(batch)
        if rewards.shape[-1] != self.objectives:
            raise UserError(f"{self} is for {self.objectives} rewards, not {rewards.shape[-1]}")
        return (features * rewards).sum(-1)

    def observe(self, local: Any) -> Array:
        return local.direction

    def _draw(self, shared: Array, number: Array, started: Array) -> Array:
        """The directions `[B, K]` of the episodes that start at these steps."""

        def one(number: Array, started: Array) -> Array:
            key = numbered_key(shared, number, started)
            if self.objectives == 2:
                share = jax.random.uniform(key)
                angle = jnp.deg2rad(self.low + share * (self.high - self.low))
                return jnp.stack([jnp.cos(angle), jnp.sin(angle)])
            v = jnp.abs(jax.random.normal(key, (self.objectives,)))
            return v / jnp.sqrt((v**2).sum())

        return jax.vmap(one)(number, started)


def gradient_weights(log_weights: Array, gradients: Array, rate: float) -> tuple[Array, Array]:
    """Weights that grow for objectives whose gradients agree with all.

    Lu et al. 2025 (as in `hypervolume_weight`): `log w_i += rate * sum_j <g_i, g_j>`.

    Args:
      log_weights: `[K]`.
      gradients: each objective's policy gradient, flattened, `[K, P]`.
      rate: eta / mu there.

    Returns:
      The new log-weights, normalised, and the weights `[K]`, which sum to 1.
    """
    influence = gradients @ gradients.sum(0)
    moved = jax.nn.log_softmax(log_weights + rate * influence)
    return moved, jnp.exp(moved)


def min_norm_weights(gradients: Array, iterations: int = 50) -> Array:
    """Weights `[K]` on the simplex of the shortest `sum_k w_k g_k`, by Frank and Wolfe.

    The common descent direction of several losses (Desideri 2012, MGDA), which Zeng
    et al. 2023, "On Diversified Preferences", train a reward model of several rater groups by.

    Args:
      gradients: `[K, P]`.
      iterations: of Frank-Wolfe, each with an exact line search.
    """
    gram = gradients @ gradients.T
    start = jnp.full(gradients.shape[0], 1.0 / gradients.shape[0])

    def improve(_: Any, weights: Array) -> Array:
        best = jax.nn.one_hot(jnp.argmin(gram @ weights), weights.size)
        change = best - weights
        bend = change @ gram @ change
        step = jnp.clip(-(weights @ gram @ change) / jnp.maximum(bend, 1e-12), 0.0, 1.0)
        return weights + step * change

    return jax.lax.fori_loop(0, iterations, improve, start)
