"""Episodes played by a policy, one in each environment, without a reset: how well it does."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward import envs
from jaxrl_reward.agents.common.policies import Policy
from jaxrl_reward.envs.vector import step as step_one
from jaxrl_reward.types import Array, Transition

EVALUATION_STEPS = 10_000  # where an evaluation of an environment without a time limit stops
SUCCESS = "success"  # of `info`, above 0 where the task is solved
_DRAWN = 2**31 - 1  # sets the keys of drawn actions apart from those of the environments


class Playing(NamedTuple):
    """Episodes on their way, leaves `[N, ...]`; `memory` is the policy's."""

    env_state: Any
    obs: Array
    first: Array
    memory: Any


class Episodes(NamedTuple):
    """Whole episodes, `[E]` each.

    Attributes:
      returns: of the environment's own reward, float32.
      lengths: int32.
      success: whether a step's `info["success"]` was above 0, bool; false where nothing tells it.
    """

    returns: Array
    lengths: Array
    success: Array


def begin(env: envs.Env, policy: Policy, keys: Array, key_start: Array) -> Playing:
    """Episodes that begin, one for each of `keys`, `[N]`."""
    obs, env_state = jax.vmap(env.reset)(keys)
    first, memory = jnp.ones(keys.shape[0], bool), policy.start(key_start, keys.shape[0])
    return Playing(env_state, obs, first, memory)


def step(
    env: envs.Env, policy: Policy, now: Playing, keys: Array, key_act: Array | None = None
) -> tuple[Playing, Transition]:
    """One step of each episode, `[N, ...]`, also of those that are over.

    Args:
      env: one environment.
      policy: what plays.
      now: the episodes before it.
      keys: the environments', `[N]`.
      key_act: for the actions to be drawn; the likeliest without.
    """
    memory, action, extra = policy.act(now.memory, now.obs, now.first, key_act)
    env_state, transition = jax.vmap(partial(step_one, env))(
        keys, now.env_state, now.obs, now.first, action
    )
    memory = policy.see(memory, transition, extra)
    return Playing(env_state, transition.next_obs, jnp.zeros_like(now.first), memory), transition


def evaluate(
    env: envs.Env, policy: Policy, key: Array, num_episodes: int, draw: bool = False
) -> Episodes:
    """Plays whole episodes side by side, on the environment's own reward.

    Args:
      env: one environment.
      policy: what plays.
      key: a key.
      num_episodes: how many, E.
      draw: actions are drawn; else they are the likeliest.

    Returns:
      The episodes. One that has not ended after `EVALUATION_STEPS` in an environment
      without a time limit is cut there.
    """
    limit = EVALUATION_STEPS if env.max_steps is None else env.max_steps
    key_reset, key_step, key_start = jax.random.split(key, 3)
    start = begin(env, policy, jax.random.split(key_reset, num_episodes), key_start)

    def play(carry: Any) -> Any:
        steps, now, alive, played = carry
        key = jax.random.fold_in(key_step, steps)
        key_act = jax.random.fold_in(key, _DRAWN) if draw else None
        now, seen = step(env, policy, now, jax.random.split(key, num_episodes), key_act)
        total = played.returns + jnp.where(alive, seen.env_reward, 0.0)
        solved, told = played.success, seen.info.get(SUCCESS)
        if told is not None and jnp.shape(told) == alive.shape:
            solved |= alive & (told > 0.0)
        played = Episodes(total, played.lengths + alive, solved)
        return steps + 1, now, alive & ~seen.last, played

    def unfinished(carry: Any) -> Array:
        steps, _, alive, _ = carry
        return alive.any() & (steps < limit)

    zero = jnp.zeros(num_episodes)
    none = Episodes(zero, zero.astype(jnp.int32), zero > 0.0)
    carry = (jnp.int32(0), start, jnp.ones(num_episodes, bool), none)
    return jax.lax.while_loop(unfinished, play, carry)[3]


def tells_success(env: envs.Env) -> bool:
    """Whether a number of the environment's `info` says where the task is solved."""

    def info() -> Any:
        key = jax.random.key(0)
        return env.step(key, env.reset(key)[1], env.action_space.sample(key))[-1]

    return env.playable and getattr(jax.eval_shape(info).get(SUCCESS), "shape", None) == ()
