"""The command `search`."""

import argparse
from typing import Any

from jaxrl_reward.cli import cache, devices, runs, training_flags
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.training_flags import number, read_vary
from jaxrl_reward.cli.values import whole


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "search", run, "Search for settings with Optuna.")
    cache.add_flag(made)
    training_flags.add(made, seeds=4)
    made.add_argument(
        "--vary",
        action="append",
        metavar="NAME=RANGE",
        default=[],
        help="search over LOW:HIGH, log:LOW:HIGH or X,X,... of a setting or a {NAME} in the reward",
    )
    made.add_argument("--trials", type=whole, metavar="N", default=32, help="in all (32)")
    made.add_argument("--batch", type=whole, metavar="N", default=8, help="side by side (8)")
    made.add_argument(
        "--sampler", choices=("tpe", "random"), default="tpe", help="Optuna's: tpe or random (tpe)"
    )


def run(args: argparse.Namespace) -> None:
    """Searches for numbers; writes its folder and prints a table."""
    devices.start()
    from jaxrl_reward.training import search as searching

    wanted = space(args.vary)
    first = {n: d.low if isinstance(d, searching.Range) else d[0] for n, d in wanted.items()}
    agent, template = training_flags.build(args, first)
    name = f"search-{agent.name}-{args.env or agent.env.name}"
    title = f"Search: {agent.name} on {agent.env.name}"
    out = runs.folder(args, name)
    with runs.Sinks(args, out, name) as sinks, runs.Resumable(out):
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
            command=runs.command(args),
        )
    runs.print_results(found.summary, title, out)
    values = ", ".join(f"{name}={value:g}" for name, value in found.values.items())
    print(f"best: {found.best}, {values}; train it on other seeds (--seed) to know its return")


def space(words: list[str]) -> dict[str, Any]:
    """`--vary`: names, and a range or choices of each."""
    from jaxrl_reward.training.search import Range

    found: dict[str, Any] = {}
    for name, texts in read_vary(words).items():
        parts = texts[0].split(":")
        log = parts[0] == "log"
        ends = [number(name, each) for each in parts[log:]]
        if len(texts) == 1 and len(ends) == 2:
            found[name] = Range(ends[0], ends[1], log)
        else:
            found[name] = [number(name, each) for each in texts]
    return found
