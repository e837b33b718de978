"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905), and kin.

With continuous actions a tanh-normal policy; with discrete ones the
expectations over actions are sums (Christodoulou 2019, arXiv:1910.07207). With
`critics` above `subset` the target is the minimum over a random subset of them,
and the policy climbs the mean of all (REDQ: Chen et al. 2021, arXiv:2101.05982).

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them,
and takes `updates` gradient steps on batches from the store, whose rewards are
computed anew as they are drawn (see `shells.off_policy`). A time limit ends no value.
"""

import math
from typing import Any, Literal

from flax import struct

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, replay, rollout, sac_losses
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.agents.shells.off_policy import State
from jaxrl_reward.types import UserError

__all__ = ["Config", "State", "check", "make"]


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """SAC's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      num_envs: environments played side by side, N.
      num_steps: steps of each before the updates, T.
      updates: gradient steps of the critics after every N * T steps.
      policy_delay: gradient steps of the critics for one of the policy and the
        temperature; must divide `updates`.
      batch_size: steps of a batch.
      buffer_size: steps to keep; the oldest are overwritten.
      learning_starts: steps of random actions before the first update.
      n_step: rewards before the value in a target, within an episode.
      critics: how many.
      subset: of how many, drawn anew for each update, a target is the minimum.
      hidden: widths of the hidden layers of actor and critics.
      activation: between layers, a name that `networks` knows.
      layer_norm: normalise the hidden layers of the critics.
      tune_temperature: towards the target entropy; else it is `temperature`.
      placement: `block`, the policy is blind to the reward's memory, or
        `step`, it sees it.
      normalize_obs: by the mean and variance of what the policy saw so far.
      slopes: log how steep the critics and the reward are at stored steps, `q_slope`
        and `reward_slope`, see `steepness`.
      reset: `fresh` or `cached` initial states, see `envs.vectorize`.
      learning_rate: Adam's, of the policy and the temperature.
      critic_learning_rate: Adam's, of the critics.
      gamma: discount per step.
      target_rate: how far the target critics follow at each update.
      temperature: weight of the entropy, per nat; where it is tuned, at first.
      target_entropy_scale: of the customary one, which is minus the number of
        action dimensions, or 0.98 of the most there is for discrete actions.
    """

    num_envs: int = _static(1)
    num_steps: int = _static(1)
    updates: int = _static(1)
    policy_delay: int = _static(1)
    batch_size: int = _static(256)
    buffer_size: int = _static(100_000)
    learning_starts: int = _static(1_000)
    n_step: int = _static(1)
    critics: int = _static(2)
    subset: int = _static(2)
    hidden: tuple[int, ...] = _static((128, 128))
    activation: str = _static("relu")
    layer_norm: bool = _static(False)
    tune_temperature: bool = _static(True)
    placement: Literal["block", "step"] = _static("block")
    normalize_obs: bool = _static(False)
    slopes: bool = _static(False)
    reset: Literal["fresh", "cached"] = _static("fresh")
    learning_rate: float = 3e-4
    critic_learning_rate: float = 1e-3
    gamma: float = 0.99
    target_rate: float = 0.005
    temperature: float = 1.0
    target_entropy_scale: float = 1.0


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """A SAC agent.

    Args:
      config: the settings.
      env: what it plays, with Discrete or Box actions; actions without bounds
        are kept within -1 and 1, those with one only beyond it.
      reward: what it learns from; the environment's own by default.

    Raises:
      UserError: a setting is out of range or does not fit another, or the
        environment or the reward is not for SAC.
    """
    return off_policy.make("sac", config, env, reward, sac_losses.Learner, check)


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    rollout.check("sac", config)
    replay.check("sac", config)
    for name in ("policy_delay", "critics", "subset"):
        base.check_positive("sac", name, getattr(config, name))
    if config.updates % config.policy_delay:
        raise UserError(
            f"sac's policy_delay={config.policy_delay} must divide updates={config.updates}"
        )
    if config.subset > config.critics:
        raise UserError(f"sac's subset={config.subset} must not exceed critics={config.critics}")
    for name in ("learning_rate", "critic_learning_rate"):
        base.check_range("sac", name, getattr(config, name), 0.0)
    base.check_temperature("sac", config)
    base.check_range("sac", "target_rate", config.target_rate, 0.0, 1.0)
    base.check_range("sac", "target_entropy_scale", config.target_entropy_scale, -math.inf)
