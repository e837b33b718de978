"""Rewards from preferences: models, losses, labels, users, and the gradient through a policy.

Pure functions, for data of one's own; `rewards.ensemble(start=model)` pays what a
fitted model says.
"""

from jaxrl_reward.nn.reward_models import RewardModel, init, load
from jaxrl_reward.preferences import (
    curation,
    judges,
    labels,
    losses,
    overoptimization,
    scores,
    segments,
    trees,
    users,
)
from jaxrl_reward.preferences.bilevel import hypergradient
from jaxrl_reward.preferences.fit import fit, returns
from jaxrl_reward.preferences.thresholds import Thresholds, search_thresholds

__all__ = [
    "RewardModel",
    "Thresholds",
    "curation",
    "fit",
    "hypergradient",
    "init",
    "judges",
    "labels",
    "load",
    "losses",
    "overoptimization",
    "returns",
    "scores",
    "search_thresholds",
    "segments",
    "trees",
    "users",
]
