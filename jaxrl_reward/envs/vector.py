"""N environments at once: true successors, fresh resets at bounded cost.

Resetting every environment at every step, and throwing almost all of it away,
costs two to three times the speed of stepping. Here each environment keeps ONE
spare initial state. When an episode ends it takes its spare; only when an episode
ends whose spare is already used are used spares recomputed: of a few environments
all at once, by one vmapped reset under a `cond`, of many some at a time, in a loop
that usually does not run. A spare depends on (environment, number of resets) alone,
so the time of the refill never changes a result.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward.envs.registry import Env
from jaxrl_reward.types import Array, Transition, UserError, nearest

# Environments from which on spares are refilled some at a time. With fewer, finding those that
# are used costs more than it saves: PPO on 4 CartPoles loses 8 to 30 % of its steps a second.
MANY = 64


class VectorState(struct.PyTreeNode):
    """The state of N environments.

    Attributes:
      env_state: the environments' own, leaves `[N, ...]`.
      obs: what the policy sees next, `[N, ...]`.
      first: whether it starts an episode, `[N]` bool.
      spare: the next initial observation and state, leaves `[N, ...]`.
      used: whether the spare has been taken, `[N]` bool.
      keys: an environment's reset key, `[N]`.
      resets: how many resets it has taken, `[N]` int32.
      total: the running episode's return, `[N]` float32.
      length: its length, `[N]` int32.
    """

    env_state: Any
    obs: Array
    first: Array
    spare: Any
    used: Array
    keys: Array
    resets: Array
    total: Array
    length: Array


class EpisodeStats(struct.PyTreeNode):
    """Of the episodes that ended at a step: valid where `ended`, `[N]`."""

    ended: Array
    total: Array
    length: Array


@dataclasses.dataclass(frozen=True)
class VectorEnv:
    """N copies of an environment, each with its own episodes.

    Attributes:
      env: one environment.
      num_envs: how many copies, N.
      reset: "fresh" or "cached", see `vectorize`.
    """

    env: Env
    num_envs: int
    reset: str

    def init(self, key: Array) -> VectorState:
        """Starts N episodes.

        Environment i starts its episode number c (0, 1, ...) from
        `fold_in(split(key, N)[i], c)`, whatever happens in the others; with
        `reset="cached"`, always from number 0.
        """
        keys = jax.random.split(key, self.num_envs)
        zeros = jnp.zeros(self.num_envs, jnp.int32)
        (obs, env_state), spare = self._first(keys, zeros)
        return VectorState(
            env_state=env_state,
            obs=obs,
            first=jnp.ones(self.num_envs, bool),
            spare=spare,
            used=jnp.zeros(self.num_envs, bool),
            keys=keys,
            resets=zeros + 1,
            total=jnp.zeros(self.num_envs, jnp.float32),
            length=zeros,
        )

    def step(
        self, state: VectorState, keys: Array, action: Array
    ) -> tuple[VectorState, Transition, EpisodeStats]:
        """One step of every environment.

        Args:
          state: the state before.
          keys: a key each, `[N]`.
          action: an action each, `[N, ...]`.

        Returns:
          The state after any resets, the transition with leaves `[N, ...]`
          (whose `next_obs` is the true successor, and whose `reward` is the
          environment's), and the statistics of the episodes that ended.
        """
        env_state, transition = jax.vmap(partial(step, self.env))(
            keys, state.env_state, state.obs, state.first, action
        )
        last, reward = transition.last, transition.env_reward
        moved = state.replace(
            env_state=env_state,
            obs=transition.next_obs,
            total=state.total + reward,
            length=state.length + 1,
        )
        return self._begin(moved, last), transition, EpisodeStats(last, moved.total, moved.length)

    def restart(self, state: VectorState) -> VectorState:
        """Gives up the running episodes: every environment is at a beginning.

        One that has just begun is left as it is, so that no reset is wasted.
        """
        return self._begin(state, ~state.first).replace(first=jnp.ones_like(state.first))

    def _begin(self, state: VectorState, where: Array) -> VectorState:
        """New episodes where `where`, `[N]` bool; `first` says where, afterwards."""
        spare, used = state.spare, state.used
        if self.reset == "fresh":
            refill = any_anywhere(where & used)
            if self.num_envs < MANY:
                spare = jax.lax.cond(
                    refill, lambda: self._initial(state.keys, state.resets), lambda: state.spare
                )
            else:
                spare = self._refilled(state, used & refill)
            used = jnp.where(refill, False, used) | where
        obs, env_state = jax.tree.map(
            lambda new, old: _select(where, new, old), spare, (state.obs, state.env_state)
        )
        return state.replace(
            env_state=env_state,
            obs=obs,
            first=where,
            spare=spare,
            used=used,
            resets=state.resets + where,
            total=jnp.where(where, 0.0, state.total),
            length=jnp.where(where, 0, state.length),
        )

    def _refilled(self, state: VectorState, where: Array) -> Any:
        """The spares, those where `where`, `[N]` bool, recomputed, a few at once.

        Where episodes are short there is a refill at most steps, of a small part of them.
        """
        n = self.num_envs
        some = jnp.arange(1, n // 8 + 1, dtype=jnp.int32)

        def refill(carry: Any) -> Any:
            spare, left = carry
            # The first of those that are left; n, which is nowhere, when there are no more.
            i = jnp.searchsorted(jnp.cumsum(left, dtype=jnp.int32), some)
            known = jnp.minimum(i, n - 1)
            new = self._initial(state.keys[known], state.resets[known])
            spare = jax.tree.map(lambda old, x: old.at[i].set(x, mode="drop"), spare, new)
            return spare, left.at[i].set(False, mode="drop")

        again = lambda carry: any_anywhere(carry[1])  # noqa: E731
        return jax.lax.while_loop(again, refill, (state.spare, where))[0]

    def _first(self, keys: Array, zeros: Array) -> tuple[Any, Any]:
        """What the first episodes start from, and their spares."""
        if self.reset == "cached":
            first = self._initial(keys, zeros)
            return first, first
        # In one call: a reset can be most of what there is to compile.
        both = self._initial(jnp.tile(keys, 2), jnp.concatenate([zeros, zeros + 1]))
        n = self.num_envs
        return jax.tree.map(lambda x: x[:n], both), jax.tree.map(lambda x: x[n:], both)

    def _initial(self, keys: Array, resets: Array) -> tuple[Any, Any]:
        return jax.vmap(self.env.reset)(jax.vmap(jax.random.fold_in)(keys, resets))


def vectorize(env: Env, num_envs: int, reset: str = "fresh") -> VectorEnv:
    """N copies of `env`.

    Args:
      env: one environment.
      num_envs: how many.
      reset: "fresh" draws a new initial state for every episode; "cached"
        starts every episode of an environment in the one it had first, which
        is cheaper where a reset costs much, and biased.

    Raises:
      UserError: `num_envs` below 1, or an unknown kind of reset.
    """
    if num_envs < 1:
        raise UserError(f"num_envs must be at least 1, not {num_envs}")
    if reset not in ("fresh", "cached"):
        raise UserError(f"unknown reset {reset!r}, {nearest(reset, ('fresh', 'cached'))}")
    return VectorEnv(env, num_envs, reset)


def step(
    env: Env, key: Array, env_state: Any, obs: Array, first: Array, action: Array
) -> tuple[Any, Transition]:
    """One step of ONE environment: its state, without a reset, and the transition."""
    next_obs, env_state, reward, terminated, truncated, info = env.step(key, env_state, action)
    return env_state, Transition(
        obs=obs,
        action=action,
        env_reward=reward,
        reward=reward,
        next_obs=next_obs,
        first=first,
        terminated=terminated,
        truncated=truncated,
        info=info,
    )


@jax.custom_batching.custom_vmap
def any_anywhere(x: Array) -> Array:
    """Whether any entry is true, across `vmap`ped axes too, so never batched.

    A branch or a loop on it stays one under `vmap` over seeds, where a batched
    predicate would run both sides at every step.
    """
    return x.any()


@any_anywhere.def_vmap
def _any_anywhere(axis_size: int, in_batched: Any, x: Array) -> tuple[Array, bool]:
    del axis_size, in_batched
    return any_anywhere(x), False


def _select(which: Array, new: Array, old: Array) -> Array:
    which = which.reshape(which.shape + (1,) * (old.ndim - which.ndim))
    return jnp.where(which, new, old)
