"""Experiments: a paper's claim as data, and the one function that runs it.

An experiment is a file of its own that the package never imports by name. It
holds one `Experiment`: the claim, the arms that test it, how long each preset
takes, and a function from results to verdicts. `run` trains the arms one after
another into one folder:

    config.json  metrics.parquet  summary.json  figure.png  report.md  checkpoints/
"""

import dataclasses
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax

from jaxrl_reward.files import user_path
from jaxrl_reward.training import lanes
from jaxrl_reward.training.devices.sharding import Probe
from jaxrl_reward.training.experiments.measuring import Measured, Ticker, measured
from jaxrl_reward.training.experiments.verdicts import (
    Results,
    Status,
    Verdict,
    above,
    better,
    compare,
    exceeds,
    judge,
    reaches,
)
from jaxrl_reward.training.progress import stage
from jaxrl_reward.training.record.metrics import Rows, Sink
from jaxrl_reward.training.record.result import Result
from jaxrl_reward.training.record.run_folder import RunFolder, merge_summaries
from jaxrl_reward.training.record.write_up import write_up
from jaxrl_reward.training.runs import Run
from jaxrl_reward.training.schedule import Plan, first_seed, positive
from jaxrl_reward.training.studies import study
from jaxrl_reward.types import UserError, nearest

__all__ = [
    "Arm",
    "Experiment",
    "Measured",
    "Outcome",
    "Preset",
    "Results",
    "Status",
    "Verdict",
    "above",
    "better",
    "build",
    "compare",
    "exceeds",
    "folders",
    "judge",
    "load",
    "names",
    "reaches",
    "run",
]


@dataclass(frozen=True)
class Arm:
    """One way of doing it.

    Attributes:
      name: in tables, figures and files.
      reward: a reward expression, as text. `{demos}` in it is where the experiment's
        `prepare` has put demonstrations for this arm, `gail(demos={demos})`.
      agent: an agent's name; None is the experiment's.
      env: an environment's name; None is the experiment's.
      config: settings of the agent, over those of the experiment and preset.
      share: of the preset's steps that this arm takes.
      points: from its agent to several runs in its place, which are arms of their own
        and train in one program.
      begin: another first state, as of `Run`.
    """

    name: str
    reward: str = "env"
    agent: str | None = None
    env: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    points: Callable[[Any], Sequence[Run]] | None = None
    begin: Callable[[Any, Any], Any] | None = None


@dataclass(frozen=True)
class Preset:
    """How much of it: `smoke` takes a minute at most, `quick` minutes, `paper` all of it.

    Attributes:
      seeds: per arm.
      total_steps: environment steps per seed.
      seed: the first seed.
      evals: greedy evaluations after the one at the start.
      eval_episodes: episodes of an evaluation, per seed.
      log_points: how often training metrics are recorded.
      config: settings of the agent, over those of the experiment.
      arms: the names of those that it runs; None is all of them.
      probe: in place of the experiment's, of another size.
    """

    seeds: int
    total_steps: int
    seed: int = 0
    evals: int = 10
    eval_episodes: int = 16
    log_points: int = 100
    config: Mapping[str, Any] = field(default_factory=dict)
    arms: Sequence[str] | None = None
    probe: Probe | None = None


# Of presets: what there is to know of their verdicts.
NOTES = {
    "smoke": "The preset smoke shows that it runs: it is too small for verdicts to mean anything."
}
DEMOS = "{demos}"  # in an arm's reward, where the path of its demonstrations belongs

Measure = Callable[[Sequence[Arm], Preset, jax.Array, Ticker], Mapping[str, Measured]]


