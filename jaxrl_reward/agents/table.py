"""The table of agents: those of this package by name, and users' own."""

import importlib
from collections.abc import Mapping
from typing import Any

from jaxrl_reward.errors import UserError, nearest
from jaxrl_reward.plugins.definitions import check_free

_MODULES: Mapping[str, str] = {
    "bc": "jaxrl_reward.agents.from_data.bc",
    "cql": "jaxrl_reward.agents.from_data.cql",
    "dqn": "jaxrl_reward.agents.off_policy.dqn",
    "edac": "jaxrl_reward.agents.from_data.edac",
    "eta": "jaxrl_reward.agents.distributional.eta",
    "group_pg": "jaxrl_reward.agents.sequence.group_pg",
    "iql": "jaxrl_reward.agents.from_data.iql",
    "pair_pg": "jaxrl_reward.agents.sequence.pair_pg",
    "ppo": "jaxrl_reward.agents.on_policy.ppo",
    "riql": "jaxrl_reward.agents.from_data.riql",
    "sac": "jaxrl_reward.agents.off_policy.sac",
    "subpo": "jaxrl_reward.agents.on_policy.subpo",
    "td3": "jaxrl_reward.agents.off_policy.td3",
}
_OFFLINE = ("bc", "cql", "edac", "iql", "riql")  # learn from data
_EITHER = ("pair_pg",)  # learn from data where they are given some
_OWN: dict[str, tuple[Any, Any, bool]] = {}  # whose it is, what it is, whether it learns from data


def names() -> list[str]:
    """The names that `make` knows."""
    return sorted({*_MODULES, *_OWN})


def from_data() -> list[str]:
    """The names of those that learn from data in place of playing."""
    return [name for name in names() if learns_from_data(name)]


def learns_from_data(name: str) -> bool:
    """Whether the agent of that name learns from data in place of playing."""
    return _OWN[name][2] if name in _OWN else name in _OFFLINE


def takes_data(name: str) -> bool:
    """Whether the agent of that name can learn from data."""
    return name in _EITHER or learns_from_data(name)


def is_own(name: str) -> bool:
    """Whether the agent of that name is one that a user has registered."""
    return name in _OWN


def module(name: str) -> Any:
    """The module of an agent, or what a user has registered in its place: `Config` and `make`.

    Raises:
      UserError: there is none of this name; the message suggests the nearest.
    """
    if name in _OWN:
        return _OWN[name][1]
    if name not in _MODULES:
        raise UserError(f"unknown agent {name!r}, {nearest(name, names())}")
    return importlib.import_module(_MODULES[name])


def add(name: str, owner: Any, found: Any, from_data: bool) -> None:
    """Puts an agent of the user's own into the table.

    Args:
      name: a Python identifier.
      owner: the definition that takes the name.
      found: has a `Config` and a `make`.
      from_data: whether it learns from data in place of playing.

    Raises:
      UserError: the name is none, or is another definition's.
    """
    if not name.isidentifier():
        raise UserError(f"agent name {name!r} is not an identifier")
    holder = _OWN[name][0] if name in _OWN else _MODULES.get(name)
    check_free(f"agent name {name!r}", holder, owner)
    _OWN[name] = (owner, found, from_data)
