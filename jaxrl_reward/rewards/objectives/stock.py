"""The stock of an episode: what a policy must see to optimise the law of its return.

The stock starts at a chosen `c_0` and follows `c' = (c + r) / gamma`, so that
`gamma^t (c_t + G_t)` is `c_0 + G_0` throughout (Avila Pires et al. 2025,
"Optimizing Return Distributions with Distributional Dynamic Programming",
section 3). A target return g is the stock `-g`.
"""

from typing import Annotated, Any

import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import static
from jaxrl_reward.rewards.core.checks import Divisor, Finite, Finites, OneOf, Positive
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Affine, Causal
from jaxrl_reward.types import Array, Transition, UserError

LARGEST = 1e6  # what a policy sees at most, in units of `scale`
VIEWS = ("stock", "discounted")


@register("stock", {}, {"c0": -1.0, "gamma": 0.5, "observed": "discounted"})
class stock(Causal):  # noqa: N801
    """Leaves the reward as it is and keeps its stock, for a policy that sees it (`placement`).

    `c0` may be several numbers, for a vector reward from `stack`; `gamma` is the
    agent's, if it is left out. The policy sees `c_t / scale`; with `observed="discounted"` it
    sees `gamma^t c_t / scale`, which stays bounded, and `gamma^t`.
    """

    other_gamma = "the stock is not that of the agent's return"

    c0: Finites = 0.0
    gamma: Divisor = None
    scale: Positive = 1.0
    observed: Annotated[str, OneOf(VIEWS)] = static(default="stock")
    reads_history = True

    def begin_one(self, shared: Any, obs: Array) -> tuple[Array, Array]:
        del shared, obs
        return jnp.asarray(self.c0, jnp.float32), jnp.float32(1.0)

    def step(
        self, shared: Any, local: Any, transition: Transition
    ) -> tuple[tuple[Array, Array], Array | Affine]:
        del shared
        held, discount = local
        check(held, transition.reward)
        after = ((held + transition.reward) / self.discount, discount * self.discount)
        return after, self.effect(held, transition.reward)

    def effect(self, held: Array, reward: Array) -> Array | Affine:
        """What is paid for a reward on top of the stock `held`."""
        del held
        return Affine(jnp.ones_like(reward), jnp.zeros_like(reward))

    def view(self, local: Any) -> Array:
        held, discount = local
        if self.observed == "discounted":
            return jnp.append(held * discount / self.scale, discount)
        return jnp.clip(held / self.scale, -LARGEST, LARGEST).reshape(-1)


@register("stock_utility", {"right": -1.0}, {"left": 2.0, "c0": -1.0, "gamma": 0.5})
class stock_utility(stock):  # noqa: N801
    """Pays `gamma f(c') - f(c)`, so that an episode's return is `f(c_0 + G) - f(c_0)`.

    `f(x) = left min(x, 0) + right max(x, 0)`: (1, -1) aims at the return `-c0`,
    (1, 0) is behind CVaR, (1, 1) is the reward itself; of a vector reward f is
    the sum over its parts. An agent that sees the stock and maximises its mean
    return then maximises `E f(c_0 + G)`. Truncation is not an end; at a
    termination f of the last stock is kept, unlike a potential.
    """

    left: Finite = 1.0
    right: Finite = 0.0

    def effect(self, held: Array, reward: Array) -> Array | Affine:
        # gamma f(c') is f(c + r), and the difference is taken piece by piece:
        # a stock grows as gamma^-t, and large numbers must not cancel.
        full = held >= 0
        below = jnp.where(full, jnp.minimum(held + reward, 0.0), jnp.minimum(reward, -held))
        above = jnp.where(full, jnp.maximum(reward, -held), jnp.maximum(held + reward, 0.0))
        return (self.left * below + self.right * above).sum()

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del shared, batch
        return features.bonus


def check(held: Array, reward: Array) -> None:
    """Raises a `UserError` unless there is one stock for each reward."""
    if held.shape != reward.shape:
        stocks, rewards = (x.shape[-1] if x.ndim else "one" for x in (held, reward))
        raise UserError(f"stock has {stocks} numbers c0 for {rewards} rewards")
