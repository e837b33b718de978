"""A sweep of 24 trials on Ray, in which a worker is killed twice."""

import importlib.util
import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from jaxrl_reward.training.record import checkpoint, run_folder
from jaxrl_reward.training.sweeps import engines
from jaxrl_reward.training.sweeps import sweep as sweeps
from jaxrl_reward.training.sweeps import trial as trials
from jaxrl_reward.training.sweeps.sweep_spec import Sweep, Trial

SETTINGS = {"num_envs": 4, "num_steps": 16, "epochs": 1, "minibatches": 1, "hidden": [8]}
TRIALS, KILLS = 24, 2


def events(out: Path, trial: Trial, word: str) -> list[int]:
    """The processes that a trial's log says have `started` or `finished` it."""
    log = trials.folder_of(out, trial) / "log.txt"
    text = log.read_text() if log.exists() else ""
    return [int(each) for each in re.findall(rf" {word} \(.*, process (\d+)\)", text)]


def kill_one(out: Path, sweep: Sweep, spared: set[str]) -> str:
    """Kills the worker of a trial that has a checkpoint beyond its start; its name."""
    while True:
        for trial in sweep.trials:
            saved = run_folder.checkpoints_of(trials.folder_of(out, trial), trial.name)
            begun = any(step > 0 for step in checkpoint.steps(saved))
            if begun and trial.name not in spared and not trials.is_finished(out, trial):
                os.kill(events(out, trial, "started")[-1], signal.SIGKILL)
                return trial.name
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
@pytest.mark.timeout(3600)
def test_a_worker_is_killed_twice_and_every_trial_is_done_once(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    out, options = tmp_path / "out", {"total_steps": 64 * 400, "evals": 8, "eval_episodes": 2}
    sweep = Sweep(
        "many",
        tuple(
            Trial(
                f"{i}",
                folder=f"{i}",
                env="gymnax:CartPole-v1",
                seed=i,
                settings=SETTINGS,
                **options,
            )
            for i in range(TRIALS)
        ),
    )
    killed: set[str] = set()

    def kill() -> None:
        for _ in range(KILLS):
            killed.add(kill_one(out, sweep, killed))

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = sweeps.run(sweep, lambda path: engines.OnRay(path, workers=2), out=out)
    killer.join()
    assert outcome.failures == {} and len(outcome.summary["arms"]) == TRIALS
    starts = {each.name: len(events(out, each, "started")) for each in sweep.trials}
    ends = {each.name: len(events(out, each, "finished")) for each in sweep.trials}
    print(f"{TRIALS} results; killed: {killed}; starts: {sum(starts.values())}")
    assert set(ends.values()) == {1}  # none was run twice to its end
    assert len(killed) == KILLS
    assert {name for name, count in starts.items() if count > 1} == killed
    for name in killed:
        log = (out / "trials" / name / "log.txt").read_text()
        assert f"{name}: resumed at step " in log
    summary = json.loads((out / "summary.json").read_bytes())
    assert all(len(arm["per_seed"]) == 1 for arm in summary["arms"].values())
