"""The command `sweep` as a user runs it."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxrl_reward.training.sweeps import engines, trial
from jaxrl_reward.training.sweeps.engines import Ended

# The trials of `conftest.TINY`, so that nothing is compiled for them.
SPEC = """
env = "gymnax:CartPole-v1"
total_steps = 160
seeds = 2
evals = 2
eval_episodes = 2
num_envs = 2
num_steps = 8
epochs = 1
minibatches = 1
hidden = [4]

[grid]
learning_rate = { slow = 1e-3, fast = 3e-3 }
"""


class Here:
    """In place of processes: a trial runs as it is started."""

    def __init__(self, out, workers):
        self.out, self.slots, self._over = out, workers, []

    def start(self, each):
        trial.run(self.out, each)
        self._over.append(Ended(each.name))

    def wait(self, seconds):
        over, self._over = self._over, []
        return over

    def stop(self): ...

    def close(self): ...


@pytest.fixture
def spec(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "Local", Here)
    (tmp_path / "mine.toml").write_text(SPEC)
    return "mine.toml"


def test_trials_are_shown_on_dashboards(run, spec, monkeypatch):
    runs, written = [], []

    class Run:
        def __init__(self, **options):
            self.options, self.rows, self.over = options, [], False
            runs.append(self)

        def define_metric(self, *_, **__): ...

        def log(self, row):
            self.rows.append(row["step"])

        def finish(self):
            self.over = True

    class Writer:
        def __init__(self, where, **_):
            self.where = where

        def add_scalar(self, name, value, step):
            written.append((self.where, name, step))

        def flush(self): ...

        def close(self): ...

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **each: Run(**each)))
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    outcome = run("sweep", spec, "--out", "out", "--wandb", "--tensorboard", "--no-progress")
    assert (outcome.status, outcome.err) == (0, "")
    names = ["learning_rate=slow", "learning_rate=fast"]
    assert [each.options["name"] for each in runs] == names
    assert [each.options["group"] for each in runs] == ["mine", "mine"]
    configs = [each.options["config"] for each in runs]
    assert [each["learning_rate"] for each in configs] == [1e-3, 3e-3]
    assert configs[0]["hidden"] == [4] and configs[0]["env"] == "gymnax:CartPole-v1"
    assert configs[0]["command"].startswith("jaxrl-reward train ppo")
    assert all(each.over and {0, 80, 160} <= set(each.rows) for each in runs)
    folders = {f"out/trials/{name}/tensorboard/{name}" for name in names}
    assert {where for where, name, step in written if (name, step) == ("return", 160)} == folders
    monkeypatch.setitem(sys.modules, "wandb", None)
    outcome = run("sweep", spec, "--out", "other", "--wandb")
    assert outcome.status == 2 and "pip install 'jaxrl-reward[wandb]'" in outcome.err
    assert not Path("other").exists()


def test_a_sweep_ends_in_a_table_and_a_folder(run, spec):
    outcome = run("sweep", spec, "--out", "out")
    assert outcome.status == 0, outcome.err
    assert "learning_rate=slow" in outcome.out and "learning_rate=fast" in outcome.out
    assert outcome.out.splitlines()[-1].startswith("results: out ")
    lines = outcome.err.splitlines()
    assert [line.split()[0] for line in lines] == ["1/2", "2/2"] and "IQM return" in lines[0]
    summary = json.loads(Path("out/summary.json").read_text())
    assert list(summary["arms"]) == ["learning_rate=slow", "learning_rate=fast"]
    assert "jaxrl-reward sweep mine.toml" in Path("out/report.md").read_text()
    alone = Path("out/trials/learning_rate=fast/report.md").read_text()
    assert "jaxrl-reward train ppo gymnax:CartPole-v1 --seeds 2 --total-steps 160" in alone
    assert run("plot", "out", "--out", "a.png").status == 0

    again = run("sweep", spec, "--out", "out")
    assert again.status == 2
    assert again.err.startswith("jaxrl-reward: error: out holds another")
    again = run("sweep", spec, "--out", "out", "--resume")
    assert again.status == 0
    assert again.err == "2 of 2 trials are finished already\n"


def test_failed_trials_are_told_in_a_line_and_the_status(run, spec):
    Path(spec).write_text(SPEC.replace("3e-3", "1e30"))
    outcome = run("sweep", spec, "--out", "out", "--no-progress")
    assert outcome.status == 1
    first, last = outcome.err.splitlines()
    assert first.startswith("learning_rate=fast: failed: ") and "is not finite" in first
    assert last.startswith("jaxrl-reward: error: 1 of 2 trials failed, such as 'learning_rate=fa")
    assert last.endswith("; --resume tries them again")


def test_a_dry_run_prints_the_trials_and_runs_nothing(run, spec):
    outcome = run("sweep", spec, "--dry-run")
    assert outcome.status == 0 and outcome.err == ""
    assert "learning_rate=slow" in outcome.out and "0.003" in outcome.out
    assert outcome.out.splitlines()[-1] == "2 trials, 640 environment steps"
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--engine", "rey"], "unknown --engine 'rey'; did you mean 'ray'?"),
        (["--address", "auto"], "--address needs --engine ray"),
        (["--gpus-per-trial", "1"], "--gpus-per-trial needs --engine ray"),
        (["--engine", "ray", "--address", "auto", "--workers", "2"], "--workers is for a cluster"),
        (["--engine", "ray", "--gpus-per-trial", "-1"], "--gpus-per-trial must be at least 0"),
        (["--workers", "0"], "--workers must be at least 1, not 0"),
        (["--retries", "-1"], "--retries must be at least 0, not -1"),
        (["--retry", "1"], "unknown argument --retry; did you mean '--retries'?"),
    ],
)
def test_bad_flags_are_one_line(run, spec, flags, message):
    outcome = run("sweep", spec, *flags)
    assert outcome.status == 2 and outcome.out == "" and outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"jaxrl-reward: error: {message}")


def test_a_bad_file_is_one_line(run, spec):
    Path(spec).write_text(SPEC.replace("num_steps", "num_step"))
    outcome = run("sweep", spec)
    assert outcome.status == 2 and outcome.err == (
        "jaxrl-reward: error: mine.toml: unknown key 'num_step'; did you mean 'num_steps'?\n"
    )
    assert not Path("runs").exists()
