"""What each command does. JAX is loaded inside them, not with this module."""

import argparse
import contextlib
import dataclasses
import itertools
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxrl_reward.cli.console import columns, say, show

# ---- train and reproduce ----------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    """Trains an agent; writes its folder and prints a table."""
    _start_devices()
    from jaxrl_reward import training
    from jaxrl_reward.cli import scaling
    from jaxrl_reward.training.write_up import write_up

    vary = scaling.grid(args.vary)
    agent, template = scaling.build(args, {name: values[0] for name, values in vary.items()})
    points = training.points(agent, vary, template) if vary else None
    name = f"{agent.name}-{args.env or agent.env.name}"
    out = _folder(args, name)
    with _Sinks(args, out, name) as sinks, _Resumable(out):
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
        )
    if not training.is_first_process():
        return
    title = f"{agent.name} on {agent.env.name}"
    write_up(out, result.summary, result.curves, title=title, command=_command(args))
    _print_results(result.summary, title, out)


def reproduce(args: argparse.Namespace) -> None:
    """Runs an experiment; prints its table and verdicts."""
    _start_devices()
    from jaxrl_reward.training import experiment as experiments

    experiment = experiments.load(args.name)
    out = _folder(args, experiment.name)
    with _Sinks(args, out, experiment.name) as sinks, _Resumable(out):
        outcome = experiments.run(
            experiment,
            args.preset,
            out=out,
            seeds=args.seeds,
            resume=args.resume,
            progress=not args.no_progress,
            sinks=sinks,
            command=_command(args),
        )
    _print_results(outcome.summary, experiment.title, out)
    for verdict in outcome.verdicts:
        print(f"{verdict.status + ':':<10} {verdict.claim}\n{'':<10} {verdict.evidence}")


def use_all_cores() -> None:
    """Gives XLA a CPU device per core. It must not have started: some imports start it."""
    from jaxrl_reward.training.sharding import use_all_cores

    use_all_cores()


def join_processes() -> None:
    """Joins the other processes of this job, if the environment names any."""
    from jaxrl_reward.training import processes

    processes.join()


def _start_devices() -> None:
    """For a command that computes; warns of a jaxlib that is known to hang, or not known."""
    from jaxrl_reward.training.sharding import jaxlib_warning

    use_all_cores()
    if warning := jaxlib_warning():
        say(f"warning: {warning}")


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The agent's settings that were given."""
    prefix = "settings."
    given = {key: value for key, value in vars(args).items() if key.startswith(prefix)}
    return {key[len(prefix) :]: value for key, value in given.items() if value is not None}


def _folder(args: argparse.Namespace, name: str) -> Path:
    """`--out`; or a folder under `runs` that no run has, with `--resume` the last that has."""
    from jaxrl_reward.files import user_path

    if args.out is not None:
        return user_path(args.out)
    base = Path("runs") / re.sub(r"[^\w.=-]+", "-", name).strip("-")
    folder = last = base
    for i in itertools.count(2):
        if not folder.exists():
            return last if args.resume else folder
        last, folder = folder, base.with_name(f"{base.name}-{i}")
    raise AssertionError("unreachable")


def _file(out: str | None, name: str) -> Path:
    """`--out`; or a file in this folder that is not there yet, `name` or with a number."""
    from jaxrl_reward.files import user_path

    if out is not None:
        return user_path(out)
    base = Path(name)
    numbered = (base.with_stem(f"{base.stem}-{i}") for i in itertools.count(2))
    return next(path for path in itertools.chain([base], numbered) if not path.exists())


def _command(args: argparse.Namespace) -> str:
    """This command, as it would be typed to run it again in another folder."""
    words = ["jaxrl-reward", *getattr(args, "argv", [])]
    left_out = {"--resume", "--no-progress", "--out"}
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before != "--out" and word.partition("=")[0] not in left_out
    ]
    return shlex.join(kept)


