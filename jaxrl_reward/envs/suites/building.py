"""What an environment of a suite can be built with: the options that it has."""

import inspect
from collections.abc import Mapping
from typing import Any


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that can be written as an option: a bool, a number or a word."""
    return {name: x for name, x in values.items() if isinstance(x, bool | int | float | str)}


def arguments(kind: type) -> dict[str, Any]:
    """What a class can be built with, by name, and the defaults; None without one.

    Where it hands on what it does not know itself, its parent's too.
    """
    found: dict[str, Any] = {}
    for each in kind.__mro__:
        if "__init__" not in vars(each):
            continue
        known = list(inspect.signature(each.__init__).parameters.values())[1:]
        for one in known:
            if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
                found.setdefault(one.name, None if one.default is one.empty else one.default)
        if all(one.kind is not one.VAR_KEYWORD for one in known):
            break
    return found
