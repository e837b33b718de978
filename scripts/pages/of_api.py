"""Pages of environments, of the command line, and of the public Python names."""

import importlib
import os
import pkgutil
from collections.abc import Iterable

import texts

import jaxrl_reward
from jaxrl_reward import envs
from jaxrl_reward.cli import arguments
from jaxrl_reward.envs import promises

PREFIXES = {
    "arcade": "a small Pong",
    "arena": "a point mass that covers ground",
    "brax": "brax's tasks, extra `brax`",
    "graph": "submodular tasks with known values",
    "grid": "the submodular tasks of Prajapat et al. (2024)",
    "gymnax": "gymnax's with array observations",
    "probe": "tiny ones with known values, for testing agents",
    "sequence": "writing tasks with a verifier",
    "tabular": "finite MDPs",
    "tv": "a noisy TV",
}


def pages() -> Iterable[tuple[str, str]]:
    """File names and their Markdown."""
    yield "reference/environments.md", _environments()
    yield "reference/commands.md", _commands()
    yield from _packages()


def _environments() -> str:
    text = (
        "# Environments\n\nNames for `--env` and `envs.make`, as `jaxrl-reward list envs` prints "
        "them where this page was built; a suite needs the extra of its name. A promise says "
        "whether a name that is another package's is the same task there: the comparison "
        "is run step by step in `scripts/bench/originals.py`.\n\n"
    )
    families: dict[str, list[str]] = {}
    for name in envs.names():
        families.setdefault(name.partition(":")[0], []).append(name)
    for prefix, names in sorted(families.items()):
        rows = [(f"`{name}`", texts.escaped(promises.note(name))) for name in names]
        about = PREFIXES.get(prefix, f"the suite of the extra `{prefix}`")
        text += f"## {prefix}\n\n`{prefix}:NAME`, {about}.\n\n"
        text += texts.table(("Name", "Promise"), rows)
    return text


def _commands() -> str:
    os.environ["COLUMNS"] = "88"  # argparse wraps its help by it
    whole, commands = arguments.parsers()
    text = "# Commands\n\n" + f"```text\n{whole.format_help()}```\n\n"
    for name, parser in commands.items():
        if name == "train":
            parser.epilog = "and the settings of AGENT, see its page"
        text += f"## {name}\n\n```text\n{parser.format_help()}```\n\n"
    return text


def _packages() -> Iterable[tuple[str, str]]:
    rows = []
    for found in pkgutil.iter_modules(jaxrl_reward.__path__):
        module = importlib.import_module(f"jaxrl_reward.{found.name}") if found.ispkg else None
        names = getattr(module, "__all__", None)
        if module is None or not names:
            continue
        # Terms have pages of their own.
        own = [each for each in names if not _is_term(getattr(module, each))]
        rows.append((f"[`{found.name}`]({found.name}.md)", texts.escaped(texts.first_line(module))))
        members = "".join(f'        - "{each}"\n' for each in own)
        options = f"    options:\n      members:\n{members}"
        page = f"# {found.name}\n\n::: jaxrl_reward.{found.name}\n{options}"
        yield f"reference/python/{found.name}.md", page
    head = (
        "# Python\n\n`import jaxrl_reward as jr`; the packages are loaded when they are first "
        "used, and have what is public in their `__all__`.\n\n"
    )
    yield "reference/python/index.md", head + texts.table(("Package", ""), rows)


def _is_term(found: object) -> bool:
    from jaxrl_reward.rewards.core.registry import entries

    return any(found is each.build for each in entries())
