"""Checks of arguments that more than one term needs; tracers and batches pass."""

from typing import Any

from jaxrl_reward.types import Array, UserError, nearest


def positive(term: Any, *names: str) -> None:
    """Raises a `UserError` unless these arguments are above 0, where they are known."""
    for name in names:
        value = getattr(term, name)
        if isinstance(value, int | float) and value <= 0:
            raise UserError(f"{term.name}'s {name} must be above 0, not {value}")


def share(term: Any, *names: str) -> None:
    """Raises a `UserError` unless these arguments are in [0, 1], where they are known."""
    for name in names:
        value = getattr(term, name)
        if isinstance(value, int | float) and not 0 <= value <= 1:
            raise UserError(f"{term.name}'s {name} must be in [0, 1], not {value}")


def one_of(term: Any, name: str, known: tuple[str, ...]) -> None:
    """Raises a `UserError` unless this argument is one of the `known` words."""
    value = getattr(term, name)
    if value not in known:
        hint = nearest(str(value), known)
        raise UserError(f"{term.name}'s {name} cannot be {value!r}, {hint}")


def numbers(term: Any, *names: str) -> None:
    """Raises a `UserError` if these arguments hold text where numbers belong."""
    for name in names:
        value = getattr(term, name)
        if any(isinstance(v, str) for v in (value if isinstance(value, tuple) else (value,))):
            raise UserError(f"{term.name}'s {name} must be a number or numbers, not {value!r}")


def several(term: Any, *names: str) -> None:
    """Raises a `UserError` unless these arguments are tuples of numbers."""
    numbers(term, *names)
    for name in names:
        value = getattr(term, name)
        if isinstance(value, int | float):
            raise UserError(f"{term.name}'s {name} must be several numbers, as in ({value:g},)")


def parts(term: Any, rewards: Array, count: int) -> list[Array]:
    """The parts of a vector reward `[..., K]`, each `[...]`.

    Raises:
      UserError: K is not `count`.
    """
    if rewards.shape[-1] != count:
        raise UserError(f"{term} is for a stack of {count} rewards, not {rewards.shape[-1]}")
    return [rewards[..., k] for k in range(count)]
