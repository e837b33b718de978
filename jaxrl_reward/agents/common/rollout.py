"""Playing: what agents share between their policy and the environment.

A policy sees *inputs*, `[..., D]`: the flat observation, and behind it, with
`placement="step"`, the memory of the reward. With `"block"` the reward is
applied to a whole block after it was played, and the policy is blind to it.
"""

import dataclasses
import math
from functools import partial
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, batching
from jaxrl_reward.envs import spaces
from jaxrl_reward.envs.vector import step
from jaxrl_reward.types import Array, Mean, Metrics, Transition, UserError

Placement = Literal["block", "step"]


class Rollout(NamedTuple):
    """A played block.

    Attributes:
      block: transitions `[T, N, ...]` with `reward` and `policy` filled in.
      inputs: what the policy saw before each step, `[T, N, D]`.
      next_inputs: what it would see after, never after a reset, `[T, N, D]`.
      extra: what `act` returned beside the actions, `[T, N, ...]`.
      episodes: the returns and lengths of the episodes that ended, `[T, N]`.
      metrics: the reward's own, scalars.
      features: what replay must store for the reward, `[T, N]`.
      memory: the policy's own after the block, `[N, ...]`, if it has one.
      alive: the steps to learn from, `[T, N]` bool; None for all.
    """

    block: Transition
    inputs: Array
    next_inputs: Array
    extra: Any
    episodes: Any
    metrics: Metrics
    features: Any = ()
    memory: Any = ()
    alive: Array | None = None


@dataclasses.dataclass(frozen=True)
class Player:
    """An environment and the placement of the reward in it.

    Attributes:
      env: one environment.
      vector: `num_envs` of it.
      placement: whether the policy sees the memory of the reward.
      whole: whether the reward needs whole episodes: a block then begins with episodes, and
        those that it does not end are cut there. Of each environment the first one is learned
        from: which of the others are over by then depends on how they went.
    """

    env: envs.Env
    vector: envs.VectorEnv
    placement: Placement
    whole: bool = False

    def observe(
        self, reward: Any, reward_state: Any, obs: Array, first: Array
    ) -> tuple[Array, Any]:
        """What the policy sees, `[N, D]`, and the reward's memory, begun where `first`.

        Args:
          reward: the reward expression.
          reward_state: its state.
          obs: the observations, `[N, ...]`.
          first: where an episode begins, `[N]` bool.
        """
        if self.placement == "block":
            return flatten(obs, 1), reward_state
        reward_state = reward.begin(reward_state, obs, first)
        return policy_input(obs, reward.observe(reward_state.local)), reward_state

    def rollout(
        self, state: Any, learner: Any, memory: Any, noise: Any, keys: Array
    ) -> tuple[Any, Any, Rollout]:
        """Plays one block.

        Args:
          state: an agent's, with `reward`, `reward_state` and `env_state`.
          learner: has `act` and `policy_info`, see `shells.shell.Learner`.
          memory: the policy's own before the block, leaves `[N, ...]`.
          noise: what actions are drawn from, leaves `[T, N, ...]`.
          keys: the environments' keys, `[T, N]`.

        Returns:
          The environments' state, the reward's state, and what was played.
        """
        reward, blind = state.reward, self.placement == "block"
        policy_info = partial(learner.policy_info, state)

        # All randomness comes from outside and all judging happens after: the
        # loop holds only what depends on the step before.
        def step(carry: Any, xs: Any) -> Any:
            env_state, reward_state, memory = carry
            key, noise = xs
            obs, first = env_state.obs, env_state.first
            inputs, reward_state = self.observe(reward, reward_state, obs, first)
            memory, action, extra = learner.act(state, memory, inputs, first, noise)
            env_state, transition, episodes = self.vector.step(env_state, key, action)
            seen = (transition.replace(reward=()), extra, episodes)  # no copy of `env_reward`
            if blind:
                return (env_state, reward_state, memory), (seen, ())
            one = add_time(transition.replace(policy=policy_info(inputs, extra)))
            reward_state, total, metrics, features = reward.apply(reward_state, one)
            features = jax.tree.map(lambda x: x[0], features)
            scored = (inputs, total[0], metrics, reward.observe(reward_state.local), features)
            return (env_state, reward_state, memory), (seen, scored)

        start = (state.env_state, state.reward_state, memory)
        played = jax.lax.scan(step, start, (keys, noise))
        (env_state, reward_state, memory), ((block, extra, episodes), scored) = played
        inputs = flatten(block.obs, 2) if blind else scored[0]
        known = batching.by_steps(policy_info, inputs, extra)
        block = cut(block) if self.whole else block
        block = block.replace(reward=block.env_reward, policy=known)
        if blind:
            reward_state, total, metrics, features = reward.apply(reward_state, block)
            next_inputs = flatten(block.next_obs, 2)
        else:
            _, total, metrics, observed, features = scored
            metrics = jax.tree.map(lambda x: x.mean(0), metrics)
            next_inputs = policy_input(block.next_obs, observed)
        # No gradient of a policy's loss may reach the reward's parameters.
        block = block.replace(reward=jax.lax.stop_gradient(total))
        found = (block, inputs, next_inputs, extra, episodes, metrics, features, memory)
        alive = first_episode(block.last) if self.whole else None
        return env_state, reward_state, Rollout(*found, alive)

    def example(self, num_envs: int, num_steps: int) -> Transition:
        """A block of zeros `[T, N, ...]` in the shape of what is played."""
        return example(self.env, num_envs, num_steps)


