"""The command `list`."""

import argparse
import dataclasses
from collections.abc import Iterable
from typing import Any

from jaxrl_reward.cli.console import columns
from jaxrl_reward.cli.parser import command
from jaxrl_reward.plugins import imports


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "list", run, "List what there is by name.")
    made.add_argument("LIST", choices=tuple(LISTS), help="what kind")


def run(args: argparse.Namespace) -> None:
    """Prints the names of one kind, with a line on each; of agents and formats a table too."""
    columns(list(LISTS[args.LIST]()))
    tables = {"agents": terms, "formats": traits}
    if args.LIST in tables:
        print(f"\n{tables[args.LIST]()}")


def _agents() -> Iterable[tuple[str, str]]:
    from jaxrl_reward import agents

    return [(name, _summary(agents.module(name))) for name in agents.names()]


def terms() -> str:
    """Which kinds of reward terms each agent takes, as a Markdown table."""
    from jaxrl_reward import agents
    from jaxrl_reward.agents.common.base import KINDS
    from jaxrl_reward.training.record.write_up import markdown_table

    taken = {name: agents.terms(name) for name in agents.names()}
    rows = [(n, *("yes" if kind in each else "" for kind in KINDS)) for n, each in taken.items()]
    return markdown_table(("Agent", *KINDS), rows)


def traits() -> str:
    """What each format of data can hold and how it is read, as a Markdown table."""
    from jaxrl_reward.data import formats
    from jaxrl_reward.training.record.write_up import markdown_table

    head = ("Format", "Ends told", "True successor", "Spaces", "Images", "Score", "Written")
    return markdown_table(head, [(name, *each) for name, each in formats.traits().items()])


def _envs() -> Iterable[tuple[str, str]]:
    from jaxrl_reward import envs
    from jaxrl_reward.envs import promises

    return [(name, promises.note(name)) for name in envs.names()]


def _rewards() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.rewards.core import operators, registry

    rows = [(signature(entry.name, entry.arguments), entry.summary) for entry in registry.entries()]
    rows.append(("stack(a, b, ...)", _summary(operators.stack)))
    rows.append(("where(condition, a, b)", _summary(operators.where)))
    return sorted(rows)


def _potentials() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.rewards.core import potentials

    return [(name, _summary(potentials.lookup(name))) for name in potentials.names()]


def _networks() -> Iterable[tuple[str, str]]:
    from jaxrl_reward import nn

    return [(name, nn.summary(name)) for name in nn.names()]


def _experiments() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.training.experiments import experiment as experiments

    return [(name, experiments.load(name).claim) for name in experiments.names()]


def _formats() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.data import formats

    return [(name, formats.summary(name)) for name in formats.names()]


def _plugins() -> Iterable[tuple[str, str]]:
    found = sorted(imports.plugins().items())
    return [(name, f"{_package(each)}; --import {name}") for name, each in found]


def _package(plugin: Any) -> str:
    """What an entry point is of: `PACKAGE VERSION, MODULE`."""
    of = f"{plugin.dist.name} {plugin.dist.version}, " if plugin.dist else ""
    return f"{of}{plugin.module}"


LISTS = {
    "agents": _agents,
    "envs": _envs,
    "rewards": _rewards,
    "potentials": _potentials,
    "networks": _networks,
    "experiments": _experiments,
    "formats": _formats,
    "plugins": _plugins,
}


def _summary(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def signature(name: str, arguments: dict[str, Any]) -> str:
    """A term as it is written, with its defaults: `clip(low=-1, high=1)`."""
    from jaxrl_reward.rewards.core.base import show as shown

    if name == "env":
        return name
    words = [
        # What is None by default depends on something else: the agent's discount, say.
        key
        if default is dataclasses.MISSING
        else f"{key}={'...' if default is None else shown(default)}"
        for key, default in arguments.items()
    ]
    return f"{name}({', '.join(words)})"
