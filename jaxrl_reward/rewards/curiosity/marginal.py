"""Rewards with diminishing returns: what each step adds to a set function.

Prajapat et al. (ICLR 2024), "Submodular Reinforcement Learning": the return of
an episode is `F(s_0, s_1, ..., s_T)`, which is no sum of rewards of single
states; its marginal gains are, of histories.
"""

import dataclasses
from typing import Annotated, Any

import jax.numpy as jnp

from jaxrl_reward import submodular
from jaxrl_reward.rewards.core.base import ATOM, show, static
from jaxrl_reward.rewards.core.checks import Count, Finite, OneOf, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal
from jaxrl_reward.types import Array, Transition, UserError

OBSERVED = ("memory", "path")
_PLAIN = (int, float, str)


class _SetReward(Causal):
    """What both rewards of a set function share: where it comes from."""

    of: Any
    at: Any = static(default=None)
    initial: Finite = 1.0

    def validate(self) -> None:
        if isinstance(self.of, str | submodular.SetFunction):
            object.__setattr__(self, "of", submodular.objective(self.of))
        if isinstance(self.of, float | tuple):  # a text gives nothing else
            raise UserError(f"{self.name}'s of must name an environment, as in 'grid:two_rooms'")
        if isinstance(self.at, str | float | tuple):
            raise UserError(f"{self.name}'s at must be a function, which a text cannot give")

    @property
    def function(self) -> Any:
        """F."""
        return self.of.function

    def element(self, obs: Array) -> Array:
        """The element that an observation shows."""
        return (self.at or self.of.at)(obs)

    def text(self) -> tuple[str, int]:
        read = isinstance(self.of, submodular.Objective) and self.of.text
        given = [f"of={read!r}" if read else "of=<objective>"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            default = value is None or (isinstance(value, _PLAIN) and value == field.default)
            if field.name != "of" and not default:
                given.append(f"{field.name}={show(value)}")
        return f"{self.name}({', '.join(given)})", ATOM


_EXAMPLE = "arena:disc,cells=5,half_width=2"


@register("marginal_gain", {"of": _EXAMPLE, "initial": 0.5})
class marginal_gain(_SetReward):  # noqa: N801
    """What the next state adds to F of those visited before in this episode.

    `of` names an environment (`'grid:two_rooms'`) whose objective is F, or is a
    set function. The rewards of an episode sum to F of all its states; the
    first one's own part is paid with the first step, times `initial` (Prajapat et
    al. 2024, "Submodular Reinforcement Learning"). The policy
    may see the memory (`placement`): what F holds, or with `observed='path'` the
    elements so far over `scale`, `[length]`, and -1 over `scale` for those to come.
    """

    observed: Annotated[str, OneOf(OBSERVED)] = static(default="memory")
    length: Count = static(default=40)
    scale: Positive = 1.0

    def begin_one(self, shared: Any, obs: Array) -> Any:
        del shared
        element, path = self.element(obs), ()
        if self.observed == "path":
            path = jnp.full(self.length, -1, jnp.int32).at[0].set(element)
        return self.function.start(element), path, jnp.int32(1)

    def step(self, shared: Any, local: Any, transition: Transition) -> tuple[Any, Array]:
        del shared
        memory, path, count = local
        # Before the first step, the memory is that of the initial state.
        before = jnp.where(transition.first, self.initial * self.function.value(memory), 0)
        element = self.element(transition.next_obs)
        gain, memory = self.function.gain(memory, element)
        if self.observed == "path":
            path = path.at[count].set(element, mode="drop")  # of a longer walk, the start
        return (memory, path, count + 1), gain + before

    def view(self, local: Any) -> Array:
        memory, path, _ = local
        if self.observed == "path":
            return path.astype(jnp.float32) / self.scale
        return self.function.view(memory)


@register("modular", {"of": _EXAMPLE, "initial": 0.5})
class modular(_SetReward):  # noqa: N801
    """F of the next state alone, as if it had no history: revisits are paid again.

    The modular baseline; `of` and `initial` are those of `marginal_gain`.
    """

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared, obs
        return jnp.zeros(())

    def step(self, shared: Any, local: Any, transition: Transition) -> tuple[Any, Array]:
        del shared
        single = self.function.single
        before = self.initial * single(self.element(transition.obs))
        gain = single(self.element(transition.next_obs))
        return local, gain + jnp.where(transition.first, before, 0)
