"""What the arguments of terms may be, declared where they are declared: by their types.

    class smooth(Causal):
        rate: Share = 0.1            # in [0, 1]
        steps: Count = static(default=8)
        when: Annotated[str, OneOf(("end", "step"))] = static(default="end")
        slope: Annotated[float, Interval(-1, 1)] = 0.0

A term is checked as it is built, and whatever is no number yet passes: tracers, and
leaves that a `tree.map` puts in place. NaN is refused everywhere, and so is what float32
does not hold, unless infinity is meant. Rules across arguments are the term's `validate`.
"""

import dataclasses
import inspect
import math
from collections.abc import Iterator
from functools import cache
from numbers import Integral
from typing import Annotated, Any, get_args, get_origin

import jax
import numpy as np
from jax.core import Tracer

from jaxrl_reward.intervals import Interval
from jaxrl_reward.types import Array, UserError, nearest

# What arguments without numbers are, and what no number is.
_WORDS = {bool: (bool | np.bool_, "True or False"), str: (str, "a text")}
_NO_NUMBERS = (str, bytes, complex, dict)
_LARGEST, _LEAST = (float(getattr(np.finfo(np.float32), name)) for name in ("max", "tiny"))


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of these words."""

    words: tuple[str, ...]


Number = Annotated[float, Interval()]  # infinite ones too
Finite = Annotated[float, Interval(above=True, below=True)]  # any finite number is meant
Positive = Annotated[float, Interval(0, above=True, below=True)]
NotNegative = Annotated[float, Interval(0, below=True)]
Duration = Annotated[float, Interval(0)]  # for ever, if infinite
Length = Annotated[float, Interval(0, above=True)]
Share = Annotated[float, Interval(0, 1)]
AboveZero = Annotated[float, Interval(0, 1, above=True)]
Percent = Annotated[float, Interval(0, 100)]
Count = Annotated[int, Interval(1, whole=True)]
Several = Annotated[int, Interval(2, whole=True)]
CountOrNone = Annotated[int, Interval(0, whole=True)]  # none, or all: the term says which
# One number for all, or several.
Finites = Annotated[Any, Interval(above=True, below=True)]
Positives = Annotated[Any, Interval(0, above=True, below=True)]
NotNegatives = Annotated[Any, Interval(0, below=True)]
# Several numbers, always.
Row = Annotated[tuple[float, ...], Interval(above=True, below=True)]
NotNegativeRow = Annotated[tuple[float, ...], Interval(0, below=True)]
PositiveRow = Annotated[tuple[float, ...], Interval(0, above=True, below=True)]
# A discount: the agent's if it is left out, see `rewards.discounts`.
Discount = Annotated[float | None, Interval(0, 1)]
Divisor = Annotated[float | None, Interval(0, 1, above=True)]  # a discount that is divided by


@cache
def declared(term: type) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Of each argument of a term, its type and what is declared of it, inherited ones too."""
    found = {}
    for base in reversed(term.__mro__):
        for name, kind in inspect.get_annotations(base).items():
            rules: tuple[Any, ...] = ()
            if get_origin(kind) is Annotated:
                kind, *rest = get_args(kind)
                rules = tuple(rest)
            found[name] = kind, rules
    return found


def rule(term: type, name: str) -> Any:
    """What is declared of an argument: an `Interval`, a `OneOf`, or None."""
    known = [each for each in declared(term)[name][1] if isinstance(each, Interval | OneOf)]
    return known[0] if known else None


def arguments(term: Any) -> None:
    """Raises a `UserError` unless a term's arguments are such as are declared."""
    kinds = declared(type(term))
    for field in dataclasses.fields(term):
        _one(term, field.name, getattr(term, field.name), kinds[field.name][0])


