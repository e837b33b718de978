"""Imports gymnax without what it draws pictures with, which takes longer than JAX does."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands in for a module, and imports it when something of it is first used."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """What is imported meanwhile, and imports these modules, gets them at their first use."""
    absent = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(absent)
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


with deferred("matplotlib.pyplot", "seaborn"):
    from gymnax.environments import spaces as spaces
