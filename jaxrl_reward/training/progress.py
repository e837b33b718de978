"""The person at the terminal: what they see of a run, and how they stop it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import TracebackType

from rich import progress as bars
from rich.console import Console
from rich.markup import escape

from jaxrl_reward.training.devices import processes
from jaxrl_reward.training.schedule import Plan


class Progress:
    """A bar on a terminal, else a line per evaluation.

    It is drawn on standard error: results and tables keep standard output.

    Args:
      arm: the run's name.
      plan: its length.
      seeds: how many run at once; speed counts all of their steps.
      enabled: false draws nothing, and says only what was not asked for.
    """

    def __init__(self, arm: str, plan: Plan, seeds: int, enabled: bool = True):
        self._arm, self._plan, self._seeds = arm, plan, seeds
        self._console = Console(stderr=True, quiet=not enabled, highlight=False, soft_wrap=True)
        self._speed = 0.0
        self._bar: bars.Progress | None = None
        if enabled and self._console.is_terminal:
            self._bar = bars.Progress(
                bars.TextColumn("{task.description}", markup=False),
                bars.BarColumn(bar_width=None),
                bars.TextColumn("{task.completed:,}/{task.total:,} steps"),
                bars.TextColumn("{task.fields[speed]} steps/s"),
                bars.TextColumn("return {task.fields[score]}"),
                bars.TimeRemainingColumn(),
                console=self._console,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(
                arm, start=False, total=plan.total_steps, speed="-", score="-"
            )

    def start(self, iteration: int) -> None:
        """Says how long the run is, where that is not what was asked for: always."""
        if self._plan.rounding and processes.is_first():
            quiet, self._console.quiet = self._console.quiet, False
            self._print(f"{self._arm}: {self._plan.rounding}")
            self._console.quiet = quiet
        if iteration:
            self._print(f"{self._arm}: resumed at step {self._steps(iteration):,}")
        if self._bar is not None:
            self._bar.update(self._task, completed=self._steps(iteration))
            self._bar.start_task(self._task)

    def advance(self, iteration: int, n: int, seconds: float) -> None:
        """After `n` iterations that took `seconds`."""
        now = n * self._plan.steps_per_iteration * self._seeds / max(seconds, 1e-9)
        self._speed = now if not self._speed else 0.7 * self._speed + 0.3 * now
        if self._bar is not None:
            self._bar.update(
                self._task, completed=self._steps(iteration), speed=f"{self._speed:,.0f}"
            )

    def evaluated(self, iteration: int, score: float, metric: str = "return") -> None:
        """After an evaluation; `score` is the mean over seeds of a metric."""
        if self._bar is not None:
            self._bar.update(self._task, score=f"{score:,.1f}")
            return
        speed = f"  {self._speed:,.0f} steps/s" if self._speed else ""
        form = ",.1f" if metric == "return" else ",.4g"
        self._print(
            f"{self._arm}: step {self._steps(iteration):,}/{self._plan.total_steps:,}"
            f"  {metric} {score:{form}}{speed}"
        )

    def _steps(self, iteration: int) -> int:
        return iteration * self._plan.steps_per_iteration

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


@contextlib.contextmanager
def stage(text: str, enabled: bool = True) -> Iterator[None]:
    """Says what there is to wait for, on standard error: beside a spinner, or as a line."""
    console = Console(stderr=True, quiet=not enabled, highlight=False, soft_wrap=True)
    if enabled and console.is_terminal:
        with console.status(escape(text)):
            yield
    else:
        console.print(f"{text} ...", markup=False)
        yield


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[list[int]]:
    """Ctrl-C is noted in the list; a second one interrupts at once.

    An exception in the middle of a call to the device would lose the state.
    """
    noted: list[int] = []
    previous = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()
    if not main or previous in (None, signal.SIG_IGN):
        yield noted
        return

    def note(number: int, _: object) -> None:
        noted.append(number)
        if len(noted) > 1:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, previous)
