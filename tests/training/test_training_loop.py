"""A run: what it records, and that a broken one continues to the bit."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import training
from jaxrl_reward.agents.common.base import make
from jaxrl_reward.training import loop
from jaxrl_reward.training.devices.sharding import EVALUATION_TAG
from jaxrl_reward.training.progress import deferred_interrupt
from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.types import UserError

QUIET = {"progress": False, "eval_episodes": 3}


def short(agent, **options):
    settings = {"seeds": 2, "total_steps": 400, "evals": 4, "log_points": 10, **QUIET}
    return training.train(agent, **{**settings, **options})


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, fake_agent):
    """A run that nothing stopped, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return short(fake_agent(), out=folder), folder


def test_plan_divides_a_run_and_rounds_up():
    plan = training.plan(8, 401, evals=4, log_points=10)
    assert (plan.iterations, plan.total_steps, plan.requested) == (51, 408, 401)
    assert sorted(plan.eval_points) == [0, 13, 26, 39, 51]
    assert len(plan.log_points) == 10
    assert max(plan.log_points) == 51
    assert plan.next_point(39) == 41
    few = training.plan(8, 20, evals=10, log_points=100)
    assert sorted(few.eval_points) == [0, 1, 2, 3]
    assert sorted(few.log_points) == [1, 2, 3]


def test_steps_beyond_32_bits_are_counted():
    plan = training.plan(2**20, 5 * 10**12, evals=1, log_points=1)
    assert plan.total_steps > 2**42
    with pytest.raises(UserError, match="at most"):
        training.plan(1, 2**31, evals=1, log_points=1)


def test_rows_and_state_equal_a_plain_loop(fake_agent):
    agent = fake_agent()
    result = short(agent, seed=5)
    init, iterate = jax.jit(agent.init), jax.jit(agent.iterate)
    for index, seed in enumerate((5, 6)):
        state = init(jax.random.key(seed))
        key = jax.random.fold_in(jax.random.key(seed), EVALUATION_TAG)
        returns, _ = agent.evaluate(state, jax.random.fold_in(key, 0), 3)
        (row,) = result.curves.where(seed=seed, step=0, metric="return")
        assert row.value == pytest.approx(float(returns.mean()), rel=1e-5)
        total = {"loss": 0.0, "episode_return": 0.0}
        count = {"loss": 0.0, "episode_return": 0.0}
        for iteration in range(1, 51):
            state, metrics = iterate(state)
            for name in total:
                total[name] += float(metrics[name].total)
                count[name] += float(metrics[name].count)
            if iteration % 5 == 0:
                for name in total:
                    row = result.curves.where(seed=seed, step=iteration * 8, metric=name)
                    expected = [total[name] / count[name]] if count[name] else []
                    assert [each.value for each in row] == pytest.approx(expected, rel=1e-5)
                    total[name] = count[name] = 0.0
        mine = training.select_seed(result.state, index)
        np.testing.assert_allclose(mine.weights, state.weights, rtol=1e-5)
        np.testing.assert_array_equal(jax.random.key_data(mine.key), jax.random.key_data(state.key))


def test_summary_follows_the_contract(fake_agent):
    result = short(fake_agent(), seeds=4, name="env", total_steps=401)
    steps, returns = result.curves.curve("return")
    assert steps.tolist() == [0, 104, 208, 312, 408]
    assert returns.shape == (4, 5)
    entry = result.summary["arms"]["env"]
    assert entry["per_seed"] == returns[:, -1].tolist() == result.returns.tolist()
    assert entry["iqm"] == pytest.approx(np.sort(returns[:, -1])[1:3].mean())
    assert entry["ci_low"] <= entry["iqm"] <= entry["ci_high"]
    assert (entry["seeds"], entry["metric"]) == (4, "return")
    assert result.summary["env_steps"] == 4 * 408
    assert result.wall_seconds > result.compile_seconds > 0
    assert result.steps_per_second > 0
    assert result.summary["device"] == "cpu" or jax.default_backend() != "cpu"


