"""Fixed data: data sets of steps, the formats of their files, how to measure and corrupt them."""

from jaxrl_reward.data.corruption import Attacker, corrupt, relative_range
from jaxrl_reward.data.dataset import (
    D4RL_RETURNS,
    Dataset,
    Episode,
    Provenance,
    d4rl_returns,
    load,
    make,
    normalized_score,
    save,
)
from jaxrl_reward.data.formats import read, register
from jaxrl_reward.data.goals import Mixture, relabel_goals
from jaxrl_reward.data.measures import Coverage, coverage, kurtosis, trajectory_quality

__all__ = [
    "D4RL_RETURNS",
    "Attacker",
    "Coverage",
    "Dataset",
    "Episode",
    "Mixture",
    "Provenance",
    "corrupt",
    "coverage",
    "d4rl_returns",
    "kurtosis",
    "load",
    "make",
    "normalized_score",
    "read",
    "register",
    "relabel_goals",
    "relative_range",
    "save",
    "trajectory_quality",
]
