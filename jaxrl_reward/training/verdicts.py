"""What became of an expectation: verdicts on arms, by intervals over their seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxrl_reward.training.result import Result

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


def compare(
    results: Results,
    better: str,
    worse: str,
    *,
    claim: str,
    source: str,
    margin: float = 0.0,
    confidence: float = 0.95,
) -> Verdict:
    """Whether one arm's final return is above another's by more than `margin`.

    Judged by the bootstrap interval of the difference of the two interquartile
    means over seeds.
    """
    from jaxrl_reward.report import statistics, tables

    x, y = results[better].returns, results[worse].returns
    found = statistics.difference(x, y, confidence=confidence)
    estimate, low, high = (tables.number(each, found.high - found.low) for each in found)
    evidence = (
        f"IQM of {better} - {worse} = {estimate}, {100 * confidence:g} % interval "
        f"[{low}, {high}], {len(x)} and {len(y)} seeds"
    )
    return Verdict(claim, source, judge(found.low, found.high, margin), evidence)


def exceeds(
    results: Results,
    arm: str,
    value: float,
    *,
    claim: str,
    source: str,
    expected: bool = True,
    confidence: float = 0.95,
) -> Verdict:
    """Whether an arm's final return is above a value.

    Judged by the bootstrap interval of the interquartile mean over seeds. With
    `expected` false the claim is that it is below.
    """
    from jaxrl_reward.report import statistics, tables

    returns = results[arm].returns
    found = statistics.stratified_bootstrap(returns, statistics.iqm, confidence=confidence)
    status = judge(found.low, found.high, value)
    if not expected:
        status = _OPPOSITE.get(status, status)
    estimate, low, high = (tables.number(each, found.high - found.low) for each in found)
    evidence = (
        f"IQM of {arm} = {estimate}, {100 * confidence:g} % interval [{low}, {high}], "
        f"against {value:g}, {len(returns)} seeds"
    )
    return Verdict(claim, source, status, evidence)


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
