"""Agents that learn from a store of what they have played.

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them, and takes
`updates` gradient steps on batches from the store, of which a learned reward learns
too. What a reward remembers of an episode is recorded as it is played; all else is
computed anew, with what the reward has learned since, whenever a step is drawn. A time
limit ends no value.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, replay, rollout
from jaxrl_reward.agents.common import state as common
from jaxrl_reward.agents.shells import shell
from jaxrl_reward.envs.vector import any_anywhere
from jaxrl_reward.types import Array, Mean, Transition


class State(common.State):
    """See `state.State`.

    Attributes:
      replay: the stored steps.
    """

    replay: Any


class Learner(shell.Learner):
    """What one agent has of its own.

    Attributes:
      losses: the names of what `update` logs.
    """

    losses: ClassVar[tuple[str, ...]] = ()

    @property
    def parts(self) -> tuple[int, ...]:
        """`(m,)` for one that learns from m rewards a step."""
        return ()

    def reward(self, config: Any, reward: rw.RewardTransform) -> rw.RewardTransform:
        """The expression that is played, with what else is to be remembered."""
        del config
        return reward

    def init(self, config: Any, inputs: Array, *keys: Array) -> tuple[Any, Any]:
        """Parameters and the optimisers' state, from example inputs `[N, D]`."""
        raise NotImplementedError

    def explore(self, state: State, key: Array, shape: tuple[int, ...]) -> Any:
        """What actions are drawn from in training, leaves `[*shape, ...]`."""
        return self.noise(state, key, shape)

    def choice(self, extra: Any) -> Array:
        """What is stored of a choice, from what `act` returned: `Batch.choice` later."""
        raise NotImplementedError

    def redraw(self, config: Any, key: Array, batches: replay.Batch) -> replay.Batch:
        """Batches `[updates, B, ...]` as they are learned from."""
        del config, key
        return batches

    def update(
        self, config: Any, learned: tuple[Any, Any], batches: replay.Batch, *keys: Array
    ) -> tuple[tuple[Any, Any], dict[str, Array]]:
        """Gradient steps on batches: parameters and the optimisers' state after, `losses`.

        Args:
          config: the agent's, its numbers as leaves.
          learned: the parameters and the optimisers' state before.
          batches: leaves `[updates, B, ...]`, their inputs normalised.
          *keys: `update_keys` of them.
        """
        raise NotImplementedError

    def measure(
        self, state: State, recorder: replay.Recorder, played: rollout.Rollout, key: Array
    ) -> dict[str, Mean]:
        """What else to log of an iteration."""
        del state, recorder, played, key
        return {}


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
      env: what it plays.
      reward: what it learns from; the environment's own by default.
      learner: what it has of its own, a `Learner`.
      check: raises a `UserError` for a config that cannot be.

    Raises:
      UserError: a setting is out of range, or the environment or the reward is not for
        this agent.
    """
    check(config)
    env = envs.given(env)
    own: Any = shell.learner_of(name, config, env, learner)
    base.check_actions(name, env, own.spaces)
    reward = base.check_reward(name, config, env, reward)
    whole = own.reward(config, reward)
    player = rollout.player(name, config, env, whole, own.parts)
    recorder = replay.recorder(name, player, whole)
    recorder = dataclasses.replace(recorder, normalize=own.normalize)
    made = OffPolicy(name, config, reward, player, own, check, recorder)

    def remake(config: Any, other: rw.RewardTransform | None = None) -> base.Agent:
        return make(name, config, env, reward if other is None else other, learner, check)

    steps, starts = config.num_envs * config.num_steps, config.learning_starts
    seen = {"newest": made.newest, "frozen": made.frozen}
    return made.agent(steps, learning_starts=starts, remake=remake, **seen)


@dataclasses.dataclass(frozen=True, eq=False)
class OffPolicy(shell.Shell):
    """See `shell.Shell`.

    Attributes:
      recorder: what knows what is stored, and how it is rewarded.
    """

    recorder: replay.Recorder

    def init(self, key: Array, config: Any = None, reward: Any = None) -> State:
        """The state before the first iteration; the same key gives the same run.

        Raises:
          UserError: `config` or `reward` differs from the agent's in more than its
            numbers, or a number is out of range.
        """
        base.check_key(key)
        settings, reward = base.settle(self, self.check, config, reward)
        reward = self.learner.reward(settings, reward)
        key, key_env, key_reward, *keys = jax.random.split(key, 3 + self.learner.init_keys)
        inputs, begun = common.begin(self.player, settings, reward, key_env, key_reward)
        params, opt_state = self.learner.init(settings, inputs, *keys)
        nothing = replay.ReplayState((), jnp.int32(0), jnp.int32(0))
        state = State(params=params, opt_state=opt_state, key=key, replay=nothing, **begun)
        items = jax.eval_shape(lambda: self.items(self.play(state, key, key)[2]))
        return state.replace(replay=replay.init(replay.rows(self.name, settings), items))

    def iterate(self, state: State) -> tuple[State, dict[str, Mean]]:
        """Plays a block, stores it, and learns from the store; the metrics are of all."""
        config, learner = state.config, self.learner
        split = jax.random.split(state.key, 5 + learner.update_keys)
        key, key_policy, key_env, key_sample, *keys, key_learn = split
        key_more = jax.random.fold_in(key_sample, 1)
        env_state, reward_state, played = self.play(state, key_policy, key_env)
        stored = replay.add(state.replay, self.items(played))
        batches, block = self.recorder.batches(state, reward_state.shared, stored, key_sample)
        batches = learner.redraw(config, key_more, batches)
        # Seeds that are mapped together are equally old. The branches are real
        # ones for that reason, and hold nothing of the size of the store.
        (params, opt_state), losses = jax.lax.cond(
            any_anywhere(stored.size >= config.learning_starts),
            self.update,
            lambda config, learned, *_: (learned, _no_losses(learner.losses)),
            *(config, (state.params, state.opt_state), batches, *keys),
        )
        reward_state, learned = state.reward.learn(reward_state, key_learn, block)
        state, metrics = common.finish(state, played, env_state, reward_state, learned)
        state = state.replace(params=params, opt_state=opt_state, replay=stored, key=key)
        more = learner.measure(state, self.recorder, played, key_more)
        return state, metrics | losses | more

    def update(self, config: Any, learned: Any, batches: replay.Batch, *keys: Array) -> Any:
        """The learner's, and the means of what it logs."""
        learned, found = self.learner.update(config, learned, batches, *keys)
        return learned, {name: Mean.of(found[name]) for name in self.learner.losses}

    def play(self, state: State, key_policy: Array, key_env: Array) -> Any:
        """A block: the environments' state, the reward's, and what was played."""
        shape = (self.config.num_steps, self.config.num_envs)
        noise = self.learner.explore(state, key_policy, shape)
        memory, keys = self.learner.start(shape[1]), jax.random.split(key_env, shape)
        return self.player.rollout(state, self.learner, memory, noise, keys)

    def items(self, played: rollout.Rollout) -> dict[str, Any]:
        """What is stored of a block, leaves `[T, N, ...]`."""
        return self.recorder.items(played, self.learner.choice(played.extra))

    # ---- for those who collect what is played ------------------------------------------

    def newest(self, state: State) -> Transition:
        """The block that was stored last, `[T, N, ...]`, with its `env_reward`."""
        return replay.newest(state.replay, self.config.num_steps)["step"]

    def frozen(self, state: State) -> State:
        """What acts and is evaluated as the state does, without the store."""
        return state.replace(replay=())


def _no_losses(names: tuple[str, ...]) -> dict[str, Mean]:
    """What an iteration without an update logs."""
    return {name: Mean(jnp.float32(0.0), jnp.float32(0.0)) for name in names}


def warming(state: State) -> Array:
    """Whether actions are random still: before the first update."""
    return state.replay.filled * state.config.num_envs < state.config.learning_starts
