"""A sweep: each trial is done once, whatever is lost on the way."""

import dataclasses
import importlib.util
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from jaxrl_reward import agents, training
from jaxrl_reward.training.record import checkpoint, run_folder
from jaxrl_reward.training.sweeps import engines
from jaxrl_reward.training.sweeps import sweep as sweeps
from jaxrl_reward.training.sweeps import trial as trials
from jaxrl_reward.training.sweeps.engines import Ended
from jaxrl_reward.training.sweeps.sweep_spec import Sweep, Trial
from jaxrl_reward.training.sweeps.sweep_view import View
from jaxrl_reward.types import UserError

SHAPE = {"seeds": 2, "total_steps": 400, "evals": 4, "eval_episodes": 3}


def sweep_of(*names, **options):
    options = {"agent": "fake", **SHAPE, **options}
    return Sweep("few", tuple(Trial(name, folder=f"{name}-x", **options) for name in names))


class Here:
    """An engine that runs a trial as it is started; `losses` says how often it is lost."""

    slots = 2

    def __init__(self, out, losses=None, stopped=()):
        self.out, self.losses, self.stopped = out, dict(losses or {}), stopped
        self.started, self.calls, self._over = [], [], []

    def start(self, trial):
        self.started.append(trial.name)
        lost = None
        try:
            trials.run(self.out, trial)
        except self.stopped:
            lost = "it was lost"
        self._over.append(Ended(trial.name, lost))

    def wait(self, seconds):
        over, self._over = self._over, []
        return over

    def stop(self):
        self.calls.append("stop")

    def close(self):
        self.calls.append("close")


@pytest.fixture
def made(fake_agent, monkeypatch):
    """Agents of the trials are fakes, their settings those of the fake."""
    monkeypatch.setattr(agents, "make", lambda name, env, reward, **options: fake_agent(**options))


@pytest.fixture
def losing(stop_after, stopped, monkeypatch):
    """A run of a trial stops in its middle, as often as is said for its name."""
    left = {}
    train = training.train

    def lose(trial, **options):
        if left.get(trial.name, 0) > 0:
            left[trial.name] -= 1
            options["sinks"] = [stop_after(20)]
        return train(trial, **options)

    monkeypatch.setattr(trials, "train", lose)
    return left


def run(sweep, out, engine=None, **options):
    engine = Here(Path(out)) if engine is None else engine
    outcome = sweeps.run(sweep, lambda _: engine, out=out, **{"progress": False, **options})
    return outcome, engine


def log_of(out, name, word):
    """The lines of a trial's log that say that it was `started` or `finished`."""
    lines = (Path(out) / "trials" / f"{name}-x" / "log.txt").read_text().splitlines()
    return [line for line in lines if f" {word} (" in line]


def test_every_trial_runs_once_and_the_results_are_joined(made, tmp_path):
    outcome, engine = run(sweep_of("a", "b", "c"), tmp_path, command="the command")
    assert engine.started == ["a", "b", "c"] and engine.calls == ["close"]
    assert outcome.failures == {}
    names = {path.name for path in tmp_path.iterdir() if path.name != ".lock"}
    results = {"summary.json", "metrics.parquet", "config.json", "figure.png", "report.md"}
    assert names == results | {"sweep.json", "trials"}
    summary = json.loads((tmp_path / "summary.json").read_bytes())
    assert list(summary["arms"]) == ["a", "b", "c"] and summary["failed"] == {}
    assert summary["env_steps"] == 3 * 2 * 400
    assert list(training.load_rows(tmp_path).by_arm()) == ["a", "b", "c"]
    assert list(training.load_config(tmp_path)["arms"]) == ["a", "b", "c"]
    assert "the command" in (tmp_path / "report.md").read_text()
    for name in "abc":
        folder = tmp_path / "trials" / f"{name}-x"
        assert results <= {path.name for path in folder.iterdir()}
        assert training.load_rows(tmp_path).where(arm=name) == training.load_rows(folder)
        assert len(log_of(tmp_path, name, "finished")) == 1


def test_a_lost_trial_continues_from_its_checkpoint(made, losing, stopped, tmp_path, fake_agent):
    losing |= {"a": 2}
    outcome, engine = run(sweep_of("a", "b"), tmp_path, Here(tmp_path, stopped=stopped))
    assert sorted(engine.started) == ["a", "a", "a", "b"]
    assert outcome.failures == {}
    assert len(log_of(tmp_path, "a", "started")) == 3
    assert len(log_of(tmp_path, "a", "finished")) == 1
    assert "a: resumed at step " in (tmp_path / "trials/a-x/log.txt").read_text()
    whole = training.train(fake_agent(), name="a", progress=False, **SHAPE)
    assert training.load_rows(tmp_path / "trials/a-x") == whole.curves


