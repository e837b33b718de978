"""Small learners on finite MDPs, to see what a reward is worth: REINFORCE and Q-learning.

Pure and for one seed; `vmap` over seeds, designs and numbers. What they are paid is a
table, and with EXPLORS more; the task's own reward only EXPLORS and the evaluation see.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward.design import explors
from jaxrl_reward.design.episodes import Episodes, expected_return, play, returns
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, UserError, nearest

KINDS = ("reinforce", "q_learning")


class Settings(struct.PyTreeNode):
    """How to learn.

    Attributes:
      kind: of `KINDS`.
      horizon: the longest episode.
      episodes: played at once between two updates.
      rate: of learning: 0.1 of the thesis, for one episode.
      epsilon: how often Q-learning acts at random; REINFORCE draws from its softmax.
      gamma: the discount.
      explors: what EXPLORS adds; nothing by default.
    """

    kind: str = struct.field(pytree_node=False, default="reinforce")
    horizon: int = struct.field(pytree_node=False, default=40)
    episodes: int = struct.field(pytree_node=False, default=4)
    rate: float | Array = 0.1
    epsilon: float | Array = 0.05
    gamma: float | Array = 0.99
    explors: Any = explors.Explors(scale=0.0, rate=0.0)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"unknown learner {self.kind!r}, {nearest(self.kind, KINDS)}")


class Learner(struct.PyTreeNode):
    """What a learner knows.

    Attributes:
      table: logits or Q, `[S, A]`.
      shaping: what EXPLORS has learnt.
    """

    table: Array
    shaping: explors.Shaping


def start(mdp: MDP) -> Learner:
    """A learner that knows nothing: all actions are alike to it."""
    return Learner(jnp.zeros((mdp.states, mdp.actions)), explors.start(mdp.states, mdp.actions))


def policy(settings: Settings, learner: Learner) -> Array:
    """The probabilities of its actions while it learns, `[S, A]`."""
    if settings.kind == "reinforce":
        return jax.nn.softmax(learner.table)
    return settings.epsilon / learner.table.shape[1] + (1 - settings.epsilon) * greedy(learner)


def greedy(learner: Learner) -> Array:
    """The actions that seem best, all equals with the same probability, `[S, A]`."""
    best = learner.table >= learner.table.max(-1, keepdims=True)
    return best / best.sum(-1, keepdims=True)


def value(settings: Settings, learner: Learner, mdp: MDP) -> Array:
    """The task's exact expected return of its policy, without epsilon."""
    acting = policy(settings, learner) if settings.kind == "reinforce" else greedy(learner)
    return expected_return(mdp, acting, settings.gamma, settings.horizon)


def update(settings: Settings, learner: Learner, key: Array, mdp: MDP, reward: Array) -> Learner:
    """Plays some episodes and learns from them.

    Args:
      settings: how.
      learner: before.
      key: a typed key.
      mdp: the task, with its own reward.
      reward: what it is paid for each outcome, `[S, A, K]`.
    """
    acting = policy(settings, learner)
    episodes = play(key, mdp, acting, settings.horizon, settings.episodes)
    total = episodes.of(reward) + explors.paid(settings.explors, learner.shaping, episodes)
    own = returns(episodes.of(mdp.reward), settings.gamma)
    shaping = explors.update(settings.explors, learner.shaping, episodes, acting, own)
    learn = _reinforce if settings.kind == "reinforce" else _q_learning
    return Learner(learn(settings, learner.table, acting, episodes, total), shaping)


def _reinforce(
    settings: Settings, table: Array, acting: Array, episodes: Episodes, reward: Array
) -> Array:
    """One step up the mean over episodes of `sum_t G_t grad log pi(a_t|s_t)` (Williams 1992)."""
    gain = episodes.live * returns(reward, settings.gamma)
    push = jnp.zeros_like(table).at[episodes.state, episodes.action].add(gain)
    push -= acting * push.sum(-1, keepdims=True)
    return table + settings.rate * push / episodes.state.shape[1]


def _q_learning(
    settings: Settings, table: Array, acting: Array, episodes: Episodes, reward: Array
) -> Array:
    """Watkins' rule for every step, the episodes one after another, each from its end.

    Backwards, so that one episode tells all its states of the reward at its end.
    """
    del acting

    def step(table: Array, row: tuple[Episodes, Array]) -> tuple[Array, None]:
        seen, reward = row
        later = jnp.where(seen.ends, 0.0, table[seen.successor].max(-1))
        error = reward + settings.gamma * later - table[seen.state, seen.action]
        return table.at[seen.state, seen.action].add(settings.rate * seen.live * error), None

    rows = jax.tree.map(lambda x: x.T.reshape(-1)[::-1], (episodes, reward))
    return jax.lax.scan(step, table, rows)[0]


@partial(jax.jit, static_argnames="updates")
def train(
    settings: Settings, learner: Learner, key: Array, mdp: MDP, reward: Array, updates: int
) -> Learner:
    """Some updates of a learner; the keys are `key` folded with their number."""

    def step(learner: Learner, i: Array) -> tuple[Learner, None]:
        return update(settings, learner, jax.random.fold_in(key, i), mdp, reward), None

    return jax.lax.scan(step, learner, jnp.arange(updates))[0]
