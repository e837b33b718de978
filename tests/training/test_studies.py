"""Studies: which runs are one program, what probes see, and where runs begin."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxrl_reward as jr
from jaxrl_reward import training
from jaxrl_reward.training import Run
from jaxrl_reward.training.devices import sharding
from jaxrl_reward.training.runs import lanes_of, packs
from jaxrl_reward.types import UserError

SIZE = {"seeds": 2, "total_steps": 400, "evals": 4, "log_points": 10, "eval_episodes": 3}
PPO = {"num_envs": 2, "num_steps": 8, "epochs": 1, "minibatches": 2, "hidden": (4,)}


def two(agent, **changes):
    """Two runs that differ in a number."""
    settings = {rate: agent.config.replace(rate=rate) for rate in (0.1, 0.2)}
    return [
        Run(f"rate {rate}", agent, settings=each, **{**SIZE, **changes})
        for rate, each in settings.items()
    ]


def look(agent, state, key):
    """Numbers of a state and of a seed's key."""
    del agent
    return {"sum": state.weights.sum(), "drawn": jax.random.normal(key), "rate": state.config.rate}


def test_runs_that_differ_in_numbers_only_are_one_program():
    def of(name, env="gymnax:CartPole-v1", reward="env + 0.1*counts()", **changes):
        settings = PPO | {"gamma": 0.9} | changes
        return Run(name, "ppo", env, reward, settings=settings, total_steps=48)

    runs = [
        of("a"),
        of("another environment", env="gymnax:Acrobot-v1"),
        of("another discount and weight", reward="env + 0.5*counts()", gamma=0.5),
        of("another expression", reward="env"),
        of("another size", hidden=(8,)),
        of("another length of rollouts", num_steps=4),
        of("another learning rate", learning_rate=0.1),
    ]
    found = [[lane.run.name for lane in pack.lanes] for pack in packs(lanes_of(runs))]
    assert found[0] == ["a", "another discount and weight", "another learning rate"]
    assert [len(each) for each in found[1:]] == [1, 1, 1, 1]
    with pytest.raises(UserError, match="two runs are called 'a'"):
        lanes_of([of("a"), of("a", env="gymnax:Acrobot-v1")])


def test_a_probe_sees_each_seed_at_every_evaluation(fake_agent, monkeypatch):
    compiled, compile_program = [], sharding._compile
    monkeypatch.setattr(
        sharding, "_compile", lambda low, once: compiled.append(low) or compile_program(low, once)
    )
    found = training.study(two(fake_agent(), seed=3), probe=look, metric="sum", progress=False)
    assert len(compiled) == 4  # init, advance, evaluate and probe, for both
    for rate in (0.1, 0.2):
        result = found[f"rate {rate}"]
        steps, sums = result.curves.curve("sum")
        assert steps.tolist() == [0, 104, 200, 304, 400]
        np.testing.assert_allclose(sums[:, -1], result.state.weights.sum(-1), rtol=1e-6)
        drawn = [float(jax.random.normal(jax.random.key(seed))) for seed in (3, 4)]
        np.testing.assert_allclose(result.curves.curve("drawn")[1], np.array([drawn] * 5).T)
        np.testing.assert_allclose(result.curves.curve("rate")[1], rate, rtol=1e-6)
        entry = result.summary["arms"][result.arm]
        assert entry["metric"] == "sum" and entry["per_seed"] == sums[:, -1].tolist()
        assert result.returns.tolist() == sums[:, -1].tolist()


def test_what_a_probe_saw_survives_a_kill(fake_agent, stop_after, stopped, tmp_path):
    options = {"probe": look, "metric": "sum", "progress": False}
    whole = training.study(two(fake_agent()), tmp_path / "whole", **options)
    with pytest.raises(stopped):
        training.study(two(fake_agent()), tmp_path / "cut", sinks=[stop_after(7)], **options)
    again = training.study(two(fake_agent()), tmp_path / "cut", resume=True, **options)
    rows = [(tmp_path / name / "metrics.parquet").read_bytes() for name in ("whole", "cut")]
    assert rows[0] == rows[1]
    assert {n: r.summary["arms"] for n, r in whole.items()} == {
        n: r.summary["arms"] for n, r in again.items()
    }
    loaded = training.load(fake_agent(), tmp_path / "cut", "rate 0.2")
    np.testing.assert_array_equal(loaded.state.weights, whole["rate 0.2"].state.weights)


