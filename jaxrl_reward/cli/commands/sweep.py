"""The command `sweep`."""

import argparse
import dataclasses
from typing import Any

from jaxrl_reward.cli import cache, own, runs
from jaxrl_reward.cli.console import say, show
from jaxrl_reward.cli.parser import UsageError, command
from jaxrl_reward.cli.values import not_negative, whole

SOME_FAILED = 1


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "sweep", run, "Run many trials, here or on a cluster.")
    cache.add_flag(made)
    made.start = _on_the_cpu
    made.add_argument("spec", metavar="SPEC", help="a .toml file of trials, see the README")
    made.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="what runs trials (local)"
    )
    made.add_argument("--address", help="of a Ray cluster to join, or auto (starts its own)")
    made.add_argument(
        "--workers", type=whole, metavar="N", default=1, help="trials side by side, here (1)"
    )
    made.add_argument(
        "--cpus-per-trial", type=whole, metavar="N", help="cores, with Ray (all / workers)"
    )
    made.add_argument(
        "--gpus-per-trial",
        type=float,
        metavar="X",
        default=0.0,
        help="GPUs, with Ray (0)",
    )
    made.add_argument(
        "--retries",
        type=not_negative,
        metavar="N",
        default=3,
        help="how often a trial continues whose process was lost (3)",
    )
    made.add_argument("--dry-run", action="store_true", help="print the trials and run nothing")
    made.add_argument("--out", metavar="DIR", help="a new folder (runs/NAME, numbered)")
    made.add_argument("--resume", action="store_true", help="continue the sweep in the folder")
    own.add_trust(made)
    made.add_argument("--no-progress", action="store_true", help="draw no progress bar")
    runs.add_dashboards(made)


def run(args: argparse.Namespace) -> int:
    """Runs every trial of a file; writes its folder and prints a table."""
    _check(args)
    _on_the_cpu()
    from jaxrl_reward.training.record import metrics
    from jaxrl_reward.training.record.run_folder import steps_of
    from jaxrl_reward.training.sweeps import sweep as sweeps
    from jaxrl_reward.training.sweeps import sweep_spec

    planned = sweep_spec.read(args.spec)
    if args.dry_run:
        show(_table(planned))
        for name, line in planned.rounding.items():
            print(f"{name}: {line}")
        print(f"{len(planned.trials)} trials, {steps_of(planned.steps)}")
        return 0
    out = runs.folder(args, planned.name)
    planned = dataclasses.replace(planned, dashboards=runs.wanted(args))
    metrics.dashboards(planned.dashboards, out, planned.name)  # an extra may be missing
    with runs.Resumable(out):
        outcome = sweeps.run(
            planned,
            lambda path: _engine(args, path),
            out=out,
            resume=args.resume,
            retries=args.retries,
            progress=not args.no_progress,
            command=runs.command(args),
        )
    if outcome.summary is not None:
        runs.print_results(outcome.summary, planned.name, out)
    if outcome.failures:
        name = next(iter(outcome.failures))
        say(
            f"error: {len(outcome.failures)} of {len(planned.trials)} trials failed, such as "
            f"{name!r}: {outcome.failures[name].error}; --resume tries them again"
        )
        return SOME_FAILED
    return 0


def _on_the_cpu() -> None:
    """Here trials are only checked: an accelerator's memory is left to them."""
    import jax

    jax.config.update("jax_platforms", "cpu")


def _check(args: argparse.Namespace) -> None:
    for flag in ("address", "cpus_per_trial", "gpus_per_trial"):
        if getattr(args, flag) and args.engine != "ray":
            raise UsageError(f"--{flag.replace('_', '-')} needs --engine ray")
    if args.address and args.workers != 1:
        raise UsageError("--workers is for a cluster of its own; leave out it or --address")
    if not 0 <= args.gpus_per_trial < float("inf"):
        raise UsageError(f"--gpus-per-trial must be at least 0, not {args.gpus_per_trial}")


def _engine(args: argparse.Namespace, out: Any) -> Any:
    from jaxrl_reward.training.sweeps import engines

    if args.engine == "local":
        return engines.Local(out, args.workers)
    return engines.OnRay(out, args.address, args.workers, args.cpus_per_trial, args.gpus_per_trial)


def _table(planned: Any) -> Any:
    """The trials: what each is, without what all have in common."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from jaxrl_reward.training.sweeps.sweep_spec import RUN_KEYS

    rows = [
        {key: getattr(each, key) for key in RUN_KEYS if getattr(each, key) != ""} | each.settings
        for each in planned.trials
    ]
    keys = list(dict.fromkeys(key for row in rows for key in row))
    # What all have in common is said once, below the table.
    texts = [{key: str(row[key]) if key in row else "" for key in keys} for row in rows]
    common = [key for key in keys if len({text[key] for text in texts}) == 1]
    table = Table(
        title=Text(planned.name),
        caption=Text(", ".join(f"{key}={texts[0][key]}" for key in common)),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for name in ("trial", *(key for key in keys if key not in common)):
        table.add_column(name, overflow="fold")
    for trial, text in zip(planned.trials, texts, strict=True):
        table.add_row(*(Text(cell) for cell in (trial.name, *_but(text, common))))
    return table


def _but(text: dict[str, str], common: list[str]) -> list[str]:
    return [cell for key, cell in text.items() if key not in common]
