"""Whose discount a term takes: the agent's, unless it is given one of its own.

`potential("norm")` has no `gamma` until an agent takes it up, which binds it to its own: a
leaf that follows the agent's, also where that varies. By itself such a term takes 0.99.
"""

import dataclasses
import math
import operator
from typing import Any

from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import RewardTransform, number


def bind(reward: Any, gamma: Any) -> Any:
    """The expression with this discount wherever its terms leave theirs out.

    Raises:
      UserError: a term cannot have this one.
    """
    if type(reward) is tuple:
        parts = tuple(bind(each, gamma) for each in reward)
        return parts if any(map(operator.is_not, parts, reward)) else reward
    if not isinstance(reward, RewardTransform):
        return reward
    changes = {}
    for field in dataclasses.fields(reward):  # type: ignore[arg-type]
        old = getattr(reward, field.name)
        new = gamma if old is None and _is_discount(reward, field.name) else bind(old, gamma)
        if new is not old:
            changes[field.name] = new
    return reward.replace(**changes) if changes else reward


def others(reward: Any, gamma: Any) -> list[RewardTransform]:
    """The terms with a discount of their own that is not this one."""
    if not isinstance(reward, RewardTransform):
        return []
    found = [term for part in reward.children() for term in others(part, gamma)]
    for field in dataclasses.fields(reward):  # type: ignore[arg-type]
        own, wanted = number(getattr(reward, field.name)), number(gamma)
        if _is_discount(reward, field.name) and own is not None and wanted is not None:
            found += [reward] if not math.isclose(own, wanted, rel_tol=1e-6) else []
    return found


def _is_discount(reward: RewardTransform, name: str) -> bool:
    return checks.declared(type(reward))[name][0] == float | None