def test_a_study_from_python_is_written_up_as_a_run_of_the_shell(fake_agent, tmp_path):
    runs = two(fake_agent())
    found = jr.study(runs, out=tmp_path / "study", probe=look, metric="sum", progress=False)
    files = {"config.json", "metrics.parquet", "summary.json", "figure.png", "report.md"}
    assert {each.name for each in (tmp_path / "study").iterdir()} == {
        *files,
        "checkpoints",
        ".lock",
    }
    summary = json.loads((tmp_path / "study/summary.json").read_text())
    assert list(summary["arms"]) == [run.name for run in runs] == list(found)
    for name, result in found.items():
        assert summary["arms"][name] == result.summary["arms"][name]
    rows = training.load_rows(tmp_path / "study").table.sort_by("arm")
    assert rows.num_rows == sum(len(each.curves) for each in found.values())
    report = (tmp_path / "study/report.md").read_text()
    assert report.startswith("# fake on fake:env\n") and "| rate 0.2 | `env` |" in report
    assert "From Python" in report and "![Sum over environment steps" in report
    Image.open(tmp_path / "study/figure.png").verify()
    result = jr.train(runs[0], out=tmp_path / "one", title="My run", progress=False)
    assert {each.name for each in (tmp_path / "one").iterdir()} == {*files, "checkpoints", ".lock"}
    assert (tmp_path / "one/report.md").read_text().startswith("# My run\n")
    assert json.loads((tmp_path / "one/summary.json").read_text())["arms"] == result.summary["arms"]
    assert jr.Run is Run


def test_runs_begin_where_the_first_one_does(fake_agent):
    def begin(state, first):
        return state.replace(weights=10.0 + first.weights)

    plain, other = two(fake_agent()), two(fake_agent(), begin=begin)
    runs = [plain[0], other[1]]
    assert len(packs(lanes_of(runs))) == 2
    found = training.study(runs, probe=look, progress=False)
    own, moved = (found[run.name].curves.curve("sum")[1][:, 0] for run in runs)
    np.testing.assert_allclose(moved, own + 30.0, rtol=1e-6)


def test_the_final_states_may_be_given_up(fake_agent):
    keep = lambda run, agent, state: (run.name, state.weights.shape)  # noqa: E731
    found = training.study(two(fake_agent()), final=keep, progress=False)
    assert found["rate 0.1"].state is None and found["rate 0.1"].study == ("rate 0.1", (2, 3))


def test_another_iterate_trains(fake_agent):
    class Slower:
        def __init__(self, agent):
            self.agent = agent

        def __getattr__(self, name):
            return getattr(self.agent, name)

        def iterate(self, state):
            state, metrics = self.agent.iterate(state)
            return state.replace(weights=state.weights * 0.0 + self.iterations), metrics

    def adapt(agent, plan):
        slower = Slower(agent)
        slower.iterations = plan.iterations
        return slower

    run = Run("a", fake_agent(), adapt=adapt, **SIZE)
    np.testing.assert_array_equal(training.train(run, progress=False).state.weights, 50.0)


def test_a_made_agent_takes_its_settings_whole(fake_agent):
    run = Run("a", fake_agent(), settings={"rate": 0.1})
    with pytest.raises(UserError, match=r"'a' has an agent that is made.*give rate to agents.make"):
        run.made()
    assert str(Run("a", fake_agent(), reward="2*env").made().reward) == "2*env"


@pytest.mark.parametrize(
    ("probe", "metric", "message"),
    [
        (lambda *_: {"loss": jnp.float32(0)}, "return", "'loss' is a metric of training"),
        (lambda *_: {"return": jnp.float32(0)}, "return", "'return' is a metric of training"),
        (lambda *_: {"x": jnp.zeros(2)}, "return", "a dict of scalars"),
        (lambda *_: jnp.float32(0), "return", "a dict of scalars"),
        (look, "score", "no 'score' to report; the probe finds drawn, length, rate, return, sum"),
    ],
)
def test_a_bad_probe_is_one_line(fake_agent, probe, metric, message):
    with pytest.raises(UserError, match=message) as caught:
        training.study(two(fake_agent()), probe=probe, metric=metric, progress=False)
    assert "\n" not in str(caught.value)
