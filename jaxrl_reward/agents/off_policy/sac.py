"""Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905), and kin.

With continuous actions a tanh-normal policy; with discrete ones the
expectations over actions are sums (Christodoulou 2019, arXiv:1910.07207). With
`critics` above `subset` the target is the minimum over a random subset of them,
and the policy climbs the mean of all (REDQ: Chen et al. 2021, arXiv:2101.05982).

One `iterate` plays `num_steps` steps of `num_envs` environments, stores them,
and takes `updates` gradient steps on batches from the store, whose rewards are
computed anew as they are drawn (see `shells.off_policy`). A time limit ends no value.
"""

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base
from jaxrl_reward.agents.common.shared_settings import ActorCritic, SoftCritics
from jaxrl_reward.agents.off_policy import sac_losses
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.agents.shells.off_policy import State
from jaxrl_reward.settings import setting
from jaxrl_reward.types import UserError

__all__ = ["Config", "State", "check", "make"]


class Config(ActorCritic, SoftCritics):
    """SAC's settings. Floats are leaves: `vmap` over them to sweep."""

    num_envs: int = 1
    policy_delay: int = setting(
        1,
        "gradient steps of the critics for one of the policy and the temperature; must divide "
        "`updates`",
        low=1,
    )
    subset: int = setting(
        2, "of how many, drawn anew for each update, a target is the minimum", low=1
    )
    slopes: bool = setting(
        False,
        "log how steep the critics and the reward are at stored steps, `q_slope` and "
        "`reward_slope`, see `steepness`",
    )

    def validate(self, owner: str) -> None:
        super().validate(owner)
        if self.updates % self.policy_delay:
            raise UserError(
                f"{owner}'s policy_delay={self.policy_delay} must divide updates={self.updates}"
            )
        if self.subset > self.critics:
            raise UserError(
                f"{owner}'s subset={self.subset} must not exceed critics={self.critics}"
            )


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
    settings.check("sac", config)
