"""The command `evaluate`."""

import argparse
from typing import Any

from jaxrl_reward.cli import cache, devices, own, runs
from jaxrl_reward.cli.console import say, show
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import seed, whole


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "evaluate", run, "Play a trained policy greedily.")
    cache.add_flag(made)
    made.add_argument("folder", metavar="RUN_FOLDER", help="a folder that `train` wrote")
    made.add_argument("--episodes", type=whole, metavar="N", default=100, help="per seed (100)")
    made.add_argument("--arm", help="only this arm of the run")
    own.add_trust(made)
    made.add_argument("--seed", type=seed, metavar="N", default=0, help="of the episodes (0)")


def run(args: argparse.Namespace) -> None:
    """Plays greedy episodes of every seed, on the environment's own reward."""
    devices.start()
    from jaxrl_reward import training
    from jaxrl_reward.data import normalized_score
    from jaxrl_reward.report import statistics, tables

    known = training.load_config(args.folder)["arms"]
    own.load_recorded(args, args.folder)
    table = {}
    for arm in [args.arm] if args.arm else known:
        agent, loaded = runs.load(args.folder, arm)
        returns, _, *success = _greedy(agent, loaded, args.episodes, args.seed)
        table[loaded.arm] = statistics.summarize(returns.mean(axis=1))
        if success:
            table[loaded.arm]["success"] = float(success[0].mean())
        if known := loaded.config.get("data", {}).get("references"):
            scores = normalized_score(returns.mean(axis=1), *known)
            table[loaded.arm]["score"] = statistics.scored(scores, known)
        say(f"{loaded.arm}: checkpoint of step {loaded.step:,}")
    show(tables.rich_table(table, title=f"{args.episodes} greedy episodes per seed"))


def _greedy(agent: Any, loaded: Any, episodes: int, seed: int) -> Any:
    """Returns and lengths `[S, E]`, and success where the environment tells it.

    From other keys than those of the evaluations in training.
    """
    from jaxrl_reward.agents.common.playing import tells_success
    from jaxrl_reward.training.devices.sharding import Carry, Programs, Tally

    if agent.play is not None and tells_success(agent.env):
        agent = agent._replace(evaluate=agent.play)
    seeds, first = loaded.config["seeds"], loaded.config["seed"]
    programs = Programs(agent, seeds=seeds, seed=first, episodes=episodes)
    carry = Carry(loaded.state, Tally.empty(seeds, len(programs.metrics)))
    return programs.evaluate(carry, 2**31 - 1 - seed)
