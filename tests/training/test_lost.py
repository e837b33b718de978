"""The loss of a process of a job: the others end at once and name it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxrl_reward.training.devices import lost

# Without JAX: the module is about sockets and processes.
CHILD = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("lost", sys.argv[1])
lost = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lost)

class Store:
    def key_value_set(self, key, value):
        with open("store.partial", "w") as file:
            file.write(value)
        os.replace("store.partial", "store")
    def blocking_key_value_get(self, key, timeout):
        while not os.path.exists("store"):
            time.sleep(0.01)
        return open("store").read()

count, index = int(sys.argv[2]), int(sys.argv[3])
lost.watch("127.0.0.1", count, index, Store())
while len(lost._watched) < (count - 1 if index == 0 else 1):
    time.sleep(0.01)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def job(tmp_path):
    """Three processes that are connected."""
    command = [sys.executable, "-c", CHILD, str(Path(lost.__file__).resolve()), "3"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    started = [
        subprocess.Popen([*command, str(i)], cwd=tmp_path, text=True, **pipes) for i in range(3)
    ]
    try:
        for each in started:
            assert each.stdout is not None and each.stdout.readline() == "ready\n"
        yield started
    finally:
        for each in started:
            each.kill()
            each.communicate()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_the_others_end_and_name_it(job, victim):
    began = time.monotonic()
    os.kill(job[victim].pid, signal.SIGKILL)
    for i, process in enumerate(job):
        status = process.wait(timeout=15)  # its standard input stays open
        if i != victim:
            said = process.stderr.read()
            assert status == lost.STATUS == 3
            line = f"process {victim} of 3 (from 0) was lost; start all of them again with --resume"
            assert said == f"jaxrl-reward: error: {line}\n"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_one_that_is_done_is_no_loss(job, order):
    for i in order:
        assert job[i].communicate(timeout=15) == ("", "")
        assert job[i].returncode == 0


def test_who_is_not_of_the_job_is_no_loss(job, tmp_path):
    port = int((tmp_path / "store").read_text().split()[0])
    with contextlib.suppress(OSError):  # it may listen no more
        connection = socket.create_connection(("127.0.0.1", port), timeout=1)
        connection.sendall(b"hello 1\n")
        connection.close()
    for process in job:
        assert process.communicate(timeout=15) == ("", "")
