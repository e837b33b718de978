"""Other packages' environments behind gymnax's interface, one adapter a file.

An adapter lists its suite's names without importing it (`names()`), makes one with its
parameters (`make(name, options)`), may take an environment that was made elsewhere
(`adapt(environment, params)`), and may say why a name is left out (`LEFT_OUT`). Of a suite
only its bare steps are used: its own resets hide the last observation of an episode.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator
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
_SINCE = {"navix": (3, 12)}  # the first Python that a suite runs on


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


def _adapter(suite: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{suite}")
