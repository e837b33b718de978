"""The fifth way to write a term: from whole groups of episodes.

A group is the rollouts of one prompt (or of one initial state). A rule sees one
number per episode, `[N]`, and what it gives is the episode's return, paid at its
end. So an advantage is a reward too: the credit of a step is what is paid from
there on, which is the same for all steps of the episode.

Where a rule gives each step a number of its own, `[T, N]`, that is its reward; and
if the class says `own_step = True`, it is its credit, which nothing behind adds to.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl_reward.rewards.core import operators
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State
from jaxrl_reward.rewards.core.ways import _arguments, _float, _from_function
from jaxrl_reward.rewards.objectives.scalarise import vector
from jaxrl_reward.rounding import ULPS, ulps
from jaxrl_reward.types import Array, Transition


class Groups(NamedTuple):
    """The first episode of each environment of a block, and which are of one group.

    Attributes:
      ids: `[N]` int32 in [0, N), from `info["group"]`; all of a block without it.
      alive: the steps of those episodes, `[T, N]` bool. What comes behind, as
        when a shorter episode waits for the longest, does not count.
    """

    ids: Array
    alive: Array

    # ---- of one episode -------------------------------------------------------

    def total(self, values: Array) -> Array:
        """Each episode's sum of `values[T, N, ...]`, `[N, ...]`."""
        alive = self.alive.reshape(self.alive.shape + (1,) * (values.ndim - 2))
        return jnp.where(alive, _float(values), 0.0).sum(0)

    def length(self) -> Array:
        """The number of steps of each episode, `[N]` float32."""
        return self.alive.sum(0, dtype=jnp.float32)

    def average(self, values: Array) -> Array:
        """Each episode's mean of `values[T, N]`, `[N]`."""
        return self.total(values) / jnp.maximum(self.length(), 1.0)

    def final(self, values: Array) -> Array:
        """What `values[T, N, ...]` are at each episode's last step, `[N, ...]`."""
        last = jnp.maximum(self.alive.sum(0) - 1, 0)
        return values[last, jnp.arange(last.shape[0])]

    # ---- of one group ---------------------------------------------------------

    def sum(self, values: Array) -> Array:
        """The group's sum of `values[N, ...]`, at each of its episodes, `[N, ...]`."""
        return jax.ops.segment_sum(_float(values), self.ids, self.ids.shape[0])[self.ids]

    def size(self) -> Array:
        """The number of episodes of the group, `[N]` float32."""
        return self.sum(jnp.ones(self.ids.shape))

    def mean(self, values: Array) -> Array:
        """The group's mean of `values[N, ...]`, `[N, ...]`; of equal numbers it is just that."""
        values, low = _float(values), self.min(values)
        return low + self._average(values - low)

    def centre(self, values: Array) -> Array:
        """`values[N, ...]` less the group's mean, exactly 0 where all are equal, `[N, ...]`.

        The smallest is taken off first: a large mean costs no digits.
        """
        above = _float(values) - self.min(values)
        return above - self._average(above)

    def std(self, values: Array, ddof: ArrayLike = 0.0) -> Array:
        """The group's standard deviation of `values[N]`, `[N]`; 0 in a group of one.

        Of the population, or with `ddof=1` of a sample: the sum of squares is divided by
        the number of episodes less `ddof`.
        """
        squares, size = self.sum(self.centre(values) ** 2), self.size()
        return jnp.sqrt(squares / jnp.where(size > ddof, size - ddof, 1.0))

    def _average(self, values: Array) -> Array:
        size = self.size()
        return self.sum(values) / size.reshape(size.shape + (1,) * (values.ndim - 1))

    def max(self, values: Array) -> Array:
        """The group's largest of `values[N]`, `[N]`."""
        return jax.ops.segment_max(_float(values), self.ids, self.ids.shape[0])[self.ids]

    def min(self, values: Array) -> Array:
        """The group's smallest of `values[N]`, `[N]`."""
        return -self.max(-_float(values))

    def logsumexp(self, values: Array, others: bool = False) -> Array:
        """The log of the group's sum of `exp(values)`, `[N]`; of all but oneself with `others`.

        `-inf` where there are no others. A difference of sums would lose those that are far
        less than one's own.
        """
        there = self.ids[:, None] == self.ids[None]
        if others:
            there &= ~jnp.eye(self.ids.shape[0], dtype=bool)
        logs = jnp.broadcast_to(values[None], there.shape)
        return jax.nn.logsumexp(logs, axis=1, where=there)

    def position(self) -> Array:
        """How many of the group come before, in the order of the environments, `[N]` int32."""
        place = jnp.arange(self.ids.shape[0])
        return self._pairs(place[None] < place[:, None])

    def over_groups(self, values: Array) -> Array:
        """The mean over groups of what all of a group have in common, a scalar."""
        weight = 1.0 / self.size()
        return (weight * values).sum() / weight.sum()

    def rounding(self, values: Array) -> Array:
        """What rounding may have done to each episode's total of `values[T, N, ...]`, `[N, ...]`.

        A few ulps of the largest sum on the way, and one more for every four of the steps
        that were added, here or in what paid it: one number added again and again drifts by
        an eighth of an ulp a step.
        """
        alive = self.alive.reshape(self.alive.shape + (1,) * (values.ndim - 2))
        steps = values.shape[0]
        on_the_way = jnp.tensordot(
            jnp.tril(jnp.ones((steps, steps))), jnp.where(alive, _float(values), 0.0), 1
        )
        return self._ulps(jnp.abs(on_the_way).max(0))

    def _ulps(self, size: Array) -> Array:
        count = ULPS + 0.25 * self.length()
        return ulps(size, count.reshape(count.shape + (1,) * (size.ndim - 1)))

    def differ(self, values: Array, rounding: Array | None = None) -> Array:
        """Whether any two of the group differ in `values[N]` by more than rounding, `[N]` bool.

        Args:
          values: one number an episode.
          rounding: of each of them, `[N]`; by default that of sums no larger than they are.
        """
        unsure = self.max(self._ulps(_float(values)) if rounding is None else rounding)
        return self.max(values) - self.min(values) > unsure

    def count(self, where: Array) -> Array:
        """How many of the group have a true entry in `where[N]`, `[N]` float32."""
        return self.sum(where)

    def below(self, values: Array, rounding: Array | None = None) -> Array:
        """How many of the group have less, ties by half and oneself not at all, `[N]`.

        What differs by no more than the `rounding[N]` of either is a tie, by default a few
        roundings of the two.
        """
        rounding = ulps(values) if rounding is None else rounding
        more = values[:, None] - values[None]
        unsure = jnp.maximum(rounding[:, None], rounding[None])
        return self._pairs(more > unsure) + 0.5 * (self._pairs(jnp.abs(more) <= unsure) - 1)

    def agree(self, values: Array) -> Array:
        """How many of the group have the same of `values[N]`, oneself too, `[N]`."""
        return self._pairs(values[:, None] == values[None])

    def _pairs(self, holds: Array) -> Array:
        """With how many of the group something `holds[N, N]`, `[N]`.

        Fused into one loop, all pairs of thousands take milliseconds.
        """
        return (holds & (self.ids[:, None] == self.ids[None])).sum(1)


