"""One tiny trained run that the tests of the commands share."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from jaxrl_reward import cli

# 10 iterations of 16 steps, 2 seeds, evaluated after 0, 5 and 10.
TINY = (
    *("train", "ppo", "gymnax:CartPole-v1", "--seeds", "2", "--total-steps", "160"),
    *("--evals", "2", "--eval-episodes", "2", "--num-envs", "2", "--num-steps", "8"),
    *("--epochs", "1", "--minibatches", "1", "--hidden", "4"),
)


class Outcome(NamedTuple):
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="package", autouse=True)
def same_devices() -> Iterator[None]:
    """The command keeps the devices that the tests have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_NUM_CPU_DEVICES", "2")
        yield


@pytest.fixture
def run(capsys, monkeypatch, tmp_path) -> Callable[..., Outcome]:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> Outcome:
        capsys.readouterr()
        status = cli.main([str(word) for word in argv])
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture
def tiny() -> tuple[str, ...]:
    """The command line of the shared run, without its `--out`."""
    return TINY


@pytest.fixture(scope="package")
def trained(tmp_path_factory) -> Path:
    """The folder of a finished run. Not to be changed: see `copied`."""
    folder = tmp_path_factory.mktemp("shared") / "run"
    assert cli.main([*TINY, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copied(trained, tmp_path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))
