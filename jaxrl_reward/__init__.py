"""Rewards as expressions, and compiled agents to train on them, in JAX.

The parts are loaded when they are first used: the simulators start JAX as they
are imported, and the number of its devices can only be chosen before that.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxrl_reward.types import Mean, Transition, UserError

if TYPE_CHECKING:
    from jaxrl_reward import (
        agents,
        design,
        envs,
        lipschitz,
        offline,
        preferences,
        report,
        rewards,
        submodular,
        tabular,
        training,
    )
    from jaxrl_reward.agents import bc, dqn, edac, eta, group_pg, iql, ppo, riql, sac, subpo

__version__ = "0.2.0.dev0"
__all__ = [
    "Mean",
    "Transition",
    "UserError",
    "agents",
    "bc",
    "design",
    "dqn",
    "edac",
    "envs",
    "eta",
    "group_pg",
    "iql",
    "lipschitz",
    "offline",
    "ppo",
    "preferences",
    "report",
    "rewards",
    "riql",
    "sac",
    "submodular",
    "subpo",
    "tabular",
    "training",
]

# Of the package `agents`, for short.
_AGENTS = ("bc", "dqn", "edac", "eta", "group_pg", "iql", "ppo", "riql", "sac", "subpo")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}{'.agents' * (name in _AGENTS)}.{name}")
    globals()[name] = module
    return module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
