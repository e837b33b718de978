"""The table of reward terms: what the text form knows and the laws sweep over."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from jaxrl_reward.plugins.definitions import check_free
from jaxrl_reward.rewards.core import checks
from jaxrl_reward.rewards.core.base import RewardTransform
from jaxrl_reward.types import UserError, nearest

Class = TypeVar("Class", bound=type[RewardTransform])


@dataclasses.dataclass(frozen=True)
class Entry:
    """One registered term.

    Attributes:
      name: its name in the text form.
      build: the class; its fields are the arguments.
      examples: keyword arguments of the instances that the laws are checked on.
    """

    name: str
    build: type[RewardTransform]
    examples: tuple[dict[str, Any], ...]

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (self.build.__doc__ or "").strip().partition("\n")[0]

    @property
    def arguments(self) -> dict[str, Any]:
        """Argument names with their defaults (`dataclasses.MISSING` if required)."""
        fields = sorted(dataclasses.fields(self.build), key=lambda field: field.kw_only is True)
        return {field.name: field.default for field in fields}

    @property
    def kinds(self) -> dict[str, Any]:
        """Argument names with their types, without what `checks` declares of them."""
        return {name: kind for name, (kind, _) in checks.declared(self.build).items()}


_ENTRIES: dict[str, Entry] = {}


def register(name: str, *examples: dict[str, Any]) -> Callable[[Class], Class]:
    """Makes a term known by `name` to `parse`, `list rewards` and the laws.

    Args:
      name: a Python identifier.
      *examples: keyword arguments of instances to test; none means the defaults.

    Raises:
      UserError: if the name is no identifier, or is another definition's.
    """
    if not isinstance(name, str):
        raise UserError(f'a term is registered under a name: @rewards.register("NAME"), not {name}')
    if not name.isidentifier():
        raise UserError(f"reward name {name!r} is not an identifier")

    def add(cls: Class) -> Class:
        if not (isinstance(cls, type) and issubclass(cls, RewardTransform)):
            kinds = "@rewards.pointwise above it, or a class of rewards.Causal, Learned or the like"
            raise UserError(f"reward term {name!r} is no term: write {kinds}")
        known = _ENTRIES.get(name)
        check_free(f"reward name {name!r}", known and known.build, cls)
        cls.name = name
        _ENTRIES[name] = Entry(name, cls, examples or ({},))
        return cls

    return add


def entries() -> tuple[Entry, ...]:
    """All registered terms, by name."""
    return tuple(_ENTRIES[name] for name in sorted(_ENTRIES))


def lookup(name: str) -> Entry:
    """The term called `name`.

    Raises:
      UserError: if there is none; the message suggests the nearest name.
    """
    if name not in _ENTRIES:
        raise UserError(f"unknown reward term {name!r}, {nearest(name, _ENTRIES)}")
    return _ENTRIES[name]
