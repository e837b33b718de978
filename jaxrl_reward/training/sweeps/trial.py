"""One trial of a sweep, in its own folder, in this process.

    OUT/sweep.json            every trial of the sweep
    OUT/trials/FOLDER/        a run's usual files; `summary.json` last
    OUT/trials/FOLDER/log.txt when and where it was started, its evaluations and warnings
    OUT/trials/FOLDER/failure.json   only after a failure

Whoever runs a trial holds the lock of its folder meanwhile, and looks whether
it is finished after taking it: no two processes do the same work, and nothing
that is finished is done again. `python -m jaxrl_reward.training.sweeps.trial OUT NAME`
runs one.
"""

import contextlib
import dataclasses
import json
import os
import shlex
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from jaxrl_reward.files import is_full, write_atomic
from jaxrl_reward.plugins import imports
from jaxrl_reward.plugins.imports import Import
from jaxrl_reward.training import imported
from jaxrl_reward.training.devices.sharding import use_all_cores
from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.training.record.metrics import Sink, close, dashboards
from jaxrl_reward.training.record.result import NonFiniteError
from jaxrl_reward.training.record.run_folder import BusyError, RunFolder, plain, to_json
from jaxrl_reward.training.record.write_up import write_up
from jaxrl_reward.training.studies import train
from jaxrl_reward.training.sweeps.sweep_spec import RUN_KEYS, Sweep, Trial
from jaxrl_reward.types import UserError

# Exit statuses of a process: it stopped with a checkpoint; another one has the trial.
INTERRUPTED, BUSY = 130, 75
BUSY_SECONDS = 60.0  # how long the process of a sweep that was killed may take to end


class Failure(NamedTuple):
    """Why a trial has no result: what kind of failure, and one line."""

    kind: str
    error: str


# ---- the sweep's folder -----------------------------------------------------------


def write_sweep(out: Path, sweep: Sweep) -> None:
    """Writes `sweep.json`."""
    trials = [plain(trial) for trial in sweep.trials]
    known = {"name": sweep.name, "trials": trials, "dashboards": list(sweep.dashboards)}
    write_atomic(out / "sweep.json", to_json(known | imported.record()))


