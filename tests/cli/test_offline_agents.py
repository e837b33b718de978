"""Agents that learn from data, from the shell."""

import json

import numpy as np
import pytest

from jaxrl_reward import data as datasets
from jaxrl_reward.training.sweeps import sweep_spec, trial
from jaxrl_reward.types import UserError

ENV = "gymnax:Pendulum-v1,max_steps_in_episode=5"
CAR = "gymnax:MountainCarContinuous-v0"
SMALL = ("--updates", "4", "--batch-size", "8", "--hidden", "4", "--total-steps", "8")


@pytest.fixture
def data(tmp_path):
    """A file of random steps, which says what it is of."""
    rng = np.random.default_rng(0)
    arrays = {
        "obs": rng.normal(size=(40, 3)),
        "action": rng.uniform(-2.0, 2.0, size=(40, 1)),
        "next_obs": rng.normal(size=(40, 3)),
        "reward": rng.normal(size=40),
        "terminated": np.zeros(40),
        "truncated": np.arange(40) % 10 == 9,
    }
    made = datasets.make(arrays, datasets.Provenance(environment=ENV))
    return datasets.save(made, tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("iql", ENV), "iql learns from data; say which with --data FILE"),
        (("iql", ENV, "--data", "no.npz"), "no.npz does not exist; give a file, or minari:NAME"),
        (("ppo",), "ppo needs an environment, such as gymnax:Pendulum-v1"),
        (
            ("ppo", ENV, "--data", "FILE"),
            "ppo plays and takes no data; these do: bc, cql, edac",
        ),
        (("iql", "--data", "FILE", "--quantil", "1"), "unknown argument --quantil; did you mean"),
        (("riql", "--data", "FILE", "--quantile", "2"), "quantile must be between 0 and 1, not 2"),
        (("bc", CAR, "--data", "FILE"), f"bc's data has obs of shape [3], and {CAR} of"),
        (("iql", "--data", "FILE", "--shard", "envs"), "has no environments to split"),
    ],
)
def test_a_mistake_is_one_line(run, data, words, message):
    status, _, err = run("train", *(str(data) if word == "FILE" else word for word in words))
    assert status == 2 and message in err and err.count("\n") == 1


def test_a_sweep_names_its_data(data):
    content = {"agent": "bc", "env": ENV, "grid": {"learning_rate": [1e-3, 1e-2]}}
    with pytest.raises(UserError, match='data is missing: bc learns from it; give data = "FILE"'):
        sweep_spec.parse(content)
    first, second = sweep_spec.parse({**content, "data": str(data)}).trials
    assert first.data == second.data == str(data)
    assert f"--data {data}" in trial.as_command(first)


def test_steps_on_data_are_gradient_steps_and_rounding_is_said(run, data, tmp_path):
    small = [*SMALL[:-1], "10", "--evals", "1", "--eval-episodes", "1", "--seeds", "2"]
    outcome = run("train", "bc", "--data", data, "--out", "run", "--no-progress", *small)
    rounded = "bc: 10 steps per seed rounded up to 12"
    assert outcome.status == 0
    assert outcome.err == f"{rounded}: 3 iterations of 4\n"
    assert f"{rounded}\n24 gradient steps in " in outcome.out
    report = (tmp_path / "run/report.md").read_text()
    assert "environment step" not in report.lower()
    assert "- Gradient steps per seed: 12 (10 were asked for: rounded up" in report
    assert "\n24 gradient steps in " in report
    assert "![Return over gradient steps (per seed), one line per arm](figure.png)" in report
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["env_steps"], summary["gradient_steps"]) == (0, 24)
    assert summary["rounded_up"] == {"bc": {"asked": 10, "steps": 12}}
    assert summary["steps_per_second"] > 0
    # In an SVG each text is a comment before its glyphs.
    assert run("plot", "run", "--out", "a.svg").status == 0
    drawn = (tmp_path / "a.svg").read_text()
    assert "<!-- Gradient steps (per seed) -->" in drawn and "Environment" not in drawn
    spec = 'agent = "bc"\nenv = "{}"\ndata = "{}"\nupdates = 4\ntotal_steps = 10\nseeds = 2\n'
    text = spec.format(ENV, data) + "[grid]\nbatch_size = [8, 9]\n"
    (tmp_path / "a.toml").write_bytes(text.encode("utf-16"))
    planned = run("sweep", "a.toml", "--dry-run")
    assert planned.status == 0 and planned.out.endswith("\n2 trials, 48 gradient steps\n")
    assert "batch_size=8: 10 steps per seed rounded up to 12: 3 iterations of 4\n" in planned.out


