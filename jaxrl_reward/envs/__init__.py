"""Environments on the accelerator, by name, one or N at a time."""

from jaxrl_reward import spaces  # before anything else imports gymnax
from jaxrl_reward.envs.noisy import noisy
from jaxrl_reward.envs.own import check, from_gymnax, given
from jaxrl_reward.envs.registry import Env, from_mdp, make, names, of_data, register
from jaxrl_reward.envs.vector import EpisodeStats, VectorEnv, VectorState, vectorize
from jaxrl_reward.options import check as check_options

__all__ = [
    "Env",
    "EpisodeStats",
    "VectorEnv",
    "VectorState",
    "check",
    "check_options",
    "from_gymnax",
    "from_mdp",
    "given",
    "make",
    "names",
    "noisy",
    "of_data",
    "register",
    "spaces",
    "vectorize",
]
