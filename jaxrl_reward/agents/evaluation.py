"""How well a policy does: whole episodes, played greedily."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.agents.rollout import Choose, Judge, Player, Recurrent, add_time, recurrent
from jaxrl_reward.envs.vector import step
from jaxrl_reward.types import Array

EVALUATION_STEPS = 10_000  # where an evaluation of an environment without a time limit stops


class _Playing(NamedTuple):
    """An evaluation on its way; `total` and `length` stop with the episode.

    `memory` is the reward's, and `recalled` the policy's own.
    """

    steps: Array
    env_state: Any
    obs: Array
    first: Array
    memory: Any
    recalled: Any
    alive: Array
    total: Array
    length: Array


def evaluate(
    player: Player,
    state: Any,
    key: Array,
    num_episodes: int,
    choose: Choose | Recurrent,
    judge: Judge,
    noise: Callable[[Array], Any] = lambda key: None,
) -> tuple[Array, Array]:
    """Plays episodes side by side, on the environment's own reward.

    Args:
      player: what plays.
      state: an agent's, of which `reward` and `reward_state` are read: only the
        memory of the reward counts here.
      key: a key.
      num_episodes: how many, E.
      choose: as in `Player.collect`; a memory `[E, ...]`, if it has one.
      judge: as in `Player.collect`.
      noise: from a step's key to what `choose` draws from; none by default.

    Returns:
      Returns `[E]` float32 and lengths `[E]` int32. An episode that has not
      ended after `EVALUATION_STEPS` in an environment without a time limit is
      cut there.
    """
    env, reward, remembers = player.env, state.reward, player.placement == "step"
    decide, recalled = recurrent(choose)
    limit = EVALUATION_STEPS if env.max_steps is None else env.max_steps
    key_reset, key_step, key_memory = jax.random.split(key, 3)
    obs, env_state = jax.vmap(env.reset)(jax.random.split(key_reset, num_episodes))
    memory = ()
    if remembers:
        fresh = reward.init(key_memory, player.example(num_episodes, 1))
        memory = state.reward_state.replace(local=fresh.local)

    def play(playing: _Playing) -> _Playing:
        inputs, memory = player.observe(reward, playing.memory, playing.obs, playing.first)
        key = jax.random.fold_in(key_step, playing.steps)
        recalled, action, extra = decide(playing.recalled, inputs, playing.first, noise(key))
        keys = jax.random.split(key, num_episodes)
        env_state, seen = jax.vmap(partial(step, env))(
            keys, playing.env_state, playing.obs, playing.first, action
        )
        if remembers:
            one = add_time(seen.replace(policy=judge(inputs, extra)))
            memory = memory.replace(local=reward.apply(memory, one).state.local)
        return _Playing(
            steps=playing.steps + 1,
            env_state=env_state,
            obs=seen.next_obs,
            first=jnp.zeros_like(playing.first),
            memory=memory,
            recalled=recalled,
            alive=playing.alive & ~seen.last,
            total=playing.total + jnp.where(playing.alive, seen.env_reward, 0.0),
            length=playing.length + playing.alive,
        )

    def unfinished(playing: _Playing) -> Array:
        return playing.alive.any() & (playing.steps < limit)

    yes, zero = jnp.ones(num_episodes, bool), jnp.zeros(num_episodes)
    start = _Playing(
        *(jnp.int32(0), env_state, obs, yes, memory, recalled, yes),
        *(zero, zero.astype(jnp.int32)),
    )
    playing = jax.lax.while_loop(unfinished, play, start)
    return playing.total, playing.length
