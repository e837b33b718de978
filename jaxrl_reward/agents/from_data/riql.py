"""Robust implicit Q-learning (Yang et al. 2024, arXiv:2310.12955): `iql` with other settings.

For data of which a part is wrong: observations are normalised by the data's own
statistics, the critics' loss is Huber's, which a heavy tail of targets moves
little, and a quantile of several critics takes the place of their minimum, which
wrong successors drive down without end. Targets are bounded.
"""

from typing import Any

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base
from jaxrl_reward.agents.from_data import iql
from jaxrl_reward.agents.from_data.iql import State
from jaxrl_reward.types import UserError, nearest

__all__ = ["TASKS", "Config", "State", "check", "make", "settings"]


class Config(iql.Config):
    """RIQL's settings. Floats are leaves: `vmap` over them to sweep."""

    critics: int = 5
    normalize_obs: bool = True
    quantile: float = 0.25
    huber_delta: float = 1.0
    target_low: float = -100.0
    target_high: float = 1000.0


# What the authors' program takes for each task and corruption of D4RL's
# medium-replay data: critics, quantile, and sigma, where delta is 1 / sigma^2.
TASKS: dict[str, dict[str, tuple[int, float, float]]] = {
    "halfcheetah": {
        "random obs": (5, 0.1, 0.1),
        "random action": (3, 0.25, 0.5),
        "random reward": (5, 0.25, 3.0),
        "random dynamics": (5, 0.25, 3.0),
        "adversarial obs": (5, 0.1, 0.1),
        "adversarial action": (5, 0.1, 1.0),
        "adversarial reward": (5, 0.1, 1.0),
        "adversarial dynamics": (5, 0.1, 1.0),
    },
    "walker2d": {
        "random obs": (5, 0.25, 0.1),
        "random action": (5, 0.1, 0.5),
        "random reward": (5, 0.1, 3.0),
        "random dynamics": (3, 0.25, 1.0),
        "adversarial obs": (5, 0.25, 1.0),
        "adversarial action": (5, 0.1, 1.0),
        "adversarial reward": (5, 0.1, 3.0),
        "adversarial dynamics": (5, 0.25, 1.0),
    },
    "hopper": {
        "random obs": (3, 0.25, 0.1),
        "random action": (5, 0.25, 0.1),
        "random reward": (3, 0.25, 1.0),
        "random dynamics": (5, 0.5, 1.0),
        "adversarial obs": (5, 0.25, 1.0),
        "adversarial action": (5, 0.25, 1.0),
        "adversarial reward": (5, 0.25, 0.1),
        "adversarial dynamics": (5, 0.5, 1.0),
    },
}


def settings(task: str, corruption: str) -> dict[str, Any]:
    """The authors' settings of `critics`, `quantile` and `huber_delta`.

    Args:
      task: one of `TASKS`.
      corruption: its kind and field, such as `random dynamics`.

    Raises:
      UserError: they have none for that.
    """
    if task not in TASKS:
        raise UserError(f"riql has no settings for task {task!r}, {nearest(task, TASKS)}")
    if corruption not in TASKS[task]:
        hint = nearest(corruption, TASKS[task])
        raise UserError(f"riql has no settings for corruption {corruption!r}, {hint}")
    critics, quantile, sigma = TASKS[task][corruption]
    return {"critics": critics, "quantile": quantile, "huber_delta": 1.0 / sigma**2}


def make(
    config: Config, env: envs.Env, reward: rw.RewardTransform | None = None, data: Any = None
) -> base.Agent:
    """A RIQL agent: as `iql.make`.

    Raises:
      UserError: as `iql.make`.
    """
    return iql.make(config, env, reward, data, name="riql")


def check(config: Config) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    iql.check(config, "riql")
