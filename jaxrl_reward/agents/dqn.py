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

from typing import Any, Literal

from flax import struct

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, q_learning
from jaxrl_reward.agents.q_learning import LOSSES, optimiser
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.agents.shells.off_policy import State
from jaxrl_reward.types import Array

__all__ = ["LOSSES", "Config", "State", "check", "make", "optimiser"]


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """DQN's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      num_envs: environments played side by side, N.
      num_steps: steps of each before the updates, T.
      updates: gradient steps after every N * T steps.
      batch_size: steps of a batch.
      buffer_size: steps to keep; the oldest are overwritten.
      learning_starts: steps before the first update.
      n_step: rewards before the value in a target, within an episode.
      double: the online network chooses the action whose value the target
        network gives; else the target network does both.
      quantiles: of the return of each action; 1 learns the mean return.
      hidden: widths of the hidden layers.
      activation: between layers, a name that `networks` knows.
      layer_norm: normalise the hidden layers.
      target_every: gradient steps between moves of the target network; for a
        periodic copy, with `target_rate` 1.
      placement: `block`, the policy is blind to the reward's memory, or
        `step`, it sees it.
      normalize_obs: by the mean and variance of what the policy saw so far.
      reset: `fresh` or `cached` initial states, see `envs.vectorize`.
      learning_rate: Adam's.
      gamma: discount per step.
      epsilon_start: probability of a random action at first.
      epsilon_end: the same from step `epsilon_steps` on.
      epsilon_steps: environment steps in which it falls linearly.
      target_rate: how far the target network moves towards the online one.
      max_grad_norm: gradients are scaled down to this length.
      huber_delta: errors beyond it count linearly.
    """

    num_envs: int = _static(8)
    num_steps: int = _static(1)
    updates: int = _static(2)
    batch_size: int = _static(64)
    buffer_size: int = _static(50_000)
    learning_starts: int = _static(1_000)
    n_step: int = _static(10)
    double: bool = _static(True)
    quantiles: int = _static(1)
    hidden: tuple[int, ...] = _static((64, 64))
    activation: str = _static("relu")
    layer_norm: bool = _static(True)
    target_every: int = _static(1)
    placement: Literal["block", "step"] = _static("block")
    normalize_obs: bool = _static(False)
    reset: Literal["fresh", "cached"] = _static("fresh")
    learning_rate: float = 1e-3
    gamma: float = 0.99
    epsilon_start: float = 1.0
    epsilon_end: float = 0.05
    epsilon_steps: float = 10_000.0
    target_rate: float = 0.01
    max_grad_norm: float = 10.0
    huber_delta: float = 1.0


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
    q_learning.check("dqn", config)


class Learner(q_learning.Learner):
    """Prefers an action by its mean return."""

    def score(self, config: Any, quantiles: Array, inputs: Array) -> Array:
        return quantiles.mean(-2)
