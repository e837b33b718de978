"""Every flag has a help text of its own, and tells its real default."""

import argparse
import dataclasses

import pytest

from jaxrl_reward import agents
from jaxrl_reward.cli import arguments


def options(command, agent=None):
    """The arguments of a command, less `--help`."""
    sub = arguments._subparser(arguments._parser(), command)
    if agent is not None:
        arguments._add_settings(sub, [agent])
    return [action for action in sub._actions if action.dest != "help"]


def commands():
    actions = arguments._parser()._actions
    (found,) = [each for each in actions if isinstance(each, argparse._SubParsersAction)]
    return list(found.choices)


CASES = [(command, None) for command in commands()]
CASES += [(command, agent) for command in ("train", "search") for agent in agents.names()]


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
    config = agents.module(name).Config()
    flags = {action.dest: action.help for action in options("train", name)}
    for field in dataclasses.fields(config):
        shown = arguments._shown(getattr(config, field.name))
        assert flags[f"settings.{field.name}"].endswith(f" ({shown})")


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