@pytest.mark.slow
def test_a_run_is_evaluated_and_drawn_without_its_data(run, data, tmp_path):
    words = ("train", "riql", "--data", data, "--reward", "env + 0.1*delay(2)", "--seeds", "2")
    words = (*words, *SMALL, "--vary", "normalize_obs=0,1", "--out", tmp_path / "run")
    status, out, _ = run(*words, "--eval-episodes", "2")
    assert status == 0 and "riql on gymnax:Pendulum-v1" in out
    arms = json.loads((tmp_path / "run" / "config.json").read_text())["arms"]
    assert list(arms) == ["normalize_obs=False", "normalize_obs=True"]
    assert arms["normalize_obs=True"]["data"]["rows"] == 40
    data.unlink()
    status, out, _ = run("evaluate", tmp_path / "run", "--episodes", "2")
    assert status == 0 and "normalize_obs=True" in out
    drawn = tmp_path / "episode.gif"
    command = ("render", tmp_path / "run", "--arm", "normalize_obs=True", "--out", drawn)
    status, _, _ = run(*command, "--max-steps", "3")
    assert status == 0 and drawn.stat().st_size > 0


def test_a_run_without_an_environment(run, data, tmp_path):
    """Trained, resumed, drawn and swept; what would play it says what to do."""
    arrays = dict(np.load(data))
    plain = {name: arrays[name] for name in arrays if name not in ("format", "provenance")}
    mine = datasets.save(datasets.make(plain), tmp_path / "mine.npz")
    words = ("train", "iql", "--data", mine, *SMALL, "--fqe-steps", "3", "--seeds", "2")
    outcome = run(*words, "--actions", "-2,2", "--out", "run", "--evals", "2")
    assert outcome.status == 0 and "IQM fqe" in outcome.out
    assert "iql: step 8/8  fqe " in outcome.err
    config = json.loads((tmp_path / "run/config.json").read_text())["arms"]["iql"]
    assert config["data"]["spaces"]["action"] == {
        "kind": "Box", "shape": [1], "low": -2.0, "high": 2.0
    }  # fmt: skip
    assert run("plot", "run", "--out", "a.svg").status == 0
    assert "Fitted-Q value" in (tmp_path / "a.svg").read_text()
    longer = [*words, "--policy-decay", "0", "--actions", "-2,2", "--out", "long"]
    assert run(*longer).status == 0
    assert run(*longer, "--resume", "--total-steps", "12").status == 0
    for command in (("evaluate", "run"), ("render", "run", "--out", "a.gif")):
        outcome = run(*command)
        assert outcome.status == 2 and outcome.err.count("\n") == 1
        assert "environment" in outcome.err
    for wrong, line in (
        (("--holdout", "1.5"), "iql's holdout must be at least 0 and below 1, not 1.5"),
        (("--actions", "1,x"), "--actions must be like 4, or -1,1, not '1,x'"),
        (("--actions", "3"), "actions=3 are of shape [], the data's [1]"),
    ):
        outcome = run(*words, *wrong)
        assert outcome.status == 2 and line in outcome.err and outcome.err.count("\n") == 1
    spec = f'agent = "bc"\ndata = "{mine}"\nupdates = 4\ntotal_steps = 8\nfqe_steps = 2\n'
    (tmp_path / "a.toml").write_text(spec + "hidden = [4]\n[grid]\nbatch_size = [8, 9]\n")
    planned = run("sweep", "a.toml", "--dry-run")
    assert planned.status == 0 and planned.out.endswith("2 trials, 16 gradient steps\n")
