"""What a caller gives, refused in a line where it makes no sense: numbers, names, functions."""

import inspect
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import errors
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


# ---- functions, tried on shapes --------------------------------------------------------

_ADVICE = (
    (errors.TracerBoolConversionError, "a Python if, and, or, not or while asks a traced value: "
     "use jax.numpy.where or jax.lax.cond"),
    (errors.NonConcreteBooleanIndexError, "traced values choose how many entries there are: "
     "use jax.numpy.where"),
    (errors.TracerArrayConversionError, "numpy is given a traced value: use jax.numpy"),
    (errors.TracerIntegerConversionError, "a traced value is used as a Python integer: "
     "use jax.numpy, such as take or lax.dynamic_index_in_dim"),
    (errors.ConcretizationTypeError, "a Python number is made of a traced value: use jax.numpy "
     "in place of float(), int() and numpy"),
)  # fmt: skip


def on_shapes(whose: str, function: Callable[..., Any], words: str, *args: Any) -> Any:
    """What a user's function gives, as shapes and dtypes; nothing is compiled.

    Args:
      whose: what the function is of, for messages.
      function: called with `args`.
      words: how it is called, as in `step(shared, memory, transition)`.
      *args: arrays, or their shapes and dtypes.

    Raises:
      UserError: it takes other arguments, or fails.
    """
    try:
        inspect.signature(function).bind(*args)
    except TypeError:
        takes = inspect.signature(function)
        raise UserError(f"{whose}: it is called as {words}, and takes {takes}") from None
    except ValueError:  # of what is built in, which has no signature
        pass
    try:
        return jax.eval_shape(function, *args)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{whose}: {words} fails: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What went wrong in a user's function and where, in a line."""
    advice = next((text for kind, text in _ADVICE if isinstance(error, kind)), None)
    first = str(error).strip().partition("\n")[0]
    return f"{advice or f'{type(error).__name__}: {first}'.rstrip(': ')}{_place(error)}"


def _place(error: Exception) -> str:
    """` (line 3 of mine.py)`, the last one that is neither this package's nor a library's."""
    package = str(Path(__file__).parent)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" not in frame.filename and not frame.filename.startswith(package):
            return f" (line {frame.lineno} of {Path(frame.filename).name})"
    return ""


def shown(tree: Any) -> str:
    """What a function gave, in words: `an array of shape (4,)`, `a tuple of 2`."""
    if tree is None or isinstance(tree, bool | int | float | str):
        return repr(tree)
    if isinstance(tree, tuple | list | dict):
        return f"a {type(tree).__name__} of {len(tree)}"
    if not hasattr(tree, "shape"):
        return f"a {type(tree).__name__}"
    return f"an array of shape {tree.shape}" if tree.shape else f"a number, {tree.dtype}"


def is_number(value: Any) -> bool:
    """Whether shapes and dtypes are those of one real number, or of true or false."""
    return getattr(value, "shape", None) == () and is_real(value)


def is_real(value: Any) -> bool:
    """Whether an array is of real numbers, or of true and false."""
    dtype = getattr(value, "dtype", None)
    return dtype is not None and any(
        jax.numpy.issubdtype(dtype, kind) for kind in (np.floating, np.integer, np.bool_)
    )


def difference(before: Any, after: Any) -> str | None:
    """How two trees differ in structure, shapes or dtypes, in words; None if they do not."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        return f"{shown(before)} before and {shown(after)} after, of another structure"
    leaves = zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True)
    for (path, old), new in leaves:
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            name = jax.tree_util.keystr(path, simple=True, separator=".")
            kinds = [f"{x.dtype} of shape {x.shape}" for x in (old, new)]
            return f"{f'{name}: ' if name else ''}{kinds[0]} before and {kinds[1]} after"
    return None
