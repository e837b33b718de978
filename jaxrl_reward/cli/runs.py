"""What commands on runs have in common: where results go, what is said, what a run left."""

import argparse
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

from jaxrl_reward.cli import own
from jaxrl_reward.cli.console import show
from jaxrl_reward.cli.parser import Parser
from jaxrl_reward.files import is_full, user_path


def add_flags(parser: Parser) -> None:
    """Where a run goes, and what is shown of it."""
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/NAME, numbered)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the folder")
    own.add_trust(parser)
    parser.add_argument("--no-progress", action="store_true", help="draw no progress bar")
    add_dashboards(parser)


def add_dashboards(parser: Parser) -> None:
    """Where rows go besides."""
    parser.add_argument("--tensorboard", action="store_true", help="log to DIR/tensorboard too")
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")


def wanted(args: argparse.Namespace) -> tuple[str, ...]:
    """The dashboards that were asked for."""
    return tuple(name for name in ("tensorboard", "wandb") if getattr(args, name))


def folder(args: argparse.Namespace, name: str) -> Path:
    """`--out`; or a folder under `runs` that no run has, with `--resume` the last that has."""
    if args.out is not None:
        return user_path(args.out)
    base = Path("runs") / re.sub(r"[^\w.=-]+", "-", name).strip("-")
    folder = last = base
    for i in itertools.count(2):
        if not folder.exists():
            return last if args.resume else folder
        last, folder = folder, base.with_name(f"{base.name}-{i}")
    raise AssertionError("unreachable")


def file(out: str | None, name: str) -> Path:
    """`--out`; or a file in this folder that is not there yet, `name` or with a number."""
    if out is not None:
        return user_path(out)
    base = Path(name)
    numbered = (base.with_stem(f"{base.stem}-{i}") for i in itertools.count(2))
    return next(path for path in itertools.chain([base], numbered) if not path.exists())


def command(args: argparse.Namespace) -> str:
    """This command, as it would be typed to run it again in another folder."""
    argv = getattr(args, "argv", [])
    words = ["jaxrl-reward", *argv]
    left_out = {"--resume", "--no-progress", "--no-cache", "--out", "--trust"}
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before != "--out" and word.partition("=")[0] not in left_out
    ]
    return shlex.join([*kept, *own.as_flags(argv)])


class Sinks:
    """The dashboards that were asked for, closed at the end."""

    def __init__(self, args: argparse.Namespace, out: Path, name: str):
        self._args, self._out, self._name = args, out, name
        self._open: list[Any] = []

    def __enter__(self) -> list[Any]:
        from jaxrl_reward.training.record import metrics

        said = {"command": command(self._args)}
        self._open = metrics.dashboards(wanted(self._args), self._out, self._name, **said)
        return self._open

    def __exit__(self, *_: object) -> None:
        from jaxrl_reward.training.record import metrics

        metrics.close(self._open)


class Resumable:
    """Says how to continue, if the run in this folder is interrupted or the disk is full."""

    def __init__(self, out: Path):
        self._out = out

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        again = f"--out {shlex.quote(str(self._out))} --resume"
        if error is not None and is_full(error):
            error.add_note(f"make room, and the same command with {again} goes on")
        if kind is KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; the same command with {again} continues")


def print_results(summary: dict[str, Any], title: str, out: Path) -> None:
    """The table of a run's arms, what it took, and where it lies."""
    from jaxrl_reward.report import tables
    from jaxrl_reward.training.record.run_folder import steps_of

    show(tables.rich_table(summary["arms"], title=title))
    for arm, length in summary.get("rounded_up", {}).items():
        print("{}: {asked:,} steps per seed rounded up to {steps:,}".format(arm, **length))
    spent = f"{summary['wall_seconds']:,.0f} s"
    if steps := steps_of(summary):
        print(
            f"{steps} in {spent} ({summary['steps_per_second']:,.0f} "
            f"steps/s, compiling {summary['compile_seconds']:,.0f} s, {summary['device']})"
        )
    else:
        print(f"{spent} on {summary['device']}")
    print(f"results: {out} (summary.json, metrics.parquet, figure.png, report.md)")


def load(folder: str, arm: str | None) -> tuple[Any, Any]:
    """An arm's agent, and its state in the newest good checkpoint."""
    from jaxrl_reward.training.restoring import restore

    with own.names_of(folder):
        return restore(folder, arm)
