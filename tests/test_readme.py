"""The README's snippets run, and its commands are ones that the command line takes."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.cli import arguments, devices, settings, training_flags
from jaxrl_reward.cli.commands import search, train
from jaxrl_reward.training.experiments import experiment
from jaxrl_reward.training.sweeps import sweep_spec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def lines():
    found = "\n".join(blocks("bash")).splitlines()
    return [line.partition("#")[0].strip() for line in found if line.strip()]


@pytest.mark.timeout(300)
def test_the_python_snippets_run_in_order(registers, capsys):
    space = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), space)
    assert "env + action_cost(weight=0.5)" in capsys.readouterr().out
    ways = (rw.Pointwise, rw.Causal, rw.Episodic, rw.Grouped, rw.Learned)
    terms = [entry.build for entry in rw.entries()]
    written = [term for term in terms if not (term.__module__ or "").startswith("jaxrl_reward.")]
    assert all(any(issubclass(term, way) for term in written) for way in ways)


@pytest.mark.parametrize("line", [each for each in lines() if each.startswith("jaxrl")], ids=str)
def test_the_commands_are_understood(line, monkeypatch, registers):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(devices, "use_all_cores", lambda: None)
    args = arguments.parse(shlex.split(line)[1:])
    if args.command in ("train", "search"):
        if args.data is not None:  # which is not there
            plain = "gymnax:CartPole-v1" if args.agent == "cql" else "gymnax:Pendulum-v1"
            env, given = args.env or plain, settings.given(args)
            assert agents.make(args.agent, env, args.reward, **given).name == args.agent
            train.grid(args.vary)
            return
        if args.env.startswith("brax:"):
            pytest.importorskip("brax")
        numbers = search.space(args.vary)
        training_flags.build(args, {name: values[0] for name, values in numbers.items()})
    if args.command == "reproduce":
        assert args.preset in experiment.load(args.name).presets
    if args.command == "explain":
        assert isinstance(rw.parse(args.reward), rw.RewardTransform)


def test_the_sweep_is_one():
    (text,) = blocks("toml")
    sweep = sweep_spec.parse(tomllib.loads(text))
    names = ["num_envs=8, plain", "num_envs=8, counts", "num_envs=16, plain", "num_envs=16, counts"]
    assert [trial.name for trial in sweep.trials] == [*names, "slow"]


def test_the_scripts_are_there():
    for line in lines():
        if script := re.search(r"(?:^|\s)(?:\./)?(scripts/\w+)", line):
            assert (ROOT / script[1]).is_file()
