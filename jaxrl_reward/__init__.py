"""Rewards as expressions, and compiled agents to train on them, in JAX."""

from jaxrl_reward import envs, rewards
from jaxrl_reward.agents import base as agents
from jaxrl_reward.agents import ppo
from jaxrl_reward.types import Mean, Transition, UserError

__version__ = "0.1.0"
__all__ = ["Mean", "Transition", "UserError", "agents", "envs", "ppo", "rewards"]
