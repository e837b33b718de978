"""Numbers and names that a caller gives, refused in a line where they make no sense."""

from collections.abc import Collection
from typing import Any

from jax.core import Tracer

from jaxrl_reward.errors import UserError, nearest
from jaxrl_reward.intervals import Interval


def check_number(owner: str, name: str, value: Any, interval: Interval) -> None:
    """Raises a `UserError` unless all of `value` is in the interval; tracers pass."""
    if not isinstance(value, Tracer) and not interval.holds(value).all():
        raise UserError(f"{owner}'s {name} must be {interval}, not {value}")


def check_choice(owner: str, name: str, value: Any, known: Collection[str]) -> None:
    """Raises a `UserError` unless `value` is one of `known`."""
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{owner} has no {name} {value!r}, {nearest(str(value), known)}")
