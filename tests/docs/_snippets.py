"""What a Markdown page tells its reader to run, tried."""

import re
import shlex
from pathlib import Path

import pytest

from jaxrl_reward import agents
from jaxrl_reward import rewards as rw
from jaxrl_reward.cli import arguments, devices, settings, training_flags
from jaxrl_reward.cli.commands import search, train
from jaxrl_reward.training.experiments import experiment

ROOT = Path(__file__).parents[2]


def blocks(text, language):
    """The blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def lines(text):
    """What is typed into a shell, without comments."""
    found = "\n".join(blocks(text, "bash")).splitlines()
    return [line.partition("#")[0].strip() for line in found if line.strip()]


def commands(text):
    """The lines of our own command."""
    return [line for line in lines(text) if line.startswith("jaxrl-reward")]


def scripts(text):
    """The scripts that lines call."""
    found = (re.search(r"(?:^|\s)(?:\./)?(scripts/\w+)", line) for line in lines(text))
    return [each[1] for each in found if each]


def run(text, name):
    """Runs the blocks of Python in order, in one space, which it gives."""
    space = {}
    for block in blocks(text, "python"):
        exec(compile(block, name, "exec"), space)
    return space


def check_command(line, monkeypatch):
    """Fails where the command line does not take a line as it is meant."""
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
