"""Memory does not grow with the length of a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import jaxrl_reward

SHORT, TIMES = 5_000_000, 10
SEEDS = 2
# A block as large and a network as small as make 50 million steps a matter of minutes;
# evaluations, log points and checkpoints are the usual ones.
COMMAND = (
    *("train", "ppo", "gymnax:CartPole-v1", "--seeds", str(SEEDS), "--num-envs", "64"),
    *("--num-steps", "128", "--epochs", "1", "--minibatches", "2", "--hidden", "16"),
    "--no-progress",
)


def peak(steps: int, out: Path, environ: dict[str, str]) -> int:
    """The most memory that a run of so many steps, of all seeds, has had; in KiB on Linux."""
    words = [*COMMAND, "--total-steps", str(steps // SEEDS), "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "jaxrl_reward", *words], env=environ)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_times_the_steps_take_the_same_memory(tmp_path):
    # Compiled once, before: the compiler's own peak differs by more from run to run.
    environ = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(Path(jaxrl_reward.__file__).parents[1]),
    }
    peak(SHORT // 100, tmp_path / "compile", environ)
    short = peak(SHORT, tmp_path / "short", environ)
    long = peak(SHORT * TIMES, tmp_path / "long", environ)
    print(f"peak of {SHORT:,} steps {short:,} KiB, of {SHORT * TIMES:,} {long:,}: {long / short}")
    assert long <= 1.05 * short
