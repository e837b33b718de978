"""Numbers that come with a step: from the environment's `info` or the agent's `policy`."""

from typing import Annotated

import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import OneOf
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Pointwise
from jaxrl_reward.types import Array, Transition, UserError, nearest


@register("signal", {"of": "entropy"}, {"of": "entropy", "when": "step"})
class signal(Pointwise):  # noqa: N801
    """What `info` or else `policy` has under this name at an episode's end, 0 before it.

    As in `signal('proxy')`; with `when="step"` at every step, as in `signal('entropy',
    when='step')`. A vector is a vector reward, as of `stack`.
    """

    of: str = static()
    when: Annotated[str, OneOf(("end", "step"))] = static(default="end")

    def reward(self, transition: Transition) -> Array:
        told = {**transition.policy, **transition.info}
        if self.of not in told:
            raise UserError(f"{self}: there is no such signal here, {nearest(self.of, told)}")
        value = jnp.asarray(told[self.of], jnp.float32)
        return jnp.where(transition.last | (self.when == "step"), value, 0.0)
