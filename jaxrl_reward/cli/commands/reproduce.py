"""The command `reproduce`."""

import argparse
from typing import Any

from jaxrl_reward.cli import cache, devices, runs
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import seed, whole


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "reproduce", run, "Run an experiment and judge its claim.")
    cache.add_flag(made)
    made.add_argument("name", metavar="NAME", help="see `list experiments`; or a .py file")
    made.add_argument("--preset", default="quick", help="smoke, quick or paper (quick)")
    made.add_argument("--seeds", type=whole, metavar="N", help="per arm, in place of the preset's")
    made.add_argument("--seed", type=seed, metavar="N", help="the first, in place of the preset's")
    runs.add_flags(made)


def run(args: argparse.Namespace) -> None:
    """Runs an experiment; prints its table and verdicts."""
    devices.start()
    from jaxrl_reward.training.experiments import experiment as experiments

    experiment = experiments.load(args.name)
    out = runs.folder(args, experiment.name)
    with runs.Sinks(args, out, experiment.name) as sinks, runs.Resumable(out):
        outcome = experiments.run(
            experiment,
            args.preset,
            out=out,
            seeds=args.seeds,
            seed=args.seed,
            resume=args.resume,
            progress=not args.no_progress,
            sinks=sinks,
            command=runs.command(args),
        )
    runs.print_results(outcome.summary, experiment.title, out)
    for verdict in outcome.verdicts:
        print(f"{verdict.status + ':':<10} {verdict.claim}\n{'':<10} {verdict.evidence}")
    if outcome.verdicts and (note := experiments.NOTES.get(args.preset)):
        print(note)