def _one(term: Any, name: str, value: Any, kind: Any) -> None:
    wanted = rule(type(term), name)
    whose = f"{term.name or type(term).__name__}'s {name}"
    if isinstance(wanted, OneOf):
        if not isinstance(value, str) or value not in wanted.words:
            raise UserError(f"{whose} cannot be {value!r}, {nearest(str(value), wanted.words)}")
        return
    if kind in _WORDS and not isinstance(value, _WORDS[kind][0] | Tracer):
        raise UserError(f"{whose} must be {_WORDS[kind][1]}, not {value!r}")
    if wanted is not None:
        _check_kind(whose, value, kind)
    wanted = wanted or Interval()
    for number in _numbers(value):
        if not holds(wanted, number):
            words = "finite" if math.isinf(_as_float32(number)) else wanted
            raise UserError(f"{whose} must be {words}, not {_shown(number)}")


def _check_kind(whose: str, value: Any, kind: Any) -> None:
    """Refuses what is no number, one number for several, none for several, and several for one."""
    several = isinstance(value, tuple | list)
    parts = value if several else (value,)
    row = get_origin(kind) is tuple
    missing = value is None and kind != float | None
    if missing or not parts or any(isinstance(part, _NO_NUMBERS) for part in parts):
        what = "a number or numbers" if row or kind is Any else "a number"
        raise UserError(f"{whose} must be {what}, not {value!r}")
    if row and not several and value is not None and np.ndim(value) == 0:
        one = f"{value:g}" if isinstance(value, int | float) else value
        raise UserError(f"{whose} must be several numbers, as in ({one},)")
    if not row and kind is not Any and several:
        raise UserError(f"{whose} must be one number, not {value!r}")


def _numbers(value: Any) -> Iterator[Any]:
    """The numbers of an argument that are known by now."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, bool | Tracer):
        return
    elif isinstance(value, int | float | np.number):
        yield value
    elif isinstance(value, np.ndarray | jax.Array) and np.issubdtype(value.dtype, np.number):
        here = getattr(value, "is_fully_addressable", True)  # by this process
        yield from np.asarray(value).reshape(-1) if here else ()


def holds(interval: Interval, value: Any) -> bool:
    """Whether a number is in an interval once it is one of 32 bits, as in compiled code."""
    if interval.whole:
        return bool(interval.holds(value)) and abs(value) < 2**31
    return bool(interval.holds(_as_float32(value)))


def _as_float32(value: Any) -> float:
    """A number as compiled code has it, where the tiniest are 0."""
    try:
        value = float(value)
    except OverflowError:  # a very large integer
        return math.inf if value > 0 else -math.inf
    if abs(value) > _LARGEST:
        return math.copysign(math.inf, value)
    return 0.0 if abs(value) < _LEAST else value


def _shown(number: Any) -> str:
    return f"{number}" if isinstance(number, Integral) else f"{float(number):g}"


def reaches(value: Any, bound: float) -> bool:
    """Whether any number of an argument is known to be at least `bound`."""
    return any(number >= bound for number in _numbers(value))


def falls_below(value: Any, bound: float) -> bool:
    """Whether any number of an argument is known to be below `bound`."""
    return any(number < bound for number in _numbers(value))


def rising(term: Any, low: str, high: str, strictly: bool = False) -> None:
    """Raises a `UserError` unless argument `low` is below `high`, or as high."""
    ends = [list(_numbers(getattr(term, name))) for name in (low, high)]
    for one, other in zip(*ends, strict=False):
        if one > other or (strictly and one == other):
            sign = "<" if strictly else "<="
            raise UserError(
                f"{term.name} needs {low} {sign} {high}, not {low}={_shown(one)}, "
                f"{high}={_shown(other)}"
            )


def parts(term: Any, rewards: Array, count: int) -> list[Array]:
    """The parts of a vector reward `[..., K]`, each `[...]`.

    Raises:
      UserError: K is not `count`.
    """
    if rewards.shape[-1] != count:
        raise UserError(f"{term} is for a stack of {count} rewards, not {rewards.shape[-1]}")
    return [rewards[..., k] for k in range(count)]
