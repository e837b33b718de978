"""Intervals: what a number may be, of a setting, of a reward term, of an exact tool."""

import dataclasses
import math
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; NaN is in none of them.

    Attributes:
      low: the least of them.
      high: the largest.
      above: leaves out `low` itself.
      below: leaves out `high` itself; where that is infinite, all are finite.
      whole: only integers.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False

    def holds(self, value: Any) -> np.ndarray:
        """Which entries of an array are in it, `[...]` bool: never what is no number."""
        x = np.asarray(value)
        nowhere = np.zeros(x.shape, bool)
        if x.dtype.kind not in "iu" and (self.whole or x.dtype.kind in "bc"):
            return nowhere
        if x.dtype.kind not in "iuf":  # bfloat16, or an object such as None
            try:
                x = x.astype(np.float64)
            except (TypeError, ValueError):
                return nowhere
        enough = x > self.low if self.above else x >= self.low
        return enough & (x < self.high if self.below else x <= self.high)

    def __str__(self) -> str:
        """What such a number is, after "must be"."""
        if self.whole and self.low == 1 and math.isinf(self.high):
            return "a positive integer"
        low, high = (str(x) if isinstance(x, int) else f"{x:g}" for x in (self.low, self.high))
        ends = []
        if math.isfinite(self.low):
            ends += [f"{'above' if self.above else 'at least'} {low}"]
        if math.isfinite(self.high):
            ends += [f"{'below' if self.below else 'at most'} {high}"]
        if len(ends) == 2 and not (self.above or self.below):
            ends = [f"between {low} and {high}"]
        words = " and ".join(ends) or ("a finite number" if self.below else "a number")
        if not self.whole:
            return words
        joint = " of" if len(ends) == 1 and ends[0].startswith("a") else ""
        return f"an integer{joint} {words}" if ends else "an integer"