def test_the_same_configuration_gives_the_same_bits(
    fake_agent, whole_run, assert_same, monkeypatch
):
    one, _ = whole_run
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)  # one iteration a call
    two = short(fake_agent())
    assert one.curves == two.curves
    assert_same(one.state, two.state)
    assert short(fake_agent(), seed=1).curves != one.curves


def test_a_seed_does_not_depend_on_how_many_run_beside_it(fake_agent):
    four = short(fake_agent(), seeds=4)
    one = short(fake_agent(), seeds=1, seed=3)
    many, alone = (r.curves.where(seed=3).table["value"].to_numpy() for r in (four, one))
    np.testing.assert_allclose(many, alone, rtol=1e-5)


def test_evaluation_does_not_disturb_training(fake_agent, assert_same):
    assert_same(short(fake_agent(), evals=1).state, short(fake_agent(), evals=9).state)


@pytest.mark.parametrize(
    ("writes", "error"),
    [(1, "killed"), (2, "killed"), (7, "killed"), (13, "killed"), (7, "interrupted")],
)
def test_resume_equals_an_uninterrupted_run(
    fake_agent, whole_run, stop_after, stopped, assert_same, tmp_path, writes, error
):
    whole, folder = whole_run
    kind = stopped if error == "killed" else KeyboardInterrupt
    with pytest.raises(kind):
        short(fake_agent(), out=tmp_path / "cut", sinks=[stop_after(writes, kind)])
    resumed = short(fake_agent(), out=tmp_path / "cut", resume=True)
    assert resumed.curves == whole.curves
    assert_same(resumed.state, whole.state)
    rows = [(path / "metrics.parquet").read_bytes() for path in (folder, tmp_path / "cut")]
    assert rows[0] == rows[1]


