"""Deep Q-learning (Mnih et al. 2015), double, of n steps, and by quantiles if asked.

The value of the action that the online network likes best is taken from the
slower target network (van Hasselt et al. 2016, arXiv:1509.06461). With
`quantiles` above 1 a network gives that many quantiles of the return of each
action, which is chosen by their mean (QR-DQN: Dabney et al. 2018,
arXiv:1710.10044).

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them,
and takes `updates` gradient steps on batches from the store, whose rewards are
computed anew as they are drawn (see `replay`). A time limit ends no value.
"""

from typing import Any

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base
from jaxrl_reward.agents.common.shared_settings import QLearning
from jaxrl_reward.agents.off_policy import q_learning
from jaxrl_reward.agents.off_policy.q_learning import LOSSES, optimiser
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.agents.shells.off_policy import State
from jaxrl_reward.types import Array

__all__ = ["LOSSES", "Config", "State", "check", "make", "optimiser"]


class Config(QLearning):
    """DQN's settings. Floats are leaves: `vmap` over them to sweep."""

    updates: int = 2
    n_step: int = 10


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A DQN agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete actions.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range or does not fit another, or the
        environment or the reward is not for DQN.
    """
    return off_policy.make("dqn", config, env, reward, Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("dqn", config)


class Learner(q_learning.Learner):
    """Prefers an action by its mean return."""

    def score(self, config: Any, quantiles: Array, inputs: Array) -> Array:
        return quantiles.mean(-2)
