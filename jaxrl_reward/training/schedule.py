"""The integers of a run: checked and derived in one place."""

import operator
from dataclasses import dataclass
from typing import Any

from jaxrl_reward.types import UserError


@dataclass(frozen=True)
class Plan:
    """The integers of a run, in iterations; one seed's steps unless said otherwise.

    Attributes:
      steps_per_iteration: environment steps of one iteration, or gradient steps.
      iterations: how many there are.
      requested: the steps asked for, of which `total_steps` is the next
        whole number of iterations.
      log_points: iterations after which training metrics are recorded.
      eval_points: iterations after which the policy is evaluated, 0 first.
    """

    steps_per_iteration: int
    iterations: int
    requested: int
    log_points: frozenset[int]
    eval_points: frozenset[int]

    @property
    def total_steps(self) -> int:
        return self.iterations * self.steps_per_iteration

    @property
    def rounding(self) -> str | None:
        """One line if the run is longer than asked for, else None."""
        if self.requested == self.total_steps:
            return None
        several = "" if self.iterations == 1 else "s"
        return (
            f"{self.requested:,} steps per seed rounded up to {self.total_steps:,}: "
            f"{self.iterations:,} iteration{several} of {self.steps_per_iteration:,}"
        )

    def next_point(self, iteration: int) -> int:
        """The first log or evaluation point after this iteration."""
        return min(each for each in self.log_points | self.eval_points if each > iteration)


def plan(steps_per_iteration: int, total_steps: int, evals: int, log_points: int) -> Plan:
    """Checks a run's integers and derives the others.

    Points divide the run evenly; the last is its end. There are fewer of them
    than asked for only when there are fewer iterations.

    Raises:
      UserError: one is not a positive integer, or the run is too long.
    """
    total_steps = positive("total_steps", total_steps)
    evals, log_points = positive("evals", evals), positive("log_points", log_points)
    iterations = -(-total_steps // steps_per_iteration)
    if iterations >= 2**31:
        most = (2**31 - 1) * steps_per_iteration
        raise UserError(f"total_steps must be at most {most:,} here, got {total_steps:,}")

    def points(count: int) -> frozenset[int]:
        return frozenset(-(-iterations * i // count) for i in range(1, count + 1))

    return Plan(
        steps_per_iteration,
        iterations,
        total_steps,
        points(min(log_points, iterations)),
        points(min(evals, iterations)) | {0},
    )


def positive(name: str, value: Any) -> int:
    """A whole number of at least 1, or a `UserError` that names it."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UserError(f"{name} must be a whole number, got {value!r}") from None
    if number < 1:
        raise UserError(f"{name} must be at least 1, got {number}")
    return number


def first_seed(seed: Any, seeds: int) -> int:
    """The first of `seeds` seeds in a row, or a `UserError`."""
    try:
        first = operator.index(seed)
    except TypeError:
        raise UserError(f"seed must be a whole number, got {seed!r}") from None
    if first < 0 or first + seeds > 2**32:  # JAX would take them modulo 2**32
        raise UserError(f"seed must be between 0 and {2**32 - seeds}, got {first}")
    return first
