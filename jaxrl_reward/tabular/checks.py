"""What exact tools take: one line for numbers and tables that make no sense. Tracers pass."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrl_reward.intervals import Interval
from jaxrl_reward.tabular.types import MDP, Dynamics, Grid
from jaxrl_reward.types import UserError

F = TypeVar("F", bound=Callable[..., Any])

SUM = 1e-5  # how far probabilities may be from a sum of 1


DISCOUNT = Interval(0, 1)
FOREVER = Interval(0, 1, below=True)  # a discount without which nothing would converge
STOCK = Interval(0, 1, above=True)  # stocks are divided by it
SHARE = Interval(0, 1)
FRACTION = Interval(0, 1, above=True)
POSITIVE = Interval(0, above=True)
TOLERANCE = Interval(0)
COUNT = Interval(1, whole=True)


def number(where: str, name: str, value: Any, allowed: Interval) -> None:
    """Raises a `UserError` unless all of the value is in the range."""
    if isinstance(value, Tracer):
        return
    x = _floats(where, name, value)
    inside = allowed.holds(value)
    if not inside.all():
        raise UserError(f"{where}: {name} must be {allowed}, not {_shown(x, ~inside)}")


def distributions(where: str, name: str, value: Any) -> None:
    """Raises a `UserError` unless the last axis of each row is a probability distribution."""
    if isinstance(value, Tracer):
        return
    x = np.asarray(value, np.float64)
    if not np.isfinite(x).all():
        raise UserError(f"{where}: {name} is not finite{_place(~np.isfinite(x))}")
    if (x < 0).any():
        raise UserError(f"{where}: {name} is negative{_place(x < 0)}: {x[x < 0][0]:g}")
    total = x.sum(-1)
    wrong = np.abs(total - 1) > max(SUM, 4 * float(jnp.finfo(_floating(value)).eps))
    if wrong.any():
        raise UserError(f"{where}: {name} sums to {total[wrong][0]:g}{_place(wrong)}, not to 1")


def finite(where: str, name: str, value: Any) -> None:
    """Raises a `UserError` where a number is infinite or NaN."""
    if isinstance(value, Tracer):
        return
    wrong = ~np.isfinite(_floats(where, name, value))
    if wrong.any():
        raise UserError(f"{where}: {name} is not finite{_place(wrong)}")


def mdp(where: str, value: Any, vector: bool = True) -> None:
    """Raises a `UserError` unless it is one MDP, all of whose numbers make sense."""
    if not isinstance(value, MDP):
        raise UserError(f"{where} needs an MDP (tabular.from_tables), not {_kind(value)}")
    shape = np.shape(value.probability)
    if len(shape) != 3:
        raise UserError(
            f"{where} is for one MDP of [S, A, K] outcomes, not {list(shape)}: use vmap"
        )
    if np.shape(value.reward)[:3] != shape or np.ndim(value.reward) > 4:
        raise UserError(
            f"{where}: rewards {list(np.shape(value.reward))} of {list(shape)} outcomes"
        )
    if not vector and np.ndim(value.reward) > 3:
        raise UserError(f"{where} needs an MDP with one reward, not a vector")
    distributions(where, "probability", value.probability)
    finite(where, "reward", value.reward)
    number(where, "successor", value.successor, Interval(0, shape[0] - 1, whole=True))


def dynamics(where: str, value: Any) -> None:
    """Raises a `UserError` unless these are `Dynamics`, all of whose numbers make sense."""
    if not isinstance(value, Dynamics):
        raise UserError(f"{where} needs Dynamics (tabular.dynamics.of), not {_kind(value)}")
    shape = np.shape(value.transition)
    if len(shape) != 3 or shape[0] != shape[2]:
        raise UserError(f"{where}: transition must be [S, A, S'], not {list(shape)}")
    distributions(where, "transition", value.transition)
    number(where, "gamma", value.gamma, FOREVER)


def grid(where: str, value: Any) -> None:
    """Raises a `UserError` unless it is a grid whose points differ."""
    if not isinstance(value, Grid):
        raise UserError(f"{where} needs a Grid (tabular.grid), not {_kind(value)}")
    finite(where, "grid.low", value.low)
    finite(where, "grid.spacing", value.spacing)
    number(where, "grid.spacing", value.spacing, POSITIVE)


_KNOWN: dict[str, Callable[[str, Any], None]] = {
    "mdp": mdp,
    "dynamics": dynamics,
    "grid": grid,
    "policy": lambda where, value: distributions(where, "policy", value),
    "policies": lambda where, value: distributions(where, "policies", value),
    "first": lambda where, value: finite(where, "first", value),
    "second": lambda where, value: finite(where, "second", value),
    "reward": lambda where, value: finite(where, "reward", value),
}


def arguments(*, vector: bool = True, **ranges: Interval) -> Callable[[F], F]:
    """A decorator: each named argument must be in its range, and MDPs, grids and so on sound.

    Args:
      vector: whether an MDP may pay several rewards.
      **ranges: by argument; None passes where it is the default.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        known = signature.parameters
        name = getattr(function, "__name__", "this")

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs).arguments
            given = {**given, **given.get("settings", {})}
            for key, value in given.items():
                if value is None and (key not in known or known[key].default is None):
                    continue
                if key == "mdp" and not vector:
                    mdp(name, value, vector=False)
                elif key in ranges:
                    number(name, key, value, ranges[key])
                    if key == "gamma" and np.ndim(cast(Any, value)):
                        raise UserError(f"{name}: gamma must be one number: use vmap for several")
                elif key in _KNOWN:
                    _KNOWN[key](name, value)
            return function(*args, **kwargs)

        return cast(F, checked)

    return decorate


def _floats(where: str, name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{where}: {name} must be a number, not {value!r}") from None


def _floating(value: Any) -> Any:
    dtype = jnp.result_type(value)
    return dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.float32


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}"


def _shown(x: np.ndarray, wrong: np.ndarray) -> str:
    return f"{x[wrong].ravel()[0]:g}{_place(wrong) if x.ndim else ''}"


def _place(wrong: np.ndarray) -> str:
    """Where the first is, in brackets."""
    if not wrong.ndim:
        return ""
    return f" at {np.argwhere(wrong)[0].tolist()}"