@dataclass(frozen=True)
class Experiment:
    """A claim and what tests it.

    Attributes:
      name: what `reproduce` calls it: the name of its file.
      title: of the report and the figure.
      claim: the paper's, in one line.
      source: the paper.
      env: an environment's name; empty if none is played.
      arms: what is compared.
      presets: by name.
      verdict: from the results by arm to a verdict for each expectation.
      agent: an agent's name.
      config: settings of the agent that all arms share.
      probe: what is measured of every arm beside its returns, on its way: see `study`.
      mix: whether arms of different rewards, with settings that differ in numbers only,
        are one program: it has all of their rewards, and weights of 0 and 1.
      begin: another first state of arms that have none of their own, as of `Run`.
      adapt: from an arm's agent to the one that trains, as of `Run`.
      study: from an arm, its agent and its final state, leaves `[S, ...]`, to
        anything that the verdicts need beside returns; the arm's `study`.
      present: from the results by arm and the folder to what stands in the
        report below the returns, as Markdown. It draws `figure.png`, in place
        of the learning curves.
      prepare: from the arms, the preset and the folder to the data that each arm's
        agent learns from, or to the path of those that its reward is made of.
      measure: in place of training: from the arms, the preset, keys `[S]`, one for
        each seed and the same for all arms, and a function that takes what is done
        and all there is to do, to what each arm `Measured`. Arms, their settings and
        `total_steps` mean to it what it likes.
      metric: what is reported of each arm and compared: the greedy return, or one of
        those probed or measured.
      axis: what the figure's horizontal axis counts, if not the steps of agents.
    """

    name: str
    title: str
    claim: str
    source: str
    env: str
    arms: Sequence[Arm]
    presets: Mapping[str, Preset]
    verdict: Callable[[Results], Sequence[Verdict]]
    agent: str = "ppo"
    config: Mapping[str, Any] = field(default_factory=dict)
    probe: Probe | None = None
    mix: bool = False
    begin: Callable[[Any, Any], Any] | None = None
    adapt: Callable[[Any, Plan], Any] | None = None
    study: Callable[[Arm, Any, Any], Any] | None = None
    present: Callable[[Results, Path], Sequence[str]] | None = None
    prepare: Callable[[Sequence[Arm], Preset, Path], Mapping[str, Any]] | None = None
    measure: Measure | None = None
    metric: str = "return"
    axis: str | None = None


class Outcome(NamedTuple):
    """What `run` gives: the arms' results and the content of `summary.json`."""

    results: dict[str, Result]
    verdicts: tuple[Verdict, ...]
    summary: dict[str, Any]
    path: Path


