"""Pages of the reward terms, a family each: from the registry and the docstrings."""

import dataclasses
import importlib
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import texts

from jaxrl_reward.cli.commands.listing import signature
from jaxrl_reward.rewards.core import checks, inspect, operators, potentials, registry
from jaxrl_reward.rewards.core.base import RewardTransform, show

KINDS = (
    ("Paired", "pair", "a loss of pairs of responses"),
    ("Grouped", "group", "of groups of episodes, the responses to one prompt"),
    ("Episodic", "episodic", "of whole episodes"),
    ("Learned", "learned", "with parameters that it trains"),
    ("Causal", "causal", "with a memory of the running episode"),
    ("Pointwise", "pointwise", "of one transition at a time"),
    ("Scalariser", "scalariser", "makes one number of a vector reward"),
    ("Running", "running", "by statistics of all rewards so far"),
    ("Corrupted", "corrupted", "a reward with errors in it"),
)


def pages() -> Iterable[tuple[str, str]]:
    """File names and their Markdown."""
    known = sorted(registry.entries(), key=lambda each: (family(each), each.name))
    families = {key: list(found) for key, found in groupby(known, family)}
    rows = []
    for name, found in families.items():
        title, text = said_of(name)
        yield f"reference/terms/{name}.md", _family(title, text, found)
        for each in found:
            summary = texts.escaped(each.summary)
            rows.append((f"[`{each.name}`]({name}.md#{each.name})", title, summary))
    head = (
        "# Reward terms\n\nEvery term that a reward expression can be made of: "
        "`jaxrl-reward list rewards` prints the same names, and "
        "`jaxrl-reward explain EXPRESSION` shows what an expression is.\n\n"
    )
    index = head + texts.table(("Term", "Family", "What it is"), sorted(rows))
    yield "reference/terms/index.md", index + _operators() + _potentials()


def family(entry: registry.Entry) -> str:
    """The package of `rewards` that a term is in."""
    parts = entry.build.__module__.split(".")
    return parts[2] if len(parts) > 3 else "core"


def said_of(name: str) -> tuple[str, str]:
    """A family's title, and a sentence on it."""
    if name == "core":
        return "The algebra", "The unit, weights that change over training, names for logs."
    line = texts.first_line(importlib.import_module(f"jaxrl_reward.rewards.{name}"))
    before, colon, after = line.partition(": ")
    if colon and " " not in before:
        return before, after[0].upper() + after[1:]
    return name.capitalize(), line


def _family(title: str, text: str, entries: list[registry.Entry]) -> str:
    parts = [f"# {title}\n\n{texts.escaped(text)}\n\n"]
    return "".join([*parts, *(_term(each) for each in entries)])


def _term(entry: registry.Entry) -> str:
    text = texts.text_of(entry.build)
    parts = [
        f"## {entry.name} {{#{entry.name}}}\n\n",
        f"```python\n{signature(entry.name, entry.arguments)}\n```\n\n",
    ]
    parts += [f"**{texts.escaped(entry.summary)}**\n\n", texts.body(text)]
    rows = [
        (f"`{name}`", _default(default), allowed(entry.build, name))
        for name, default in entry.arguments.items()
    ]
    if rows:
        parts.append(texts.table(("Argument", "Default", "What it may be"), rows))
    file = entry.build.__module__.replace(".", "/")
    return "".join([*parts, f"*{_kind(entry.build)}{_replay(entry)}; source: `{file}.py`*\n\n"])


def _kind(build: type[RewardTransform]) -> str:
    bases = {each.__name__ for each in build.__mro__}
    return next((f"{kind}: {text}; " for base, kind, text in KINDS if base in bases), "")


def _replay(entry: registry.Entry) -> str:
    """Whether stored steps can be rewarded anew, of the first example of the laws."""
    problem = inspect.replay_problem(entry.build(**entry.examples[0]))
    return f"replay is not exact, {problem}" if problem else "replay is exact"


def _default(default: Any) -> str:
    if default is dataclasses.MISSING:
        return "required"
    return "by its surroundings" if default is None else f"`{show(default)}`"


def allowed(build: type[RewardTransform], name: str) -> str:
    """What an argument may be, in words."""
    wanted, kind = checks.rule(build, name), checks.declared(build)[name][0]
    if isinstance(wanted, checks.OneOf):
        return ", ".join(f"`{word}`" for word in wanted.words)
    if wanted is not None:
        return str(wanted)
    return {bool: "true or false", str: "a text"}.get(kind, "")


def _operators() -> str:
    made = {"stack(a, b, ...)": operators.stack, "where(condition, a, b)": operators.where}
    rows = [(f"`{name}`", texts.escaped(texts.first_line(f))) for name, f in made.items()]
    return "\n## Operators\n\n" + texts.table(("Written", "What it is"), rows)


def _potentials() -> str:
    known = ((name, potentials.lookup(name)) for name in potentials.names())
    rows = [(f"`{name}`", texts.escaped(texts.first_line(f))) for name, f in known]
    return "\n## Potentials by name\n\n" + texts.table(("Name", "What it is"), rows)
