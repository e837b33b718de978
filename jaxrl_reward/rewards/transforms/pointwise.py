"""Terms of one transition: scalings, bounds, potentials."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, static
from jaxrl_reward.rewards.core.checks import Discount, Finite, Number, Row
from jaxrl_reward.rewards.core.potentials import lookup
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Pointwise
from jaxrl_reward.types import Array, Transition, UserError


@register("scale", {"by": 2.0})
class scale(Pointwise):  # noqa: N801
    """`by * r`."""

    by: Finite

    def reward(self, transition: Transition) -> Array:
        return self.by * transition.reward


@register("clip", {}, {"low": -0.5, "high": 0.25})
class clip(Pointwise):  # noqa: N801
    """`min(max(r, low), high)`."""

    low: Number = -1.0
    high: Number = 1.0

    def validate(self) -> None:
        checks.rising(self, "low", "high")

    def reward(self, transition: Transition) -> Array:
        return jnp.clip(transition.reward, self.low, self.high)


@register("sign")
class sign(Pointwise):  # noqa: N801
    """-1, 0 or 1 (Mnih et al. 2015, clipping as in Atari)."""

    def reward(self, transition: Transition) -> Array:
        return jnp.sign(transition.reward)


@register("symlog")
class symlog(Pointwise):  # noqa: N801
    """`sign(r) * log(1 + |r|)` (Hafner et al. 2023, DreamerV3, equation 9)."""

    def reward(self, transition: Transition) -> Array:
        return jnp.sign(transition.reward) * jnp.log1p(jnp.abs(transition.reward))


@register("threshold", {}, {"at": 0.5})
class threshold(Pointwise):  # noqa: N801
    """1 where `r >= at`, else 0."""

    at: Number = 0.0

    def reward(self, transition: Transition) -> Array:
        return (transition.reward >= self.at).astype(jnp.float32)


@register("weighted_sum", {"weights": (1.0,)})
class weighted_sum(RewardTransform):  # noqa: N801
    """The scalariser `sum_k w_k r_k` of a vector reward from `stack`."""

    weights: Row

    def apply(self, state: State, block: Transition) -> Applied:
        return Applied(state, self.relabel((), block, ()), {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        reward = batch.reward if len(self.weights) > 1 else batch.reward[..., None]
        if reward.shape[-1] != len(self.weights):
            raise UserError(
                f"{self} has {len(self.weights)} weights for {reward.shape[-1]} rewards"
            )
        return sum((w * reward[..., k] for k, w in enumerate(self.weights)), jnp.float32(0.0))


@register("potential", {"function": "first"}, {"function": "norm", "gamma": 0.5})
class potential(Pointwise):  # noqa: N801
    """Potential-based shaping `gamma * Phi(next_obs) - Phi(obs)`, to add to a reward.

    Phi is 0 after termination and Phi(next_obs) after truncation, so that the
    optimal policy stays what it was (Ng, Harada and Russell 1999, theorem 1;
    Grzes 2017 for the terminal state). `function` is a function of one
    observation or the name of one (`potentials.names()`), of this environment; `gamma`
    is the agent's, if it is left out.
    """

    other_gamma = "optimal policies are no longer preserved"

    function: str | Callable[[Array], Array] = static()
    gamma: Discount = None

    def validate(self) -> None:
        lookup(self.function)

    def reward(self, transition: Transition) -> Array:
        phi = lookup(self.function)
        after = jnp.where(transition.terminated, 0.0, phi(transition.next_obs))
        return self.discount * after - phi(transition.obs)


@register("state_bonus", {"function": "norm"})
class state_bonus(Pointwise):  # noqa: N801
    """`Phi(next_obs)` at every step: NOT invariant, pays for staying where Phi is high.

    The classic mistake (Ng, Harada and Russell 1999, section 1), kept to
    compare with `potential`.
    """

    function: str | Callable[[Array], Array] = static()

    def validate(self) -> None:
        lookup(self.function)

    def reward(self, transition: Transition) -> Array:
        return lookup(self.function)(transition.next_obs)
