"""A goal that stands behind the observation, reached or not."""

from typing import Annotated

import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import Count, NotNegative, OneOf
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Pointwise
from jaxrl_reward.types import Array, Transition, UserError


@register("goal_reached", {"size": 1}, {"size": 1, "tolerance": 0.5, "when": "after"})
class goal_reached(Pointwise):  # noqa: N801
    """1 where what is achieved is the goal, else 0; `goal_reached(2) - 1` counts the steps to it.

    The goal is the last `size` numbers of the flat observation, and what is achieved the
    `size` numbers from `start` on; they are the same up to a distance of `tolerance`.
    `when='before'` looks at the state that the step starts from, as data of
    `jr.data.relabel_goals` and OGBench's do; `'after'` at the one that it leads to.
    """

    size: Count = static()
    start: int = static(default=0)
    tolerance: NotNegative = 0.0
    when: Annotated[str, OneOf(("before", "after"))] = static(default="before")

    def validate(self) -> None:
        if self.start < 0:
            raise UserError(f"{self}: start must be at least 0, not {self.start}")

    def reward(self, transition: Transition) -> Array:
        seen = transition.obs if self.when == "before" else transition.next_obs
        flat = jnp.asarray(seen, jnp.float32).reshape(-1)
        if self.start + 2 * self.size > flat.shape[0]:
            least = self.start + 2 * self.size
            raise UserError(
                f"{self} needs {least} numbers to be observed, the goal behind the rest; here are "
                f"{flat.shape[0]}"
            )
        achieved, goal = flat[self.start : self.start + self.size], flat[-self.size :]
        near = jnp.linalg.norm(achieved - goal) <= self.tolerance
        return near.astype(jnp.float32)