def test_ctrl_c_saves_in_the_middle_of_a_log_interval(
    fake_agent, whole_run, assert_same, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SLICE_SECONDS", 0.0)
    advance = loop.Training.advance

    def pressed(run):
        advance(run)
        if run.iteration == 18:  # neither a log point nor an evaluation
            os.kill(os.getpid(), signal.SIGINT)

    whole, _ = whole_run
    monkeypatch.setattr(loop.Training, "advance", pressed)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        short(fake_agent(), out=tmp_path / "cut")
    assert signal.getsignal(signal.SIGINT) is before
    assert checkpoint.steps(tmp_path / "cut/checkpoints/fake") == [13 * 8, 18 * 8]
    monkeypatch.setattr(loop.Training, "advance", advance)
    resumed = short(fake_agent(), out=tmp_path / "cut", resume=True)
    assert resumed.curves == whole.curves
    assert_same(resumed.state, whole.state)


def test_a_second_ctrl_c_interrupts_at_once():
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred_interrupt() as noted:
        os.kill(os.getpid(), signal.SIGINT)
        assert noted == [signal.SIGINT]
        reached = True
        os.kill(os.getpid(), signal.SIGINT)
    assert reached


def test_training_in_a_thread_leaves_signals_alone(fake_agent):
    with ThreadPoolExecutor() as pool:
        result = pool.submit(short, fake_agent()).result()
    assert result.plan.total_steps == 400


def test_a_damaged_checkpoint_is_passed_over(
    fake_agent, whole_run, stop_after, stopped, assert_same, tmp_path
):
    whole, _ = whole_run
    with pytest.raises(stopped):
        short(fake_agent(), out=tmp_path, sinks=[stop_after(13)])
    saved = tmp_path / "checkpoints/fake"
    earlier, newest = checkpoint.steps(saved)
    damaged = saved / str(newest) / "rows.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.warns(training.CheckpointWarning, match=f"using the one at step {earlier}"):
        resumed = short(fake_agent(), out=tmp_path, resume=True)
    assert resumed.curves == whole.curves
    assert_same(resumed.state, whole.state)


def test_a_finished_run_resumes_to_the_same_result(fake_agent, whole_run, assert_same):
    first, folder = whole_run
    again = short(fake_agent(), out=folder, resume=True)
    assert_same(again.state, first.state)
    assert again.summary["arms"] == first.summary["arms"]
    assert again.steps_per_second == pytest.approx(first.steps_per_second)


def test_resume_without_a_checkpoint_starts_from_the_beginning(fake_agent, tmp_path):
    assert short(fake_agent(), out=tmp_path / "new", resume=True).curves.table.num_rows > 0


def test_several_arms_share_a_folder_and_resume(fake_agent, stop_after, stopped, tmp_path):
    def both(path, sinks, resume=False):
        with training.RunFolder.claim(path, resume=resume) as folder:
            results = [
                short(fake_agent(), out=folder, name="a/b", sinks=sinks),
                short(fake_agent(steps_per_iteration=16), out=folder, name="..", sinks=sinks),
            ]
            folder.write_summary(training.merge_summaries(r.summary for r in results))

    both(tmp_path / "whole", [])
    with pytest.raises(stopped):
        both(tmp_path / "cut", [stop_after(22)])
    assert not (tmp_path / "cut/summary.json").exists()
    both(tmp_path / "cut", [], resume=True)
    rows = training.load_rows(tmp_path / "cut")
    assert rows == training.load_rows(tmp_path / "whole")
    assert list(rows.by_arm()) == ["a/b", ".."]
    assert list(training.load_config(tmp_path / "cut")["arms"]) == ["a/b", ".."]
    assert (tmp_path / "cut/summary.json").exists()


def test_a_bad_metric_stops_the_run_and_keeps_the_last_checkpoint(fake_agent, tmp_path):
    with pytest.raises(training.NonFiniteError, match="loss is not finite") as caught:
        short(fake_agent(bad_at=17), seed=3, out=tmp_path)
    error = caught.value
    assert (error.metric, error.seed, error.step) == ("loss", 3, 17 * 8)
    saved = checkpoint.steps(tmp_path / "checkpoints/fake")
    assert saved == [0, 13 * 8]
    assert str(saved[-1]) in str(error)
    assert max(row.step for row in training.load_rows(tmp_path)) == 15 * 8
    assert not (tmp_path / "summary.json").exists()


def test_a_bad_evaluation_stops_the_run(fake_agent):
    with pytest.raises(training.NonFiniteError, match="return is not finite") as caught:
        short(fake_agent(bad_evaluation=True))
    assert caught.value.step == 13 * 8


def test_a_state_that_turned_nan_is_not_saved(fake_agent, tmp_path):
    agent = fake_agent(poison_at=13)  # metrics are still finite at this evaluation
    with (
        pytest.warns(UserWarning, match=r"weights holds a NaN at step 104"),
        pytest.raises(training.NonFiniteError),
    ):
        short(agent, out=tmp_path)
    assert checkpoint.steps(tmp_path / "checkpoints/fake") == [0]


def test_a_failing_sink_is_dropped(fake_agent, stop_after):
    with pytest.warns(UserWarning, match="StopAfter is dropped"):
        short(fake_agent(), sinks=[stop_after(2, OSError)])


def test_load_gives_the_newest_state(fake_agent, whole_run, assert_same, tmp_path):
    result, folder = whole_run
    loaded = training.load(fake_agent(), folder)
    assert (loaded.arm, loaded.step) == ("fake", 400)
    assert_same(loaded.state, result.state)
    with pytest.raises(UserError, match="did you mean 'fake'"):
        training.load(fake_agent(), folder, "fkae")
    with pytest.raises(UserError, match=r"another agent: state\.weights is \[2, 3\] float32 there"):
        training.load(fake_agent(config=type(fake_agent().config)(width=4)), folder)
    with pytest.raises(UserError, match="holds no run"):
        training.load(fake_agent(), tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"seeds": -2}, "seeds must be at least 1"),
        ({"seeds": 1.5}, "seeds must be a whole number"),
        ({"total_steps": 0}, "total_steps must be at least 1"),
        ({"total_steps": -5}, "total_steps must be at least 1"),
        ({"evals": 0}, "evals must be at least 1"),
        ({"log_points": 0}, "log_points must be at least 1"),
        ({"eval_episodes": 0}, "eval_episodes must be at least 1"),
        ({"keep": 0}, "keep must be at least 1"),
        ({"seed": -1}, "seed must be between 0"),
        ({"seed": 2**32}, "seed must be between 0"),
        ({"resume": True}, "resume needs the folder"),
    ],
)
def test_bad_input_is_one_line(fake_agent, options, message):
    with pytest.raises(UserError, match=message) as caught:
        short(fake_agent(), **options)
    assert "\n" not in str(caught.value)