class _Sinks:
    """The dashboards that were asked for, closed at the end."""

    def __init__(self, args: argparse.Namespace, out: Path, name: str):
        self._args, self._out, self._name = args, out, name
        self._open: list[Any] = []

    def __enter__(self) -> list[Any]:
        from jaxrl_reward import training

        if self._args.tensorboard:
            self._open.append(training.TensorBoard(self._out / "tensorboard"))
        if self._args.wandb:
            project = os.environ.get("WANDB_PROJECT", "jaxrl-reward")
            config = {"command": _command(self._args)}
            mode = os.environ.get("WANDB_MODE")  # W&B itself reads it once per process
            options = {"group": self._name, "config": config, "folder": self._out, "mode": mode}
            self._open.append(training.WandB(project, **options))
        return self._open

    def __exit__(self, *_: object) -> None:
        for sink in self._open:
            try:
                sink.close()
            except Exception as error:  # as of one that fails before the end
                line = " ".join(str(error).split())
                say(f"warning: {type(sink).__name__} is not closed: {line}")


class _Resumable:
    """Says how to continue, if the run in this folder is interrupted or the disk is full."""

    def __init__(self, out: Path):
        self._out = out

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        from jaxrl_reward.files import is_full

        again = f"--out {shlex.quote(str(self._out))} --resume"
        if error is not None and is_full(error):
            error.add_note(f"make room, and the same command with {again} goes on")
        if kind is KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; the same command with {again} continues")


def _print_results(summary: dict[str, Any], title: str, out: Path) -> None:
    from jaxrl_reward.report import tables
    from jaxrl_reward.training.run_folder import steps_of

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


# ---- what a run left --------------------------------------------------------------


def evaluate(args: argparse.Namespace) -> None:
    """Plays greedy episodes of every seed, on the environment's own reward."""
    _start_devices()
    from jaxrl_reward import training
    from jaxrl_reward.report import statistics, tables

    known = training.load_config(args.folder)["arms"]
    table = {}
    for arm in [args.arm] if args.arm else known:
        agent, loaded = _load(args.folder, arm)
        returns = _greedy_returns(agent, loaded, args.episodes, args.seed)
        table[loaded.arm] = statistics.summarize(returns.mean(axis=1))
        say(f"{loaded.arm}: checkpoint of step {loaded.step:,}")
    show(tables.rich_table(table, title=f"{args.episodes} greedy episodes per seed"))


def render(args: argparse.Namespace) -> None:
    """Draws an episode of a trained policy, or of random actions."""
    _start_devices()
    from jaxrl_reward import envs, training
    from jaxrl_reward import render as rendering
    from jaxrl_reward.files import user_path
    from jaxrl_reward.types import UserError

    out = _file(args.out, "episode.gif")
    rendering.check_path(out)
    if user_path(args.what).is_dir():
        agent, loaded = _load(args.what, args.arm)
        first, count = loaded.config["seed"], loaded.config["seeds"]
        seed = first if args.policy_seed is None else args.policy_seed
        if not first <= seed < first + count:
            last = first + count - 1
            raise UserError(f"the run has no seed {seed}; choose one from {first} to {last}")
        state = training.select_seed(loaded.state, seed - first)
        env, policy = agent.env, rendering.greedy(agent, state)
    elif ":" in args.what:
        env = envs.make(args.what)
        policy = rendering.random(env)
    else:
        raise UserError(
            f"{args.what!r} is neither a run's folder nor an environment, "
            "such as runs/ppo or gymnax:CartPole-v1"
        )
    episode = rendering.play(env, policy, seed=args.seed, max_steps=args.max_steps)
    rendering.write(env, episode, out)
    print(f"{out}: {len(episode.rewards)} steps, return {sum(episode.rewards):g}")