def run(
    experiment: Experiment,
    preset: str = "quick",
    *,
    out: Path | str,
    seeds: int | None = None,
    seed: int | None = None,
    resume: bool = False,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
    command: str | None = None,
) -> Outcome:
    """Trains every arm, judges the claim, and writes the folder.

    Args:
      experiment: what to run.
      preset: the name of one of its presets.
      out: a new folder, or with `resume` that of the run to continue.
      seeds: how many per arm, in place of the preset's.
      seed: the first of them, in place of the preset's: those from there on are another set.
      resume: continue what is in the folder.
      progress: draw a bar for each arm.
      sinks: where rows also go.
      command: how to run it again, for the report.

    Raises:
      UserError: bad input. All arms are built before the first one trains.
      NonFiniteError: an arm's metric is not finite.
    """
    if preset not in experiment.presets:
        hint = nearest(preset, experiment.presets)
        raise UserError(f"experiment {experiment.name!r} has no preset {preset!r}; {hint}")
    size = experiment.presets[preset]
    if seeds is not None:
        size = dataclasses.replace(size, seeds=positive("seeds", seeds))
    if seed is not None:
        size = dataclasses.replace(size, seed=first_seed(seed, size.seeds))
    chosen = [arm for arm in experiment.arms if size.arms is None or arm.name in size.arms]
    arms = {arm.name: arm for arm in chosen}
    if len(arms) < len(chosen):
        raise UserError(f"experiment {experiment.name!r} has two arms of one name; rename one")
    if not arms:
        raise UserError(f"experiment {experiment.name!r} has no arms; give it at least one")
    # Without data, to begin with: a mistake in the settings must not cost a folder.
    measure = experiment.measure
    runs = _runs(experiment, chosen, size, {}) if measure is None else []
    with RunFolder.claim(out, resume=resume) as folder:
        show: dict[str, Any] = {"progress": progress, "sinks": sinks}
        if measure is not None:
            folder.expect(arms)
            results = measured(
                experiment.name,
                lambda keys, tick: measure(chosen, size, keys, tick),
                experiment.metric,
                {arm.name: _measured_config(experiment, arm, size) for arm in chosen},
                folder,
                seeds=size.seeds,
                seed=size.seed,
                **show,
            )
        else:
            if experiment.prepare is not None:
                with stage(f"{experiment.name}: preparing data", progress):
                    data = experiment.prepare(chosen, size, folder.path)
                runs = _runs(experiment, chosen, size, data)
            probe = size.probe or experiment.probe
            results = _trained(experiment, runs, folder, probe=probe, **show)
        verdicts = tuple(experiment.verdict(results))
        summary = merge_summaries(
            [result.summary for result in results.values()],
            [dataclasses.asdict(verdict) for verdict in verdicts],
        )
        sections = experiment.present and experiment.present(results, folder.path)
        write_up(
            folder.path,
            summary,
            Rows.concatenate([result.curves for result in results.values()]),
            title=experiment.title,
            claim=experiment.claim,
            source=experiment.source,
            command=command or _command(experiment.name, preset, seeds=seeds, seed=seed),
            sections=sections,
            metric=experiment.metric,
            axis=experiment.axis,
            note=NOTES.get(preset, ""),
        )
        folder.write_summary(summary)
    return Outcome(results, verdicts, summary, folder.path)


def _command(name: str, preset: str, **flags: int | None) -> str:
    """What runs it again from the shell."""
    given = [f" --{flag} {value}" for flag, value in flags.items() if value is not None]
    return f"jaxrl-reward reproduce {name} --preset {preset}{''.join(given)}"


def _trained(
    experiment: Experiment, runs: Sequence[tuple[Run, Arm]], folder: RunFolder, **show: Any
) -> dict[str, Result]:
    """The results of all runs, without their states."""
    arms = {run.name: arm for run, arm in runs}
    folder.expect(arms)

    def final(run: Run, agent: Any, state: Any) -> Any:
        return experiment.study and experiment.study(arms[run.name], agent, state)

    metric = experiment.metric
    return study([run for run, _ in runs], folder, final=final, metric=metric, **show)


def _runs(
    experiment: Experiment, arms: Sequence[Arm], preset: Preset, data: Mapping[str, Any]
) -> list[tuple[Run, Arm]]:
    """The runs of all arms, each with the arm that it is of. Environments are made once."""
    from jaxrl_reward import envs

    make_env, found = cache(envs.make), []
    for arm in arms:
        agent = build(experiment, arm, preset, data.get(arm.name), make_env)
        if arm.points and experiment.prepare and arm.name not in data:
            continue  # they may need it
        of_preset: Any = {name: getattr(preset, name) for name in _OF_PRESET}
        of_preset["total_steps"] = max(1, round(preset.total_steps * arm.share))
        of_arm: Any = {"begin": arm.begin or experiment.begin, "adapt": experiment.adapt}
        for run in arm.points(agent) if arm.points else [Run(arm.name, agent)]:
            found.append((dataclasses.replace(run, **of_preset, **of_arm), arm))
    if not experiment.mix:
        return found
    return list(zip(_mixed([run for run, _ in found]), [arm for _, arm in found], strict=True))


_OF_PRESET = ("seeds", "seed", "evals", "eval_episodes", "log_points")


