"""Agents that train on reward expressions, compiled end to end."""

from jaxrl_reward.agents.common.base import Agent, learns_from_data, make, module, names

__all__ = ["Agent", "learns_from_data", "make", "module", "names"]
