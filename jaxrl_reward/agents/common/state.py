"""What an agent carries from one iteration to the next, and what all agents do with it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.agents.common import rollout
from jaxrl_reward.nn import running_statistics
from jaxrl_reward.types import Array, Mean, Metrics


class State(struct.PyTreeNode):
    """All that changes, and the numbers that may differ between runs.

    Attributes:
      config: the settings, their leaves float32 arrays.
      reward: the reward expression, likewise.
      params: the networks', and what else is learned by gradients.
      opt_state: the optimisers'.
      env_state: the environments'.
      reward_state: the reward's.
      obs_stats: mean and variance of the policy's inputs.
      episode_reward: transformed reward of the running episodes so far, `[N]`.
      key: for all that is random from here on.
      iteration: how many are over, int32.
    """

    config: Any
    reward: Any
    params: Any
    opt_state: Any
    env_state: Any
    reward_state: Any
    obs_stats: Any
    episode_reward: Array
    key: Array
    iteration: Array


def begin(
    player: rollout.Player, config: Any, reward: Any, key_env: Array, key_reward: Array
) -> tuple[Array, dict[str, Any]]:
    """The first inputs `[N, D]`, and the fields of a `State` but `params`, `opt_state`, `key`.

    Args:
      player: what plays.
      config: has `num_envs` and `num_steps`, its numbers as leaves.
      reward: the reward expression, likewise.
      key_env: for the environments.
      key_reward: for what the reward learns.
    """
    env_state = player.vector.init(key_env)
    reward_state = reward.init(key_reward, player.example(config.num_envs, config.num_steps))
    inputs, reward_state = player.observe(reward, reward_state, env_state.obs, env_state.first)
    return inputs, {
        "config": config,
        "reward": reward,
        "env_state": env_state,
        "reward_state": reward_state,
        "obs_stats": running_statistics.init(inputs.shape[-1:]),
        "episode_reward": jnp.zeros(config.num_envs),
        "iteration": jnp.int32(0),
    }


def finish(
    state: Any, played: rollout.Rollout, env_state: Any, reward_state: Any, learned: Metrics
) -> tuple[Any, dict[str, Mean]]:
    """The state after an iteration but for what the agent learned, and what to log of it.

    Args:
      state: the one before; its config has `normalize_obs`.
      played: the block that was played.
      env_state: the environments', after it.
      reward_state: the reward's, after it has learned.
      learned: what the reward logged of that.
    """
    episode_reward, metrics = rollout.ended(played, state.episode_reward)
    for name, value in (played.metrics | learned).items():
        metrics[f"reward/{name.removeprefix('reward/')}"] = Mean.of(value)
    obs_stats = state.obs_stats
    if state.config.normalize_obs:
        obs_stats = running_statistics.update(obs_stats, played.inputs)
    state = state.replace(
        env_state=env_state,
        reward_state=reward_state,
        obs_stats=obs_stats,
        episode_reward=episode_reward,
        iteration=state.iteration + 1,
    )
    return state, metrics


def normalize(state: State, inputs: Array, kept: np.ndarray | None = None) -> Array:
    """Inputs `[..., D]` as the networks see them.

    Args:
      state: an agent's.
      inputs: what its policy sees.
      kept: which of the first inputs stay as they are, bool; none by default.
    """
    if not state.config.normalize_obs:
        return inputs
    scaled = running_statistics.normalize(state.obs_stats, inputs)
    if kept is None:
        return scaled
    kept = np.pad(kept, (0, inputs.shape[-1] - kept.size))
    return jnp.where(jnp.expand_dims(kept, range(inputs.ndim - 1)), inputs, scaled)
