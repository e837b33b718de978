"""Terms with a memory of the running episode: counts, delays."""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import counting
from jaxrl_reward.intervals import Interval
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.core.checks import Count, Positives
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.core.ways import Causal
from jaxrl_reward.types import Array, Transition


def bucket(obs: Array, resolution: Any, buckets: int) -> Array:
    """The hash bucket of one observation's grid cell, int32 in [0, buckets).

    A cell is `floor(obs * resolution)`; cells are hashed, so two may share a
    bucket, as the counts of Tang et al. (2017, "#Exploration") do.
    """
    cell = jnp.floor(obs.reshape(-1) * jnp.asarray(resolution, jnp.float32)).astype(jnp.int32)
    odd = np.random.default_rng(0).integers(1, 2**32, cell.size, dtype=np.uint32) | np.uint32(1)
    x = (cell.astype(jnp.uint32) * odd).sum(dtype=jnp.uint32)
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return ((x ^ (x >> 16)) % jnp.uint32(buckets)).astype(jnp.int32)


@register("counts", {"buckets": 16})
class counts(Causal):  # noqa: N801
    """`1 / sqrt(n)`, n the visits of the next observation's cell in this episode.

    `resolution` cells per unit of observation, one number or one a component;
    the episode's first observation counts as a visit. Over a lifetime it is the
    bonus of Strehl and Littman 2008, `lifetime_counts`.
    """

    resolution: Positives = 10.0
    buckets: Count = static(default=256)

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared
        table = jnp.zeros(self.buckets, jnp.int32)
        return table.at[bucket(obs, self.resolution, self.buckets)].add(1)

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        del shared
        cell = bucket(transition.next_obs, self.resolution, self.buckets)
        local = local.at[cell].add(1)
        return local, jax.lax.rsqrt(local[cell].astype(jnp.float32))


@register("lifetime_counts", {"buckets": 16})
class lifetime_counts(RewardTransform):  # noqa: N801
    """`1 / sqrt(1 + n)`, n the visits of the next observation's cell since the start.

    One table for all environments (Strehl and Littman 2008; hashed as in Tang
    et al. 2017). The counts used on a block are those from before it.
    """

    resolution: Positives = 10.0
    buckets: Count = static(default=4096)
    scope = "learned"
    varies = True

    def init(self, key: Array, example: Transition) -> State:
        del key
        return no_state(example, counting.zero((self.buckets,)))

    def apply(self, state: State, block: Transition) -> Applied:
        cell = jax.vmap(jax.vmap(self._bucket))(block.next_obs)
        table = state.shared.add_at(cell.reshape(-1))
        reward = jax.lax.rsqrt(1 + state.shared.value[cell])
        return Applied(state.replace(shared=table), reward, {}, ())

    def relabel(self, shared: Any, batch: Transition, features: Any) -> Array:
        del features
        return jax.lax.rsqrt(1 + shared.value[jax.vmap(self._bucket)(batch.next_obs)])

    def _bucket(self, obs: Array) -> Array:
        return bucket(obs, self.resolution, self.buckets)


@register("delay", {"steps": 2.0})
class delay(Causal):  # noqa: N801
    """Pays the sum of the last `steps` rewards every `steps` steps and at the end.

    The return stays what it was; only the time of pay moves (the delayed
    rewards of Zheng et al. 2018, section 5).
    """

    steps: Annotated[float, Interval(1)] = 10.0
    reads_history = True

    def begin_one(self, shared: Any, obs: Array) -> Array:
        del shared, obs
        return jnp.zeros(2, jnp.float32)  # what is owed, and for how many steps

    def step(self, shared: Any, local: Array, transition: Transition) -> tuple[Array, Array]:
        del shared
        local = local + jnp.stack([transition.reward, jnp.ones_like(transition.reward)])
        pay = (local[1] >= self.steps) | transition.last
        return jnp.where(pay, jnp.zeros_like(local), local), jnp.where(pay, local[0], 0.0)

    def view(self, local: Array) -> Array:
        return local


@register("episode_end")
class episode_end(delay):  # noqa: N801
    """`sum_{i <= t} r_i` at the episode's last step t, 0 before: outcome rewards alone."""

    steps: Annotated[float, Interval(1)] = float("inf")
