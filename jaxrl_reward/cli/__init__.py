"""The `jaxrl-reward` command.

Every mistake of the user is one line on standard error and exit status 2. JAX
is loaded by the commands that need it, so that help and typing errors are quick.
"""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from jaxrl_reward.cli import cache, own
from jaxrl_reward.cli.arguments import parse
from jaxrl_reward.cli.console import say
from jaxrl_reward.cli.parser import UsageError
from jaxrl_reward.errors import UserError
from jaxrl_reward.files import is_full
from jaxrl_reward.plugins import imports

OK, CRASHED, BAD_INPUT, STOPPED, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    0: it ran to the end. 1: so did a sweep, but some of its trials failed.
    2: bad input. 3: stopped by a non-finite value, a full disk or the loss of another
    process of its job; the last checkpoint is good. 130: interrupted, with a checkpoint.
    """
    if argv is None:
        _one_lapack_thread()
        cache.use(sys.argv[1:])
    try:
        with _one_line_warnings():
            args = parse(sys.argv[1:] if argv is None else list(argv))
            status = args.run(args) or OK
            sys.stdout.flush()
    except UsageError as error:
        return fail(error, BAD_INPUT)
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except KeyboardInterrupt as interrupt:
        say(str(interrupt) or "interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if is_full(error):
            return _full(error)
        what = error.filename or "a file"
        return fail(
            f"{what} cannot be read or written ({error.strerror or error}); choose another path",
            BAD_INPUT,
        )
    except Exception as error:
        return _failed(error)
    return status


def _one_lapack_thread() -> None:
    """Has the BLAS of SciPy, where XLA finds LAPACK, start no threads beside XLA's.

    They fight for the cores as networks are initialised. Of SAC with 16 seeds on Python 3.12
    that took 24 s with them and 0.8 s without, once each, on two busy cores.
    It is read when SciPy's is loaded, which nothing before the first command does.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _failed(error: Exception) -> int:
    if isinstance(error, UserError):
        return fail(error, BAD_INPUT)
    if "jaxrl_reward.training.record.result" in sys.modules:
        from jaxrl_reward.training.record.result import NonFiniteError

        if isinstance(error, NonFiniteError):
            return fail(error, STOPPED)
    if is_full(error):
        return _full(error)
    if "jaxrl_reward.training.devices.processes" in sys.modules:
        from jaxrl_reward.training.devices import lost, processes

        if processes.is_loss(error):
            lost.explain()
    if where := imports.place(error):
        # The error's place in the user's own file is what they need of the traceback.
        line = " ".join(str(error).strip().partition("\n")[0].split())
        return fail(f"{where}: {type(error).__name__}: {line}", CRASHED)
    if "RESOURCE_EXHAUSTED" in str(error):
        less = "use fewer --seeds or --num-envs, or a smaller --buffer-size"
        return fail(f"the device's memory is full; {less}", CRASHED)
    raise error


def _full(error: Exception) -> int:
    """Says what is full; notes are of those who know how to go on."""
    place = f" of {error.filename}" if isinstance(error, OSError) and error.filename else ""
    goes_on = "; ".join(getattr(error, "__notes__", ["choose another path, or make room"]))
    return fail(f"the disk{place} is full: {goes_on}", STOPPED)


def fail(error: Any, status: int) -> int:
    line = " ".join(str(error).splitlines())
    say(f"error: {line}{own.hint(line)}")
    return status


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """This package's warnings as lines; other packages' are for their authors."""

    def show(message: Any, category: Any, filename: Any, lineno: Any, *_: Any) -> None:
        del category, filename, lineno
        say(f"warning: {message}")

    if sys.warnoptions:  # the user wants to see more
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"jaxrl_reward\.")
        warnings.showwarning = show
        yield
