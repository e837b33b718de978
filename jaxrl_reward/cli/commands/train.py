"""The command `train`."""

import argparse
from typing import Any

from jaxrl_reward.cli import cache, devices, runs, training_flags
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.training_flags import number, read_vary


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "train", run, "Train an agent on an environment.")
    cache.add_flag(made)
    training_flags.add(made)
    made.add_argument(
        "--vary",
        action="append",
        metavar="NAME=X,X,...",
        default=[],
        help="train at each of these values of a setting, or of a {NAME} in the reward, at once",
    )
    made.add_argument(
        "--shard",
        choices=("auto", "seeds", "envs"),
        default="auto",
        help="over devices: seeds, the environments of each, or what fills them (auto)",
    )


def run(args: argparse.Namespace) -> None:
    """Trains an agent; writes its folder and prints a table."""
    devices.start()
    from jaxrl_reward import training

    vary = grid(args.vary)
    agent, template = training_flags.build(args, {name: values[0] for name, values in vary.items()})
    points = training.points(agent, vary, template) if vary else None
    name = f"{agent.name}-{args.env or agent.env.name}"
    out, title = runs.folder(args, name), f"{agent.name} on {agent.env.name}"
    with runs.Sinks(args, out, name) as sinks, runs.Resumable(out):
        result = training.train(
            agent,
            seeds=args.seeds,
            total_steps=args.total_steps,
            seed=args.seed,
            out=out,
            evals=args.evals,
            eval_episodes=args.eval_episodes,
            resume=args.resume,
            progress=not args.no_progress,
            sinks=sinks,
            vary=points,
            shard=args.shard,
            title=title,
            command=runs.command(args),
        )
    if training.is_first_process():
        runs.print_results(result.summary, title, out)


def grid(words: list[str]) -> dict[str, list[float]]:
    """`--vary`: names and the numbers of each."""
    texts = read_vary(words).items()
    return {name: [number(name, each) for each in several] for name, several in texts}