def plot(args: argparse.Namespace) -> None:
    """Draws the arms of all folders into one figure."""
    import pyarrow as pa

    from jaxrl_reward import training
    from jaxrl_reward.files import user_path
    from jaxrl_reward.report import plots
    from jaxrl_reward.types import UserError

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
    out = _file(args.out, "figure.png")
    axis = training.steps_axis(configs) or "Steps (per seed)"
    plots.learning_curves(pa.concat_tables(tables), out, metric=args.metric, axis=axis)
    print(out)


def _load(folder: str, arm: str | None) -> tuple[Any, Any]:
    """An arm's agent, and its state in the newest good checkpoint."""
    from jaxrl_reward import agents, envs, training
    from jaxrl_reward.agents.offline_data import blank

    arm, config = training.arm_config(folder, arm)
    env, settings = envs.make(config["env"]), dict(config["config"])
    if agents.learns_from_data(config["agent"]):
        # What it learned from is not needed to act; which set that was is in the state.
        settings |= {"data": blank(env, config["data"]["rows"]), "source": 0}
    reward = config.get("mixture", config["reward"])
    agent = agents.make(config["agent"], env, reward, **settings)
    return agent, training.load(agent, folder, arm)


def _greedy_returns(agent: Any, loaded: Any, episodes: int, seed: int) -> Any:
    """Returns `[S, E]`, from other keys than those of the evaluations in training."""
    from jaxrl_reward.training.sharding import Carry, Programs, Tally

    seeds, first = loaded.config["seeds"], loaded.config["seed"]
    programs = Programs(agent, seeds=seeds, seed=first, episodes=episodes)
    carry = Carry(loaded.state, Tally.empty(seeds, len(programs.metrics)))
    return programs.evaluate(carry, 2**31 - 1 - seed)[0]


# ---- what there is ----------------------------------------------------------------


def explain(args: argparse.Namespace) -> None:
    """Prints a reward expression as a tree."""
    from jaxrl_reward import rewards as rw

    reward = rw.parse(args.reward)
    show(rw.explain(reward))
    problem = rw.replay_problem(reward)
    print(f"replay: {f'not exact, {problem}' if problem else 'can recompute the whole exactly'}")


def show_names(args: argparse.Namespace) -> None:
    """Prints the names of one kind, with a line on each."""
    columns(list(LISTS[args.LIST]()))


def _agents() -> Iterable[tuple[str, str]]:
    from jaxrl_reward import agents

    return [(name, _summary(agents.module(name))) for name in agents.names()]


def _envs() -> Iterable[tuple[str, str]]:
    from jaxrl_reward import envs

    return [(name, "") for name in envs.names()]


def _rewards() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.rewards import operators, registry

    rows = [
        (_signature(entry.name, entry.arguments), entry.summary) for entry in registry.entries()
    ]
    rows.append(("stack(a, b, ...)", _summary(operators.stack)))
    rows.append(("where(condition, a, b)", _summary(operators.where)))
    return sorted(rows)


def _potentials() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.rewards import potentials

    return [(name, _summary(potentials.lookup(name))) for name in potentials.names()]


def _experiments() -> Iterable[tuple[str, str]]:
    from jaxrl_reward.training import experiment as experiments

    return [(name, experiments.load(name).claim) for name in experiments.names()]


LISTS = {
    "agents": _agents,
    "envs": _envs,
    "rewards": _rewards,
    "potentials": _potentials,
    "experiments": _experiments,
}


def _summary(documented: Any) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]


def _signature(name: str, arguments: dict[str, Any]) -> str:
    """A term as it is written, with its defaults: `clip(low=-1, high=1)`."""
    from jaxrl_reward.rewards.base import show as shown

    if name == "env":
        return name
    words = [
        # What is None by default depends on something else: the agent's discount, say.
        key
        if default is dataclasses.MISSING
        else f"{key}={'...' if default is None else shown(default)}"
        for key, default in arguments.items()
    ]
    return f"{name}({', '.join(words)})"
