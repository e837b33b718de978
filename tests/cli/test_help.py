"""Every flag has a help text of its own, and tells its real default."""

import dataclasses
import subprocess
import sys

import pytest

from jaxrl_reward import agents
from jaxrl_reward.cli import arguments, settings


def options(command, agent=None):
    """The arguments of a command, less `--help`."""
    sub = arguments.parsers()[1][command]
    if agent is not None:
        settings.add(sub, [agent])
    return [action for action in sub._actions if action.dest != "help"]


CASES = [(command, None) for command in arguments.parsers()[1]]
CASES += [(command, agent) for command in ("train", "search") for agent in agents.names()]


LOADED = """
import sys
from jaxrl_reward import cli
status = cli.main(sys.argv[1:])
heavy = {"jax", "jaxlib", "flax", "numpy", "scipy", "rich"} & sys.modules.keys()
assert (status, heavy) == (STATUS, set()), (status, heavy)
"""


@pytest.mark.parametrize(
    ("argv", "status"), [(["--help"], 0), (["train", "--help"], 0), (["trian"], 2), (["plot"], 2)]
)
def test_help_and_mistakes_load_no_jax(argv, status):
    line = LOADED.replace("STATUS", str(status))
    subprocess.run([sys.executable, "-c", line, *argv], check=True, timeout=100)


@pytest.mark.parametrize(("command", "agent"), CASES)
def test_every_flag_has_a_text_of_its_own(command, agent):
    found = {
        str(action.option_strings or action.dest): action for action in options(command, agent)
    }
    texts = {name: (each.help or "").partition(" (")[0] for name, each in found.items()}
    assert not [name for name, text in texts.items() if not text]
    several = [text for text in texts.values() if list(texts.values()).count(text) > 1]
    assert not several


@pytest.mark.parametrize(("command", "agent"), CASES)
def test_every_flag_tells_its_default(command, agent):
    for action in options(command, agent):
        shown = (action.help or "").rpartition(" (")[2].rstrip(")")
        if isinstance(action.default, int | float) and not isinstance(action.default, bool):
            assert float(shown) == action.default, action.option_strings
        elif isinstance(action.default, str):
            assert shown == action.default, action.option_strings


@pytest.mark.parametrize("name", agents.names())
def test_every_setting_is_a_flag_with_its_default(name):
    config = agents.module(name).Config
    flags = {action.dest: action for action in options("train", name)}
    for field in dataclasses.fields(config):
        text = flags[f"settings.{field.name}"].help
        assert text.endswith(f" ({settings.shown(getattr(config(), field.name))})")


def test_texts_stand_at_their_own_flags():
    found = {action.dest: action.help for action in options("train", "group_pg")}
    for name, words in {
        "width": "of the network's layers (32)",
        "network": "`transformer` or `gru` (transformer)",
        "clip_low": "below 1",
        "clip_high": "above 1",
        "minibatches": "must divide `num_envs`",
        "max_grad_norm": "the gradient is scaled down to it (1)",
        "teach_coef": "weight of that gradient, beside the responses' own (1)",
        "control_strength": "`siren`",
    }.items():
        assert words in found[f"settings.{name}"]
