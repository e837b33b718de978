"""What the command line prints: results on standard output, the rest on standard error."""

import sys
from typing import Any


def say(line: str) -> None:
    """One line for the user, apart from results."""
    print(f"jaxrl-reward: {line}", file=sys.stderr, flush=True)


def show(what: Any) -> None:
    """A table or a tree, as wide as the terminal; wide enough for any in a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 120))
    console.print(what)


def columns(rows: list[tuple[str, str]]) -> None:
    """Two columns of plain text: what scripts and `grep` can read."""
    # A few long names must not push all of the second column off the screen.
    width = max((len(first) for first, _ in rows if len(first) <= 44), default=0)
    for first, second in rows:
        print(f"{first:<{width}}  {second}".rstrip())
