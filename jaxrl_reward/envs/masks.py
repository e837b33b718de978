"""Which actions an observation allows: what is made of the part `action_mask`.

Inputs are flat observations `[..., D]` as the environment gives them, whatever lies
behind. A mask that allows nothing, as after the end of an episode, allows everything.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxrl_reward import spaces
from jaxrl_reward.envs import bounds
from jaxrl_reward.envs.registry import Env
from jaxrl_reward.types import Array, UserError


@dataclasses.dataclass(frozen=True)
class Mask:
    """Where a mask lies in the flat inputs.

    Attributes:
      start: of the first of its numbers.
      counts: how many choices each number of an action has, `k` of them; a Discrete
        action is one number.
    """

    start: int
    counts: tuple[int, ...]

    def allowed(self, inputs: Array) -> Array:
        """Which choices of each number are allowed, `[..., sum(counts)]` bool."""
        seen = inputs[..., self.start : self.start + sum(self.counts)] > 0.5
        if len(set(self.counts)) == 1:
            rows = seen.reshape(*seen.shape[:-1], len(self.counts), self.counts[0])
            return _some(rows).reshape(seen.shape)
        rows = jnp.split(seen, self.ends, axis=-1)
        return jnp.concatenate([_some(each) for each in rows], axis=-1)

    @property
    def ends(self) -> list[int]:
        """Where the choices of each number but the first begin."""
        return [sum(self.counts[: i + 1]) for i in range(len(self.counts) - 1)]


def of(env: Env) -> Mask | None:
    """The mask of an environment's observations, None without one.

    Raises:
      UserError: there are several, or it is not of the actions.
    """
    found = [part for part in env.parts if spaces.mask([part])]
    if not found:
        return None
    if len(found) > 1:
        names = " and ".join(part.name for part in found)
        raise UserError(f"{env.name} observes {names}; give one, with the rows of all in it")
    counts = choices(env.action_space)
    kind = type(env.action_space).__name__
    if not counts:
        raise UserError(f"{env.name} observes {found[0].name}, which {kind} actions do not have")
    if found[0].size != sum(counts):
        raise UserError(
            f"{env.name} observes {found[0].name} of {found[0].size} numbers; its {kind} actions "
            f"have {sum(counts)} choices"
        )
    return Mask(found[0].start, counts)


def choices(space: spaces.Space) -> tuple[int, ...]:
    """How many choices each number of an action has; nothing for a Box."""
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec
    return (int(space.n),) if isinstance(space, spaces.Discrete) else ()


def best(scores: Array, allowed: Array | None = None) -> Array:
    """The choice with the highest of `[..., A]`, `[...]` int32; of those allowed, if that is known.

    An allowed one comes before the others even where its score is minus infinite.
    """
    if allowed is None:
        return scores.argmax(-1)
    least = jnp.finfo(scores.dtype).min
    return jnp.where(allowed, jnp.maximum(scores, least), -jnp.inf).argmax(-1)


def draw(allowed: Array, uniform: Array) -> Array:
    """A uniformly random allowed choice, `[...]` int32.

    Args:
      allowed: `[..., A]` bool, one at least.
      uniform: in [0, 1), `[...]`.
    """
    rank = jnp.cumsum(allowed, axis=-1, dtype=jnp.int32)
    nth = jnp.floor(jnp.expand_dims(uniform, -1) * rank[..., -1:]).astype(jnp.int32)
    return (rank > nth).argmax(-1).astype(jnp.int32)


def random_action(env: Env, obs: Array, key: Array) -> Array:
    """A uniformly random action of ONE environment, of those that its observation allows."""
    mask, space = of(env), env.action_space
    if mask is None:
        return bounds.random_action(space, key)
    uniform = jax.random.uniform(key, (len(mask.counts),))
    rows = jnp.split(mask.allowed(obs), mask.ends)
    each = [draw(row, u) for row, u in zip(rows, uniform, strict=True)]
    return jnp.stack(each).reshape(space.shape).astype(space.dtype)


def _some(rows: Array) -> Array:
    return rows | ~rows.any(-1, keepdims=True)
