"""The command `collect`."""

import argparse
import re
from pathlib import Path
from typing import Any

from jaxrl_reward.cli import cache, devices, runs, settings
from jaxrl_reward.cli.console import say, show
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import seed, whole
from jaxrl_reward.errors import UserError
from jaxrl_reward.files import user_path

ROWS = 100_000  # steps of a data set


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "collect", run, "Write data sets for offline learning.")
    cache.add_flag(made)
    made.complete, made.start = settings.add, devices.start_job
    made.add_argument("agent", metavar="AGENT", help="see `list agents`")
    made.add_argument("env", metavar="ENV", help="see `list envs`; options follow commas")
    made.add_argument(
        "--level",
        metavar="NAME,NAME,...",
        default="medium-replay",
        help="random, medium, medium-replay, expert; of one training (medium-replay)",
    )
    made.add_argument(
        "--out", metavar="PATH", help="an .npz, or a folder for LEVEL.npz (datasets/AGENT-ENV)"
    )
    lengths = {
        "rows": f"steps of a data set, the most of medium-replay ({ROWS})",
        "episodes": "so many whole episodes in place of rows",
    }
    for name, text in lengths.items():
        made.add_argument(f"--{name}", type=whole, metavar="N", help=text)
    numbers = {
        "total-steps": (500_000, "of the environment, in training"),
        "evals": (20, "greedy evaluations: how finely medium is found"),
        "eval-episodes": (16, "of each"),
        "play-envs": (16, "that a policy plays side by side when it is recorded"),
    }
    for name, (default, text) in numbers.items():
        made.add_argument(
            f"--{name}", type=whole, metavar="N", default=default, help=f"{text} ({default})"
        )
    made.add_argument("--seed", type=seed, metavar="N", default=0, help="of all (0)")
    made.add_argument("--greedy", action="store_true", help="record the likeliest actions")
    made.add_argument("--no-progress", action="store_true", help="draw no progress bar")


def run(args: argparse.Namespace) -> None:
    """Trains an agent once and writes a data set of each level; prints a table."""
    devices.start()
    from jaxrl_reward import agents, collecting
    from jaxrl_reward.collecting import report

    levels = [each.strip() for each in args.level.split(",")]
    if args.rows is not None and args.episodes is not None:
        raise UserError("a data set has --rows or --episodes, not both; leave one out")
    agent = agents.make(args.agent, args.env, **settings.given(args))
    asked = collecting.Settings(
        rows=ROWS if args.rows is None else args.rows,
        episodes=args.episodes or 0,
        total_steps=args.total_steps,
        seed=args.seed,
        evals=args.evals,
        eval_episodes=args.eval_episodes,
        num_envs=args.play_envs,
        greedy=args.greedy,
    )
    collecting.check(agent, levels, asked)
    paths = _paths(args, levels)
    trained = levels != ["random"]
    missing = []
    for level, path in paths.items():
        wanted = collecting.configuration(agent, level, asked, trained)
        if report.holds(path, wanted):
            say(f"{path} holds this already: it is used again")
        else:
            missing.append(level)
    if missing:
        # Random data alone would not know the expert's return.
        again = levels if missing == ["random"] else missing
        found = collecting.collect(agent, again, asked, progress=not args.no_progress)
        for level in missing:
            about = report.describe(found.datasets[level], found.stream, found.curve)
            report.write(found.datasets[level], about, paths[level], runs.command(args))
    known = {level: report.read(path) for level, path in paths.items()}
    show(report.table(known, f"{agent.name} on {agent.env.name}"))
    for path in paths.values():
        print(f"{path} (beside it: {path.stem}.json, {path.stem}.png)")


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
