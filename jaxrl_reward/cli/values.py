"""How the values of flags are read; argparse says which flag was wrong."""

import argparse
import math
import re


def whole(text: str) -> int:
    """A whole number of at least 1; `1e6` and `500_000` are whole numbers."""
    return integer(text, least=1)


def seed(text: str) -> int:
    """A whole number that JAX tells apart from all others: it takes them modulo 2**32."""
    return integer(text, least=0, most=2**32 - 1)


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    return integer(text, least=0)


def integer(text: str, least: int | None = None, most: int | None = None) -> int:
    """A whole number, within bounds if there are any."""
    try:
        number = float(text) if re.search(r"[.eE]", text) else int(text)
        value = int(number)
    except (ValueError, OverflowError):
        value, number = 0, math.nan
    if value != number:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    if least is not None and value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
    if most is not None and value > most:
        raise argparse.ArgumentTypeError(f"must be at most {most}, not {text}")
    return value


def real(text: str) -> float:
    """A finite number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return value


def integers(text: str) -> tuple[int, ...]:
    """Whole numbers, separated by commas, with or without brackets."""
    return tuple(integer(part.strip()) for part in text.strip("()[] ,").split(","))


def reals(text: str) -> tuple[float, ...]:
    """Finite numbers, likewise."""
    return tuple(real(part.strip()) for part in text.strip("()[] ,").split(","))
