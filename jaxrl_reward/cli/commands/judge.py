"""The command `judge`."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from jaxrl_reward.cli import cache, devices
from jaxrl_reward.cli.console import say, show
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import seed


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "judge", run, "Say how good a judge of responses is, on pairs.")
    cache.add_flag(made)
    made.add_argument("model", metavar="MODEL", help="a file that ResponseModel.save wrote")
    made.add_argument(
        "--pairs",
        metavar="FILE",
        nargs="+",
        required=True,
        help="pairs that it was not fitted to: .npz, or .jsonl or .parquet with --env; of several "
        "files, such as held-out pairs and fresh rollouts, each is told apart",
    )
    made.add_argument("--env", metavar="ENV", help="the sequence: task whose symbols texts have")
    made.add_argument("--seed", type=seed, metavar="N", default=0, help="of what is drawn (0)")
    made.add_argument("--json", action="store_true", help="print JSON")
    made.add_argument("--out", metavar="FILE.png", help="draw the numbers and their intervals")


def run(args: argparse.Namespace) -> None:
    """Prints a table of each file's numbers, and draws them."""
    devices.start()
    from jaxrl_reward.nn import response_models
    from jaxrl_reward.preferences.scores.cards import card

    model = response_models.load(args.model)
    found = {name: card(model, _read(name, args.env), args.seed) for name in args.pairs}
    if args.json:
        print(json.dumps({name: _plain(each) for name, each in found.items()}, indent=2))
    else:
        for name, each in found.items():
            _show(name, each)
    if args.out:
        from jaxrl_reward.preferences.scores.figure import draw

        say(f"{draw(found, args.out)} shows them")


def _read(name: str, env: str | None) -> Any:
    """The pairs in a file, as the tokens of a task where they are texts."""
    from jaxrl_reward.data import pair_rows, pairs
    from jaxrl_reward.types import UserError

    if env is not None:
        from jaxrl_reward import envs

        made = envs.make(env)
        task = getattr(made.environment, "task", None)
        if task is None:
            raise UserError(f"--env must be a sequence: task, and {env} is none")
        return pair_rows.read(name, task, env)
    if Path(name).suffix != ".npz":
        raise UserError(f"{name} must end in .npz, or --env say whose symbols its texts have")
    return pairs.load(name)


def _plain(found: Any) -> Any:
    lines = [
        {key: None if value != value else value for key, value in line._asdict().items()}
        for line in found.lines
    ]
    return {"pairs": found.pairs, "resampled": found.resampled, "lines": lines}


def _show(name: str, found: Any) -> None:
    from rich.table import Table

    print(f"{name}: {found.pairs:,} decided pairs, intervals over {found.resampled}")
    table = Table()
    for i, column in enumerate(("Of the judge", "Mean", "95 % interval", "Chance", "Number")):
        table.add_column(column, justify="right" if i else "left")
    for line in found.lines:
        known = not math.isnan(line.low)
        table.add_row(
            line.name,
            f"{line.value:.3f}",
            f"{line.low:.3f} to {line.high:.3f}" if known else "",
            "" if math.isnan(line.chance) else f"{line.chance:.3f}",
            f"{line.count:,}",
        )
    show(table)
