"""Expressions on episodes of one step: a bandit's arms, whole responses, whole episodes.

What judges something as a whole needs no environment: `judge` pays for a batch of
vectors, such as what several models say of a response, or the returns of an episode.
"""

import jax.numpy as jnp

from jaxrl_reward.rewards.core.base import RewardTransform, State
from jaxrl_reward.types import Array, Transition


def block(rewards: Array) -> Transition:
    """Episodes of one step `[1, B]` with K rewards each, given as `[B, K]`.

    An expression reads them as `objective(1)`, ..., `objective(K)`; the first is also the
    environment's reward. There is nothing to observe.
    """
    first = rewards[None, :, 0]
    yes, nothing = jnp.ones(first.shape, bool), jnp.zeros((*first.shape, 1))
    return Transition(
        obs=nothing,
        action=nothing,
        env_reward=first,
        reward=first,
        next_obs=nothing,
        first=yes,
        terminated=yes,
        truncated=~yes,
        info={"rewards": rewards[None]},
    )


def start(term: RewardTransform, key: Array, rewards: Array) -> State:
    """The expression's state before it has judged anything; of rewards the shape counts."""
    return term.init(key, block(rewards))


def judge(term: RewardTransform, state: State, rewards: Array) -> tuple[State, Array]:
    """What the expression pays for rewards `[B, K]`: its next state, and `[B]`."""
    played = block(rewards)
    state = term.begin(state, played.obs[0], played.first[0])
    applied = term.apply(state, played)
    return applied.state, applied.reward[0]
