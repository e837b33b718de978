"""Agents that train on reward expressions, compiled end to end."""

from jaxrl_reward.agents.common.base import Agent, make, terms
from jaxrl_reward.agents.own import register
from jaxrl_reward.agents.table import learns_from_data, module, names

__all__ = ["Agent", "learns_from_data", "make", "module", "names", "register", "terms"]
