"""What became of an expectation: verdicts on arms, by intervals over their seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from jaxrl_reward.training.record.result import Result

Status = Literal["holds", "fails", "undecided"]
Results = Mapping[str, Result]  # by the arm's name
_OPPOSITE: Mapping[Status, Status] = {"holds": "fails", "fails": "holds"}


@dataclass(frozen=True)
class Verdict:
    """What became of one expectation.

    Attributes:
      claim: one line.
      source: the paper, and where in it.
      status: holds, fails or undecided.
      evidence: the numbers, with their interval.
    """

    claim: str
    source: str
    status: Status
    evidence: str


def judge(low: float, high: float, above: float) -> Status:
    """Whether a quantity is above a value, from its interval.

    It holds if the whole interval is above, fails if the whole interval is below,
    and is undecided in between and without an interval (NaN).
    """
    if low > above:
        return "holds"
    return "fails" if high < above else "undecided"


def above(
    claim: str,
    what: str,
    values: ArrayLike,
    limit: float,
    *,
    source: str,
    expected: bool = True,
    confidence: float = 0.95,
) -> Verdict:
    """Whether a quantity, one value per seed `[S]`, lies above a limit.

    Judged by the bootstrap interval of the interquartile mean. With `expected`
    false the claim is that it lies below.
    """
    from jaxrl_reward.report import statistics

    x = np.asarray(values, np.float64)
    found = statistics.stratified_bootstrap(x, statistics.iqm, confidence=confidence)
    status = judge(found.low, found.high, limit)
    if not expected:
        status = _OPPOSITE.get(status, status)
    evidence = f"{_said(what, found, confidence)}, against {limit:g}, {len(x)} seeds"
    return Verdict(claim, source, status, evidence)


def better(
    claim: str,
    what: str,
    x: ArrayLike,
    y: ArrayLike,
    margin: float = 0.0,
    *,
    source: str,
    confidence: float = 0.95,
) -> Verdict:
    """Whether values `x`, one per seed, exceed `y`, one per seed of another arm, by a margin.

    Judged by the bootstrap interval of the difference of the two interquartile means.
    """
    from jaxrl_reward.report import statistics

    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    found = statistics.difference(x, y, confidence=confidence)
    evidence = _said(what, found, confidence)
    if margin:
        evidence += f", against {margin:g}"
    status = judge(found.low, found.high, margin)
    return Verdict(claim, source, status, f"{evidence}, {len(x)} and {len(y)} seeds")


def _said(what: str, found: Any, confidence: float) -> str:
    from jaxrl_reward.report import tables

    estimate, low, high = (tables.number(each, found.high - found.low) for each in found)
    return f"{what} = {estimate}, {100 * confidence:g} % interval [{low}, {high}]"


def compare(
    results: Results, first: str, second: str, *, margin: float = 0.0, **about: Any
) -> Verdict:
    """Whether one arm's final return is above another's by more than `margin`.

    `about` is the claim, its source, and the confidence as `better` takes them.
    """
    x, y = results[first].returns, results[second].returns
    return better(what=f"IQM of {first} - {second}", x=x, y=y, margin=margin, **about)


def exceeds(results: Results, arm: str, value: float, **about: Any) -> Verdict:
    """Whether an arm's final return is above a value.

    `about` is the claim, its source, whether it is `expected`, and the confidence, as
    `above` takes them.
    """
    return above(what=f"IQM of {arm}", values=results[arm].returns, limit=value, **about)


def reaches(
    results: Results,
    arm: str,
    goal: float,
    *,
    claim: str,
    source: str,
    share: float = 0.5,
    expected: bool = True,
    confidence: float = 0.95,
) -> Verdict:
    """Whether more than a share of an arm's seeds end above a return.

    Judged by the exact binomial interval of the share (Clopper and Pearson
    1934). With `expected` false the claim is that at most that share does.
    """
    from scipy.stats import binomtest

    reached = np.asarray(results[arm].returns) > goal
    count, seeds = int(reached.sum()), len(reached)
    interval = binomtest(count, seeds).proportion_ci(confidence, method="exact")
    status = judge(interval.low, interval.high, share)
    if not expected:
        status = _OPPOSITE.get(status, status)
    evidence = (
        f"{count} of {seeds} seeds of {arm} end above {goal:g}: {count / seeds:.0%}, "
        f"{100 * confidence:g} % interval [{interval.low:.0%}, {interval.high:.0%}]"
    )
    return Verdict(claim, source, status, evidence)
