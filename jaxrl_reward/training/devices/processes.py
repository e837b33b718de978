"""Several processes that run one job together, on one host or on many.

Each runs the same program on its own part of the arrays. They must make the
same calls in the same order, so whatever a process decides by its own clock or
keyboard has to be agreed upon first.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src import distributed

from jaxrl_reward.training.devices import lost
from jaxrl_reward.types import UserError

T = TypeVar("T")
_ADDRESS, _COUNT, _INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"


def join() -> None:
    """Joins the processes that the environment names; does nothing where it names none.

    `JAX_COORDINATOR_ADDRESS` is `host:port` of process 0, `JAX_NUM_PROCESSES`
    how many there are and `JAX_PROCESS_ID` which one this is, from 0. The last
    two may be left out under a launcher that JAX recognises, such as Slurm's.
    Call it before JAX computes anything. It waits for the others.

    From then on, if one of them is lost the others end too, with a line that names it and
    the exit status 3.

    Raises:
      UserError: one of the variables cannot be what it says.
    """
    address = os.environ.get(_ADDRESS)
    if not address or jax.distributed.is_initialized():
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"{_ADDRESS} must be host:port, such as 10.0.0.1:1234, not {address!r}")
    count, index = (_whole(name) for name in (_COUNT, _INDEX))
    if count is not None and index is not None and not 0 <= index < count:
        raise UserError(f"{_INDEX} must be between 0 and {count - 1}, not {index}")
    # It would catch SIGTERM, and wait for a save that nothing here asks for.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX would listen on every address of the host.
    local = host in ("127.0.0.1", "localhost")
    try:
        jax.distributed.initialize(
            address, count, index, coordinator_bind_address=address if local else None
        )
    except ValueError as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{line} Set {_COUNT} and {_INDEX} beside {_ADDRESS}") from None
    state = distributed.global_state
    lost.watch(host.strip("[]"), state.num_processes or 1, state.process_id, state.client)


def is_loss(error: BaseException) -> bool:
    """Whether the error of one process is that it cannot reach another one."""
    text = f"{type(error).__name__} {error}"
    words = ("Gloo", "NCCL", "coordination service", "CoordinationService", "heartbeat")
    return several() and any(word in text for word in words)


def _whole(name: str) -> int | None:
    text = os.environ.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise UserError(f"{name} must be a whole number, not {text!r}")
    return int(text)


def several() -> bool:
    """Whether this is one of several processes."""
    return jax.process_count() > 1


def is_first() -> bool:
    """Whether this process writes the files and talks to the user."""
    return jax.process_index() == 0


def agree(values: Any) -> np.ndarray:
    """The largest of each whole number over all processes, which must all call this."""
    values = np.asarray(values, np.int32)
    if not several():
        return values
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(values).max(axis=0)


def first_does(act: Callable[[], T]) -> T | None:
    """Runs it in the first process only; what that one refuses, all of them refuse."""
    result = problem = None
    if is_first():
        try:
            result = act()
        except UserError as error:
            problem = error
    if agree(problem is not None):
        raise problem or UserError("the first process has stopped; its last line says why")
    return result


def wait(name: str) -> None:
    """Until all processes are here; `name` says where."""
    if several():
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def to_host(array: jax.Array) -> np.ndarray:
    """All of an array, also where other processes hold parts of it."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.array(array)
    from jax.experimental import multihost_utils

    return np.array(multihost_utils.process_allgather(array, tiled=True))
