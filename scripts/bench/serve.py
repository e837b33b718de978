"""One competitor as a process: it compiles, then runs a repeat whenever it is asked to.

The parent lets competitors take turns, so that whatever else the machine does
falls on all of them. Needs the standard library only: peers live in another
environment.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


class Channel:
    """Lines of JSON on the first standard output; what libraries print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def send(self, **message: Any) -> None:
        print(json.dumps(message), file=self._out, flush=True)

    def wait(self) -> str:
        """The next request: `repeat`, `score` or nothing at all."""
        return sys.stdin.readline().strip()


def serve(
    prepare: Callable[[dict[str, Any]], tuple[float, Callable[[], int], Callable[[], list[float]]]],
) -> None:
    """Serves `prepare(task) -> (compile_seconds, repeat, score)`.

    `repeat` runs the work once and gives its environment steps; `score` gives
    the greedy return of each seed so far.
    """
    channel = Channel()
    compile_seconds, repeat, score = prepare(json.loads(sys.argv[1]))
    channel.send(compile_seconds=compile_seconds)
    while request := channel.wait():
        if request == "score":
            channel.send(returns=score())
        else:
            started, spent = time.perf_counter(), time.process_time()
            steps = repeat()
            seconds, cpu = time.perf_counter() - started, time.process_time() - spent
            channel.send(steps=steps, seconds=seconds, cpu_seconds=cpu)
