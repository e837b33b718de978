"""One episode, step by step, with everything that its drawing needs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_reward.agents.common import playing, policies
from jaxrl_reward.agents.common.policies import Policy
from jaxrl_reward.envs.masks import random_action
from jaxrl_reward.render import bodies, suites
from jaxrl_reward.types import Array, UserError


class Episode(NamedTuple):
    """What happened.

    Attributes:
      obs: observations, one more than there were steps.
      poses: the bodies' positions `[L, 3]` and quaternions `[L, 4]`, likewise;
        `None` where the environment has no bodies.
      rewards: the environment's own.
      states: the environment's, likewise, where a drawing is made from them.
    """

    obs: list[np.ndarray]
    poses: list[tuple[np.ndarray, np.ndarray] | None]
    rewards: list[float]
    states: Sequence[Any] = ()


def random(env: Any) -> Policy:
    """Uniformly random actions, of those allowed, in one environment."""

    def act(memory: Any, obs: Array, first: Array, key: Array) -> Any:
        del first
        return memory, random_action(env, obs[0], key)[None], ()

    return Policy(lambda key, num: (), act, lambda memory, transition, extra: memory)


def greedy(agent: Any, state: Any, *, draw: bool = False) -> Policy:
    """The likeliest actions of a trained agent.

    Args:
      agent: built as for training.
      state: that of one seed, leaves `[...]`.
      draw: draw actions instead.
    """
    policy = agent.policy(agent.prepare_eval(state, jax.random.key(0)))
    return policy if draw else policies.greedy(policy)


def play(env: Any, policy: Policy, *, seed: int = 0, max_steps: int = 1000) -> Episode:
    """One episode, cut after `max_steps`.

    Raises:
      UserError: there is only data in the environment's place.
    """
    if not env.playable:
        raise UserError(f"there are only data of {env.name}, and no environment to play in")
    key_reset, key_start, key_play = jax.random.split(jax.random.key(seed), 3)

    @jax.jit
    def begin(key_reset: Array, key_start: Array) -> Any:
        return playing.begin(env, policy, key_reset[None], key_start)

    @jax.jit
    def step(now: Any, key: Array) -> Any:
        key_act, key_step = jax.random.split(key)
        return playing.step(env, policy, now, key_step[None], key_act)

    now = begin(key_reset, key_start)
    drawn = suites.drawn(env)
    states: list[Any] = []
    episode = Episode([], [], [], states)

    def note(now: Any) -> None:
        episode.obs.append(np.asarray(now.obs[0]))
        episode.poses.append(bodies.pose(env, now.env_state))
        if drawn:
            states.append(jax.tree.map(lambda x: x[0], now.env_state))

    note(now)
    for i in range(max_steps):
        now, transition = step(now, jax.random.fold_in(key_play, i))
        note(now)
        episode.rewards.append(float(transition.env_reward[0]))
        if transition.last[0]:
            break
    return episode
