"""A full disk: said in a line, what was saved is kept, and `--resume` goes on."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxrl_reward import cli, files
from jaxrl_reward.cli import runs
from jaxrl_reward.cli.commands import train
from jaxrl_reward.training.record import checkpoint

# A file may be no larger than this: the system refuses to write on, as on a full disk.
LIMITED = """
import json, resource, signal, sys
import jax.numpy as jnp
from jaxrl_reward import files
from jaxrl_reward.training.record import checkpoint

checkpoint.save("saved", 4, {"a": jnp.ones(3)}, {})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    checkpoint.save("saved", 8, {"a": jnp.arange(90_000) * 1.7}, {})
except Exception as error:
    print(json.dumps(files.is_full(error)))
"""


def test_the_checkpoint_before_is_kept_and_nothing_else_is_said(tmp_path):
    root = str(Path(cli.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", LIMITED]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) is True
    assert os.listdir(tmp_path / "saved") == ["4"]
    found = checkpoint.restore(tmp_path / "saved", jax.eval_shape(lambda: {"a": jnp.ones(3)}))
    assert found is not None and found.step == 4


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (ValueError("RESOURCE_EXHAUSTED: ... [os_error_code='28']"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("PERMISSION_DENIED: ... [os_error_code='13']"), False),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 5 bytes"), False),
    ],
)
def test_what_is_full_is_told_apart(error, full, tmp_path, monkeypatch, capsys):
    assert files.is_full(error) is full

    def fails(args):
        with runs.Resumable(tmp_path / "a run"):
            raise error

    monkeypatch.setattr(train, "run", fails)
    if not full and type(error) is ValueError:
        return
    status = cli.main(["train", "ppo", "gymnax:CartPole-v1"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    line = "the disk is full: make room, and the same command with"
    assert (f"{line} --out '{tmp_path}/a run' --resume goes on" in said) is full
    assert ("device's memory" in said) is (type(error) is RuntimeError)
    assert (status == 3) is full
