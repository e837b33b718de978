"""What varies within one program: `train --vary`, and the command `search`."""

import argparse
from collections.abc import Callable
from typing import Any

from jaxrl_reward.cli import commands


def add_vary(parser: Any) -> None:
    """The flags of `train`."""
    parser.add_argument(
        "--vary",
        action="append",
        metavar="NAME=X,X,...",
        default=[],
        help="train at each of these values of a setting, or of a {NAME} in the reward, at once",
    )
    parser.add_argument(
        "--shard",
        choices=("auto", "seeds", "envs"),
        default="auto",
        help="over devices: seeds, the environments of each, or what fills them (auto)",
    )


def add_search(parser: Any, whole: Callable[[str], int]) -> None:
    """The flags of `search` beyond those of `train`."""
    parser.add_argument(
        "--vary",
        action="append",
        metavar="NAME=RANGE",
        default=[],
        help="search over LOW:HIGH, log:LOW:HIGH or X,X,... of a setting or a {NAME} in the reward",
    )
    parser.add_argument("--trials", type=whole, metavar="N", default=32, help="in all (32)")
    parser.add_argument("--batch", type=whole, metavar="N", default=8, help="side by side (8)")
    parser.add_argument(
        "--sampler", choices=("tpe", "random"), default="tpe", help="Optuna's: tpe or random (tpe)"
    )


def read(words: list[str]) -> dict[str, list[str]]:
    """`["gamma=0.9,0.99"]` as `{"gamma": ["0.9", "0.99"]}`."""
    from jaxrl_reward.types import UserError

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


def grid(words: list[str]) -> dict[str, list[float]]:
    """`--vary` of `train`: names and the numbers of each."""
    return {name: [_number(name, each) for each in texts] for name, texts in read(words).items()}


def space(words: list[str]) -> dict[str, Any]:
    """`--vary` of `search`: names, and a range or choices of each."""
    from jaxrl_reward.training.search import Range

    found: dict[str, Any] = {}
    for name, texts in read(words).items():
        parts = texts[0].split(":")
        log = parts[0] == "log"
        ends = [_number(name, each) for each in parts[log:]]
        if len(texts) == 1 and len(ends) == 2:
            found[name] = Range(ends[0], ends[1], log)
        else:
            found[name] = [_number(name, each) for each in texts]
    return found


def _number(name: str, text: str) -> float:
    from jaxrl_reward.types import UserError

    try:
        return float(text)
    except ValueError:
        raise UserError(f"--vary {name} must have numbers, not {text!r}") from None


def build(args: argparse.Namespace, first: dict[str, float]) -> tuple[Any, str | None]:
    """The agent, and its reward's text if that has names in braces.

    `first` has a number for each name, as the agent must be built with some.
    """
    from jaxrl_reward import agents
    from jaxrl_reward.training import lanes
    from jaxrl_reward.types import UserError

    names = lanes.names_in(args.reward)
    if missing := [name for name in names if name not in first]:
        raise UserError(f"--reward has {{{missing[0]}}} in it; say --vary {missing[0]}=...")
    given = {name: value for name, value in first.items() if name in names}
    text = lanes.fill(args.reward, given)
    if agents.learns_from_data(args.agent) and args.data is None:
        raise UserError(f"{args.agent} learns from data; say which with --data FILE")
    agent = agents.make(args.agent, args.env, text, data=args.data, **commands._settings(args))
    return agent, args.reward if given else None


def search(args: argparse.Namespace) -> None:
    """Searches for numbers; writes its folder and prints a table."""
    commands._start_devices()
    from jaxrl_reward.training import search as searching

    wanted = space(args.vary)
    first = {n: d.low if isinstance(d, searching.Range) else d[0] for n, d in wanted.items()}
    agent, template = build(args, first)
    name = f"search-{agent.name}-{args.env or agent.env.name}"
    title = f"Search: {agent.name} on {agent.env.name}"
    out = commands._folder(args, name)
    with commands._Sinks(args, out, name) as sinks, commands._Resumable(out):
        found = searching.search(
            agent,
            wanted,
            trials=args.trials,
            batch=args.batch,
            seeds=args.seeds,
            total_steps=args.total_steps,
            out=out,
            template=template,
            sampler=args.sampler,
            seed=args.seed,
            resume=args.resume,
            progress=not args.no_progress,
            sinks=sinks,
            evals=args.evals,
            eval_episodes=args.eval_episodes,
            title=title,
            command=commands._command(args),
        )
    commands._print_results(found.summary, title, out)
    values = ", ".join(f"{name}={value:g}" for name, value in found.values.items())
    print(f"best: {found.best}, {values}; train it on other seeds (--seed) to know its return")
