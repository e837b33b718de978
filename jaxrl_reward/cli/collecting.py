"""The command `collect`."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxrl_reward.cli.commands import _command, _settings, _start_devices
from jaxrl_reward.cli.console import say, show
from jaxrl_reward.files import user_path
from jaxrl_reward.types import UserError

ROWS = 100_000  # steps of a data set


def collect(args: argparse.Namespace) -> None:
    """Trains an agent once and writes a data set of each level; prints a table."""
    _start_devices()
    from jaxrl_reward import agents, collecting
    from jaxrl_reward.collecting import report

    levels = [each.strip() for each in args.level.split(",")]
    if args.rows is not None and args.episodes is not None:
        raise UserError("a data set has --rows or --episodes, not both; leave one out")
    agent = agents.make(args.agent, args.env, **_settings(args))
    settings = collecting.Settings(
        rows=ROWS if args.rows is None else args.rows,
        episodes=args.episodes or 0,
        total_steps=args.total_steps,
        seed=args.seed,
        evals=args.evals,
        eval_episodes=args.eval_episodes,
        num_envs=args.play_envs,
        greedy=args.greedy,
    )
    collecting.check(agent, levels, settings)
    paths = _paths(args, levels)
    trained = levels != ["random"]
    missing = []
    for level, path in paths.items():
        wanted = collecting.configuration(agent, level, settings, trained)
        if report.holds(path, wanted):
            say(f"{path} holds this already: it is used again")
        else:
            missing.append(level)
    if missing:
        # Random data alone would not know the expert's return.
        again = levels if missing == ["random"] else missing
        found = collecting.collect(agent, again, settings, progress=not args.no_progress)
        for level in missing:
            about = report.describe(found.datasets[level], found.stream, found.curve)
            report.write(found.datasets[level], about, paths[level], _command(args))
    known = {level: report.read(path) for level, path in paths.items()}
    show(report.table(known, f"{agent.name} on {agent.env.name}"))
    for path in paths.values():
        print(f"{path} (beside it: {path.stem}.json, {path.stem}.png)")


def add_arguments(parser: Any, whole: Callable[[str], int], seed: Callable[[str], int]) -> None:
    """The command's flags; `whole` and `seed` read numbers."""
    parser.add_argument("agent", metavar="AGENT", help="see `list agents`")
    parser.add_argument("env", metavar="ENV", help="see `list envs`; options follow commas")
    parser.add_argument(
        "--level",
        metavar="NAME,NAME,...",
        default="medium-replay",
        help="random, medium, medium-replay, expert; of one training (medium-replay)",
    )
    parser.add_argument(
        "--out", metavar="PATH", help="an .npz, or a folder for LEVEL.npz (datasets/AGENT-ENV)"
    )
    lengths = {
        "rows": f"steps of a data set, the most of medium-replay ({ROWS})",
        "episodes": "so many whole episodes in place of rows",
    }
    for name, text in lengths.items():
        parser.add_argument(f"--{name}", type=whole, metavar="N", help=text)
    numbers = {
        "total-steps": (500_000, "of the environment, in training"),
        "evals": (20, "greedy evaluations: how finely medium is found"),
        "eval-episodes": (16, "of each"),
        "play-envs": (16, "that a policy plays side by side when it is recorded"),
    }
    for name, (default, text) in numbers.items():
        parser.add_argument(
            f"--{name}", type=whole, metavar="N", default=default, help=f"{text} ({default})"
        )
    parser.add_argument("--seed", type=seed, metavar="N", default=0, help="of all (0)")
    parser.add_argument("--greedy", action="store_true", help="record the likeliest actions")
    parser.add_argument("--no-progress", action="store_true", help="draw no progress bar")


def _paths(args: argparse.Namespace, levels: list[str]) -> dict[str, Path]:
    """A file for each level."""
    if args.out is not None and args.out.endswith(".npz"):
        if len(levels) > 1:
            raise UserError(f"--out {args.out} is one file; give a folder for {len(levels)} levels")
        return {levels[0]: user_path(args.out)}
    name = re.sub(r"[^\w.=-]+", "-", f"{args.agent}-{args.env}").strip("-")
    folder = Path("datasets") / name if args.out is None else user_path(args.out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} must be an .npz or a folder")
    return {level: folder / f"{level}.npz" for level in levels}
