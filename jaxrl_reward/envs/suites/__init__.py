"""Other packages' environments behind gymnax's interface, one adapter a file.

An adapter lists its suite's names without importing it (`names()`), makes one with its
parameters (`make(name, options)`), may take an environment that was made elsewhere
(`adapt(environment, params)`), and may say why a name is left out (`LEFT_OUT`). Of a suite
only its bare steps are used: its own resets hide the last observation of an episode.
"""

import importlib
import importlib.util
from types import ModuleType
from typing import Any

from jaxrl_reward.types import UserError

# Each suite, and the packages whose environments it is.
PACKAGES = {
    "craftax": ("craftax",),
    "jaxmarl": ("jaxmarl",),
    "jumanji": ("jumanji",),
    "navix": ("navix",),
    "octax": ("octax",),
    "pgx": ("pgx", "pgx_minatar"),
    "playground": ("mujoco_playground",),
    "xminigrid": ("xminigrid",),
}


def available() -> list[str]:
    """The suites that have an adapter, whether or not they are installed."""
    return [suite for suite in PACKAGES if importlib.util.find_spec(f"{__name__}.{suite}")]


def names(suite: str) -> tuple[str, ...]:
    """The names of a suite's environments, without importing it."""
    return tuple(_adapter(suite).names())


def left_out(suite: str) -> dict[str, str]:
    """What is no environment here though the suite has it, `SUITE:NAME`, and why."""
    absent = getattr(_adapter(suite), "LEFT_OUT", {})
    return {f"{suite}:{name}": why for name, why in absent.items()}


def make(suite: str, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """An environment of a suite by name, and its parameters.

    Raises:
      UserError: the suite is not installed, or an option is unknown or does not fit.
    """
    return _adapter(suite).make(name, options)


def adapted(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """What a user made of a suite, behind gymnax's interface; anything else as it is.

    Args:
      environment: as the suite's own `make` gives it.
      params: its parameters, where the suite has some.

    Raises:
      UserError: it is a suite's, and must be named.
    """
    kind = type(environment)
    roots = {str(base.__module__).partition(".")[0] for base in kind.__mro__}
    suite = next((suite for suite in available() if not roots.isdisjoint(PACKAGES[suite])), None)
    if suite is None:
        return environment, params
    if "wrappers" in kind.__module__.split("."):
        raise UserError(
            f"{kind.__name__} wraps an environment of {suite}, and may reset by itself: "
            "give the environment without it"
        )
    if (adapt := getattr(_adapter(suite), "adapt", None)) is not None:
        return adapt(environment, params)
    named = f"{suite}:{names(suite)[0]}"
    raise UserError(f"{kind.__name__} is an environment of {suite}: name it, as in {named!r}")


def _adapter(suite: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{suite}")
