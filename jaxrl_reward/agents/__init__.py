"""Agents that train on reward expressions, compiled end to end."""

from jaxrl_reward.agents.base import Agent, make, module, names

__all__ = ["Agent", "make", "module", "names"]
