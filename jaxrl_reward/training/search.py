"""Search: Optuna asks for numbers, a batch at a time, and is told returns.

A round is a batch of trials with several seeds each, all lanes of one program
that every round uses again. What Optuna knows is in `study.log` in the run's
folder, and a round is a run with checkpoints of its own: a killed search
resumes in the middle of a round and asks for what it would have asked for.
"""

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxrl_reward.files import write_atomic
from jaxrl_reward.training import grids
from jaxrl_reward.training.devices import processes
from jaxrl_reward.training.record.metrics import Rows, Sink
from jaxrl_reward.training.record.result import NonFiniteError, Result
from jaxrl_reward.training.record.run_folder import RunFolder, merge_summaries, plain
from jaxrl_reward.training.record.write_up import write_up
from jaxrl_reward.training.runs import Run, of_point, one
from jaxrl_reward.training.schedule import first_seed, positive
from jaxrl_reward.training.studies import Compiled, study
from jaxrl_reward.types import UserError, nearest

SAMPLERS = ("tpe", "random")
SHOWN = 7  # curves in the figure: more cannot be told apart
Sampler = Literal["tpe", "random"]


class Range(NamedTuple):
    """Numbers from `low` to `high`, evenly or, with `log`, evenly in their logarithm."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | Sequence[float]]


class Found(NamedTuple):
    """What a search gives.

    Attributes:
      best: the trial with the highest interquartile mean, by name.
      values: its numbers.
      summary: the content of `summary.json`, with an arm for each trial.
      curves: the rows of `metrics.parquet`.
      path: the folder.
    """

    best: str
    values: dict[str, float]
    summary: dict[str, Any]
    curves: Rows
    path: Path


def search(
    what: Any,
    space: Space,
    *,
    trials: int,
    batch: int,
    out: Path | str,
    template: str | None = None,
    sampler: Sampler = "tpe",
    resume: bool = False,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
    title: str = "Search",
    command: str = "",
    **numbers: Any,
) -> Found:
    """Looks for the numbers with the highest final greedy return.

    The mean of the best of many trials is too high, as chance had a part in
    choosing it: report what it gives on other seeds.

    Args:
      what: an agent, or a `Run` of one.
      space: a `Range` or a list of choices by name, as in `grids.points`.
      trials: how many, a multiple of `batch`; more of them continue a search.
      batch: trials of a round, side by side.
      out: a new folder, or with `resume` that of the search to continue.
      template: a reward's text with names for numbers.
      sampler: Optuna's: `tpe` (Bergstra et al. 2011) or `random`; the first seed is also
        the sampler's.
      resume, progress, sinks: as for `study`.
      title: of the report.
      command: how to run it again, for the report.
      **numbers: fields of `Run`, of each trial: `seeds`, of which it is told the
        interquartile mean, `total_steps` and others.

    Raises:
      UserError: bad input, no Optuna, or no trial that stayed finite.
      KeyboardInterrupt: after writing a checkpoint.
    """
    optuna = _optuna()
    run = one(what, **numbers)
    trials, batch = positive("trials", trials), positive("batch", batch)
    if trials % batch:
        more = -(-trials // batch) * batch
        raise UserError(f"trials={trials} is no multiple of batch={batch}; use {more}")
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}, {nearest(str(sampler), SAMPLERS)}")
    if processes.several():
        raise UserError("a search runs in one process; unset JAX_COORDINATOR_ADDRESS")
    agent = run.made()
    if (metric := agent.metric) not in ("return", "fqe"):
        raise UserError(
            f"a search maximises, and {metric} is to be small: leave fqe_steps out, or name an "
            "environment"
        )
    _check(agent, space, template)
    seed = first_seed(run.seed, positive("seeds", run.seeds))
    show: dict[str, Any] = {"progress": progress, "sinks": sinks}
    with RunFolder.claim(out, resume=resume, mark="study.log") as folder:
        asker = _Asker(optuna, _study(optuna, folder.path, sampler, space), sampler, seed, space)
        compiled: Compiled = {}
        results: list[Result] = []
        for number in range(trials // batch):
            asked = [asker.ask(number * batch + i) for i in range(batch)]
            points = [grids.points(agent, [trial.params], template)[0] for trial in asked]
            runs = [
                of_point(run, agent, point, _name(trial.number))
                for point, trial in zip(points, asked, strict=True)
            ]
            results += _round(number, runs, folder, compiled, show)
            asker.tell(asked, merge_summaries([each.summary for each in results])["arms"])
        if not results:
            raise UserError("no trial stayed finite; search a smaller space")
        found = _found(results, asker.study, folder)
        arms = found.summary["arms"]
        best = sorted(arms, key=lambda arm: -arms[arm]["iqm"])[:SHOWN]
        shown = Rows.concatenate([found.curves.where(arm=arm) for arm in best])
        write_up(folder.path, found.summary, shown, title=title, command=command)
        folder.write_summary(found.summary)
    return found


def _round(
    number: int, runs: Sequence[Run], folder: RunFolder, compiled: Compiled, show: Any
) -> list[Result]:
    """The results of a round's trials; none if no trial stayed finite."""
    name, of_round = f"round {number + 1}", {"compiled": compiled, "keep": 1}
    try:
        # The report reads numbers; a state per round might fill the device.
        found = study(runs, folder, name=name, final=lambda *_: None, **of_round, **show)
    except NonFiniteError as error:
        warnings.warn(f"{name}: {error.reason}, and so in every trial", stacklevel=3)
        return []
    return list(found.values())