def groups_of(block: Transition) -> Groups:
    """The groups of a block `[T, N, ...]`."""
    steps, envs = block.first.shape
    begins = jnp.concatenate([jnp.asarray(block.first[1:]), jnp.zeros((1, envs), bool)])
    # As a product: sums along an axis take long to compile, and every rule does this.
    earlier = jnp.tril(jnp.ones((steps, steps)), -1)
    alive = earlier @ _float(block.last | begins) < 0.5
    if "group" in block.info:
        return Groups(block.info["group"][0].astype(jnp.int32), alive)
    return Groups(jnp.zeros(envs, jnp.int32), alive)


class Grouped(RewardTransform):
    """A term that needs whole groups of episodes. Override `rule`.

    Set `own_step = True` where it gives each step a credit of its own, and
    `ordered = True` where the order of the environments matters.
    """

    scope = "group"
    own_step = False
    ordered = False

    def rule(self, block: Transition, groups: Groups) -> Array:
        """What each episode `[N]`, or each step `[T, N]`, earns."""
        raise NotImplementedError

    def apply(self, state: State, block: Transition) -> Applied:
        groups = groups_of(block)
        return Applied(state, paid(self.rule(block, groups), groups), {}, ())


def paid(earned: Array, groups: Groups) -> Array:
    """The rewards `[T, N]`: a number per episode at its end, and nothing behind it."""
    earned = _float(earned)
    if earned.ndim > 1:
        return jnp.where(groups.alive, earned, 0.0)
    steps = jnp.arange(groups.alive.shape[0])[:, None]
    end = groups.alive & (steps == groups.alive.sum(0, keepdims=True) - 1)
    return jnp.where(end, earned[None], 0.0)


def gives_own_steps(reward: RewardTransform) -> bool:
    """Whether an expression gives each step a credit of its own, by its last stage."""
    parts = reward.children()
    if isinstance(reward, operators.Chain):
        return gives_own_steps(parts[-1])
    own = isinstance(reward, Grouped) and reward.own_step
    return own or any(map(gives_own_steps, parts))


def grouped(function: Callable[..., Array]) -> type[Grouped]:
    """Makes a term from `function(block, groups, ...)`, as `pointwise` does.

    `groups.total(block.reward)` are the episodes' returns `[N]`, and `groups.mean`,
    `std`, `max`, ... what each one's group has of them.
    """

    def rule(self: Any, block: Transition, groups: Groups) -> Array:
        return function(block, groups, **_arguments(self))

    return _from_function(function, Grouped, {"rule": rule}, skip=2)


def totals(block: Transition, groups: Groups) -> Array:
    """The vector returns of the episodes, `[N, K]`; without `stack` before it, K is 1."""
    return groups.total(vector(block))
