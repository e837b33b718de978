"""The command `compare`."""

import argparse
import re
from typing import TYPE_CHECKING, Any

from jaxrl_reward.cli import cache, devices
from jaxrl_reward.cli.console import show
from jaxrl_reward.cli.parser import command
from jaxrl_reward.cli.values import real, seed, whole

if TYPE_CHECKING:
    from jaxrl_reward.compare.comparison import Exact, Sampled

SAME = 1e-4  # below this two distances or regrets are called 0
SHOWN = 8  # states whose best actions are listed


def add(subparsers: Any) -> None:
    """Adds the command and its flags."""
    made = command(subparsers, "compare", run, "Say how different two rewards are as tasks.")
    cache.add_flag(made)
    made.reword = _guarded
    made.add_argument("first", metavar="A", help="a reward expression, such as env")
    made.add_argument("second", metavar="B", help="another")
    made.add_argument("env", metavar="ENV", help="tabular:NAME for exact answers, or any other")
    made.add_argument(
        "--gamma", type=real, metavar="X", default=0.99, help="the task's discount (0.99)"
    )
    made.add_argument(
        "--samples",
        type=whole,
        metavar="N",
        default=4096,
        help="steps of random actions in a batch; not for tabular (4096)",
    )
    made.add_argument(
        "--batches", type=whole, metavar="N", default=8, help="of which intervals are made (8)"
    )
    made.add_argument("--seed", type=seed, metavar="N", default=0, help="of the samples (0)")


def _guarded(words: list[str]) -> list[str]:
    """With a space in front a reward that begins with a minus is no flag to argparse."""
    return [f" {text}" if re.match(r"-[^-h]", text) else text for text in words]


def run(args: argparse.Namespace) -> None:
    """Prints how different two rewards are as tasks, and says it in a sentence."""
    devices.start()
    from jaxrl_reward import envs
    from jaxrl_reward import rewards as rw
    from jaxrl_reward.compare import comparison
    from jaxrl_reward.envs.worlds.finite import Finite

    first, second = (rw.parse(text.strip()) for text in (args.first, args.second))
    env = envs.make(args.env)
    for each in (first, second):
        rw.potentials.check(each, env.name)
    if isinstance(env.environment, Finite):
        found = comparison.exact(env.params.mdp, first, second, args.gamma)
        _show_exact(found, env.name)
        return
    steps = max(1, args.samples // 16)
    found = comparison.sampled(
        env, first, second, args.gamma, steps=steps, batches=args.batches, seed=args.seed
    )
    _show_sampled(found, env.name, 16 * steps, args.batches)


# ---- exact ------------------------------------------------------------------------


def sentence(found: "Exact") -> str:
    """Whether it is the same task, and if not what choosing by the wrong one costs."""
    if max(found.worst) < SAME:
        return "The same task: both order all policies alike."
    if min(found.worst) > 1 - SAME and found.distances["STARC, VAL"] > 1 - SAME:
        return "Opposite tasks: the better a policy is by A, the worse it is by B."
    if (found.best[0] == found.best[1]).all():
        return (
            "Different tasks with the same best actions; of two other policies, the one that B "
            f"prefers may lose {found.worst[0]:.1%} of A's range of returns."
        )
    return (
        f"Different tasks: B's best policy loses {found.lost[0]:.1%} of A's range of returns "
        f"(A's best, of B's: {found.lost[1]:.1%})."
    )


def _show_exact(found: "Exact", env: str) -> None:
    rows = [(name, f"{value:.4f}") for name, value in found.distances.items()]
    _table(f"A and B on {env}, exactly", ("Distance", "0 same, 1 opposite"), rows)
    percent = lambda pair: tuple(f"{100 * each:.2f} %" for each in pair)  # noqa: E731
    regrets = [
        ("the other's best policy", *percent(found.lost)),
        ("any policy the other prefers", *percent(found.worst)),
    ]
    columns = ("Loses at most, of the range of returns", "by A", "by B")
    _table("Regret", columns, regrets)
    tasks = [
        ("best return", *(f"{each:.4g}" for each in found.returns)),
        ("effective horizon", *map(str, found.horizon)),
        ("planning depth", *map(str, found.depth)),
    ]
    _table("Tasks", ("", "A", "B"), tasks)
    for line in _actions(found):
        print(line)
    print(sentence(found))


def _actions(found: "Exact") -> list[str]:
    first, second = found.best
    differ = (first != second).any(1).nonzero()[0].tolist()
    lines = [f"best actions: the same in {len(first) - len(differ)} of {len(first)} states"]
    named = lambda row: " or ".join(map(str, row.nonzero()[0].tolist()))  # noqa: E731
    for state in differ[:SHOWN]:
        lines.append(f"  state {state}: A {named(first[state])}, B {named(second[state])}")
    if len(differ) > SHOWN:
        lines.append(f"  and {len(differ) - SHOWN} more")
    return lines


# ---- sampled ----------------------------------------------------------------------


def sampled_sentence(found: "Sampled") -> str:
    """What the samples show, and no more."""
    name, interval = "STARC, minimal", found.distances["STARC, minimal"]
    if interval.estimate < 0.01:
        return "As far as random actions show, the same task."
    if interval.estimate > 0.99:
        return "As far as random actions show, opposite tasks."
    return (
        f"As far as random actions show, different tasks: {name} is {interval.estimate:.3f} "
        "of the way from the same to the opposite."
    )


def _show_sampled(found: "Sampled", env: str, samples: int, batches: int) -> None:
    rows = [
        (name, f"{each.estimate:.4f}", f"[{each.low:.4f}, {each.high:.4f}]")
        for name, each in found.distances.items()
    ]
    columns = ("Distance", "0 same, 1 opposite", "95 % interval")
    title = f"A and B on {env}, {batches} batches of {samples:,} random actions"
    _table(title, columns, rows)
    if "EPIC" not in found.distances:
        print("EPIC: needs the environment's reward for transitions that never happen")
    if "episode returns" not in found.distances:
        print("episode returns: too few episodes ended; give more --samples")
    print(sampled_sentence(found))


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    print(title)
    table = Table()
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    show(table)
