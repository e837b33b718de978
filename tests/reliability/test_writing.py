"""The experiments on writing are runs: killed in the middle they go on to the bit, and what they
leave can be evaluated and drawn."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import killed_runs

NAMES = ("boundary", "calibration", "entropy", "group_normalisation", "length", "proxy")
NAMES += ("chosen", "cycles", "direct_alignment", "cotrained")


def reproduce(name: str, out: str, killed: bool = False) -> None:
    """What a process does: the smallest preset, continued if there is something to continue."""
    from jaxrl_reward import cli
    from jaxrl_reward.training.loop import Training

    settle = Training.settle

    def dies(self):
        settle(self)
        if self.iteration == 1:  # where there is no evaluation, and no checkpoint of its own
            self.save()
            os.kill(os.getpid(), signal.SIGKILL)

    if killed:
        Training.settle = dies
    again = ["--resume"] * (Path(out) / "config.json").exists()
    raise SystemExit(
        cli.main(["reproduce", name, "--preset", "smoke", "--no-progress", "--out", out, *again])
    )


def use(out: str) -> None:
    """What a process does: plays and draws what is in the folder."""
    from jaxrl_reward import cli, training

    arm = next(iter(training.load_config(out)["arms"]))
    cli.main(["evaluate", out, "--episodes", "2"])
    raise SystemExit(cli.main(["render", out, "--arm", arm, "--out", f"{out}/episode.gif"]))


def run(context, target, *args) -> int:
    process = context.Process(target=target, args=args)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_killed_in_the_middle_goes_on_to_the_bit(name, tmp_path):
    context = killed_runs.processes(tmp_path / "cache")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run(context, reproduce, name, str(whole)) == 0
    assert run(context, reproduce, name, str(cut), True) == -signal.SIGKILL
    assert not (cut / "summary.json").exists() and any(cut.glob("checkpoints/*/*/manifest.json"))
    assert run(context, reproduce, name, str(cut)) == 0
    rows = [(out / "metrics.parquet").read_bytes() for out in (whole, cut)]
    assert rows[0] == rows[1]
    found = [json.loads((out / "summary.json").read_bytes()) for out in (whole, cut)]
    assert found[0]["arms"] == found[1]["arms"] and found[0]["verdicts"] == found[1]["verdicts"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_what_an_experiment_leaves_can_be_evaluated_and_drawn(name, tmp_path):
    context, out = killed_runs.processes(tmp_path / "cache"), tmp_path / "run"
    assert run(context, reproduce, name, str(out)) == 0
    assert run(context, use, str(out)) == 0
    assert (out / "episode.gif").stat().st_size > 1000
