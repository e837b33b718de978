"""Whose a definition is: a name in a register belongs to the definition that took it."""

import os
import sys
from functools import partial
from typing import Any

from jaxrl_reward.errors import UserError


def home(definition: Any) -> str:
    """Where it is written: the name of its module, or the file of one that is the user's.

    Args:
      definition: a module, or its name; a class, a function or a `partial` of one, or an
        object of such a class.
    """
    module = _module(definition)
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file or module.partition(".")[0] == __name__.partition(".")[0]:
        return module
    return os.path.realpath(file)


def check_free(what: str, holder: Any, new: Any) -> None:
    """Raises a `UserError` where a name is held by another definition.

    The same definition, loaded again, may have it.

    Args:
      what: the name, for the message: `reward name 'x'`.
      holder: the definition that has it; None where it is free.
      new: the one that asks for it.
    """
    if holder is not None and (home(holder), _name(holder)) != (home(new), _name(new)):
        named = f" ({_name(holder)})" if home(holder) == home(new) else ""
        raise UserError(f"{what} is taken by {home(holder)}{named}; choose another")


def _module(definition: Any) -> str:
    if isinstance(definition, str):
        return definition
    if isinstance(definition, type(sys)):
        return definition.__name__
    return _written(definition).__module__


def _name(definition: Any) -> str:
    """As it is called in its module; empty of a module."""
    if isinstance(definition, str | type(sys)):
        return ""
    return _written(definition).__name__


def _written(definition: Any) -> Any:
    """The class or function that a definition comes from."""
    if isinstance(definition, partial):
        return _written(definition.func)
    return definition if hasattr(definition, "__qualname__") else type(definition)
