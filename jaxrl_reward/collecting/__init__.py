"""Data sets of our own: an agent is trained, played and recorded, and what is said of them."""

from jaxrl_reward.collecting.levels import (
    LEVELS,
    Collected,
    Settings,
    check,
    collect,
    configuration,
)

__all__ = ["LEVELS", "Collected", "Settings", "check", "collect", "configuration"]