def _mixed(runs: Sequence[Run]) -> list[Run]:
    """The same runs, with one agent for all that differ in their rewards and in numbers only."""
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        kind = (jax.tree.structure(run.agent.config), id(run.agent.env), run.begin)
        groups.setdefault(kind, []).append(run)
    found = {}
    for several in groups.values():
        agents = [run.agent for run in several]
        rewards = lanes.mixed([agent.reward for agent in agents])
        if rewards == [agent.reward for agent in agents]:
            found |= {run.name: run for run in several}
            continue
        one = agents[0].remake(agents[0].config, rewards[0])
        for run, agent, reward in zip(several, agents, rewards, strict=True):
            own = {"settings": agent.config, "reward": reward, "shown": str(agent.reward)}
            found[run.name] = dataclasses.replace(run, agent=one, **own)
    return [found[run.name] for run in runs]


def build(
    experiment: Experiment,
    arm: Arm,
    preset: Preset,
    data: Any = None,
    make_env: Callable[[str], Any] | None = None,
) -> Any:
    """The arm's agent, which learns from `data` if it is one that does.

    Raises:
      UserError: an unknown name or setting; the message says which arm.
    """
    # Agents bring all of the simulators along; loading an experiment needs none.
    from jaxrl_reward import agents
    from jaxrl_reward.rewards.imitation.demonstrations import NOISE

    settings = {**experiment.config, **preset.config, **arm.config}
    name, env = arm.agent or experiment.agent, arm.env or experiment.env
    reward = arm.reward
    if DEMOS in reward:
        # Before there are any the expression is tried on noise.
        shown = NOISE if data is None else str(data)
        reward, data = reward.replace(DEMOS, repr(shown)), None
    try:
        env = make_env(env) if make_env else env
        return agents.make(name, env, reward, data=data, **settings)
    except UserError as error:
        raise UserError(f"arm {arm.name!r} of {experiment.name!r}: {error}") from error


def _measured_config(experiment: Experiment, arm: Arm, preset: Preset) -> dict[str, Any]:
    """What an arm is that is measured, for `config.json`: it has no agent to load."""
    settings = {**experiment.config, **preset.config, **arm.config, "length": preset.total_steps}
    shape = {"seeds": preset.seeds, "seed": preset.seed, "reward": arm.reward}
    shape |= {"axis": experiment.axis} if experiment.axis else {}
    env = arm.env or experiment.env
    return {**({"env": env} if env else {}), **shape, "config": settings}


# ---- finding them -----------------------------------------------------------------


def folders() -> tuple[Path, ...]:
    """Where experiments lie: inside an installed package, beside a checked-out one."""
    package = Path(__file__).parents[2]
    return tuple(
        path for path in (package / "experiments", package.parent / "experiments") if path.is_dir()
    )


def names() -> list[str]:
    """The experiments that `load` knows by name."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    """The file of each experiment, by name."""
    found = (file for folder in reversed(folders()) for file in folder.rglob("*.py"))
    return {file.stem: file for file in found if not file.name.startswith("_")}


def load(name: str) -> Experiment:
    """An experiment by name, or from a path to a file of one's own.

    The file is run: load only what you would run.

    Raises:
      UserError: there is none, or the file holds not exactly one `Experiment`.
    """
    if name.endswith(".py"):
        path = user_path(name)
        if not path.is_file():
            raise UserError(f"there is no file {name}; give a path to an experiment's .py")
    elif name in names():
        path = _files()[name]
    else:
        raise UserError(f"unknown experiment {name!r}, {nearest(name, names())}")
    module = _run_file(path)
    found = [value for value in vars(module).values() if isinstance(value, Experiment)]
    if len(found) != 1:
        raise UserError(f"{path} must define one Experiment, and defines {len(found)}")
    return found[0]


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_experiment_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # it may import what lies beside it
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except Exception as error:
        line = " ".join(str(error).split())
        raise UserError(f"{path} cannot be loaded: {type(error).__name__}: {line}") from error
    finally:
        sys.path.pop(0)
    return module
