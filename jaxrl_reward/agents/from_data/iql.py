"""Implicit Q-learning (Kostrikov et al. 2021, arXiv:2110.06169), from fixed data.

It never asks for the value of an action that is not in the data: V is an upper
expectile of the critics' values of the data's actions, the critics learn from V,
and the policy imitates the data's actions, those with an advantage more. Of Discrete
actions a critic gives the values of all, and the policy is categorical.

Robust IQL (Yang et al. 2024, arXiv:2310.12955) is the same program with other
settings, see `riql`: observations are normalised, the critics' loss is Huber's,
and in place of their minimum a quantile of several critics is taken.
"""

from functools import partial
from typing import Any

from jax.core import Tracer

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base
from jaxrl_reward.agents.common.shared_settings import Imitation
from jaxrl_reward.agents.from_data import iql_losses
from jaxrl_reward.agents.shells import from_data
from jaxrl_reward.agents.shells.from_data import State
from jaxrl_reward.checks import check_number
from jaxrl_reward.intervals import Interval
from jaxrl_reward.settings import setting

__all__ = ["Config", "State", "check", "make"]


class Config(Imitation):
    """IQL's settings. Floats are leaves: `vmap` over them to sweep."""

    critics: int = setting(2, "how many, K", low=1)
    hidden: tuple[int, ...] = setting(help="widths of the hidden layers of all networks")
    target_rate: float = setting(
        0.005, "how far the slow critics follow at each step", low=0.0, high=1.0
    )
    expectile: float = setting(0.7, "of the critics' values, which V is", low=0.0, high=1.0)
    beta: float = setting(
        3.0, "how much an advantage counts for the policy; 0 is behaviour cloning", low=0.0
    )
    max_weight: float = setting(100.0, "the most that an action counts for it", low=0.0)
    quantile: float = setting(
        0.0, "of the K slow critics, in place of their minimum, which 0 is", low=0.0, high=1.0
    )
    huber_delta: float = setting(
        0.0, "errors of the critics beyond it count linearly; 0 is never", low=0.0
    )
    target_low: float = setting(-1e9, "targets of the critics are kept above")
    target_high: float = setting(1e9, "targets of the critics are kept below")

    def validate(self, owner: str) -> None:
        super().validate(owner)
        if not isinstance(self.target_low, Tracer):
            above = Interval(self.target_low)
            check_number(owner, "target_high", self.target_high, above)


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
      env: what it is evaluated in, with Box or Discrete actions.
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
    settings.check(name, config)
