"""Implicit Q-learning (Kostrikov et al. 2021, arXiv:2110.06169), from fixed data.

It never asks for the value of an action that is not in the data: V is an upper
expectile of the critics' values of the data's actions, the critics learn from V,
and the policy imitates the data's actions, those with an advantage more.

Robust IQL (Yang et al. 2024, arXiv:2310.12955) is the same program with other
settings, see `riql`: observations are normalised, the critics' loss is Huber's,
and in place of their minimum a quantile of several critics is taken.
"""

from functools import partial
from typing import Any, Literal

from flax import struct

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents import base, iql_losses
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.agents.shells.from_data import State

__all__ = ["Config", "State", "check", "make"]


def _static(default: Any) -> Any:
    return struct.field(pytree_node=False, default=default)


class Config(struct.PyTreeNode):
    """IQL's settings. Floats are leaves: `vmap` over them to sweep.

    Attributes:
      updates: gradient steps of one iteration; a step of a run is one of them.
      batch_size: rows of a batch.
      critics: how many, K.
      hidden: widths of the hidden layers of all networks.
      activation: between layers, a name that `networks` knows.
      policy: `deterministic`, the tanh of the network's output, or `gaussian`,
        with a standard deviation that is the same in every state.
      normalize_obs: by the mean and standard deviation of the data.
      source: from which of several data sets it learns, 0 is the first.
      learning_rate: Adam's.
      policy_decay: steps in which the policy's rate falls to 0 along a cosine; 0
        keeps it, -1 is the length of the run, or a million where that is not known.
      gamma: discount per step.
      target_rate: how far the slow critics follow at each step.
      expectile: of the critics' values, which V is.
      beta: how much an advantage counts for the policy; 0 is behaviour cloning.
      max_weight: the most that an action counts for it.
      quantile: of the K slow critics, in place of their minimum, which 0 is.
      huber_delta: errors of the critics beyond it count linearly; 0 is never.
      target_low: targets of the critics are kept above.
      target_high: targets of the critics are kept below.
    """

    updates: int = _static(100)
    batch_size: int = _static(256)
    critics: int = _static(2)
    hidden: tuple[int, ...] = _static((256, 256))
    activation: str = _static("relu")
    policy: Literal["deterministic", "gaussian"] = _static("deterministic")
    normalize_obs: bool = False
    source: int = 0
    learning_rate: float = 3e-4
    policy_decay: float = base.of_run()
    gamma: float = 0.99
    target_rate: float = 0.005
    expectile: float = 0.7
    beta: float = 3.0
    max_weight: float = 100.0
    quantile: float = 0.0
    huber_delta: float = 0.0
    target_low: float = -1e9
    target_high: float = 1e9


def make(
    config: Config,
    env: envs.Env,
    reward: rw.RewardTransform | None = None,
    data: Any = None,
    *,
    name: str = "iql",
) -> base.Agent:
    """An IQL agent.

    Args:
      config: the settings.
      env: what it is evaluated in, with Box actions.
      reward: what it learns from; the data's own by default.
      data: what it learns from: a `Dataset`, a path to one, or several of them.
        Without, it acts and is evaluated only.
      name: of the agent.

    Raises:
      UserError: a setting is out of range, or the data, the environment and the
        reward do not fit each other.
    """
    checked = partial(check, name=name)
    return from_data.make(name, config, env, reward, data, iql_losses.Learner, checked)


def check(config: Config, name: str = "iql") -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    from_data.check(name, config)
    base.check_positive(name, "critics", config.critics)
    base.check_choice(name, "policy", config.policy, iql_losses.POLICIES)
    for setting in ("gamma", "target_rate", "expectile", "quantile"):
        base.check_range(name, setting, getattr(config, setting), 0.0, 1.0)
    for setting in ("beta", "max_weight", "huber_delta"):
        base.check_range(name, setting, getattr(config, setting), 0.0)
    base.check_length(name, "policy_decay", config.policy_decay, 0.0)
    base.check_range(name, "target_high", config.target_high, config.target_low)
