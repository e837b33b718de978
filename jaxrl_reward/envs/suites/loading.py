"""Imports suites without what they say of themselves, and says what they can be built with."""

import contextlib
import importlib
import inspect
import io
import sys
import warnings
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from jaxrl_reward.types import UserError

_SINCE = {"navix": (3, 12)}  # the first Python that a suite runs on


def load(suite: str, module: str) -> ModuleType:
    """A module of a suite, without what it says of itself on being imported.

    Raises:
      UserError: it is not installed.
    """
    since = _SINCE.get(suite, (3, 0))
    if sys.version_info < since:
        wanted, has = (".".join(map(str, v[:2])) for v in (since, sys.version_info))
        fix = f'there, pip install "jaxrl-reward[{suite}]"'
        raise UserError(f"{suite} needs Python {wanted} or newer, and this is {has}: {fix}")
    with quiet():
        try:
            return importlib.import_module(module)
        except ImportError as error:
            fix = f'pip install "jaxrl-reward[{suite}]"'
            raise UserError(f"{suite} cannot be imported ({error}): {fix}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without prints and warnings."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


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
