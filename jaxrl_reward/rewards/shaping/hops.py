"""Progress in hops, as a potential: three estimates of how far a task is, fused.

"Robo-Dopamine: General Process Reward Modeling for High-Precision Robotic Manipulation"
(2025), section 3. A *hop* says by which share of the way that is left (or, backwards, of
the way that is behind) progress changes between two observations p and q:

    H(p, q) = (P_q - P_p) / (1 - P_p) if P_q >= P_p, else (P_q - P_p) / P_p,   in [-1, 1]

A model of hops gives three estimates of progress: from the one before, from the start,
and from the goal. Where they disagree the model does not know what it sees.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import Discount, Finite, NotNegative, OneOf, Share
from jaxrl_reward.rewards.core.potentials import lookup
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal
from jaxrl_reward.types import Array, Transition

FUSIONS = ("mean", "gate")
TINY = 1e-6


class Hops(NamedTuple):
    """A model of hops.

    Attributes:
      hop: H, from two observations to a number in [-1, 1].
      goal: an observation in which all is achieved.
    """

    hop: Callable[[Array, Array], Array]
    goal: Array


class Memory(NamedTuple):
    """What is kept of an episode.

    Attributes:
      start: its first observation.
      last: its last observation.
      progress: the fused estimate there.
    """

    start: Array
    last: Array
    progress: Array


def hop(before: Array, after: Array) -> Array:
    """H of two values of progress in [0, 1]."""
    change = after - before
    room = jnp.where(change >= 0, 1.0 - before, before)
    return jnp.clip(change / jnp.maximum(room, TINY), -1.0, 1.0)


def moved(progress: Array, hop: Array) -> Array:
    """By how much a hop changes progress; what is in [0, 1] stays there."""
    return jnp.where(hop >= 0, (1.0 - progress) * hop, progress * hop)


@register("hop_potential", {"function": "norm", "low": -3.0, "fusion": "gate"})
class hop_potential(Causal):  # noqa: N801
    """`gamma P(next_obs) - P(obs)`, P the fused estimate of progress since the start, in [0, 1].

    `fusion='mean'` of the three estimates; with `'gate'` P moves by `w / 2` times
    `mean - P + change`, where the mean is of those from the start and from the goal, and
    `w = exp(-alpha d^2)` with d their distance relative to it. P is 0 after a termination,
    so that the task stays; `success` times 1 where P is `1 - near` or more is paid on top,
    which no theorem covers. `function` is a model of hops, or a potential (or its name)
    that is `low` where nothing and `high` where all is achieved.
    """

    other_gamma = "optimal policies are no longer preserved"

    function: Any = static()
    low: Finite = 0.0
    high: Finite = 1.0
    gamma: Discount = None
    fusion: Annotated[str, OneOf(FUSIONS)] = static(default="mean")
    alpha: NotNegative = 1.0
    success: Finite = 0.0
    near: Share = 0.05

    def validate(self) -> None:
        if not isinstance(self.function, Hops):
            lookup(self.function)
        checks.rising(self, "low", "high", strictly=True)

    def begin_one(self, shared: Any, obs: Array) -> Memory:
        del shared
        return Memory(obs, obs, jnp.float32(0.0))

    def step(self, shared: Any, local: Memory, transition: Transition) -> tuple[Memory, Array]:
        del shared
        seen, known = transition.next_obs, local.progress
        fused = self.fused(local, seen)
        after = jnp.where(transition.terminated, 0.0, fused)
        achieved = self.success * (fused >= 1.0 - self.near)
        return Memory(local.start, seen, fused), achieved + self.discount * after - known

    def fused(self, local: Memory, seen: Array) -> Array:
        """P of the observation that follows a memory, a scalar."""
        known = local.progress
        change = moved(known, self._hop(local.last, seen))
        forward, backward = self._hop(local.start, seen), 1.0 + self._from_goal(seen)
        if self.fusion == "mean":
            found = (known + change + forward + backward) / 3.0
        else:
            mean = (forward + backward) / 2.0
            apart = jnp.abs(backward - forward) / jnp.maximum(jnp.abs(mean), TINY)
            trust = jnp.exp(-self.alpha * apart**2)
            found = known + trust / 2.0 * (mean - known + change)
        return jnp.clip(jnp.asarray(found, jnp.float32), 0.0, 1.0)

    def view(self, local: Memory) -> Array:
        return local.progress[None]

    def _hop(self, before: Array, after: Array) -> Array:
        if isinstance(self.function, Hops):
            return self.function.hop(before, after)
        return hop(self._progress(before), self._progress(after))

    def _from_goal(self, seen: Array) -> Array:
        if isinstance(self.function, Hops):
            return self.function.hop(self.function.goal, seen)
        return hop(jnp.float32(1.0), self._progress(seen))

    def _progress(self, obs: Array) -> Array:
        share = (lookup(self.function)(obs) - self.low) / (self.high - self.low)
        return jnp.clip(share, 0.0, 1.0)
