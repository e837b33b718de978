"""Programs are compiled once for a user, not once for a command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxrl_reward.cli import cache

ROOT = Path(cache.__file__).parents[2]
TRAIN = "train ppo probe:constant --total-steps 256 --num-envs 2 --num-steps 8 --evals 1"


def command(*words: str, **environment: str) -> subprocess.CompletedProcess:
    """A command of the shell, whose environment says nothing of a cache but `environment`."""
    given = {
        name: value
        for name, value in os.environ.items()
        if "CACHE" not in name and name != "TF_CPP_MIN_LOG_LEVEL"
    }
    given |= {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", "jaxrl_reward", *words],
        env=given,
        capture_output=True,
        text=True,
        timeout=100,
    )


def kept(home: Path) -> set[str]:
    return {path.name for path in home.glob("jaxrl-reward/programs-*/*-cache")}


def test_a_second_command_compiles_nothing_and_gives_the_same_to_the_bit(tmp_path):
    homes = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    words = [*TRAIN.split(), "--no-progress", "--out"]
    first = command(*words, str(tmp_path / "a"), **homes)
    programs = kept(tmp_path / "cache")
    second = command(*words, str(tmp_path / "b"), **homes)
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert len(programs) >= 3
    assert kept(tmp_path / "cache") == programs
    assert second.stderr == first.stderr  # what is loaded is not announced
    for path in (tmp_path / "cache").glob("jaxrl-reward/programs-*/*-cache"):
        path.write_bytes(path.read_bytes()[:100])  # as a kill in the middle leaves it
    third = command(*words, str(tmp_path / "c"), **homes)
    assert third.returncode == 0, third.stderr
    rows = [(tmp_path / name / "metrics.parquet").read_bytes() for name in "abc"]
    assert rows[0] == rows[1] == rows[2]


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """That of the process, as it would be of a user's, and put back."""
    for name in [each for each in os.environ if "CACHE" in each]:
        monkeypatch.delenv(name)
    found = dict(os.environ) | {"XDG_CACHE_HOME": str(tmp_path)}
    monkeypatch.setattr(os, "environ", found)
    return found


def test_it_is_on_by_default_and_off_by_a_flag(environment, tmp_path):
    cache.use(["train", "--no-cache"])
    assert environment["JAX_ENABLE_COMPILATION_CACHE"] == "false"
    assert list(tmp_path.iterdir()) == []
    cache.use(["train"])
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(cache.folder())
    assert cache.folder().parent == tmp_path / "jaxrl-reward"
    assert cache.folder().is_dir()


def test_a_folder_of_the_users_own_is_left_alone(environment, tmp_path):
    environment["JAX_COMPILATION_CACHE_DIR"] = "mine"
    before = dict(environment)
    cache.use(["train"])
    assert environment == before
    assert list(tmp_path.iterdir()) == []


def test_without_room_for_it_nothing_is_kept_and_nothing_is_said(environment, tmp_path):
    (tmp_path / "file").touch()
    environment["XDG_CACHE_HOME"] = str(tmp_path / "file")
    before = dict(environment)
    cache.use(["train"])
    assert environment == before


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    for i, name in enumerate(("old", "used", "new")):
        (tmp_path / f"{name}-cache").write_bytes(b"x" * 10)
        os.utime(tmp_path / f"{name}-cache", (100 + i, 100 + i))
    os.utime(tmp_path / "used-cache", (200, 100))  # read later than it was written
    (tmp_path / "other").write_bytes(b"x" * 100)
    cache.tidy(tmp_path, 30)
    assert len(list(tmp_path.iterdir())) == 4
    cache.tidy(tmp_path, 29)
    assert {path.name for path in tmp_path.iterdir()} == {"used-cache", "new-cache", "other"}
    cache.tidy(tmp_path, 10)
    assert {path.name for path in tmp_path.iterdir()} == {"used-cache", "other"}
