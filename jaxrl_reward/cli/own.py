"""`--import` and `--trust`: modules of the user's own, before and after a command is parsed."""

import argparse
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxrl_reward.cli.console import say
from jaxrl_reward.cli.parser import Parser
from jaxrl_reward.errors import UserError
from jaxrl_reward.files import user_path
from jaxrl_reward.plugins import imports


def add_import(parser: Any) -> None:
    """The flag of every command."""
    parser.add_argument(
        "--import",
        action="append",
        dest="imports",
        metavar="FILE|MODULE",
        default=[],
        help="run a .py file of yours, a module or a plugin first, for what it registers",
    )


def add_trust(parser: Any) -> None:
    """The flag of commands that take the folder of a run."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="import what the run folder names, though it was made elsewhere or that has changed",
    )


def load_named(chosen: Parser, words: list[str]) -> None:
    """Imports what a command line names, before the rest of it is read.

    With `--resume` and `--out` that is also what the run in that folder has imported.
    """
    first = Parser(prog=chosen.prog, add_help=False)
    add_import(first)
    flags = [flag for flag in ("--trust", "--resume") if flag in chosen.flags()]
    for flag in flags:
        first.add_argument(flag, action="store_true")
    first.add_argument("--out")
    found, _ = first.parse_known_args(words)
    folder = user_path(found.out) if flags[1:] and found.resume and found.out else None
    config = _config(folder) if folder else {}
    if found.imports or config.get("imports"):
        chosen.start()
    for name in found.imports:
        imports.load(name)
    if folder and config.get("imports"):
        from jaxrl_reward.training import imported

        imported.load(folder, config, say, trust=found.trust, resume=True)


def load_recorded(args: argparse.Namespace, folder: str) -> None:
    """Imports what a run in a folder has imported, if the user vouches for it."""
    from jaxrl_reward.training import imported, load_config

    imported.load(folder, load_config(folder), say, trust=args.trust)


def hint(message: str) -> str:
    """What to add to an error about a name that nothing has, where a plugin may bring it."""
    return imports.hint() if _is_unknown(message) else ""


@contextlib.contextmanager
def names_of(folder: str) -> Iterator[None]:
    """Says what is missing where a run has names that nothing has, as one that Python made may."""
    try:
        yield
    except UserError as error:
        if not _is_unknown(str(error)):
            raise
        raise UserError(
            f"{folder} has what no import of it brings, name your file with --import: {error}"
        ) from error


def _is_unknown(message: str) -> bool:
    pattern = r"\bunknown (?:reward term|agent|environment) |no format that is known"
    return re.search(pattern, message) is not None


def as_flags(argv: list[str]) -> list[str]:
    """`--import NAME` for what is imported and that the command line does not name."""
    first = Parser(add_help=False)
    add_import(first)
    said = {imports.full_name(name) for name in first.parse_known_args(argv)[0].imports}
    names = [each.name for each in imports.loaded() if each.name not in said]
    return [word for name in names for word in ("--import", name)]


def _config(folder: Path) -> dict[str, Any]:
    """What a run or a sweep has written of itself; whether it can be resumed is seen later."""
    for name in ("sweep.json", "config.json"):
        try:
            found = json.loads((folder / name).read_bytes())
        except (OSError, ValueError):
            continue
        return found if isinstance(found, dict) else {}
    return {}
