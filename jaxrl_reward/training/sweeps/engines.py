"""Where the trials of a sweep run: processes of this machine, or Ray.

An engine starts trials and says which of them have ended; what became of a
trial is read from its folder. It ends only what it started.
"""

import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from jaxrl_reward.plugins import imports
from jaxrl_reward.training import imported
from jaxrl_reward.training.devices.sharding import _available_cores, use_all_cores
from jaxrl_reward.training.sweeps import trial as trials
from jaxrl_reward.training.sweeps.sweep_spec import Trial
from jaxrl_reward.types import UserError

STOP_SECONDS = 60.0  # how long a trial may take to write its checkpoint on Ctrl-C
_POLL_SECONDS = 0.05


class Ended(NamedTuple):
    """A trial whose process is over, and how that went wrong, if it did."""

    name: str
    lost: str | None = None


class Engine(Protocol):
    """Runs trials beside each other.

    Attributes:
      slots: how many trials may be started at once.
    """

    slots: int

    def start(self, trial: Trial) -> None:
        """Starts a trial, or continues it."""
        ...

    def wait(self, seconds: float) -> list[Ended]:
        """Trials that have ended since, after at most that time."""
        ...

    def stop(self) -> None:
        """Lets the trials that run write a checkpoint, and ends them."""
        ...

    def close(self) -> None:
        """Ends at once whatever this engine started."""
        ...


# ---- processes of this machine ----------------------------------------------------


class Local:
    """Each trial in a process of its own, so that all its memory is returned.

    Args:
      out: the sweep's folder.
      workers: how many at once; they share the cores.
    """

    def __init__(self, out: Path, workers: int = 1):
        self.slots = workers
        self._out = out
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._command = (sys.executable, "-m", trials.__name__)
        cores = max(1, _available_cores() // workers)
        path = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
        self._environ = {"JAX_NUM_CPU_DEVICES": str(cores)} if workers > 1 else {}
        self._environ |= {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def start(self, trial: Trial) -> None:
        folder = trials.folder_of(self._out, trial)
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "log.txt", "ab") as log:
            # In a session of its own: Ctrl-C reaches it through `stop` only. Its
            # standard input ends with this process, however that ends.
            self._running[trial.name] = subprocess.Popen(
                [*self._command, str(self._out), trial.name, imported.checksum(imports.loaded())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> list[Ended]:
        until = time.monotonic() + seconds
        while True:
            over = {name: p for name, p in self._running.items() if p.poll() is not None}
            if over or time.monotonic() > until:
                break
            time.sleep(_POLL_SECONDS)
        for name, process in over.items():
            del self._running[name]
            _release(process)
        return [Ended(name, _lost(process.returncode)) for name, process in over.items()]

    def stop(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
        until = time.monotonic() + STOP_SECONDS
        while self._running and time.monotonic() < until:
            self.wait(0.5)
        self.close()

    def close(self) -> None:
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
            _release(process)
        self._running.clear()


def _release(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _lost(status: int) -> str | None:
    if status == 0:
        return None
    if status == trials.BUSY:
        return "another process is running it"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


# ---- Ray --------------------------------------------------------------------------


class OnRay:
    """Each trial as a Ray task, in a worker process of its own.

    Args:
      out: the sweep's folder, which every machine must see under this path.
      address: of a running cluster, or `auto`; None starts one on the loopback
        of this machine, and stops it in the end.
      workers: how many at once on a cluster that is started here.
      cpus: of one trial; by default this machine's, divided among the workers,
        or 1 on a cluster that was joined.
      gpus: of one trial, which may be a fraction.

    Raises:
      UserError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(
        self,
        out: Path,
        address: str | None = None,
        workers: int = 1,
        cpus: int | None = None,
        gpus: float = 0.0,
    ):
        self.slots = 1_000_000  # Ray itself queues what does not fit
        self._out = out.absolute()
        self._running: dict[Any, str] = {}
        self._folder: Path | None = None
        if cpus is None:
            cpus = 1 if address else max(1, _available_cores() // workers)
        self._ray = _import_ray(loopback=address is None)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if address is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ray-"))
            options |= {
                "num_cpus": cpus * workers,
                "include_dashboard": False,
                "object_store_memory": 80 * 2**20,  # the least: trials return nothing
                "_temp_dir": str(self._folder),
                # Ray's workers are nice by default, and starve beside other programs.
                "_system_config": {"enable_metrics_collection": False, "worker_niceness": 0},
            }
        try:
            with _own_signals(), warnings.catch_warnings():
                # JAX warns of any fork; Ray's are followed by exec.
                warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
                self._ray.init(address=address or "local", **options)
        except Exception as error:
            self.close()
            line = " ".join(str(error).split())
            what = f"there is no Ray cluster at {address}" if address else "Ray does not start"
            raise UserError(f"{what}: {line}") from error
        # After `max_calls` tasks the worker process ends, and its memory with it.
        task = self._ray.remote(max_calls=1, max_retries=0, num_cpus=cpus, num_gpus=gpus or None)
        self._task = task(_run_task)
        self._cpus = cpus

    def start(self, trial: Trial) -> None:
        reference = self._task.options(name=trial.name).remote(
            str(self._out), trial, self._cpus, imports.loaded()
        )
        self._running[reference] = trial.name

    def wait(self, seconds: float) -> list[Ended]:
        if not self._running:
            return []
        waiting = list(self._running)
        over, _ = self._ray.wait(waiting, num_returns=1, timeout=seconds)
        if over:  # and all others that have ended by now
            over, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [Ended(self._running.pop(each), self._problem(each)) for each in over]

    def _problem(self, reference: Any) -> str | None:
        errors = self._ray.exceptions
        try:
            self._ray.get(reference)
        except errors.WorkerCrashedError:
            return "its worker process was lost"
        except errors.OutOfMemoryError:
            return "its machine's memory was full"
        except errors.TaskCancelledError:
            return "it was cancelled"
        except errors.RayError as error:  # its machine was lost, or what it was told
            cause = getattr(error, "cause", None) or error
            return f"{type(cause).__name__}: {' '.join(str(cause).split())}"
        return None

    def stop(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference)  # a KeyboardInterrupt, where it is running
        until = time.monotonic() + STOP_SECONDS
        while self._running and time.monotonic() < until:
            self.wait(0.5)
        self.close()

    def close(self) -> None:
        # Leaves a cluster that was joined, and ends one that was started here.
        self._ray.shutdown()
        self._running.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _run_task(out: str, trial: Trial, cpus: int, wanted: tuple[imports.Import, ...]) -> None:
    use_all_cores(cpus)
    trials.run(Path(out), trial, wanted)


def _import_ray(loopback: bool) -> Any:
    """Ray without usage reports; what it starts listens on the loopback only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if loopback:  # read by what is started, and as Ray is imported
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise UserError(
            "the engine ray needs an extra: pip install 'jaxrl-reward[cluster]'"
        ) from None
    if loopback:  # the program may have imported it before
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    # A paragraph on standard output for each worker that is lost; `wait` says it in a line.
    ray._private.worker.print_to_stdstream = lambda *_, **__: None
    return ray


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM and SIGINT over as it starts; this process keeps its own."""
    kept = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            with contextlib.suppress(ValueError, TypeError):  # not the main thread
                signal.signal(number, handler)
