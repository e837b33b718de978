"""Learning from fixed data: datasets, their formats, how to collect, measure and corrupt them."""

from jaxrl_reward.offline.corruption import Attacker, corrupt, relative_range
from jaxrl_reward.offline.dataset import (
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
from jaxrl_reward.offline.formats import read
from jaxrl_reward.offline.measures import Coverage, coverage, kurtosis, trajectory_quality

__all__ = [
    "D4RL_RETURNS",
    "Attacker",
    "Coverage",
    "Dataset",
    "Episode",
    "Provenance",
    "corrupt",
    "coverage",
    "d4rl_returns",
    "kurtosis",
    "load",
    "make",
    "normalized_score",
    "read",
    "relative_range",
    "save",
    "trajectory_quality",
]
