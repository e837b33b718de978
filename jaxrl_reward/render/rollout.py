"""One episode, step by step, with everything that its drawing needs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.agents.rollout import add_time, flatten, recurrent, remember
from jaxrl_reward.envs.bounds import random_action
from jaxrl_reward.envs.vector import step
from jaxrl_reward.types import Array, Transition


class Policy(NamedTuple):
    """How to act in one environment; `memory` is whatever it carries along.

    Attributes:
      start: `start(key) -> memory`.
      act: `act(memory, key, obs, first) -> (memory, action)`.
      see: `see(memory, transition) -> memory`, after the step.
    """

    start: Callable[[Array], Any]
    act: Callable[[Any, Array, Array, Array], tuple[Any, Array]]
    see: Callable[[Any, Transition], Any]


class Episode(NamedTuple):
    """What happened.

    Attributes:
      obs: observations, one more than there were steps.
      poses: the bodies' positions `[L, 3]` and quaternions `[L, 4]`, likewise;
        `None` where the environment has no bodies.
      rewards: the environment's own.
    """

    obs: list[np.ndarray]
    poses: list[tuple[np.ndarray, np.ndarray] | None]
    rewards: list[float]


def random(env: Any) -> Policy:
    """Uniformly random actions."""
    return Policy(
        lambda key: (),
        lambda memory, key, obs, first: (memory, random_action(env.action_space, key)),
        lambda memory, transition: memory,
    )


def greedy(agent: Any, state: Any, *, draw: bool = False) -> Policy:
    """The likeliest actions of a trained agent.

    Args:
      agent: built as for training.
      state: that of one seed, leaves `[...]`.
      draw: draw actions instead, of an agent without a memory of its own.
    """
    state = agent.settle(state, jax.random.key(0))
    blind = getattr(agent.config, "placement", "block") == "block"
    if agent.recall is not None:
        decide, recalled = agent.recall(state, 1)
    else:
        decide, recalled = recurrent(lambda inputs, key: (agent.act(state, inputs, key), ()))

    def start(key: Array) -> Any:
        if blind:
            return (), recalled
        fresh = state.reward.init(key, _example(agent.env))
        return state.reward_state.replace(local=fresh.local), recalled

    def act(memory: Any, key: Array, obs: Array, first: Array) -> tuple[Any, Array]:
        seen, recalled = memory
        inputs = flatten(obs[None], 1)
        if not blind:
            seen = state.reward.begin(seen, obs[None], first[None])
            inputs = remember(obs[None], state.reward.observe(seen.local))
        recalled, action, _ = decide(recalled, inputs, first[None], key if draw else None)
        return (seen, recalled), action[0]

    def see(memory: Any, transition: Transition) -> Any:
        seen, recalled = memory
        if blind:
            return memory
        block = add_time(add_time(transition))
        return seen.replace(local=state.reward.apply(seen, block).state.local), recalled

    return Policy(start, act, see)


def play(env: Any, policy: Policy, *, seed: int = 0, max_steps: int = 1000) -> Episode:
    """One episode, cut after `max_steps`."""
    key_reset, key_start, key_play = jax.random.split(jax.random.key(seed), 3)

    @jax.jit
    def act_and_step(key: Array, obs: Array, state: Any, memory: Any, first: Array) -> Any:
        key_act, key_step = jax.random.split(key)
        memory, action = policy.act(memory, key_act, obs, first)
        moved = _transition(env, key_step, obs, state, action, first)
        return moved, policy.see(memory, moved[1])

    obs, state = jax.jit(env.reset)(key_reset)
    memory = jax.jit(policy.start)(key_start)
    first = jnp.array(True)
    episode = Episode([np.asarray(obs)], [_pose(env, state)], [])
    for i in range(max_steps):
        key = jax.random.fold_in(key_play, i)
        (state, transition), memory = act_and_step(key, obs, state, memory, first)
        obs, first = transition.next_obs, jnp.array(False)
        episode.obs.append(np.asarray(obs))
        episode.poses.append(_pose(env, state))
        episode.rewards.append(float(transition.env_reward))
        if transition.last:
            break
    return episode


def _pose(env: Any, state: Any) -> tuple[np.ndarray, np.ndarray] | None:
    if not env.name.startswith("brax:"):
        return None
    x = state.brax.pipeline_state.x
    return np.asarray(x.pos, float), np.asarray(x.rot, float)


def _transition(
    env: Any, key: Array, obs: Array, state: Any, action: Array, first: Array
) -> tuple[Any, Transition]:
    state, transition = step(env, key, state, obs, first, action)
    # What a policy knew of its choice is not known here; few rewards read it.
    policy = {name: jnp.float32(0.0) for name in ("log_prob", "entropy", "value")}
    return state, transition.replace(policy=policy)


def _example(env: Any) -> Transition:
    """A block `[1, 1, ...]` of zeros in the shape of what is played."""

    def one(key: Array) -> Transition:
        obs, state = env.reset(key)
        action = random_action(env.action_space, key)
        return _transition(env, key, obs, state, action, jnp.array(True))[1]

    shapes = jax.eval_shape(one, jax.random.key(0))
    return jax.tree.map(lambda x: jnp.zeros((1, 1, *x.shape), x.dtype), shapes)
