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
    from jaxrl_reward.agents.from_data import bc, cql, edac, iql, riql
    from jaxrl_reward.agents.off_policy import dqn, sac, td3
    from jaxrl_reward.agents.on_policy import ppo, subpo
    from jaxrl_reward.agents.sequence import group_pg
    from jaxrl_reward.deploy import export, load, offline
    from jaxrl_reward.nn import lipschitz
    from jaxrl_reward.plugins import imports
    from jaxrl_reward.training import Run, study, train
    from jaxrl_reward.types import Mean, Transition, UserError

__all__ = [
    "Mean",
    "Run",
    "Transition",
    "UserError",
    "agents",
    "bc",
    "collecting",
    "cql",
    "data",
    "deploy",
    "design",
    "dqn",
    "edac",
    "envs",
    "eta",
    "export",
    "group_pg",
    "imports",
    "iql",
    "lipschitz",
    "load",
    "nn",
    "offline",
    "ppo",
    "preferences",
    "report",
    "rewards",
    "riql",
    "sac",
    "study",
    "submodular",
    "subpo",
    "tabular",
    "td3",
    "train",
    "training",
]

# Of the modules `agents`, `deploy`, `training` and `types`, for short.
_AGENTS = ("bc", "cql", "dqn", "edac", "eta", "group_pg", "iql", "ppo", "riql", "sac", "subpo")
_AGENTS += ("td3",)
_INSIDE = {"imports": "plugins.imports", "lipschitz": "nn.lipschitz", "offline": "deploy.offline"}
_HOMES = {
    "deploy": ("export", "load"),
    "training": ("Run", "study", "train"),
    "types": ("Mean", "Transition", "UserError"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is not None:
        found = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    elif name in _AGENTS:
        found = importlib.import_module(f"{__name__}.agents").module(name)
    else:
        found = importlib.import_module(f"{__name__}.{_INSIDE.get(name, name)}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