def read_sweep(out: Path) -> Sweep:
    """The content of `sweep.json`.

    Raises:
      UserError: there is none, or it cannot be read.
    """
    file = out / "sweep.json"
    try:
        content = json.loads(file.read_bytes())
        trials = tuple(Trial(**each) for each in content["trials"])
        return Sweep(content["name"], trials, dashboards=tuple(content.get("dashboards", ())))
    except FileNotFoundError:
        raise UserError(f"{out} holds no sweep: there is no sweep.json in it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        line = " ".join(str(error).split())
        raise UserError(f"{file} cannot be read: {line}; start in a new folder") from error


def read_imports(out: Path, checksum: str) -> Sequence[Import]:
    """What a sweep has imported, if that has this checksum.

    Raises:
      UserError: it has another one.
    """
    found = imported.of(out, json.loads((out / "sweep.json").read_bytes()))
    if imported.checksum(found) != checksum:
        raise UserError(f"{out / 'sweep.json'} has changed; start the sweep again with --resume")
    return found


def folder_of(out: Path, trial: Trial) -> Path:
    return out / "trials" / trial.folder


def is_finished(out: Path, trial: Trial) -> bool:
    """Whether the trial has its results; `summary.json` is the last file it writes."""
    return (folder_of(out, trial) / "summary.json").is_file()


def failure(out: Path, trial: Trial) -> Failure | None:
    """Why the trial failed, None if it did not."""
    try:
        return Failure(**json.loads((folder_of(out, trial) / "failure.json").read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        return Failure("error", f"failure.json cannot be read: {' '.join(str(error).split())}")


def record_failure(out: Path, trial: Trial, kind: str, error: object) -> None:
    path = folder_of(out, trial)
    path.mkdir(parents=True, exist_ok=True)
    line = " ".join(str(error).split()) or type(error).__name__
    write_atomic(path / "failure.json", to_json(Failure(kind, line)._asdict()))


def forget_failure(out: Path, trial: Trial) -> None:
    (folder_of(out, trial) / "failure.json").unlink(missing_ok=True)


# ---- running one ------------------------------------------------------------------


def run(out: Path, trial: Trial, wanted: Sequence[Import] = ()) -> None:
    """Runs a trial to its end, from its newest good checkpoint if it has one.

    Does nothing if it is finished. A failure is recorded in its folder and not
    raised.

    Args:
      out: the sweep's folder.
      trial: what to run.
      wanted: what the sweep has imported, to be imported here as it was then.

    Raises:
      KeyboardInterrupt: after writing a checkpoint.
      BusyError: another process has been running it for a minute.
    """
    path = folder_of(out, trial)
    path.mkdir(parents=True, exist_ok=True)
    with open(path / "log.txt", "a", buffering=1) as log, _logged(log):
        try:
            with _claimed(path) as folder:
                # A new run compiles its programs side by side.
                folder.resume = bool(checkpoint.steps(folder.checkpoints(trial.name)))
                if is_finished(out, trial):
                    return
                _note("started")
                imported.again(wanted, _note)
                _train(trial, folder, _dashboards(out, trial))
                _note("finished")
        except NonFiniteError as error:
            record_failure(out, trial, "non_finite", error)
        except KeyboardInterrupt:
            _note("interrupted")
            raise
        except BusyError:
            _note("busy")
            raise
        except UserError as error:
            record_failure(out, trial, "bad_input", error)
        except Exception as error:
            if is_full(error):
                return record_failure(out, trial, "full", "the disk is full; make room")
            traceback.print_exc()
            record_failure(out, trial, "error", f"{type(error).__name__}: {error}")


def _dashboards(out: Path, trial: Trial) -> list[Sink]:
    """Those that the sweep was asked for, with their files in the trial's folder."""
    if not (out / "sweep.json").exists():  # it is run by itself
        return []
    sweep, command = read_sweep(out), as_command(trial)
    return dashboards(sweep.dashboards, folder_of(out, trial), sweep.name, command=command)


def _train(trial: Trial, folder: RunFolder, sinks: Sequence[Sink]) -> None:
    try:
        result = train(trial, out=folder, sinks=sinks)
    finally:
        close(sinks)
    rows, command = result.curves, as_command(trial)
    write_up(folder.path, result.summary, rows, title=trial.name, command=command)
    folder.write_summary(result.summary)


def as_command(trial: Trial) -> str:
    """The command that trains this trial alone."""
    words = ["jaxrl-reward", "train", trial.agent, *([trial.env] if trial.env else [])]
    defaults = {each.name: each.default for each in dataclasses.fields(Trial)}
    for key in RUN_KEYS[2:]:
        if getattr(trial, key) != defaults[key]:
            words += [f"--{key.replace('_', '-')}", str(getattr(trial, key))]
    for key, value in trial.settings.items():
        flag = key.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            words += [f"--{flag}", text]
    for each in imports.loaded():
        words += ["--import", each.name]
    return shlex.join(words)


@contextlib.contextmanager
def _claimed(path: Path) -> Iterator[RunFolder]:
    """The trial's folder, also right after the process that had it was lost."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            folder = RunFolder.claim(path, resume=True)
            break
        except BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
    with folder:
        yield folder


@contextlib.contextmanager
def _logged(log: TextIO) -> Iterator[None]:
    """Evaluations, warnings and errors go to the trial's log, a line each."""

    def show(message: Any, category: Any, filename: Any, lineno: Any, *_: Any) -> None:
        del category, filename, lineno
        _note(f"warning: {message}")

    with contextlib.redirect_stderr(log), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"jaxrl_reward\.")
        warnings.showwarning = show
        yield


def _note(what: str) -> None:
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{now} {what} ({socket.gethostname()}, process {os.getpid()})", file=sys.stderr)


# ---- as a process of its own ------------------------------------------------------


def main(argv: Sequence[str]) -> int:
    """Runs the trial `NAME` of the sweep in `OUT`: the arguments, and behind them the checksum
    of what it has imported, if it has. Exit status 0, `INTERRUPTED` or `BUSY`."""
    out, name, checksum = Path(argv[0]), argv[1], "".join(argv[2:])
    _stop_with_parent()
    use_all_cores()
    (trial,) = [each for each in read_sweep(out).trials if each.name == name]
    try:
        run(out, trial, read_imports(out, checksum) if checksum else ())
    except KeyboardInterrupt:
        return INTERRUPTED
    except BusyError:
        return BUSY
    except UserError as error:
        record_failure(out, trial, "bad_input", error)
    return 0


def _stop_with_parent() -> None:
    """Stops as Ctrl-C does when standard input ends: whoever started this is gone."""

    def watch() -> None:
        # Not `sys.stdin`, whose lock this thread would hold at the exit.
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
