"""The flags of an agent's settings, made from its `Config`."""

import argparse
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any, get_args

from jaxrl_reward.cli import devices
from jaxrl_reward.cli.parser import Parser, UsageError
from jaxrl_reward.cli.values import integer, integers, real, reals
from jaxrl_reward.errors import nearest

PREFIX = "settings."


def add(train: Parser, words: list[str]) -> None:
    """Adds the flags of the agent that the command line names."""
    bare = [
        (before, text)
        for before, text in zip(["", *words], words, strict=False)
        if not text.startswith("-") and not train.takes_value(before)
    ]
    if not bare:
        return
    devices.use_all_cores()  # the simulators that agents bring along start JAX
    devices.join_processes()
    from jaxrl_reward import agents

    # A flag that is not known yet may have a value: the agent need not be the first.
    name = next((text for _, text in bare if text in agents.names()), None)
    if name is None:
        sure = [text for before, text in bare if not before.startswith("--")]
        wrong = (sure or [bare[0][1]])[0]
        raise UsageError(f"unknown agent {wrong!r}; {nearest(wrong, agents.names())}")
    config = agents.module(name).Config
    texts = documented(config)
    group = train.add_argument_group(f"settings of {name}")
    for field in dataclasses.fields(config):
        default, text = getattr(config(), field.name), texts[field.name]
        flag = f"--{field.name.replace('_', '-')}"
        options: dict[str, Any] = {"dest": f"{PREFIX}{field.name}", "default": None}
        options["help"] = f"{text} ({shown(default)})".strip().replace("%", "%%")
        if isinstance(default, bool):
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["type"] = (
                reals
                if isinstance(default, tuple) and "float" in str(field.type)
                else _reader(default)
            )
            options["metavar"] = "X,X,..." if options["type"] is reals else _metavar(default)
            if choices := [each for each in get_args(field.type) if isinstance(each, str)]:
                options["choices"] = choices
                options["metavar"] = "|".join(choices)
        group.add_argument(flag, **options)


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


def documented(config: type) -> dict[str, str]:
    """What the `Attributes:` of a dataclass say of each field, in a line.

    Raises:
      ValueError: a field has no entry of its own there, or an entry is no field's.
    """
    section = textwrap.dedent(inspect.cleandoc(config.__doc__ or "").partition("Attributes:\n")[2])
    found: dict[str, list[str]] = {}
    for line in section.splitlines():
        entry = re.fullmatch(r"(\w+): (.+)", line)  # what goes on is indented further
        if entry and entry[1] not in found:
            found[entry[1]] = [entry[2]]
        elif line.startswith(" ") and found:
            found[next(reversed(found))].append(line.strip())
        elif line.strip():
            raise ValueError(f"{config.__qualname__} documents no field in {line!r}")
    fields = [field.name for field in dataclasses.fields(config)]
    if wrong := set(fields) ^ set(found):
        raise ValueError(f"{config.__qualname__}: {min(wrong)} is no field, or has no text")
    return {name: " ".join(found[name]).rstrip(".") for name in fields}


def _reader(default: Any) -> Callable[[str], Any]:
    if isinstance(default, int):
        return integer
    if isinstance(default, float):
        return real
    return integers if isinstance(default, tuple) else str


def _metavar(default: Any) -> str:
    kinds = {int: "N", float: "X", tuple: "N,N,..."}
    return kinds.get(type(default), "TEXT")
