"""Scalarisers: one number from the vector reward of `stack`.

They act on every step's vector. What is concave in the return (`chebyshev`,
`harmonic`) is another criterion when summed over steps: `chebyshev_return` is
of the whole episode.
"""

from typing import Annotated, Any

import jax.numpy as jnp

from jaxrl_reward import rounding
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, static
from jaxrl_reward.rewards.core.checks import (
    Count,
    Finite,
    Finites,
    NotNegativeRow,
    NotNegatives,
    OneOf,
    Positive,
)
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal, Pointwise
from jaxrl_reward.types import Array, Transition, UserError, nearest


def vector(batch: Transition) -> Array:
    """The running reward as a vector `[..., K]`; without `stack` before it, K is 1."""
    stacked = batch.reward.ndim > jnp.ndim(batch.first)
    return batch.reward if stacked else batch.reward[..., None]


def weights_of(term: Any, rewards: Array, *names: str) -> list[Array]:
    """These arguments of a term as arrays `[K]`; one number stands for all K.

    Raises:
      UserError: they are as many as the rewards neither are nor one.
    """
    arrays = []
    for name in names:
        array = jnp.asarray(getattr(term, name), jnp.float32).reshape(-1)
        if array.size not in (1, rewards.shape[-1]):
            raise UserError(f"{term} has {array.size} {name} for {rewards.shape[-1]} rewards")
        arrays.append(jnp.broadcast_to(array, rewards.shape[-1:]))
    return arrays


@register("objective")
class objective(Pointwise):  # noqa: N801
    """Reward number 1, 2, ... of an environment with several (`info["rewards"]`).

    As in `stack(objective(1), objective(2)) | chebyshev()` on
    `tabular:deep_sea_treasure`. An environment with one reward has that as number 1.
    """

    number: Count = static(default=1)

    def reward(self, transition: Transition) -> Array:
        rewards = transition.info.get("rewards", transition.env_reward[None])
        if self.number > rewards.shape[0]:
            raise UserError(f"{self}: the environment has {rewards.shape[0]} rewards")
        return rewards[self.number - 1]


