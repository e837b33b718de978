"""Sweeps: many runs, each done once, whatever is lost on the way.

    OUT/sweep.json   every trial; written first
    OUT/trials/      a folder for each, see `trial.py`
    OUT/config.json  metrics.parquet  summary.json  figure.png  report.md

The last line is written in the end, over all trials that finished, as if they
were the arms of one run. A trial whose process is lost continues from its
checkpoint; one that fails is recorded, and the others go on.
"""

import contextlib
import json
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl_reward.files import user_path, write_atomic
from jaxrl_reward.training import imported
from jaxrl_reward.training.record.metrics import Rows
from jaxrl_reward.training.record.run_folder import (
    RunFolder,
    difference,
    load_config,
    load_rows,
    merge_summaries,
    plain,
    rows_to_parquet,
    to_json,
)
from jaxrl_reward.training.record.write_up import write_up
from jaxrl_reward.training.sweeps import trial as trials
from jaxrl_reward.training.sweeps.engines import Engine
from jaxrl_reward.training.sweeps.sweep_spec import Sweep, Trial
from jaxrl_reward.training.sweeps.sweep_view import View
from jaxrl_reward.types import UserError

_WAIT_SECONDS = 1.0  # how long nothing may be seen to happen


class Outcome(NamedTuple):
    """What a sweep gives.

    Attributes:
      summary: the content of `summary.json`, None if no trial finished.
      failures: by the trial's name.
      path: the sweep's folder.
    """

    summary: dict[str, Any] | None
    failures: dict[str, trials.Failure]
    path: Path


def run(
    sweep: Sweep,
    make_engine: Callable[[Path], Engine],
    *,
    out: Path | str,
    resume: bool = False,
    retries: int = 3,
    progress: bool = True,
    command: str = "",
) -> Outcome:
    """Runs every trial that has no results yet, and writes the folder.

    Args:
      sweep: what to run, from `sweep_spec.read`.
      make_engine: starts the engine for a sweep's folder, once it is claimed.
      out: a new folder, or with `resume` that of the sweep to continue.
      resume: continue what is in the folder. Finished trials are kept, failed
        ones run again; the sweep may have further trials, but each that was
        there must be the same.
      retries: how often a trial is continued whose process was lost.
      progress: draw a bar, or print a line per trial, on standard error.
      command: how to run the sweep again, for the report.

    Raises:
      UserError: a folder that holds something else, or an engine that cannot start.
      KeyboardInterrupt: after every running trial has written a checkpoint.
    """
    out = user_path(out)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_claim(out, sweep, resume))
        trials.write_sweep(out, sweep)
        waiting = [each for each in sweep.trials if not trials.is_finished(out, each)]
        view = stack.enter_context(View(out, sweep, enabled=progress))
        if waiting:
            stack.enter_context(_terminated_is_interrupted())
            engine = make_engine(out)
            stack.callback(engine.close)
            try:
                _drive(engine, out, waiting, retries, view)
            except KeyboardInterrupt:
                engine.stop()
                raise
        found = {each.name: trials.failure(out, each) for each in sweep.trials}
        failures = {name: problem for name, problem in found.items() if problem}
        return Outcome(_write_results(folder, sweep, failures, command), failures, out)


def _claim(out: Path, sweep: Sweep, resume: bool) -> RunFolder:
    """The sweep's folder, if there is nothing in it, or this sweep to be resumed."""
    folder = RunFolder.claim(out, resume=resume, mark="sweep.json")
    try:
        if (out / "sweep.json").exists():
            _check_same(out, sweep)
    except BaseException:
        folder.close()
        raise
    return folder


def _check_same(out: Path, sweep: Sweep) -> None:
    was = trials.read_sweep(out)
    imported.check_same(out, json.loads((out / "sweep.json").read_bytes()))
    now = {each.name: json.loads(to_json(plain(each))) for each in sweep.trials}
    for before in was.trials:
        if before.name not in now:
            raise UserError(
                f"{out} was started with the trial {before.name!r}, which is no longer in the "
                "sweep; put it back, or choose another --out"
            )
        if found := difference(json.loads(to_json(plain(before))), now[before.name]):
            key, then, is_now = found
            raise UserError(
                f"{out} was started with {key} = {then} in trial {before.name!r}, not {is_now}; "
                "use the same, or choose another --out"
            )


def _drive(engine: Engine, out: Path, todo: list[Trial], retries: int, view: View) -> None:
    """Starts every trial, and those again whose process was lost, until all have ended."""
    for trial in todo:
        trials.forget_failure(out, trial)
    waiting, running, losses = deque(todo), dict[str, Trial](), Counter[str]()
    while waiting or running:
        while waiting and len(running) < engine.slots:
            trial = waiting.popleft()
            running[trial.name] = trial
            engine.start(trial)
            view.started(trial)
        for name, lost in engine.wait(_WAIT_SECONDS):
            trial = running.pop(name)
            if not trials.is_finished(out, trial) and trials.failure(out, trial) is None:
                losses[name] += 1
                reason = lost or "it ended without a result"
                if losses[name] <= retries:
                    view.lost(trial, reason, losses[name], retries)
                    waiting.appendleft(trial)
                    continue
                trials.record_failure(out, trial, "lost", f"{reason}; {losses[name]} times")
            view.ended(trial)
        view.refresh()


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM, as a machine's scheduler sends it, stops a sweep as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


# ---- results ----------------------------------------------------------------------


def _write_results(
    folder: RunFolder, sweep: Sweep, failures: dict[str, trials.Failure], command: str
) -> dict[str, Any] | None:
    """The files of a run whose arms are the finished trials."""
    out = folder.path
    paths = [trials.folder_of(out, each) for each in sweep.trials if trials.is_finished(out, each)]
    if not paths:
        return None
    summaries = [json.loads((path / "summary.json").read_bytes()) for path in paths]
    configs = [load_config(path) for path in paths]
    arms = {name: arm for config in configs for name, arm in config["arms"].items()}
    summary = merge_summaries(summaries)
    summary["device"] = ", ".join(sorted({each["device"] for each in summaries}))
    summary["failed"] = {name: problem.error for name, problem in failures.items()}
    rows = Rows.concatenate([load_rows(path) for path in paths])
    write_atomic(out / "config.json", to_json({**configs[0], "arms": arms}))
    write_atomic(out / "metrics.parquet", rows_to_parquet(rows))
    write_up(out, summary, rows, title=sweep.name, command=command)
    folder.write_summary(summary)
    return summary
