"""The flags of an agent's settings, made from its `Config`."""

import argparse
from typing import Any

from jaxrl_reward.cli import devices
from jaxrl_reward.cli.parser import Parser, UsageError
from jaxrl_reward.cli.values import integer, integers, real, reals
from jaxrl_reward.errors import nearest

PREFIX = "settings."
_READERS = {
    int: (integer, "N"),
    float: (real, "X"),
    str: (str, "TEXT"),
    tuple[int, ...]: (integers, "N,N,..."),
    tuple[float, ...]: (reals, "X,X,..."),
}


def add(train: Parser, words: list[str]) -> None:
    """Adds the flags of the agent that the command line names."""
    bare = [
        (before, text)
        for before, text in zip(["", *words], words, strict=False)
        if not text.startswith("-") and not train.takes_value(before)
    ]
    if not bare:
        return
    devices.start_job()  # the simulators that agents bring along start JAX
    from jaxrl_reward import agents, settings

    # A flag that is not known yet may have a value: the agent need not be the first.
    name = next((text for _, text in bare if text in agents.names()), None)
    if name is None:
        sure = [text for before, text in bare if not before.startswith("--")]
        wrong = (sure or [bare[0][1]])[0]
        raise UsageError(f"unknown agent {wrong!r}; {nearest(wrong, agents.names())}")
    group = train.add_argument_group(f"settings of {name}")
    for setting, each in settings.declared(agents.module(name).Config).items():
        options: dict[str, Any] = {"dest": f"{PREFIX}{setting}", "default": None}
        options["help"] = f"{each.help} ({shown(each.default)})".replace("%", "%%")
        if each.kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif each.choices is not None:
            options |= {"choices": list(each.choices), "metavar": "|".join(each.choices)}
        else:
            options["type"], options["metavar"] = _READERS[each.kind]
        group.add_argument(f"--{setting.replace('_', '-')}", **options)


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The agent's settings that were given."""
    found = {key: value for key, value in vars(args).items() if key.startswith(PREFIX)}
    return {key[len(PREFIX) :]: value for key, value in found.items() if value is not None}


def shown(default: Any) -> str:
    """A default as it would be typed, or `on` and `off`."""
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)
