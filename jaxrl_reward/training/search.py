"""Search: Optuna asks for numbers, a batch at a time, and is told returns.

A round is a batch of trials with several seeds each, all lanes of one program
that every round uses again. What Optuna knows is in `study.log` in the run's
folder, and a round is a run with checkpoints of its own: a killed search
resumes in the middle of a round and asks for what it would have asked for.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from jaxrl_reward.training import lanes, processes
from jaxrl_reward.training.loop import train
from jaxrl_reward.training.metrics import Rows, Sink
from jaxrl_reward.training.result import NonFiniteError, Result
from jaxrl_reward.training.run_folder import RunFolder, merge_summaries, plain
from jaxrl_reward.training.schedule import first_seed, positive
from jaxrl_reward.training.sharding import Programs, compile_together
from jaxrl_reward.training.write_up import write_up
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
    agent: Any,
    space: Space,
    *,
    trials: int,
    batch: int,
    seeds: int,
    total_steps: int,
    out: Path | str,
    template: str | None = None,
    sampler: Sampler = "tpe",
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
    evals: int = 10,
    eval_episodes: int = 16,
    title: str = "Search",
    command: str = "",
) -> Found:
    """Looks for the numbers with the highest final greedy return.

    The mean of the best of many trials is too high, as chance had a part in
    choosing it: report what it gives on other seeds.

    Args:
      agent: what to train.
      space: a `Range` or a list of choices by name, as in `lanes.points`.
      trials: how many, a multiple of `batch`; more of them continue a search.
      batch: trials of a round, side by side.
      seeds: of each trial; it is told their interquartile mean.
      total_steps: environment steps per seed.
      out: a new folder, or with `resume` that of the search to continue.
      template: a reward's text with names for numbers.
      sampler: Optuna's: `tpe` (Bergstra et al. 2011) or `random`.
      seed: the first seed, also of the sampler.
      resume, progress, sinks, evals, eval_episodes: as for `train`.
      title: of the report.
      command: how to run it again, for the report.

    Raises:
      UserError: bad input, no Optuna, or no trial that stayed finite.
      KeyboardInterrupt: after writing a checkpoint.
    """
    optuna = _optuna()
    if processes.several():
        raise UserError("a search runs in one process; unset JAX_COORDINATOR_ADDRESS")
    trials, batch, seeds = (
        positive("trials", trials),
        positive("batch", batch),
        positive("seeds", seeds),
    )
    if trials % batch:
        more = -(-trials // batch) * batch
        raise UserError(f"trials={trials} is no multiple of batch={batch}; use {more}")
    if sampler not in SAMPLERS:
        raise UserError(f"unknown sampler {sampler!r}, {nearest(str(sampler), SAMPLERS)}")
    _check(agent, space, template)
    options: dict[str, Any] = {"seeds": seeds, "seed": first_seed(seed, seeds)}
    programs: Programs | None = None
    results: list[Result] = []
    with RunFolder.claim(out, resume=resume) as folder:
        study = _study(optuna, folder.path, sampler, space)
        for number in range(trials // batch):
            asked = [
                _ask(optuna, study, sampler, seed, number * batch + i, space) for i in range(batch)
            ]
            points = [
                lanes.points(agent, [trial.params], template)[0]._replace(name=_name(trial.number))
                for trial in asked
            ]
            if programs is None:
                programs = Programs(agent, episodes=eval_episodes, points=points, **options)
                if not resume:
                    compile_together([programs])
            else:
                programs = programs.at(points)
            try:
                result = train(
                    agent,
                    total_steps=total_steps,
                    out=folder,
                    arm=f"round {number + 1}",
                    evals=evals,
                    eval_episodes=eval_episodes,
                    progress=progress,
                    sinks=sinks,
                    keep=1,
                    programs=programs,
                    vary=points,
                    **options,
                )
            except NonFiniteError as error:
                warnings.warn(f"round {number + 1}: {error.reason}, in every trial", stacklevel=2)
                _tell(optuna, study, asked, {})
                continue
            _tell(optuna, study, asked, result.summary["arms"])
            results.append(result)
        if not results:
            raise UserError("no trial stayed finite; search a smaller space")
        found = _found(results, study, folder)
        best = sorted(found.summary["arms"], key=lambda arm: -found.summary["arms"][arm]["iqm"])
        shown = Rows.concatenate([found.curves.where(arm=arm) for arm in best[:SHOWN]])
        write_up(folder.path, found.summary, shown, title=title, command=command)
        folder.write_summary(found.summary)
    return found


def _name(number: int) -> str:
    return f"trial {number}"


def _found(results: Sequence[Result], study: Any, folder: RunFolder) -> Found:
    summary = merge_summaries([result.summary for result in results])
    stopped = {arm: why for each in results for arm, why in each.summary.get("stopped", {}).items()}
    best, values = study.best_trial, dict(study.best_trial.params)
    summary["best"] = {"arm": _name(best.number), "values": values}
    if stopped:
        summary["stopped"] = stopped
    curves = Rows.concatenate([result.curves for result in results])
    return Found(_name(best.number), values, summary, curves, folder.path)


def _check(agent: Any, space: Space, template: str | None) -> None:
    """Raises a `UserError` unless both ends of every range can be trained at."""
    if not space:
        raise UserError("there is nothing to search over; name a number and its range")
    for name, domain in space.items():
        if (
            isinstance(domain, Range)
            and not (0 if domain.log else -1e300) < domain.low < domain.high
        ):
            least = "above 0 and " if domain.log else ""
            raise UserError(
                f"{name} must go from a number {least}below its upper end, got {domain}"
            )
    ends = [
        {n: d[end] if isinstance(d, Range) else d[-end] for n, d in space.items()} for end in (0, 1)
    ]
    for values in ends:
        lanes.points(agent, [values], template)


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
        file.write_bytes(content[: content.rfind(b"\n") + 1])
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


def _ask(optuna: Any, study: Any, sampler: Sampler, seed: int, number: int, space: Space) -> Any:
    """Trial `number`: the one that was asked for before, or a new one.

    A sampler is made for each, seeded by its number: a resumed search asks for
    what it would have asked for.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = (
            optuna.samplers.TPESampler(seed=seed + number, constant_liar=True)
            if sampler == "tpe"
            else optuna.samplers.RandomSampler(seed=seed + number)
        )
    earlier = study.get_trials(deepcopy=False)
    if number < len(earlier):
        if earlier[number].state.is_finished():
            return earlier[number]
        trial = optuna.trial.Trial(study, earlier[number]._trial_id)
    else:
        trial = study.ask()
    for name, domain in space.items():
        if isinstance(domain, Range):
            trial.suggest_float(name, domain.low, domain.high, log=domain.log)
        else:
            trial.suggest_categorical(name, [float(each) for each in domain])
    return trial


def _tell(optuna: Any, study: Any, asked: Sequence[Any], arms: Mapping[str, Any]) -> None:
    """Tells the interquartile means; a trial without one has failed."""
    known = study.get_trials(deepcopy=False)
    for trial in asked:
        if known[trial.number].state.is_finished():
            continue
        if entry := arms.get(_name(trial.number)):
            study.tell(trial.number, entry["iqm"])
        else:
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
