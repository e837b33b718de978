"""Notices at once that a process of a job was lost, and ends the others with one line.

JAX would notice after a minute and a half, and abort. Here each process holds a
connection to the first one, which the operating system closes when either ends, however
it ends; one that is done says so before.
"""

import atexit
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

STATUS = 3
_KEY = "jaxrl_reward/lost"  # in the job's store: where the first process listens
_DONE, _LOST = b"done", b"lost"
_SECONDS = 10.0  # how long connecting may take, and how long an error waits to be explained

_ABORT_SECONDS = 3.0
_kept: list[Any] = []  # what the system calls: it must not be collected
_watched: list[socket.socket] = []  # the connections of this process
_ending = threading.Lock()


def watch(host: str, count: int, index: int, store: Any) -> None:
    """Connects the processes of a job; where that is not possible, JAX alone watches.

    Args:
      host: of the first process.
      count: how many there are.
      index: which one this is.
      store: what all of them can read and write, JAX's own client.
    """
    with contextlib.suppress(Exception):
        _catch_abort()
        listen(host, count, store) if index == 0 else _connect(host, index, count, store)
        atexit.register(_leave)  # after JAX's own, and so before it


def listen(host: str, count: int, store: Any) -> None:
    """As the first process: accepts the others, and tells them which one was lost."""
    token = secrets.token_hex(16)
    server = socket.create_server((host, 0))
    store.key_value_set(_KEY, f"{server.getsockname()[1]} {token}")

    def accept() -> None:
        while len(_watched) < count - 1:
            connection, _ = server.accept()
            threading.Thread(target=follow, args=(connection,), daemon=True).start()
        server.close()

    def follow(connection: socket.socket) -> None:
        lines = _lines(connection)
        said, _, index = next(lines, b"").partition(b" ")
        if said != token.encode() or not index.isdigit():
            return connection.close()
        _watched.append(connection)
        if _DONE not in lines:
            end(int(index), count, tell=_watched)

    threading.Thread(target=accept, daemon=True).start()


def _connect(host: str, index: int, count: int, store: Any) -> None:
    port, token = store.blocking_key_value_get(_KEY, int(1000 * _SECONDS)).split()
    connection = socket.create_connection((host, int(port)), timeout=_SECONDS)
    connection.settimeout(None)
    connection.sendall(f"{token} {index}\n".encode())
    _watched.append(connection)

    def follow() -> None:
        for line in _lines(connection):
            if line == _DONE:
                return
            if line.startswith(_LOST):
                end(int(line.split()[1]), count)
        end(0, count)

    threading.Thread(target=follow, daemon=True).start()


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """What the other end says, until it is closed."""
    kept = b""
    while True:
        try:
            found = connection.recv(1024)
        except OSError:
            return
        if not found:
            return
        *lines, kept = (kept + found).split(b"\n")
        yield from lines


def _leave() -> None:
    """Tells the others that this process is done, and no loss."""
    for connection in _watched:
        with contextlib.suppress(OSError):
            connection.sendall(_DONE + b"\n")


def end(index: int | None, count: int, tell: Sequence[socket.socket] = ()) -> NoReturn:
    """Ends this process: its devices may wait for the lost one forever."""
    # Of several threads the first one speaks: those told end too, and must not be taken for it.
    _ending.acquire()
    for other in tell:
        with contextlib.suppress(OSError):
            other.sendall(b"%s %d\n" % (_LOST, index))
    which = "another process" if index is None else f"process {index} of {count} (from 0)"
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h")  # the cursor, which a progress bar hides
    print(
        f"jaxrl-reward: error: {which} was lost; start all of them again with --resume",
        file=sys.stderr,
        flush=True,
    )
    os._exit(STATUS)


def _catch_abort() -> None:
    """JAX aborts where it does not reach the first process: that is a loss, and said in a line.

    What libraries write meanwhile to standard error is kept, for an abort of another cause.
    """
    own = os.fdopen(os.dup(2), "w", buffering=1)
    said = tempfile.TemporaryFile()  # noqa: SIM115  as long as the process

    def aborted(_: int) -> None:
        time.sleep(_ABORT_SECONDS)  # meanwhile `end` ends this process
        said.seek(0)
        own.write(said.read().decode(errors="replace"))
        own.flush()
        ctypes.CDLL(None).signal(int(signal.SIGABRT), None)
        os.abort()

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(aborted)
    _kept.append(handler)
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)
    if sys.stderr is not None and sys.stderr.fileno() == 2:
        sys.stderr = own
        os.dup2(said.fileno(), 2)


def explain() -> NoReturn:
    """For an error of a job that the loss of a process explains: says which, if that is known."""
    time.sleep(_SECONDS if _watched else 0.0)  # meanwhile `end` ends this process
    end(None, 0)