def test_retries_are_bounded_and_the_others_go_on(made, losing, stopped, tmp_path, capsys):
    losing |= {"a": 100}
    engine = Here(tmp_path, stopped=stopped)
    outcome, _ = run(sweep_of("a", "b"), tmp_path, engine, retries=2, progress=True)
    assert engine.started.count("a") == 3
    assert outcome.failures == {"a": trials.Failure("lost", "it was lost; 3 times")}
    assert list(outcome.summary["arms"]) == ["b"]
    assert outcome.summary["failed"] == {"a": "it was lost; 3 times"}
    lines = capsys.readouterr().err.splitlines()
    assert "a: it was lost; continued from its checkpoint (1 of 2)" in lines
    assert "a: failed: it was lost; 3 times" in lines
    assert any(line.startswith("1/2 b: IQM return ") for line in lines) or any(
        line.startswith("2/2 b: IQM return ") for line in lines
    )


def test_a_terminal_shows_a_bar_of_trials_and_one_for_each_that_runs(
    made, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    run(sweep_of("a", "b"), tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "2/2 trials" in shown and "1/2 a: IQM return" in shown


def test_what_runs_is_shown_with_its_return_so_far(made, tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    sweep = sweep_of("a", "b")
    with View(tmp_path, sweep) as view:
        view.started(sweep.trials[0])
        view.refresh()
        trials.run(tmp_path, sweep.trials[0])
        view.refresh()
        bars = {task.description: task for task in view._bar.tasks}
        assert (bars["a"].completed, bars["a"].total, bars["a"].visible) == (400, 400, True)
        assert bars["a"].fields["score"].startswith("IQM return ")
        view.ended(sweep.trials[0])
    assert [(task.description, task.completed) for task in view._bar.tasks] == [("few", 1)]


def test_a_failure_is_recorded_and_resume_tries_it_again(made, tmp_path, fake_agent, monkeypatch):
    bad = Trial("bad", folder="bad-x", agent="fake", settings={"bad_at": 17}, **SHAPE)
    sweep = Sweep("few", (bad, *sweep_of("b").trials))
    outcome, _ = run(sweep, tmp_path)
    assert outcome.failures["bad"].kind == "non_finite"
    assert outcome.failures["bad"].error.startswith("loss is not finite (seed 0, step 136)")
    assert list(outcome.summary["arms"]) == ["b"]
    monkeypatch.setattr(agents, "make", lambda *_, **options: fake_agent())
    outcome, engine = run(sweep, tmp_path, resume=True)
    assert engine.started == ["bad"]
    assert outcome.failures == {} and list(outcome.summary["arms"]) == ["bad", "b"]


def test_an_exception_is_one_line_and_its_trace_is_in_the_log(tmp_path, monkeypatch):
    def broken(*_, **options):
        raise ZeroDivisionError("of\nsomething")

    monkeypatch.setattr(agents, "make", broken)
    outcome, _ = run(sweep_of("a"), tmp_path)
    assert outcome.failures == {"a": trials.Failure("error", "ZeroDivisionError: of something")}
    assert outcome.summary is None and not (tmp_path / "summary.json").exists()
    assert "Traceback" in (tmp_path / "trials/a-x/log.txt").read_text()


def test_finished_trials_are_never_run_again(made, losing, stopped, tmp_path):
    losing |= {"b": 1}
    engine = Here(tmp_path, stopped=())  # the loss of b ends the sweep itself
    with pytest.raises(stopped):
        run(sweep_of("a", "b", "c"), tmp_path, engine)
    assert engine.calls == ["close"]
    outcome, engine = run(sweep_of("a", "b", "c", "d"), tmp_path, resume=True)
    assert engine.started == ["b", "c", "d"]
    assert list(outcome.summary["arms"]) == ["a", "b", "c", "d"]
    before = (tmp_path / "trials/a-x/summary.json").stat().st_mtime_ns
    outcome, engine = run(sweep_of("a", "b", "c", "d"), tmp_path, resume=True)
    assert engine.started == [] and len(outcome.summary["arms"]) == 4
    trials.run(tmp_path, sweep_of("a").trials[0])  # by hand, too
    assert (tmp_path / "trials/a-x/summary.json").stat().st_mtime_ns == before
    assert len(log_of(tmp_path, "a", "started")) == 1


def test_another_process_with_the_trial_is_waited_for_and_then_a_loss(made, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "BUSY_SECONDS", 0.3)
    sweep = sweep_of("a")
    with (
        training.RunFolder.claim(tmp_path / "trials/a-x"),
        pytest.raises(run_folder.BusyError, match="another process is running"),
    ):
        trials.run(tmp_path, sweep.trials[0])
    assert trials.failure(tmp_path, sweep.trials[0]) is None
    trials.run(tmp_path, sweep.trials[0])
    assert trials.is_finished(tmp_path, sweep.trials[0])


def test_an_interrupt_stops_the_engine(made, tmp_path, monkeypatch):
    engine = Here(tmp_path)

    def terminated(seconds):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1.0)

    monkeypatch.setattr(engine, "wait", terminated)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        run(sweep_of("a"), tmp_path, engine)
    assert engine.calls == ["stop", "close"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_folder_with_something_else_is_refused(made, tmp_path):
    run(sweep_of("a"), tmp_path / "one")
    for sweep, options, message in [
        (sweep_of("a"), {}, "holds another"),
        (sweep_of("b"), {"resume": True}, "was started with the trial 'a', which is no longer"),
        (sweep_of("a", seed=3), {"resume": True}, "was started with seed = 0 in trial 'a', not 3"),
    ]:
        with pytest.raises(UserError, match=message):
            run(sweep, tmp_path / "one", **options)
    with pytest.raises(UserError, match="holds a run that is no sweep"):
        run(sweep_of("a"), tmp_path / "one/trials/a-x", resume=True)
    (tmp_path / "one/sweep.json").write_text("{")
    with pytest.raises(UserError, match=r"sweep\.json cannot be read"):
        run(sweep_of("a"), tmp_path / "one", resume=True)


def test_the_command_of_a_trial_trains_it_alone():
    settings = {"hidden": [8, 8], "anneal": True, "clip_value": False, "gamma": 0.9}
    about = {"env": "gymnax:CartPole-v1", "reward": "env | clip()", "settings": settings}
    trial = Trial("a", folder="a", **about)
    assert trials.as_command(trial) == (
        "jaxrl-reward train ppo gymnax:CartPole-v1 --reward 'env | clip()' "
        "--hidden 8,8 --anneal --no-clip-value --gamma 0.9"
    )


# ---- real processes ---------------------------------------------------------------


PPO = Trial(
    "ppo",
    folder="ppo-x",
    env="gymnax:CartPole-v1",
    seeds=2,
    total_steps=16 * 2000,
    evals=2,
    eval_episodes=2,
    settings={"num_envs": 2, "num_steps": 8, "epochs": 1, "minibatches": 1, "hidden": [4]},
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Processes of these tests share what XLA compiles: it would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        patch.setenv("JAX_NUM_CPU_DEVICES", "2")
        yield


def test_a_process_is_started_again_until_it_says_what_became_of_the_trial(tmp_path):
    """Its trial cannot be trained, which it is quick to say."""
    engine = engines.Local(tmp_path)
    start, started = engine.start, []

    def start_and_kill(trial):
        start(trial)
        started.append(trial.name)
        if len(started) == 1:
            engine._running[trial.name].kill()

    engine.start = start_and_kill
    bad = dataclasses.replace(PPO, env="gymnax:CartPole")
    outcome, _ = run(Sweep("one", (bad,)), tmp_path, engine)
    assert started == ["ppo", "ppo"] and outcome.failures["ppo"].kind == "bad_input"
    assert outcome.failures["ppo"].error.startswith("unknown environment 'gymnax:CartPole'")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_process_that_is_killed_is_started_again(compiled, tmp_path):
    engine = engines.Local(tmp_path)

    def kill():
        saved = run_folder.checkpoints_of(tmp_path / "trials/ppo-x", "ppo")
        while not checkpoint.steps(saved):
            time.sleep(0.02)
        for process in engine._running.values():
            process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    outcome, _ = run(Sweep("one", (PPO,)), tmp_path, engine)
    killer.join()
    assert outcome.failures == {} and len(outcome.summary["arms"]["ppo"]["per_seed"]) == 2
    assert len(log_of(tmp_path, "ppo", "started")) == 2
    assert len(log_of(tmp_path, "ppo", "finished")) == 1


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_ray_runs_a_trial_on_the_loopback(compiled, tmp_path):
    engine = engines.OnRay(tmp_path)
    assert engine._ray.util.get_node_ip_address() == "127.0.0.1"
    outcome, _ = run(Sweep("one", (PPO,)), tmp_path, engine)
    assert outcome.failures == {} and list(outcome.summary["arms"]) == ["ppo"]
    assert not engine._ray.is_initialized() and not engine._folder.exists()
    assert len(log_of(tmp_path, "ppo", "finished")) == 1


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'jaxrl-reward\[cluster\]'"):
        engines.OnRay(tmp_path)
