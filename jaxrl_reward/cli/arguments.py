"""The command line's arguments: the table of commands, parsed, refused in one line."""

import argparse
import re

from jaxrl_reward.cli import own
from jaxrl_reward.cli.commands import COMMANDS
from jaxrl_reward.cli.parser import Parser, UsageError
from jaxrl_reward.errors import nearest
from jaxrl_reward.version import __version__

_EXAMPLE = 'jaxrl-reward train ppo gymnax:CartPole-v1 --reward "env + 0.1*counts()" --seeds 16'


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line as a namespace whose `run` takes it.

    Raises:
      UsageError: anything is wrong with it.
      SystemExit: after `--help` or `--version`.
    """
    parser, commands = parsers()
    argv = _joined(argv)
    chosen = commands.get(argv[0]) if argv else None
    if chosen is not None:
        argv = chosen.reword(argv)
        own.load_named(chosen, argv[1:])
        chosen.complete(chosen, argv[1:])
    args, unknown = parser.parse_known_args(argv)
    args.argv = argv
    if unknown:
        flag = unknown[0].partition("=")[0]
        if not flag.startswith("-"):
            raise UsageError(f"unexpected argument {flag!r}; put quotes around a text with spaces")
        known = (commands[args.command] if args.command else parser).flags()
        raise UsageError(f"unknown argument {flag}; {nearest(flag, known)}")
    if args.command is None:
        raise UsageError("a command is missing, such as train; see jaxrl-reward --help")
    return args


def parsers() -> tuple[Parser, dict[str, Parser]]:
    """That of the whole command line, and by name those of the commands in it."""
    parser = Parser(
        prog="jaxrl-reward",
        description="Train compiled agents on rewards written as expressions.",
        epilog=f"example: {_EXAMPLE}",
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for each in COMMANDS:
        each.add(subparsers)
    for made in subparsers.choices.values():
        own.add_import(made)
    return parser, dict(subparsers.choices)


def _joined(argv: list[str]) -> list[str]:
    """`--reward -env` as `--reward=-env`: rewards and lists of numbers may begin with a minus."""
    result: list[str] = []
    for text in argv:
        if result and result[-1] == "--reward" and not text.startswith("--"):
            result[-1] = f"--reward={text}"
        elif result and result[-1].startswith("--") and re.match(r"-[\d.]+,", text):
            result[-1] = f"{result[-1]}={text}"
        else:
            result.append(text)
    return result