def test_evaluations_are_printed_where_there_is_no_terminal(fake_agent, capsys):
    short(fake_agent(), total_steps=401, progress=True)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert "401 steps per seed rounded up to 408" in lines[0]
    assert len([line for line in lines if "return" in line]) == 5
    assert captured.out == ""


def test_select_seed(whole_run):
    state = whole_run[0].state
    assert training.select_seed(state, 1).weights.shape == (3,)
    assert training.select_seed(state, 1).weights[0] == state.weights[1, 0]
    with pytest.raises(IndexError):
        training.select_seed(state, 2)


TWO_DEVICES = """
import sys, time
sys.path.insert(0, sys.argv[1])
import jax
jax.config.update("jax_num_cpu_devices", 2)
from conftest import FakeAgent
from jaxrl_reward import training
from jaxrl_reward.agents.common.base import make
from jaxrl_reward.training import loop

class Slow:
    def write(self, rows):
        time.sleep(0.1)
    def close(self):
        pass

def run(out, sinks=(), **options):
    return training.train(FakeAgent(), seeds=4, total_steps=96, evals=2, out=out, progress=False,
        checkpoint_seconds=0.0, sinks=sinks, **options)

loop.SLICE_SECONDS = 0.0
if sys.argv[2] == "kill":
    run("cut", [Slow()])
cut, whole = run("cut", resume=True), run("whole")
assert len(cut.state.weights.sharding.device_set) == 2
assert cut.curves == whole.curves
for a, b in zip(jax.tree.leaves(cut.state), jax.tree.leaves(whole.state), strict=True):
    if jax.numpy.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    assert jax.device_get(a).tobytes() == jax.device_get(b).tobytes()
"""


@pytest.mark.slow
def test_kill_9_and_resume_over_two_devices(tmp_path):
    command = [sys.executable, "-c", TWO_DEVICES, str(Path(__file__).parent)]
    paths = [str(Path(training.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    settings = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}}
    killed = subprocess.Popen([*command, "kill"], **settings)
    saved = tmp_path / "cut/checkpoints/fake"
    while max(checkpoint.steps(saved), default=0) < 16 and killed.poll() is None:
        time.sleep(0.05)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert 0 < max(row.step for row in training.load_rows(tmp_path / "cut")) < 96
    subprocess.run([*command, "resume"], **settings, check=True, timeout=100)


def test_the_first_of_two_bad_metrics_is_named(fake_agent):
    class TwoBad(fake_agent):
        def iterate(self, state):
            state, metrics = super().iterate(state)
            late = jnp.where(state.iteration >= 6, jnp.inf, 0.0)
            return state, {**metrics, "absolute": metrics["absolute"].of(late)}

    with pytest.raises(training.NonFiniteError) as caught:
        short(TwoBad(bad_at=4))
    assert (caught.value.metric, caught.value.step) == ("loss", 32)


@pytest.mark.parametrize("network", ["mlp", pytest.param("gru", marks=pytest.mark.slow)])
def test_ppo_resumes_to_the_bit(network, stop_after, stopped, assert_same, tmp_path):
    sizes = {"num_envs": 2, "num_steps": 16, "epochs": 2, "minibatches": 2, "hidden": (8,)}
    reward = "env + 0.1*counts() | normalize(gamma=0.99)"
    sizes |= {"network": network, "normalize_obs": True}
    agent = make("ppo", "gymnax:CartPole-v1", reward, **sizes)
    options = {"total_steps": 32 * 6, "evals": 3, "log_points": 6}
    whole = short(agent, **options)
    with pytest.raises(stopped):
        short(agent, out=tmp_path, sinks=[stop_after(6)], **options)
    resumed = short(agent, out=tmp_path, resume=True, **options)
    assert resumed.curves == whole.curves
    assert_same(resumed.state, whole.state)
    assert {"return", "policy_loss"} <= set(whole.curves.table["metric"].to_pylist())
    assert training.load_config(tmp_path)["arms"]["ppo"]["reward"] == str(agent.reward)
