"""Rewards that are designed, on finite MDPs: by a teacher, by the learner, from a heuristic.

`target` and `exprd` design once, `adapted` for what a learner does now, `explors` is a
learner's own shaping, and `barfi` learns how much of a heuristic to follow.
"""

from jaxrl_reward.design import barfi, episodes, explors, learners
from jaxrl_reward.design.adaptive import adapted
from jaxrl_reward.design.informative import (
    Design,
    exprd,
    informativeness,
    most_informative,
)
from jaxrl_reward.design.targets import Target, losses, on, paying, target, visits

__all__ = [
    "Design",
    "Target",
    "adapted",
    "barfi",
    "episodes",
    "explors",
    "exprd",
    "informativeness",
    "learners",
    "losses",
    "most_informative",
    "on",
    "paying",
    "target",
    "visits",
]
