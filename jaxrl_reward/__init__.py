"""Rewards as expressions, and compiled agents to train on them, in JAX.

The parts are loaded when they are first used: the simulators start JAX as they
are imported, and the number of its devices can only be chosen before that. The
command line's help needs none of them, and not JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxrl_reward.version import __version__ as __version__

if TYPE_CHECKING:
    from jaxrl_reward import (
        agents,
        collecting,
        data,
        deploy,
        design,
        envs,
        nn,
        preferences,
        report,
        rewards,
        submodular,
        tabular,
        training,
    )
    from jaxrl_reward.agents.distributional import eta
    from jaxrl_reward.agents.from_data import bc, edac, iql, riql
    from jaxrl_reward.agents.off_policy import dqn, sac, td3
    from jaxrl_reward.agents.on_policy import ppo, subpo
    from jaxrl_reward.agents.sequence import group_pg
    from jaxrl_reward.deploy import export, load
    from jaxrl_reward.nn import lipschitz
    from jaxrl_reward.types import Mean, Transition, UserError

__all__ = [
    "Mean",
    "Transition",
    "UserError",
    "agents",
    "bc",
    "collecting",
    "data",
    "deploy",
    "design",
    "dqn",
    "edac",
    "envs",
    "eta",
    "export",
    "group_pg",
    "iql",
    "lipschitz",
    "load",
    "nn",
    "ppo",
    "preferences",
    "report",
    "rewards",
    "riql",
    "sac",
    "submodular",
    "subpo",
    "tabular",
    "td3",
    "training",
]

# Of the modules `agents`, `types` and `deploy`, for short.
_AGENTS = ("bc", "dqn", "edac", "eta", "group_pg", "iql", "ppo", "riql", "sac", "subpo", "td3")
_TYPES = ("Mean", "Transition", "UserError")
_DEPLOY = ("export", "load")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _TYPES:
        found = getattr(importlib.import_module(f"{__name__}.types"), name)
    elif name in _AGENTS:
        found = importlib.import_module(f"{__name__}.agents").module(name)
    elif name in _DEPLOY:
        found = getattr(importlib.import_module(f"{__name__}.deploy"), name)
    else:
        found = importlib.import_module(f"{__name__}{'.nn' * (name == 'lipschitz')}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
