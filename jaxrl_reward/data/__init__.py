"""Fixed data: data sets of steps, the formats of their files, how to measure and corrupt them."""

from jaxrl_reward.data.corruption import Attacker, corrupt, relative_range
from jaxrl_reward.data.dataset import Dataset, Episode, Provenance, make
from jaxrl_reward.data.formats import d4rl, minari, ogbench, read, register, write
from jaxrl_reward.data.formats.npz import load, save
from jaxrl_reward.data.goals import Mixture, relabel_goals
from jaxrl_reward.data.measures import Coverage, coverage, kurtosis, trajectory_quality
from jaxrl_reward.data.scores import D4RL_RETURNS, d4rl_returns, normalized_score

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
    "d4rl",
    "d4rl_returns",
    "kurtosis",
    "load",
    "make",
    "minari",
    "normalized_score",
    "ogbench",
    "read",
    "register",
    "relabel_goals",
    "relative_range",
    "save",
    "trajectory_quality",
    "write",
]
