"""Studies: runs, trained in as few programs as can be, into one folder."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxrl_reward import settings
from jaxrl_reward.training import grids
from jaxrl_reward.training.devices import processes
from jaxrl_reward.training.devices.sharding import First, Probe, Programs, compile_together
from jaxrl_reward.training.loop import Training
from jaxrl_reward.training.progress import Progress, stage
from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.training.record.metrics import Rows, Sink
from jaxrl_reward.training.record.result import Result
from jaxrl_reward.training.record.run_folder import (
    RunFolder,
    load_config,
    merge_summaries,
    rows_to_parquet,
)
from jaxrl_reward.training.record.write_up import write_up
from jaxrl_reward.training.runs import Pack, Run, lanes_of, of_point, one, packs
from jaxrl_reward.training.schedule import positive
from jaxrl_reward.types import UserError

# Programs that are compiled, by what they are: of a study that another one follows.
Compiled = dict[Any, Programs]


def train(
    what: Any,
    *,
    vary: grids.Vary | None = None,
    out: Path | str | RunFolder | None = None,
    resume: bool = False,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
    checkpoint_seconds: float = 120.0,
    keep: int = 2,
    title: str | None = None,
    command: str = "",
    **numbers: Any,
) -> Result:
    """Trains one agent, with several seeds at once: a study of one run.

    Args:
      what: a `Run`, or an agent; then `numbers` make the run.
      vary: a grid or list of numbers to train with, in one program: see `grids.points`.
        There is an arm for each, called what varies. Where one is not finite its arm
        ends, and the others go on.
      out, resume, progress, sinks, checkpoint_seconds, keep, title, command: as of `study`.
      **numbers: fields of `Run`, such as `seeds` and `total_steps`; without a `name` it
        is the agent's.

    Raises:
      UserError, NonFiniteError, KeyboardInterrupt: as of `study`.
    """
    run = one(what, **numbers)
    runs = [run]
    if vary is not None:
        agent = run.made()
        runs = [of_point(run, agent, point) for point in grids.points(agent, vary)]
    host = {"progress": progress, "sinks": sinks}
    host |= {"checkpoint_seconds": checkpoint_seconds, "keep": positive("keep", keep)}
    planned = packs(lanes_of(runs), run.name)
    with _claimed(out, resume, planned) as folder:
        ((_, result),) = _trained(planned, folder, **host)
        if folder is not None and folder is not out:
            title = title or _title(planned)
            labels = {"title": title, "command": command}
            _finish(folder, result.summary, result.curves, metric=_metric(planned), **labels)
    return result


def study(
    runs: Sequence[Run],
    out: Path | str | RunFolder | None = None,
    *,
    probe: Probe | None = None,
    metric: str | None = None,
    final: Callable[[Run, Any, Any], Any] | None = None,
    name: str | None = None,
    resume: bool = False,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
    checkpoint_seconds: float = 120.0,
    keep: int = 2,
    compiled: Compiled | None = None,
    title: str | None = None,
    command: str = "",
) -> dict[str, Result]:
    """Trains runs, those that differ in numbers only side by side in one program.

    Args:
      runs: what to train, each with a name of its own.
      out: a folder for the results, in which there are then `summary.json`, `figure.png` and
        `report.md` too; or one that is claimed, whose owner then writes these. None keeps
        nothing on disk.
      probe: `probe(agent, state, key) -> {name: scalar}`, a pure function of one seed's
        state and its key, which is the same at every point. It is compiled, and looks at
        each lane where that is evaluated; what it finds are rows beside `return`.
      metric: what the summary reports of each arm: the greedy return, or one that is
        probed; by default what the agents report, which is the return but for those that
        learn from data without an environment.
      final: from a run, its agent and its final state, leaves `[S, ...]`, to what is kept
        of it, in place of the state.
      name: of the checkpoints, where all runs are one program; that of the first run.
      resume: continue from the folder's newest good checkpoints, if it has any. Runs may be
        longer than they were, finished ones too: their states are to the bit those of runs
        that were as long from the start, and a run that cannot be is refused.
      progress: draw a bar, or print a line per evaluation, on standard error.
      sinks: where rows also go; they are left open.
      checkpoint_seconds: the longest time without a checkpoint. There is one after each
        evaluation in any case.
      keep: how many checkpoints to keep of each program.
      compiled: programs of an earlier study, which are used again; new ones are added.
      title: of figure and report; by default what is trained on what.
      command: of the shell, that does it again, for the report.

    Returns:
      By name each run's own result. Steps and times of a program are shared out evenly.

    Raises:
      UserError: bad input, a folder that holds another run, or no checkpoint
        that can be read.
      NonFiniteError: a metric is not finite. The last checkpoint is good.
      KeyboardInterrupt: after writing a checkpoint.
    """
    host = {"progress": progress, "sinks": sinks}
    host |= {"checkpoint_seconds": checkpoint_seconds, "keep": positive("keep", keep)}
    results, planned = {}, packs(lanes_of(runs), name)
    with _claimed(out, resume, planned) as folder:
        trained = _trained(planned, folder, probe, metric, compiled, **host)
        for pack, result in trained:
            for lane, own in zip(pack.lanes, result.by_arm().values(), strict=True):
                if final is not None:
                    # Verdicts read numbers; a state per arm might fill the device.
                    kept = final(lane.run, lane.agent, own.state)
                    own = dataclasses.replace(own, state=None, study=kept)
                results[lane.run.name] = own
        if folder is not None and folder is not out:
            summary = merge_summaries([each.summary for each in results.values()])
            rows = Rows.concatenate(each.curves for each in results.values())
            labels = {"title": title or _title(planned), "command": command}
            _finish(folder, summary, rows, metric=metric or _metric(planned), **labels)
    return {run.name: results[run.name] for run in runs}


@contextlib.contextmanager
def _claimed(
    out: Path | str | RunFolder | None, resume: bool, planned: Sequence[Pack]
) -> Iterator[RunFolder | None]:
    """The folder, in which the runs are registered; closed again if it was claimed here."""
    if out is None and resume:
        raise UserError("resume needs the folder of the run to continue; give it with --out")
    arms = {name: arm for pack in planned for name, arm in pack.configurations().items()}
    if out is None:
        yield None
    elif isinstance(out, RunFolder):
        out.register(arms)
        yield out
    else:
        with RunFolder.join(out, resume=resume) as folder:
            processes.first_does(lambda: folder.expect(arms))
            processes.first_does(lambda: _lengthen(folder, planned, arms))
            folder.register(arms)
            yield folder


def _metric(planned: Sequence[Pack]) -> str:
    """What runs report of themselves: that of the first."""
    return planned[0].lanes[0].agent.metric


def _title(planned: Sequence[Pack]) -> str:
    agents = [lane.agent for pack in planned for lane in pack.lanes]
    names, envs = ({each.name for each in agents}, {each.env.name for each in agents})
    return f"{', '.join(sorted(names))} on {', '.join(sorted(envs))}"


def _finish(folder: RunFolder, summary: dict[str, Any], rows: Rows, **labels: Any) -> None:
    """Writes what readers look at; the summary last, which says that the run is over."""
    if processes.is_first():
        write_up(folder.path, summary, rows, **labels)
        folder.write_summary(summary)


def _lengthen(folder: RunFolder, planned: Sequence[Pack], arms: Mapping[str, Any]) -> None:
    """Lets a run that is resumed become longer, where its steps until now are the same so.

    Raises:
      UserError: they would have been others in a run of the new length.
    """
    if not folder.resume:
        return
    known = load_config(folder.path)["arms"] if (folder.path / "config.json").exists() else {}
    for lane in (lane for pack in planned for lane in pack.lanes):
        old, config = known.get(lane.run.name, {}), lane.agent.config
        if lane.plan.requested <= old.get("total_steps", lane.plan.requested):
            continue
        if lane.run.adapt is not None:
            raise UserError(
                f"{folder.path}: what arm {lane.run.name!r} learns depends on the run's length; "
                "train the longer run in another --out"
            )
        for name in settings.of_run(config):
            if (was := old["config"].get(name)) != (now := float(getattr(config, name))):
                raise UserError(
                    f"{folder.path} was trained with {name} = {was:.0f}, which would have been "
                    f"{now:.0f} in the longer run: say {name}={was:.0f} to go on from its end, or "
                    "train the longer run in another --out"
                )
    folder.lengthen(arms)


def _trained(
    planned: Sequence[Pack],
    folder: RunFolder | None,
    probe: Probe | None = None,
    metric: str | None = None,
    compiled: Compiled | None = None,
    *,
    progress: bool,
    sinks: Sequence[Sink],
    **keeping: Any,
) -> Iterator[tuple[Pack, Result]]:
    """Each program's runs and what they give, one after another."""
    resume, first = folder is not None and folder.resume, processes.is_first()
    make = _maker(planned, probe, compiled)
    programs = {}
    if not resume:  # else a run may be over, and need no program at all
        programs = {pack.name: make(pack) for pack in planned}
        new = [each for each in programs.values() if not each.compiled]
        with stage(f"compiling {len(new)} programs", progress and len(new) > 1):
            compile_together(new, None if folder is None else _ready_to_save)
    for pack in planned:
        started = time.perf_counter()
        mine = programs.pop(pack.name, None) or make(pack)
        started -= mine.compile_seconds
        sinks = tuple(sinks) if first else ()
        plan = pack.lanes[0].plan
        with Progress(pack.title, plan, mine.lanes, enabled=progress and first) as bar:
            told = metric or pack.lanes[0].agent.metric
            training = Training(pack, mine, folder, bar, told, started, sinks, **keeping)
            training.begin(resume)
            training.drive()
            result = training.result()
        sinks = training.sinks  # without those that have failed
        yield pack, result


def _ready_to_save() -> None:
    """Loads what the first checkpoint needs, pandas for pyarrow among it: half a second."""
    rows_to_parquet(Rows())
    checkpoint.load_orbax()


def _maker(
    planned: Sequence[Pack], probe: Probe | None, known: Compiled | None
) -> Callable[[Pack], Programs]:
    """What makes a pack's programs, of known ones where there are such."""
    lane, warm = planned[0].lanes[0], None
    if any(pack.lanes[0].run.begin for pack in planned):
        warm = First(lane.agent, seeds=lane.run.seeds, seed=lane.run.seed)

    def make(pack: Pack) -> Programs:
        lane, key = pack.lanes[0], (pack.lanes[0].program, len(pack.lanes), probe)
        if known is not None and key in known:
            return known[key].at(pack.points)
        own = lane.run.begin
        begin = (own, warm) if own is not None and warm is not None else None
        made = Programs(lane.agent, probe=probe, begin=begin, **pack.shape)
        if known is not None:
            known[key] = made
        return made

    return make
