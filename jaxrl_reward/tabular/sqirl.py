"""SQIRL: look ahead from acting at random, a few backups deep, and fix one step after the other.

Laidlaw et al. 2024, "The effective horizon explains deep RL performance in stochastic
environments". Episodes have H steps. In step t, with all steps before it fixed, m episodes go
on at random; Q^1 is the mean of what followed each state and action at each later step, k - 1
backups look ahead, and what is then greedy in step t is fixed. The regression is by tables.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array


class Found(NamedTuple):
    """What SQIRL ends with.

    Attributes:
      policy: the action of each step and state, `[H, S]` int32.
      value: what it is worth from `mdp.start`, exactly.
      samples: steps of the environment that were used, int32.
    """

    policy: Array
    value: Array
    samples: Array


@checks.arguments(vector=False, horizon=checks.COUNT, depth=checks.COUNT, episodes=checks.COUNT)
@partial(jax.jit, static_argnames=("horizon", "depth", "episodes"))
def sqirl(key: Array, mdp: MDP, *, horizon: int, depth: int, episodes: int) -> Found:
    """The policy that SQIRL finds, without a discount.

    A state and action that no episode came to counts as worth 0.

    Args:
      key: of the episodes.
      mdp: the world; it is only sampled, but for `Found.value`.
      horizon: H, steps of an episode.
      depth: k, 1 for acting greedily in the random policy's values.
      episodes: m, for each step that is fixed.
    """
    mdp = numerics.same_type(mdp)
    states, actions = mdp.probability.shape[:2]

    def episode(key: Array, policy: Array, fixed: Array) -> tuple[Array, ...]:
        key_start, key_steps = jax.random.split(key)

        def step(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple:
            state, alive = carry
            at, key = given
            key_action, key_outcome = jax.random.split(key)
            drawn = jax.random.randint(key_action, (), 0, actions)
            action = jnp.where(at < fixed, policy[at, state], drawn)
            outcome = jax.random.categorical(key_outcome, jnp.log(mdp.probability[state, action]))
            paid = jnp.where(alive, mdp.reward[state, action, outcome], 0.0)
            goes_on = alive & ~mdp.ends[state, action, outcome]
            after = mdp.successor[state, action, outcome]
            return (after, goes_on), (state, action, paid, after, alive, goes_on)

        start = jax.random.categorical(key_start, jnp.log(mdp.start))
        given = (jnp.arange(horizon), jax.random.split(key_steps, horizon))
        return jax.lax.scan(step, (start, jnp.bool_(True)), given)[1]

    def improve(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple:
        policy, samples = carry
        at, key = given
        played = jax.vmap(lambda k: episode(k, policy, at))(jax.random.split(key, episodes))
        state, action, paid, after, alive, goes_on = played
        follows = jnp.cumsum(paid[:, ::-1], 1)[:, ::-1]
        step = jnp.broadcast_to(jnp.arange(horizon)[None], state.shape)

        def regress(target: Array) -> Array:
            zero = jnp.zeros((horizon, states, actions), target.dtype)
            total = zero.at[step, state, action].add(jnp.where(alive, target, 0.0))
            count = zero.at[step, state, action].add(alive.astype(target.dtype))
            return total / jnp.maximum(count, 1.0)

        q = regress(follows)
        for _ in range(depth - 1):
            best = jnp.concatenate([q.max(-1), jnp.zeros((1, states), q.dtype)])
            q = regress(paid + jnp.where(goes_on, best[step + 1, after], 0.0))
        chosen = q[at].argmax(-1).astype(jnp.int32)
        return (policy.at[at].set(chosen), samples + alive.sum(dtype=jnp.int32)), None

    begin = (jnp.zeros((horizon, states), jnp.int32), jnp.int32(0))
    given = (jnp.arange(horizon), jax.random.split(key, horizon))
    (policy, samples), _ = jax.lax.scan(improve, begin, given)
    return Found(policy, worth(mdp, policy), samples)


def worth(mdp: MDP, policy: Array) -> Array:
    """The expected return of actions `[H, S]` from `mdp.start`, without a discount; exact."""

    def back(values: Array, action: Array) -> tuple[Array, None]:
        take = lambda x: jnp.take_along_axis(x, action[:, None, None], 1)[:, 0]  # noqa: E731
        goes_on = jnp.where(take(mdp.ends), 0.0, values[take(mdp.successor)])
        return (take(mdp.probability) * (take(mdp.reward) + goes_on)).sum(-1), None

    zero = jnp.zeros_like(mdp.reward[:, 0, 0])
    return mdp.start @ jax.lax.scan(back, zero, policy, reverse=True)[0]
