"""From a run's numbers to statistics, tables and figures."""

from jaxrl_reward.report import plots, statistics, tables

__all__ = ["plots", "statistics", "tables"]
