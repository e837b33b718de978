"""The command `plot`."""

import argparse
import contextlib
from collections.abc import Sequence
from typing import Any

from jaxrl_reward.cli import runs
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import whole
from jaxrl_reward.errors import UserError, nearest
from jaxrl_reward.files import user_path


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "plot", run, "Draw learning curves of one or several runs.")
    made.add_argument("folders", metavar="RUN_FOLDER", nargs="+", help="folders that `train` wrote")
    made.add_argument("--metric", help="of metrics.parquet (what the run reports: return)")
    made.add_argument("--title", metavar="TEXT", help="above the figure")
    made.add_argument("--label", metavar="TEXT", help="of the vertical axis")
    made.add_argument("--arms", metavar="ARM", nargs="+", help="only these, in this order")
    made.add_argument(
        "--smooth", type=whole, metavar="N", default=1, help="mean of each seed's last N points (1)"
    )
    made.add_argument("--table", metavar="FILE", help="the last points too, in a .tex, .csv or .md")
    made.add_argument(
        "--out", help="a .png, .pdf or .svg, replaced if it is there (a new figure.png)"
    )


def run(args: argparse.Namespace) -> None:
    """Draws the arms of all folders into one figure, and makes a table of them."""
    import pyarrow as pa

    from jaxrl_reward import training
    from jaxrl_reward.report import plots
    from jaxrl_reward.report import tables as reports

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
    rows = _chosen(training.Rows(pa.concat_tables(tables)), args.arms)
    told = (config["metric"] for config in configs.values() if "metric" in config)
    metric = args.metric or next(told, "return")
    options = {"metric": metric, "title": args.title, "label": args.label}
    plots.learning_curves(rows.table, out, axis=axis, smooth=args.smooth, **options)
    print(out)
    if args.table is not None:
        print(reports.write(_last(rows, metric), args.table))


def _chosen(rows: Any, arms: Sequence[str] | None) -> Any:
    """The rows of these arms, in their order; all of them without a choice."""
    known = rows.by_arm()
    for arm in arms or ():
        if arm not in known:
            raise UserError(f"there is no arm {arm!r}; {nearest(arm, known)}")
    return rows if arms is None else type(rows).concatenate(known[arm] for arm in arms)


def _last(rows: Any, metric: str) -> dict[str, Any]:
    """Each arm's last point, as in its run's summary."""
    import numpy as np

    from jaxrl_reward.report import statistics

    last = {
        arm: own.curve(metric)[1][:, -1] for arm, own in rows.where(metric=metric).by_arm().items()
    }
    return {arm: statistics.summarize(x[~np.isnan(x)], metric) for arm, x in last.items()}