def cut(block: Transition) -> Transition:
    """The block with the episodes that are still running truncated at its end."""
    running = ~block.last[-1]
    return block.replace(truncated=block.truncated.at[-1].set(block.truncated[-1] | running))


def first_episode(last: Array) -> Array:
    """The steps up to and with the first ending of each column, `[T, N]` bool."""
    chex.assert_rank(last, 2)
    over = jnp.cumsum(last, axis=0, dtype=jnp.int32)
    return over - last.astype(jnp.int32) == 0


def example(env: envs.Env, num_envs: int, num_steps: int) -> Transition:
    """A block of zeros `[T, N, ...]` in the shape of what agents play."""

    def one(key: Array) -> Transition:
        obs, state = env.reset(key)
        action = jnp.zeros(env.action_space.shape, env.action_space.dtype)
        return step(env, key, state, obs, jnp.array(True), action)[1]

    shapes = jax.eval_shape(one, jax.random.key(0))
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    shapes = shapes.replace(policy=dict.fromkeys(("log_prob", "entropy", "value"), scalar))
    return jax.tree.map(lambda x: jnp.zeros((num_steps, num_envs, *x.shape), x.dtype), shapes)


def player(
    agent: str,
    config: Any,
    env: envs.Env,
    reward: rw.RewardTransform,
    parts: tuple[int, ...] = (),
    episodes: bool = False,
) -> Player:
    """What plays `env` for an agent that learns from blocks of steps.

    Args:
      agent: its name, for messages.
      config: has `num_envs`, `num_steps`, `placement` and `reset`.
      env: what it plays.
      reward: what it learns from.
      parts: `(m,)` for an agent that learns from m rewards a step.
      episodes: whether it can play whole episodes, for a reward that needs them.

    Raises:
      UserError: the agent cannot play this environment or use this reward.
    """
    observation, action = env.observation_space, env.action_space
    if not isinstance(observation, spaces.Box):
        kind = type(observation).__name__
        raise UserError(f"{agent} needs array observations (Box); {env.name} has {kind}")
    if not math.prod(observation.shape):
        raise UserError(f"{agent} needs at least one number to observe; {env.name} has none")
    if not isinstance(action, spaces.Box | spaces.Discrete | spaces.MultiDiscrete):
        kind = type(action).__name__
        raise UserError(f"{agent} needs Discrete or Box actions; {env.name} has {kind}")
    base.check_terms(agent, reward, episodes)
    whole = rw.needs_episodes(reward)
    if whole and config.placement == "step":
        raise UserError(
            f"{reward} needs whole episodes, and nothing is known of them at a step: "
            "use placement=block"
        )
    vector = envs.vectorize(env, config.num_envs, reset=config.reset)
    made = Player(env, vector, config.placement, whole)
    example = jax.eval_shape(lambda: made.example(config.num_envs, config.num_steps))
    given = rw.trial.parts(reward, example)
    if given != parts:
        counts = [str(shape[0]) if shape else "one" for shape in (parts, given)]
        fix = "" if parts else ": add a scalariser"
        number = "number" if not parts else "numbers"
        raise UserError(
            f"{agent} needs {counts[0]} {number} a step, and {reward} gives {counts[1]}{fix}"
        )
    return made


