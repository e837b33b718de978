"""Numbers and names that a caller gives, refused in a line where they make no sense."""

import math
import numbers
from collections.abc import Collection
from typing import Any

import numpy as np
from jax.core import Tracer

from jaxrl_reward.errors import UserError, nearest


def check_positive(owner: str, name: str, value: Any) -> None:
    """Raises a `UserError` unless `value` is an integer above zero."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < 1:
        raise UserError(f"{owner}'s {name} must be a positive integer, not {value!r}")


def check_choice(owner: str, name: str, value: str, known: Collection[str]) -> None:
    """Raises a `UserError` unless `value` is one of `known`."""
    if value not in known:
        raise UserError(f"{owner} has no {name} {value!r}, {nearest(str(value), known)}")


def check_range(owner: str, name: str, value: Any, low: float, high: float = math.inf) -> None:
    """Raises a `UserError` unless `low <= value <= high`; tracers pass."""
    if isinstance(value, Tracer):
        return
    inside = (np.asarray(value) >= low) & (np.asarray(value) <= high)
    if not np.all(inside):
        bound = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise UserError(f"{owner}'s {name} must be {bound}, not {value}")
