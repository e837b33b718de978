"""What `train` and `search` have in common: their flags, and the agent that they are of."""

import argparse
from typing import Any

from jaxrl_reward.cli import devices, runs, settings
from jaxrl_reward.cli.parser import Parser
from jaxrl_reward.cli.values import seed, whole
from jaxrl_reward.errors import UserError


def add(train: Parser, seeds: int = 1) -> None:
    """The flags of both; those of the agent's settings follow as it is named."""
    train.complete, train.start = settings.add, devices.start_job
    train.add_argument("agent", metavar="AGENT", help="see `list agents`")
    train.add_argument(
        "env",
        metavar="ENV",
        nargs="?",
        help="see `list envs`; options follow commas (with --data it is only for "
        "evaluation: without, what the data is of, or held-out data alone)",
    )
    train.add_argument("--data", metavar="FILE", help="what an offline agent learns from")
    train.add_argument(
        "--actions",
        metavar="N|LOW,HIGH",
        help="of data without ENV: how many choices, or the bounds (what the data say, or have)",
    )
    train.add_argument("--reward", metavar="TEXT", default="env", help="an expression (env)")
    train.add_argument(
        "--seeds",
        type=whole,
        metavar="N",
        default=seeds,
        help=f"trained side by side ({seeds})",
    )
    train.add_argument("--seed", type=seed, metavar="N", default=0, help="the first of them (0)")
    train.add_argument(
        "--total-steps",
        type=whole,
        metavar="N",
        default=500_000,
        help="of the environment, per seed; with --data, gradient steps (500000)",
    )
    train.add_argument(
        "--evals", type=whole, metavar="N", default=10, help="greedy evaluations (10)"
    )
    train.add_argument(
        "--eval-episodes", type=whole, metavar="N", default=16, help="of each, per seed (16)"
    )
    runs.add_flags(train)


def actions(text: str) -> int | tuple[float, float]:
    """`--actions`: a number of choices, or two bounds of all numbers of an action."""
    parts = text.strip("()[] ").split(",")
    try:
        if len(parts) == 1 and int(parts[0]) > 0:
            return int(parts[0])
        low, high = (float(part) for part in parts)
        return low, high
    except ValueError:
        raise UserError(f"--actions must be like 4, or -1,1, not {text!r}") from None


def read_vary(words: list[str]) -> dict[str, list[str]]:
    """`["gamma=0.9,0.99"]` as `{"gamma": ["0.9", "0.99"]}`."""
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        values = [each.strip() for each in text.split(",") if each.strip()]
        if not equals or not name or not values:
            raise UserError(f"--vary {word!r} must be like learning_rate=1e-4,1e-3")
        if name in found:
            raise UserError(f"--vary names {name} twice; give all of its values at once")
        found[name] = values
    return found


def number(name: str, text: str) -> float:
    """One value of `--vary`."""
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--vary {name} must have numbers, not {text!r}") from None


def build(args: argparse.Namespace, first: dict[str, float]) -> tuple[Any, str | None]:
    """The agent, and its reward's text if that has names in braces.

    `first` has a number for each name, as the agent must be built with some.
    """
    from jaxrl_reward import agents
    from jaxrl_reward.training import grids

    names = grids.names_in(args.reward)
    if missing := [name for name in names if name not in first]:
        raise UserError(f"--reward has {{{missing[0]}}} in it; say --vary {missing[0]}=...")
    given = {name: value for name, value in first.items() if name in names}
    text = grids.fill(args.reward, given)
    if agents.learns_from_data(args.agent) and args.data is None:
        raise UserError(f"{args.agent} learns from data; say which with --data FILE")
    given_actions = None if args.actions is None else actions(args.actions)
    made = {"data": args.data, "actions": given_actions, **settings.given(args)}
    agent = agents.make(args.agent, args.env, text, **made)
    return agent, args.reward if given else None