def ended(rollout: Rollout, earlier: Array) -> tuple[Array, dict[str, Mean]]:
    """What to log of a block and of the episodes that ended in it.

    Args:
      rollout: the block; several rewards a step count as their sum.
      earlier: transformed reward of the running episodes before it, `[N]`.

    Returns:
      The same after the block, and the metrics `episode_return` (the
      environment's own reward), `episode_length`, `episode_reward` (the
      transformed one) and `reward` (the latter, per step).
    """
    reward, episodes = rollout.block.reward, rollout.episodes
    reward = reward.sum(-1) if reward.ndim > 2 else reward
    time = jax.lax.broadcasted_iota(jnp.int32, reward.shape, 0)
    last = jnp.where(episodes.ended, time, -1).max(0, keepdims=True)
    # Up to its environment's last ending, a step is in an episode that is over.
    over = jnp.where(time <= last, reward, 0.0).sum(0)
    running = jnp.where(time > last, reward, 0.0).sum(0)
    one_ended = last[0] >= 0
    over += jnp.where(one_ended, earlier, 0.0)
    running += jnp.where(one_ended, 0.0, earlier)
    count = episodes.ended.sum(dtype=jnp.float32)
    return running, {
        "episode_return": Mean.of(episodes.total, where=episodes.ended),
        "episode_length": Mean.of(episodes.length, where=episodes.ended),
        "episode_reward": Mean(over.sum(), count),
        "reward": Mean.of(reward),
    }


# ---- shapes ------------------------------------------------------------------------


def flatten(obs: Array, lead: int) -> Array:
    """`[..., *obs_shape]` with `lead` leading axes as float32 `[..., D]`."""
    return obs.reshape(*obs.shape[:lead], -1).astype(jnp.float32)


def policy_input(obs: Array, memory: Array) -> Array:
    """The flat observation with the memory `[..., F]` behind it, `[..., D + F]`."""
    return jnp.concatenate([flatten(obs, memory.ndim - 1), memory], axis=-1)


def add_time(step: Any) -> Any:
    """A step `[N, ...]` as a block `[1, N, ...]`."""
    return jax.tree.map(lambda x: x[None], step)


# ---- shuffling --------------------------------------------------------------------


def shuffle(key: Array, size: int, rounds: int = 8) -> Array:
    """A random order of `range(size)`, `[size]` int32, without sorting.

    Sorting random numbers, as `jax.random.permutation` does, costs a hundred
    times more on a CPU. Here an index is a pair of digits `(left, right)` in
    the mixed radix `size = a * b`, and each round adds to one digit a keyed
    hash of the other: a generalised Feistel network (Black and Rogaway 2002,
    "Ciphers with Arbitrary Finite Domains", section 5). Each addition can be
    undone, so the result is a permutation whatever the hash is. A size without
    a divisor near its root is sorted after all.
    """
    a = math.isqrt(size)
    while size % a:
        a -= 1
    b = size // a
    if a < 8 or b > 2**16:
        return jax.random.permutation(key, size)
    index = jnp.arange(size, dtype=jnp.uint32)
    left, right = index // b, index % b
    for i, salt in enumerate(jax.random.bits(key, (rounds,))):
        if i % 2:
            right = _add_modulo(right, _hash(left ^ salt), b)
        else:
            left = _add_modulo(left, _hash(right ^ salt), a)
    return (left * b + right).astype(jnp.int32)


def _add_modulo(digit: Array, random: Array, radix: int) -> Array:
    """`digit` plus 16 random bits, modulo `radix` <= 2**16, without a division."""
    digit = digit + ((random >> 16) * radix >> 16)
    return jnp.where(digit >= radix, digit - radix, digit)


def _hash(x: Array) -> Array:
    """Mixes uint32s: `lowbias32` (C. Wellons, "Prospecting for hash functions", 2018)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
