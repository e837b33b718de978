"""The command line's arguments: parsed by argparse, refused in one line.

argparse is in the standard library and lets every error be a line of its own;
the flags of an agent's settings are made from its `Config`.
"""

import argparse
import difflib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib import metadata
from typing import Any, NoReturn, get_origin

from jaxrl_reward.cli import collecting, commands, comparing, scaling, sweeping

_EXAMPLE = 'jaxrl-reward train ppo gymnax:CartPole-v1 --reward "env + 0.1*counts()" --seeds 16'


class UsageError(Exception):
    """The command line is wrong: one line that names the fix."""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, usage dumps and exits in its errors."""

    def __init__(self, **options: Any):
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        command = self.prog.removeprefix("jaxrl-reward").strip()
        known = f"jaxrl-reward {command}".strip()
        raise UsageError(f"{_plain(message)}; see {known} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else action.dest.lower()
            raise UsageError(f"unknown {name} {value!r}; {suggest(value, action.choices)}")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line as a namespace whose `run` takes it.

    Raises:
      UsageError: anything is wrong with it.
      SystemExit: after `--help` or `--version`.
    """
    parser = _parser()
    argv = _joined(argv)
    if argv[:1] in (["train"], ["search"], ["collect"]):
        _add_settings(_subparser(parser, argv[0]), argv[1:])
    args, unknown = parser.parse_known_args(argv)
    args.argv = argv
    if unknown:
        flag = unknown[0].partition("=")[0]
        if not flag.startswith("-"):
            raise UsageError(f"unexpected argument {flag!r}; put quotes around a text with spaces")
        known = _flags(_subparser(parser, args.command) if args.command else parser)
        raise UsageError(f"unknown argument {flag}; {suggest(flag, known)}")
    if args.command is None:
        raise UsageError("a command is missing, such as train; see jaxrl-reward --help")
    return args


