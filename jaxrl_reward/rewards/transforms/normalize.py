"""Scaling a reward by the spread of its discounted return."""

from typing import Any

from jaxrl_reward.nn import running_statistics
from jaxrl_reward.rewards.core.checks import NotNegative
from jaxrl_reward.rewards.core.registry import register
from jaxrl_reward.rewards.transforms.standardize import OfReturns, scale
from jaxrl_reward.types import Array, Metrics


@register("normalize", {}, {"gamma": 0.5}, {"episodic": False})
class normalize(OfReturns):  # noqa: N801
    """`r / std(G)`, G the running discounted return of every environment.

    One variance for all environments, merged block by block (Chan et al.
    1979); the one used on a block is from before it, 1 until returns have differed.
    The mean is not taken off, which would change the task (Engstrom et al. 2020,
    "Implementation Matters", appendix A.1). With `episodic=False` G runs on where an
    episode ends, as is usual for curiosity, whose value does too.
    """

    epsilon: NotNegative = 1e-8

    def start(self) -> Any:
        return running_statistics.init()

    def update(self, stats: Any, rewards: Array) -> Any:
        return running_statistics.update(stats, rewards)

    def normalize(self, stats: Any, rewards: Array) -> Array:
        return rewards * scale(stats, self.epsilon)

    def metrics(self, stats: Any) -> Metrics:
        return {"normalize/std": running_statistics.spread(stats)}
