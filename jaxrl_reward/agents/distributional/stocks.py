"""The stocks that deep eta-networks learn under: drawn at the start of each episode, kept since.

Unlike the term `stock` of the text form, whose stock starts from one number,
these start from a range, so that one network learns what is best for all of it.
Its memory holds keys and so is not permuted with the environments: it is for
agents, and not in the table of terms.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.core.base import ATOM, Applied, State, static
from jaxrl_reward.types import Array, Transition, UserError

LARGEST = 1e6  # a stock that will never come back need not overflow


class Held(NamedTuple):
    """The memory of each environment.

    Attributes:
      stock: `[N]`, or `[N, m]`.
      keys: the environment's own, `[N]`.
      episode: how many are over, `[N]` int32.
    """

    stock: Array
    keys: Array
    episode: Array


class Stocks(rw.RewardTransform):
    """Leaves the reward as it is, and keeps `c' = (c + r) / gamma`.

    Attributes:
      low, high: the range that the network knows, `[]` or `[m]`.
      first_low, first_high: where the stock of an episode starts, uniformly.
      gamma: the agent's discount.
      tracked: whether the stock follows the rewards; else it stays as it began.
      recorded: whether replay learns from the stocks that were played.
    """

    low: Any
    high: Any
    first_low: Any
    first_high: Any
    gamma: Any
    tracked: bool = static(default=True)
    recorded: bool = static(default=False)

    name = "stocks"
    scope = "causal"

    @property
    def reads_history(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.recorded

    def init(self, key: Array, example: Transition) -> State:
        count = example.first.shape[1]
        zeros = jnp.zeros((count, *jnp.shape(self.low)))
        return State((), Held(zeros, jax.random.split(key, count), jnp.zeros(count, jnp.int32)))

    def begin(self, state: State, obs: Array, first: Array) -> State:
        held: Held = state.local

        def draw(key: Array, episode: Array) -> Array:
            uniform = jax.random.uniform(jax.random.fold_in(key, episode), jnp.shape(self.low))
            return self.first_low + (self.first_high - self.first_low) * uniform

        fresh = jax.vmap(draw)(held.keys, held.episode)
        stock = jnp.where(_like(first, fresh), fresh, held.stock)
        return state.replace(local=held._replace(stock=stock))

    def apply(self, state: State, block: Transition) -> Applied:
        if block.reward.shape[2:] != jnp.shape(self.low):
            shapes = (jnp.shape(self.low), block.reward.shape[2:])
            stocks, rewards = (shape[0] if shape else 1 for shape in shapes)
            raise UserError(
                f"eta has stocks={stocks} for {rewards} rewards a step: make them equal"
            )

        def step(held: Held, transition: Transition) -> tuple[Held, None]:
            begun = self.begin(State((), held), transition.obs, transition.first).local
            after = (begun.stock + transition.reward) / self.gamma
            stock = jnp.clip(after, -LARGEST, LARGEST) if self.tracked else begun.stock
            return Held(stock, held.keys, held.episode + transition.last), None

        local, _ = jax.lax.scan(step, state.local, block)
        return Applied(state.replace(local=local), block.reward, {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        return batch.reward

    def text(self) -> tuple[str, int]:
        return "stocks()", ATOM

    def observe(self, local: Any) -> Array:
        stock = local.stock.reshape(local.stock.shape[0], -1)
        return seen(stock, self.low, self.high)


class OwnRewards(rw.Pointwise):
    """The environment's several rewards, `info["rewards"]`, `[m]`."""

    def reward(self, transition: Transition) -> Array:
        if "rewards" not in transition.info:
            raise UserError(
                "this environment has one reward a step: leave stocks at 1, or stack several terms"
            )
        return transition.info["rewards"]


def seen(stock: Array, low: Array, high: Array) -> Array:
    """What the policy sees of stocks `[..., m]`: place in the range, and itself, `[..., 2 m]`."""
    lead = (1,) * (stock.ndim - 1)
    low, high = (jnp.broadcast_to(x, stock.shape[-1:]).reshape(*lead, -1) for x in (low, high))
    place = jnp.clip((stock - low) / (high - low), 0.0, 1.0)
    return jnp.concatenate([place, stock], -1)


def _like(mask: Array, x: Array) -> Array:
    """`[N]` with as many axes as `x`, `[N, ...]`."""
    return mask.reshape(-1, *(1,) * (x.ndim - 1))