def suggest(name: str, known: Iterable[str]) -> str:
    """As `types.nearest`, which would load JAX to say that a flag is misspelt."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


# ---- the commands -----------------------------------------------------------------


def _parser() -> Parser:
    parser = Parser(
        prog="jaxrl-reward",
        description="Train compiled agents on rewards written as expressions.",
        epilog=f"example: {_EXAMPLE}",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands_of = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Parser:
        made = commands_of.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    train = command("train", commands.train, "Train an agent on an environment.")
    _add_train(train)
    scaling.add_vary(train)

    search = command("search", scaling.search, "Search for settings with Optuna.")
    _add_train(search, seeds=4)
    scaling.add_search(search, whole)

    evaluate = command("evaluate", commands.evaluate, "Play a trained policy greedily.")
    evaluate.add_argument("folder", metavar="RUN_FOLDER", help="a folder that `train` wrote")
    evaluate.add_argument("--episodes", type=whole, metavar="N", default=100, help="per seed (100)")
    evaluate.add_argument("--arm", help="only this arm of the run")
    evaluate.add_argument("--seed", type=seed, metavar="N", default=0, help="of the episodes (0)")

    render = command("render", commands.render, "Draw an episode as a GIF or MP4.")
    render.add_argument(
        "what", metavar="RUN_FOLDER|ENV", help="a trained policy, or random actions in ENV"
    )
    render.add_argument("--out", help="a .gif or .mp4, replaced if it is there (a new episode.gif)")
    render.add_argument("--arm", help="the arm of a run with several")
    render.add_argument(
        "--policy-seed", type=seed, metavar="N", help="whose policy (the run's first)"
    )
    render.add_argument("--seed", type=seed, metavar="N", default=0, help="of the episode (0)")
    render.add_argument(
        "--max-steps", type=whole, metavar="N", default=1000, help="cut it there (1000)"
    )

    plot = command("plot", commands.plot, "Draw learning curves of one or several runs.")
    plot.add_argument("folders", metavar="RUN_FOLDER", nargs="+", help="folders that `train` wrote")
    plot.add_argument("--metric", default="return", help="of metrics.parquet (return)")
    plot.add_argument(
        "--out", help="a .png, .pdf or .svg, replaced if it is there (a new figure.png)"
    )

    explain = command("explain", commands.explain, "Show a reward expression as a tree.")
    explain.add_argument("reward", metavar="REWARD", help="such as 'env + 0.1*counts()'")

    show = command("list", commands.show_names, "List what there is by name.")
    show.add_argument("LIST", choices=tuple(commands.LISTS), help="what kind")

    reproduce = command("reproduce", commands.reproduce, "Run an experiment and judge its claim.")
    reproduce.add_argument("name", metavar="NAME", help="see `list experiments`; or a .py file")
    reproduce.add_argument("--preset", default="quick", help="smoke, quick or paper (quick)")
    reproduce.add_argument(
        "--seeds", type=whole, metavar="N", help="per arm, in place of the preset's"
    )
    _add_run(reproduce)

    collect = command("collect", collecting.collect, "Write data sets for offline learning.")
    collecting.add_arguments(collect, whole, seed)

    compare = command("compare", comparing.compare, "Say how different two rewards are as tasks.")
    comparing.add_arguments(compare, whole, seed, _real)

    sweep = command("sweep", sweeping.sweep, "Run many trials, here or on a cluster.")
    sweeping.add_arguments(sweep, whole, not_negative)
    return parser


def _add_train(train: Parser, seeds: int = 1) -> None:
    train.add_argument("agent", metavar="AGENT", help="see `list agents`")
    train.add_argument(
        "env",
        metavar="ENV",
        nargs="?",
        help="see `list envs`; options follow commas (with --data: what the data is of)",
    )
    train.add_argument("--data", metavar="FILE", help="what an offline agent learns from")
    train.add_argument("--reward", metavar="TEXT", default="env", help="an expression (env)")
    train.add_argument(
        "--seeds",
        type=whole,
        metavar="N",
        default=seeds,
        help=f"trained side by side ({seeds})",
    )
    train.add_argument("--seed", type=seed, metavar="N", default=0, help="the first of them (0)")
    train.add_argument(
        "--total-steps",
        type=whole,
        metavar="N",
        default=500_000,
        help="of the environment, per seed; with --data, gradient steps (500000)",
    )
    train.add_argument(
        "--evals", type=whole, metavar="N", default=10, help="greedy evaluations (10)"
    )
    train.add_argument(
        "--eval-episodes", type=whole, metavar="N", default=16, help="of each, per seed (16)"
    )
    _add_run(train)


def _add_run(parser: Parser) -> None:
    parser.add_argument("--out", metavar="DIR", help="a new folder (runs/NAME, numbered)")
    parser.add_argument("--resume", action="store_true", help="continue the run in the folder")
    parser.add_argument("--no-progress", action="store_true", help="draw no progress bar")
    parser.add_argument("--tensorboard", action="store_true", help="log to DIR/tensorboard too")
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")


def _add_settings(train: Parser, rest: Sequence[str]) -> None:
    """Adds the flags of the agent that the command line names."""
    bare = [
        (before, text)
        for before, text in zip(["", *rest], rest, strict=False)
        if not text.startswith("-") and not _takes_value(train, before)
    ]
    if not bare:
        return
    commands.use_all_cores()  # the simulators that agents bring along start JAX
    commands.join_processes()
    from jaxrl_reward import agents, settings

    # A flag that is not known yet may have a value: the agent need not be the first.
    name = next((text for _, text in bare if text in agents.names()), None)
    if name is None:
        sure = [text for before, text in bare if not before.startswith("--")]
        wrong = (sure or [bare[0][1]])[0]
        raise UsageError(f"unknown agent {wrong!r}; {suggest(wrong, agents.names())}")
    group = train.add_argument_group(f"settings of {name}")
    for setting, each in settings.declared(agents.module(name).Config).items():
        options: dict[str, Any] = {"dest": f"settings.{setting}", "default": None}
        options["help"] = f"{each.help} ({_shown(each.default)})".replace("%", "%%")
        if each.kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif each.choices is not None:
            options |= {"choices": list(each.choices), "metavar": "|".join(each.choices)}
        else:
            reader, one, several = _READERS[each.number]
            many = get_origin(each.kind) is tuple
            options |= {"type": partial(_several, reader) if many else reader}
            options["metavar"] = several if many else one
        group.add_argument(f"--{setting.replace('_', '-')}", **options)


# ---- values -----------------------------------------------------------------------


def whole(text: str) -> int:
    """A whole number of at least 1; `1e6` and `500_000` are whole numbers."""
    return _whole(text, least=1)


def seed(text: str) -> int:
    """A whole number that JAX tells apart from all others: it takes them modulo 2**32."""
    return _whole(text, least=0, most=2**32 - 1)


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    return _whole(text, least=0)


def _whole(text: str, least: int | None = None, most: int | None = None) -> int:
    try:
        number = float(text) if re.search(r"[.eE]", text) else int(text)
        value = int(number)
    except (ValueError, OverflowError):
        value, number = 0, math.nan
    if value != number:
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    if least is not None and value < least:
        raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
    if most is not None and value > most:
        raise argparse.ArgumentTypeError(f"must be at most {most}, not {text}")
    return value


def _real(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}")
    return value


def _several(reader: Callable[[str], Any], text: str) -> tuple[Any, ...]:
    return tuple(reader(part.strip()) for part in text.strip("()[] ,").split(","))


# By the type of a setting's number: what reads it, and what help shows of one and of several.
_READERS: dict[type | None, tuple[Callable[[str], Any], str, str]] = {
    int: (_whole, "N", "N,N,..."),
    float: (_real, "X", "X,X,..."),
    None: (str, "TEXT", "TEXT,..."),
}


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


# ---- argparse's rough edges -------------------------------------------------------


def _joined(argv: list[str]) -> list[str]:
    """`--reward -env` as `--reward=-env`: rewards and lists of numbers may begin with a minus."""
    result: list[str] = []
    for text in argv:
        if result and result[-1] == "--reward" and not text.startswith("--"):
            result[-1] = f"--reward={text}"
        elif result and result[-1].startswith("--") and re.match(r"-[\d.]+,", text):
            result[-1] = f"{result[-1]}={text}"
        else:
            result.append(text)
    if argv[:1] == ["explain"] and len(argv) == 2 and re.match(r"-[^-h]", argv[1]):
        return ["explain", "--", argv[1]]
    if argv[:1] == ["compare"]:  # with a space in front it is no flag to argparse
        return [f" {text}" if re.match(r"-[^-h]", text) else text for text in result]
    return result


def _plain(message: str) -> str:
    """argparse's message, beginning with the argument that it is about."""
    message = re.sub(r"^argument ([^:]+): ", r"\1 ", " ".join(message.split()))
    message = message.replace("the following arguments are required:", "missing argument:")
    return re.sub(r"expected one argument$", "needs a value", message)


def _subparser(parser: Parser, name: str) -> Parser:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices[name]
    raise KeyError(name)


def _flags(parser: Parser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings]


def _takes_value(parser: Parser, flag: str) -> bool:
    action = parser._option_string_actions.get(flag)
    return action is not None and action.nargs != 0


def _version() -> str:
    try:
        return metadata.version("jaxrl-reward")
    except metadata.PackageNotFoundError:
        return "0 (not installed)"
