"""The command `explain`."""

import argparse
import re
from typing import Any

from jaxrl_reward.cli.console import show
from jaxrl_reward.cli.parser import command


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "explain", run, "Show a reward expression as a tree.")
    made.reword = _guarded
    made.add_argument("reward", metavar="REWARD", help="such as 'env + 0.1*counts()'")


def _guarded(words: list[str]) -> list[str]:
    """A reward that begins with a minus, behind what ends the flags."""
    if len(words) == 2 and re.match(r"-[^-h]", words[1]):
        return [words[0], "--", words[1]]
    return words


def run(args: argparse.Namespace) -> None:
    """Prints a reward expression as a tree."""
    from jaxrl_reward import rewards as rw

    reward = rw.parse(args.reward)
    show(rw.explain(reward))
    problem = rw.replay_problem(reward)
    print(f"replay: {f'not exact, {problem}' if problem else 'can recompute the whole exactly'}")
