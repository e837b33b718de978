"""Trained policies out of runs: called from NumPy, or as a file that runs without this package."""

from jaxrl_reward.deploy.exporting import export
from jaxrl_reward.deploy.policy import Policy, load

__all__ = ["Policy", "export", "load"]
