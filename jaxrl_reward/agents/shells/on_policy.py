"""Agents that learn from each block they play, and forget it.

One `iterate` plays `num_steps` steps of `num_envs` environments, rewards the block, and
updates the networks on it.
"""

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, rollout
from jaxrl_reward.agents.common import state as common
from jaxrl_reward.agents.shells import shell
from jaxrl_reward.envs import spaces
from jaxrl_reward.types import Array, Mean, UserError


class State(common.State):
    """See `state.State`; `memory` is the networks' own, leaves `[N, ...]`, if they have one."""

    memory: Any


class Learner(shell.Learner):
    """What one agent has of its own.

    Attributes:
      whole_episodes: whether each block begins with episodes, `always`, or `asked` where the
        reward needs whole ones; its update then leaves out what is not `played.alive`.
    """

    whole_episodes: ClassVar[Literal["never", "asked", "always"]] = "never"
    spaces = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete)

    def check_start(self, config: Any) -> None:
        """Raises a `UserError` for a config with which no run can start."""

    def init(self, config: Any, inputs: Array, *keys: Array) -> tuple[Any, Any]:
        """Parameters and the optimisers' state, from example inputs `[N, D]`."""
        raise NotImplementedError

    def update(
        self, state: State, played: rollout.Rollout, noise: Any, *keys: Array
    ) -> tuple[Any, Any, dict[str, Mean]]:
        """Parameters and the optimisers' state after learning from a block; what to log.

        Args:
          state: the agent's, before the block was played.
          played: the block.
          noise: what its actions were drawn from, leaves `[T, N, ...]`.
          *keys: `update_keys` of them.
        """
        raise NotImplementedError


def make(
    name: str,
    config: Any,
    env: envs.Env,
    reward: rw.RewardTransform | None,
    learner: Callable[..., Learner],
    check: Callable[[Any], None],
) -> base.Agent:
    """The agent, as the table of agents has it.

    Args:
      name: its name.
      config: its settings.
      env: what it plays, with Discrete, MultiDiscrete or Box actions.
      reward: what it learns from; the environment's own by default.
      learner: what it has of its own, a `Learner`.
      check: raises a `UserError` for a config that cannot be.

    Raises:
      UserError: a setting is out of range, or the environment or the reward is not for
        this agent.
    """
    settings.check_kind(name, config)
    env = envs.given(env)
    reward = base.check_reward(name, config, env, reward)
    example = learner(config, env.action_space)
    base.check_actions(name, env, example.spaces)
    plays = example.whole_episodes
    if plays == "asked" and rw.needs_episodes(reward):
        config = _of_episodes(name, config, env, reward)
    check(config)
    own = shell.learner_of(name, config, env, learner)
    player = rollout.player(name, config, env, reward, episodes=plays != "never")
    made = OnPolicy(name, config, reward, player, own, check)

    def remake(config: Any, other: rw.RewardTransform | None = None) -> base.Agent:
        return make(name, config, env, reward if other is None else other, learner, check)

    return made.agent(config.num_envs * config.num_steps, shards_envs=True, remake=remake)


def _of_episodes(name: str, config: Any, env: envs.Env, reward: rw.RewardTransform) -> Any:
    """The config with blocks in which any episode ends.

    Raises:
      UserError: there is no bound on their length.
    """
    limit = env.max_steps
    if limit is None:
        raise UserError(f"{reward} needs whole episodes, and those of {env.name} may never end")
    if config.num_steps not in (limit, type(config)().num_steps):
        warnings.warn(
            f"{name} plays whole episodes for {reward}: num_steps is {limit}, their time limit, "
            f"not {config.num_steps}",
            stacklevel=4,
        )
    return config.replace(num_steps=limit)


@dataclasses.dataclass(frozen=True, eq=False)
class OnPolicy(shell.Shell):
    """See `shell.Shell`."""

    def init(self, key: Array, config: Any = None, reward: Any = None) -> State:
        """The state before the first iteration; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        base.check_key(key)
        settings, reward = base.settle(self, self.check, config, reward)
        self.learner.check_start(self.config if config is None else config)
        key, key_env, key_reward, *keys = jax.random.split(key, 3 + self.learner.init_keys)
        inputs, begun = common.begin(self.player, settings, reward, key_env, key_reward)
        params, opt_state = self.learner.init(settings, inputs, *keys)
        memory = self.learner.start(settings.num_envs)
        return State(params=params, opt_state=opt_state, key=key, memory=memory, **begun)

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, rewards it, learns from it; the metrics are of all three."""
        split = jax.random.split(state.key, 4 + self.learner.update_keys)
        key, key_noise, key_env, *keys, key_learn = split
        shape = (state.config.num_steps, state.config.num_envs)
        noise = self.learner.noise(state, key_noise, shape)
        if self.player.whole or self.learner.whole_episodes == "always":
            state = self.from_the_start(state)
        keys_env = jax.random.split(key_env, shape)
        env_state, reward_state, played = self.player.rollout(
            state, self.learner, state.memory, noise, keys_env
        )
        params, opt_state, losses = self.learner.update(state, played, noise, *keys)
        reward_state, learned = state.reward.learn(reward_state, key_learn, played.block)
        state, metrics = common.finish(state, played, env_state, reward_state, learned)
        learned = {"params": params, "opt_state": opt_state, "memory": played.memory}
        return state.replace(key=key, **learned), metrics | losses

    def from_the_start(self, state: State) -> State:
        """Episodes that `num_steps` has cut, or that began after another, are given up."""
        env_state = self.player.vector.restart(state.env_state)
        earlier = jnp.where(state.env_state.first, state.episode_reward, 0.0)
        return state.replace(env_state=env_state, episode_reward=earlier)