class Scalariser(RewardTransform):
    """A pure function of every step's vector reward. Override `combine`."""

    def combine(self, rewards: Array) -> Array:
        """From the rewards of one step, `[K]`, to a number."""
        raise NotImplementedError

    def apply(self, state: State, block: Transition) -> Applied:
        return Applied(state, self.relabel((), block, ()), {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared, features
        return jnp.vectorize(self.combine, signature="(k)->()")(vector(batch))


@register("geometric_mean")
class geometric_mean(Scalariser):  # noqa: N801
    """`sign * (prod_k |r_k|) ** (1 / K)`, the sign + if all are at least 0, else -.

    The kinesthetic combination of Moschopoulos et al. 2023, "Lucy-SKG":
    no component pays where another is 0, so none can be farmed alone.
    """

    def combine(self, rewards: Array) -> Array:
        size = jnp.abs(rewards).prod() ** (1.0 / rewards.shape[0])
        return jnp.where((rewards >= 0).all(), size, -size)


@register("harmonic", {"weights": (0.3, 0.7)})
class harmonic(Scalariser):  # noqa: N801
    """`1 / sum_k (w_k / (r_k + 1e-8))` of rewards of at least 0, a soft AND.

    The lambda-harmonic reward of Miao et al. 2024, "Subject-driven Text-to-Image
    Generation via Preference-based Reinforcement Learning": weights
    (1, 0) give the first reward, and between, the lower one counts for more.
    """

    weights: NotNegatives = 0.5

    def combine(self, rewards: Array) -> Array:
        (weights,) = weights_of(self, rewards, "weights")
        return 1.0 / (weights / (rewards + 1e-8)).sum()


@register("by_source", {"of": "entropy"})
class by_source(RewardTransform):  # noqa: N801
    """The reward of `stack` whose number, from 0, `info` or `policy` has under a name.

    As in `stack(env, signal('verdict')) | by_source('level')`: the verifier's reward where it can
    tell, of level 0, and one's own verdict elsewhere; the mixing by source of URPO (2025, "A
    Unified Reward & Policy Optimization Framework for Large Language Models"). A number below 0
    is the first, one beyond the last the last.
    """

    of: str = static()

    def apply(self, state: State, block: Transition) -> Applied:
        return Applied(state, self.relabel((), block, ()), {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared, features
        rewards, told = vector(batch), {**batch.policy, **batch.info}
        if self.of not in told:
            raise UserError(f"{self}: there is no such signal here, {nearest(self.of, told)}")
        number = jnp.clip(jnp.asarray(told[self.of], jnp.int32), 0, rewards.shape[-1] - 1)
        return jnp.take_along_axis(rewards, number[..., None], -1)[..., 0]


HOW = ("mean", "median", "min", "variance", "std", "discount", "spread")


def pooled(values: Array, how: str, weight: Any) -> Array:
    """One number from the values of several judges `[K]`, which may disagree.

    `mean`; `median`; `min`, the worst case; `variance`, mean - weight * Var
    (unbiased); `std`, mean - weight * std; `discount`, mean * exp(-u) - u with
    u = weight * Var, and mean - u below 0; `spread`, the std alone, a bonus for disagreement.
    """
    mean, above = values.mean(), values - values[0]
    variance = ((above - above.mean()) ** 2).sum() / max(values.shape[0] - 1, 1)
    variance = jnp.where(rounding.varies(values), variance, 0.0)
    if how in ("mean", "median", "min"):
        return {"mean": jnp.mean, "median": jnp.median, "min": jnp.min}[how](values)
    if how == "discount":
        unsure = weight * variance
        return jnp.minimum(mean, mean * jnp.exp(-unsure)) - unsure
    some = variance > 0.0  # the root of zero has no gradient
    spread = jnp.where(some, jnp.sqrt(jnp.where(some, variance, 1.0)), 0.0)
    penalties = {"variance": mean - weight * variance, "std": mean - weight * spread}
    return penalties.get(how, spread)


def check_weight(term: Any) -> None:
    """Raises a `UserError` where `discount` would pay for disagreement, exponentially."""
    if term.how == "discount" and checks.falls_below(term.weight, 0.0):
        raise UserError(f"{term.name}'s weight must be at least 0 where how='discount'")


@register("pool", {"how": "min"}, {"how": "discount", "weight": 0.5})
class pool(Scalariser):  # noqa: N801
    """One reward from several judges of one thing: `how` is mean, median, min, variance, ...

    `min` and `variance` (mean - weight * variance, unbiased) are the worst-case and
    the uncertainty-weighted optimisation of Coste et al. 2023, "Reward Model
    Ensembles Help Mitigate Overoptimization"; `std` takes the standard
    deviation instead. `discount` is `mean * exp(-u) - u`, u = weight * variance:
    the weighting of Zhang et al. 2024, "Ctrl-U", whose uncertainty (a KL
    divergence between two outputs) is the variance for Gaussian ones. A mean below 0 is
    not discounted, `mean - u`: the paper's loss `l exp(-u) + u` falls as u grows where l is
    above 1, and would pay for disagreement. `spread` is the disagreement itself, a bonus.
    """

    how: Annotated[str, OneOf(HOW)] = static(default="mean")
    weight: Finite = 0.1

    def validate(self) -> None:
        check_weight(self)

    def combine(self, rewards: Array) -> Array:
        return pooled(rewards, self.how, self.weight)


def distance_to_ideal(rewards: Array, weights: Array, ideal: Array) -> Array:
    """Chebyshev's, `max_k w_k |ideal_k - r_k|` over the last axis."""
    return (weights * jnp.abs(ideal - rewards)).max(-1)


@register("chebyshev", {"weights": (0.3, 0.7), "ideal": (0.5, 1.0)})
class chebyshev(Scalariser):  # noqa: N801
    """`-max_k w_k |ideal_k - r_k|` of every step: the objective farthest off counts.

    Van Moffaert, Drugan and Nowe 2013, "Scalarized Multi-Objective Reinforcement
    Learning". Its sum over steps is not that of the returns, for which
    there is `chebyshev_return`.
    """

    weights: NotNegatives = 1.0
    ideal: Finites = 0.0

    def combine(self, rewards: Array) -> Array:
        return -distance_to_ideal(rewards, *weights_of(self, rewards, "weights", "ideal"))


@register("chebyshev_return", {"weights": (0.3, 0.7), "ideal": (0.5, 1.0)})
class chebyshev_return(Causal):  # noqa: N801
    """Pays how much nearer the episode's vector return G comes to `ideal`, in Chebyshev's sense.

    An episode's rewards sum to `u(G) - u(0)`, u(G) = -max_k w_k |ideal_k - G_k|, so
    that (undiscounted) every point of a Pareto front is optimal for some weights,
    also where the front is concave and no weighted sum reaches it. The policy may
    see G so far over `scale`. `weights` has one number for each reward. The distance
    is that of Van Moffaert, Drugan and Nowe 2013, here of returns.
    """

    weights: NotNegativeRow
    ideal: Finites = 0.0
    scale: Positive = 1.0
    reads_history = True

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared, obs
        return jnp.zeros(len(self.weights))

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        del shared
        reward = jnp.reshape(transition.reward, (-1,))
        if reward.shape != local.shape:
            raise UserError(f"{self} has {local.size} weights for {reward.size} rewards")
        weights, ideal = weights_of(self, reward, "weights", "ideal")
        after = local + reward
        before = distance_to_ideal(local, weights, ideal)
        return after, before - distance_to_ideal(after, weights, ideal)

    def view(self, local: Array) -> Array:
        return local / self.scale

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared, batch
        return features.bonus
