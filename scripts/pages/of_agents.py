"""Pages of the agents, with all their settings as they are declared."""

import math
from collections.abc import Iterable
from typing import Any

import texts

from jaxrl_reward import agents, settings
from jaxrl_reward.agents.common.base import KINDS


def pages() -> Iterable[tuple[str, str]]:
    """File names and their Markdown."""
    rows = []
    for name in agents.names():
        module = agents.module(name)
        yield f"reference/agents/{name}.md", _agent(name, module)
        taken = agents.terms(name)
        kinds = ["yes" if kind in taken else "" for kind in KINDS]
        summary = texts.escaped(texts.first_line(module))
        rows.append((f"[`{name}`]({name}.md)", summary, *kinds))
    head = "# Agents\n\nWhat each learns by, and which kinds of reward terms it takes.\n\n"
    yield "reference/agents/index.md", head + texts.table(("Agent", "", *KINDS), rows)


def _agent(name: str, module: Any) -> str:
    text = texts.text_of(module)
    learns = "fixed data" if agents.learns_from_data(name) else "what it plays"
    parts = [
        f"# {name}\n\n{texts.escaped(texts.first_line(module))}\n\n",
        texts.body(text),
        f"Learns from {learns}; takes terms that are {', '.join(agents.terms(name))}. "
        f"`jaxrl-reward train {name} --help` has these settings as flags.\n\n## Settings\n\n"
        "*Varies* says of a setting that it is a number of the compiled program: other values "
        "do not compile again, and several train side by side. The rest shape the program.\n\n",
        texts.table(
            ("Setting", "Default", "What it is", "What it may be", "Varies"),
            (_setting(key, each) for key, each in settings.declared(module.Config).items()),
        ),
    ]
    return "".join(parts)


def _setting(name: str, each: settings.Setting) -> tuple[str, ...]:
    help = texts.escaped(each.help)
    return (f"`{name}`", _default(each), help, allowed(each), "" if each.static else "yes")


def _default(each: settings.Setting) -> str:
    if each.of_run and each.default == settings.RUN:
        return "the run's steps"
    return f"`{each.default!r}`" if isinstance(each.default, str) else f"`{each.default}`"


def allowed(each: settings.Setting) -> str:
    """What a setting may be, in words."""
    if each.choices is not None:
        return ", ".join(f"`{choice}`" for choice in each.choices)
    if each.interval is None:
        return "true or false" if each.kind is bool else ""
    bounded = math.isfinite(each.low) or math.isfinite(each.high)
    return str(each.interval) if bounded or each.interval.whole else "a number"