def _name(number: int) -> str:
    return f"trial {number}"


def _found(results: Sequence[Result], asked: Any, folder: RunFolder) -> Found:
    summary = merge_summaries([result.summary for result in results])
    best, values = asked.best_trial, dict(asked.best_trial.params)
    summary["best"] = {"arm": _name(best.number), "values": values}
    curves = Rows.concatenate([result.curves for result in results])
    return Found(_name(best.number), values, summary, curves, folder.path)


def _check(agent: Any, space: Space, template: str | None) -> None:
    """Raises a `UserError` unless both ends of every range can be trained at."""
    if not space:
        raise UserError("there is nothing to search over; name a number and its range")
    for name, domain in space.items():
        least = 0.0 if isinstance(domain, Range) and domain.log else -math.inf
        if isinstance(domain, Range) and not least < domain.low < domain.high < math.inf:
            above = "above 0 " if domain.log else ""
            raise UserError(
                f"{name} must go from a number {above}to a higher one, "
                f"not from {domain.low:g} to {domain.high:g}"
            )
    ends = [
        {n: d[end] if isinstance(d, Range) else d[-end] for n, d in space.items()} for end in (0, 1)
    ]
    for values in ends:
        grids.points(agent, [values], template)


# ---- Optuna -----------------------------------------------------------------------


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError("search needs an extra: pip install 'jaxrl-reward[search]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, path: Path, sampler: Sampler, space: Space) -> Any:
    """The study in the folder. Its journal is one of lines, and whole again if one was cut."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    file = path / "study.log"
    if file.exists():
        content = file.read_bytes()
        if not content.endswith(b"\n"):
            write_atomic(file, content[: content.rfind(b"\n") + 1])
    # The folder is locked already: whoever holds this lock is no more.
    Path(f"{file}.lock").unlink(missing_ok=True)
    storage = JournalStorage(JournalFileBackend(str(file), lock_obj=JournalFileOpenLock(str(file))))
    study = optuna.create_study(
        storage=storage, study_name="search", direction="maximize", load_if_exists=True
    )
    setting = {"sampler": sampler, "space": {name: plain(domain) for name, domain in space.items()}}
    if study.user_attrs.get("setting", setting) != setting:
        raise UserError(f"{path} holds a search of another space or sampler; choose another --out")
    study.set_user_attr("setting", setting)
    return study


@dataclasses.dataclass(frozen=True)
class _Asker:
    """Asks a study for trials and tells it their results.

    A sampler is made for each trial, seeded by its number: a resumed search asks
    for what it would have asked for.
    """

    optuna: Any
    study: Any
    sampler: Sampler
    seed: int
    space: Space

    def ask(self, number: int) -> Any:
        """Trial `number`: the one that was asked for before, or a new one."""
        samplers, seed = self.optuna.samplers, (self.seed + number) % 2**32
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", self.optuna.exceptions.ExperimentalWarning)
            self.study.sampler = (
                samplers.TPESampler(seed=seed, constant_liar=True)
                if self.sampler == "tpe"
                else samplers.RandomSampler(seed=seed)
            )
        earlier = self.study.get_trials(deepcopy=False)
        if number == len(earlier):
            trial = self.study.ask()
        elif earlier[number].state.is_finished():
            return earlier[number]
        else:
            trial = self.optuna.trial.Trial(self.study, earlier[number]._trial_id)
        for name, domain in self.space.items():
            if isinstance(domain, Range):
                trial.suggest_float(name, domain.low, domain.high, log=domain.log)
            else:
                trial.suggest_categorical(name, [float(each) for each in domain])
        return trial

    def tell(self, asked: Sequence[Any], arms: Mapping[str, Any]) -> None:
        """Tells the interquartile means; a trial without one has failed."""
        known = self.study.get_trials(deepcopy=False)
        failed = self.optuna.trial.TrialState.FAIL
        for trial in asked:
            entry = arms.get(_name(trial.number))
            if known[trial.number].state.is_finished():
                continue
            if entry is None:
                self.study.tell(trial.number, state=failed)
            else:
                self.study.tell(trial.number, entry["iqm"])
