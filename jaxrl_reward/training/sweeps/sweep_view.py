"""What the person at the terminal sees of a sweep."""

import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any

from rich import progress as bars
from rich.console import Console

from jaxrl_reward.training.record.run_folder import load_rows
from jaxrl_reward.training.sweeps import trial as trials
from jaxrl_reward.training.sweeps.sweep_spec import Sweep, Trial
from jaxrl_reward.types import UserError

_MOST_BARS = 8


class View:
    """A line per trial that ends; on a terminal also a bar of trials, and one
    for each that runs, with its return so far.

    Args:
      out: the sweep's folder; what is shown is read there.
      sweep: its trials.
      enabled: false shows nothing but failures.
    """

    def __init__(self, out: Path, sweep: Sweep, enabled: bool = True):
        self._out, self._sweep, self._enabled = out, sweep, enabled
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._over = {each.name for each in sweep.trials if trials.is_finished(out, each)}
        self._bar: bars.Progress | None = None
        self._running: dict[str, tuple[Trial, bars.TaskID, int]] = {}
        if enabled and self._console.is_terminal:
            bar = bars.Progress(
                bars.TextColumn("{task.description}", markup=False),
                bars.BarColumn(bar_width=None),
                bars.TextColumn("{task.completed:,}/{task.total:,} {task.fields[unit]}"),
                bars.TextColumn("{task.fields[score]}"),
                bars.TimeElapsedColumn(),
                console=self._console,
                refresh_per_second=4,
            )
            self._all = bar.add_task(sweep.name, total=len(sweep.trials), unit="trials", score="")
            self._bar = bar

    def started(self, trial: Trial) -> None:
        if self._bar is not None and trial.name not in self._running:
            task = self._bar.add_task(
                trial.name, total=trial.total_steps, unit="steps", score="", visible=False
            )
            self._running[trial.name] = (trial, task, _changed(self._out, trial))

    def lost(self, trial: Trial, reason: str, number: int, most: int) -> None:
        self._say(f"{trial.name}: {reason}; continued from its checkpoint ({number} of {most})")

    def ended(self, trial: Trial) -> None:
        if trial.name in self._running and self._bar is not None:
            _, task, _ = self._running.pop(trial.name)
            self._bar.remove_task(task)
        self._over.add(trial.name)
        total = len(self._sweep.trials)
        if problem := trials.failure(self._out, trial):
            self._say(f"{trial.name}: failed: {problem.error}", always=True)
            return
        path = trials.folder_of(self._out, trial) / "summary.json"
        (arm,) = json.loads(path.read_bytes())["arms"].values()
        self._say(f"{len(self._over)}/{total} {trial.name}: {_result(arm)}")

    def refresh(self) -> None:
        """Looks at what the running trials have written."""
        if self._bar is None:
            return
        self._bar.update(self._all, completed=len(self._over))
        shown = 0
        for name, (trial, task, seen) in list(self._running.items()):
            now = _changed(self._out, trial)
            if now != seen:
                self._running[name] = (trial, task, now)
                step, score = _latest(self._out, trial)
                score = f"IQM return {score:,.1f}"
                # Steps are rounded up to whole iterations.
                self._bar.update(task, completed=min(step, trial.total_steps), score=score)
            alive = now != 0 and shown < _MOST_BARS
            self._bar.update(task, visible=alive)
            shown += alive

    def _say(self, line: str, always: bool = False) -> None:
        if self._enabled or always:
            self._console.print(line, markup=False)

    def __enter__(self) -> "View":
        done = len(self._over)
        if done:
            self._say(f"{done} of {len(self._sweep.trials)} trials are finished already")
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
            self.refresh()
            self._bar.stop()


def _changed(out: Path, trial: Trial) -> int:
    """When the trial's rows were last written, 0 if never."""
    try:
        return (trials.folder_of(out, trial) / "metrics.parquet").stat().st_mtime_ns
    except OSError:
        return 0


def _latest(out: Path, trial: Trial) -> tuple[int, float]:
    """The last evaluation's step, and its interquartile mean over seeds."""
    from jaxrl_reward.report import statistics

    with contextlib.suppress(UserError):
        rows = load_rows(trials.folder_of(out, trial))
        for metric in ("return", "fqe"):  # of the latter, where nothing is played
            steps, values = rows.curve(metric)
            if len(steps):
                return int(steps[-1]), float(statistics.iqm(values[:, -1]))
    return 0, float("nan")


def _result(arm: dict[str, Any]) -> str:
    from jaxrl_reward.report import tables

    low, high = arm["ci_low"], arm["ci_high"]
    known = arm["seeds"] > 1 and None not in (low, high)
    width = high - low if known else 0.0
    interval = f" [{tables.number(low, width)}, {tables.number(high, width)}]" if known else ""
    return f"IQM {arm['metric']} {tables.number(arm['iqm'], width)}{interval}, {arm['seeds']} seeds"
