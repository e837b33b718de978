"""argparse, whose mistakes are one line each.

argparse is in the standard library and lets every error be a line of its own.
"""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from jaxrl_reward.cli import devices
from jaxrl_reward.errors import nearest


class UsageError(Exception):
    """The command line is wrong: one line that names the fix."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, usage dumps and exits in its errors.

    Attributes:
      reword: from the command's words to such as argparse reads as they are meant.
      complete: adds the flags that depend on what else is said, given the words
        behind the command.
      start: readies JAX for modules of the user's, which are imported before that.
    """

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)
        self.reword: Callable[[list[str]], list[str]] = list
        self.complete: Callable[[Parser, list[str]], None] = lambda parser, words: None
        self.start: Callable[[], None] = lambda: None

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("jaxrl-reward").strip()
        known = f"jaxrl-reward {command}".strip()
        raise UsageError(f"{_plain(message)}; see {known} --help")

    def flags(self) -> list[str]:
        """All of them, as they are typed."""
        return list(self._option_string_actions)

    def takes_value(self, flag: str) -> bool:
        """Whether it is a known flag that a value follows."""
        action = self._option_string_actions.get(flag)
        return action is not None and action.nargs != 0

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else action.dest.lower()
            raise UsageError(f"unknown {name} {value!r}; {nearest(value, action.choices)}")


def command(
    subparsers: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str
) -> Parser:
    """Adds a command: `run` takes what was parsed, and gives an exit status if it is not 0."""
    made = subparsers.add_parser(name, help=text, description=text)
    made.set_defaults(run=run)
    made.start = devices.use_all_cores
    return made


def _plain(message: str) -> str:
    """argparse's message, beginning with the argument that it is about."""
    message = re.sub(r"^argument ([^:]+): ", r"\1 ", " ".join(message.split()))
    message = message.replace("the following arguments are required:", "missing argument:")
    return re.sub(r"expected one argument$", "needs a value", message)
