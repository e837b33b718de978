"""The README's snippets run, and its commands are ones that the command line takes."""

import tomllib

import _snippets as snippets
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.training.sweeps import sweep_spec

README = (snippets.ROOT / "README.md").read_text()


@pytest.mark.timeout(300)
def test_the_python_snippets_run_in_order(registers, capsys):
    snippets.run(README, "README.md")
    assert "env + action_cost(weight=0.5)" in capsys.readouterr().out
    ways = (rw.Pointwise, rw.Causal, rw.Episodic, rw.Grouped, rw.Learned)
    terms = [entry.build for entry in rw.entries()]
    written = [term for term in terms if not (term.__module__ or "").startswith("jaxrl_reward.")]
    assert all(any(issubclass(term, way) for term in written) for way in ways)


@pytest.mark.parametrize("line", snippets.commands(README), ids=str)
def test_the_commands_are_understood(line, monkeypatch, registers):
    snippets.check_command(line, monkeypatch)


def test_the_sweep_is_one():
    (text,) = snippets.blocks(README, "toml")
    sweep = sweep_spec.parse(tomllib.loads(text))
    names = ["num_envs=8, plain", "num_envs=8, counts", "num_envs=16, plain", "num_envs=16, counts"]
    assert [trial.name for trial in sweep.trials] == [*names, "slow"]


def test_the_scripts_are_there():
    assert [each for each in snippets.scripts(README) if not (snippets.ROOT / each).is_file()] == []
