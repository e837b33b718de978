"""Environments on the accelerator, by name, one or N at a time."""

from jaxrl_reward.envs.registry import Env, make, names
from jaxrl_reward.envs.vector import EpisodeStats, VectorEnv, VectorState, vectorize

__all__ = ["Env", "EpisodeStats", "VectorEnv", "VectorState", "make", "names", "vectorize"]
