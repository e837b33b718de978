"""The command `plot`."""

import argparse
import contextlib
from typing import Any

from jaxrl_reward.cli import runs
from jaxrl_reward.cli.parser import command
from jaxrl_reward.errors import UserError
from jaxrl_reward.files import user_path


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "plot", run, "Draw learning curves of one or several runs.")
    made.add_argument("folders", metavar="RUN_FOLDER", nargs="+", help="folders that `train` wrote")
    made.add_argument("--metric", default="return", help="of metrics.parquet (return)")
    made.add_argument(
        "--out", help="a .png, .pdf or .svg, replaced if it is there (a new figure.png)"
    )


def run(args: argparse.Namespace) -> None:
    """Draws the arms of all folders into one figure."""
    import pyarrow as pa

    from jaxrl_reward import training
    from jaxrl_reward.report import plots

    tables, configs = [], {}
    for folder in args.folders:
        path = user_path(folder)
        path = path if path.is_dir() else path.parent  # of its metrics.parquet
        with contextlib.suppress(UserError):  # rows alone can be drawn too
            known = training.load_config(path)["arms"].items()
            configs |= {(folder, arm): config for arm, config in known}
        table = training.load_rows(folder).table
        if len(args.folders) > 1:  # two runs may have arms of the same name
            arms = [f"{folder.rstrip('/')}/{arm}" for arm in table["arm"].to_pylist()]
            table = table.set_column(0, "arm", pa.array(arms, pa.string()))
        tables.append(table)
    out = runs.file(args.out, "figure.png")
    axis = training.steps_axis(configs) or "Steps (per seed)"
    plots.learning_curves(pa.concat_tables(tables), out, metric=args.metric, axis=axis)
    print(out)
