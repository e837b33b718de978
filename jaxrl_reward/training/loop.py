"""Training: compiled chunks on the devices, everything else between them.

The device runs iterations; the host logs, evaluates, draws the progress bar,
looks for non-finite values and writes checkpoints. What is computed and
recorded is a function of the configuration alone. Time decides only how many
iterations a call to the device runs and when an extra checkpoint is written,
and neither changes a result.
"""

import contextlib
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrl_reward.training import checkpoint, lanes, processes
from jaxrl_reward.training.layout import Shard
from jaxrl_reward.training.metrics import Rows, Sink, averages, show
from jaxrl_reward.training.progress import Progress, deferred_interrupt
from jaxrl_reward.training.result import NonFiniteError, Result
from jaxrl_reward.training.run_folder import RunFolder, rows_from_parquet, rows_to_parquet
from jaxrl_reward.training.schedule import Plan, first_seed, plan, positive
from jaxrl_reward.training.sharding import (
    Carry,
    Programs,
    compile_together,
    device_name,
    nan_leaves,
)
from jaxrl_reward.types import UserError

if TYPE_CHECKING:
    from jaxrl_reward.agents.base import Agent

SLICE_SECONDS = 0.5  # how long a call to the device runs: the bar and Ctrl-C wait for it


def train(
    agent: "Agent",
    *,
    seeds: int,
    total_steps: int,
    seed: int = 0,
    out: Path | str | RunFolder | None = None,
    arm: str | None = None,
    evals: int = 10,
    eval_episodes: int = 16,
    log_points: int = 100,
    resume: bool = False,
    progress: bool = True,
    sinks: Sequence[Sink] = (),
    checkpoint_seconds: float = 120.0,
    keep: int = 2,
    programs: Programs | None = None,
    vary: lanes.Vary | None = None,
    shard: Shard = "auto",
) -> Result:
    """Trains `seeds` independent copies of an agent at once, or of several of its points.

    Args:
      agent: what to train.
      seeds: how many; seed `i` starts from `jax.random.key(seed + i)`.
      total_steps: environment steps per seed, rounded up to whole iterations; of an
        agent that learns from data, gradient steps.
      seed: the first seed.
      out: a folder for the results, or one that was claimed for several arms;
        its owner then writes the summary. None keeps nothing on disk.
      arm: a name for this run among others, the agent's name by default. With
        `vary` there is an arm for each point, called what varies.
      evals: greedy evaluations after the one at step 0; the last is at the end.
      eval_episodes: episodes of one evaluation, per seed.
      log_points: how often training metrics are recorded.
      resume: continue from the folder's newest good checkpoint, if it has one.
      progress: draw a bar, or print a line per evaluation, on standard error.
      sinks: where rows also go; they are left open.
      checkpoint_seconds: the longest time without a checkpoint. There is one
        after each evaluation in any case.
      keep: how many checkpoints to keep.
      programs: the agent's, compiled ahead for these seeds, episodes, points and
        shard.
      vary: a grid or list of numbers to train with, in one program: see
        `lanes.points`. Where one is not finite its arm ends, and the others go on.
      shard: what is split over devices, `seeds` (points too) or `envs`, or what
        fills them: see `layout.py`. Either gives the numbers of one device, up to
        rounding.

    Raises:
      UserError: bad input, a folder that holds another run, or no checkpoint
        that can be read.
      NonFiniteError: a metric is not finite. The last checkpoint is good.
      KeyboardInterrupt: after writing a checkpoint.
    """
    seeds, seed = positive("seeds", seeds), first_seed(seed, seeds)
    eval_episodes, keep = positive("eval_episodes", eval_episodes), positive("keep", keep)
    schedule = plan(agent.steps_per_iteration, total_steps, evals, log_points)
    if agent.learning_starts > schedule.total_steps:
        raise UserError(
            f"{agent.name}'s learning_starts={agent.learning_starts} is beyond the run's "
            f"{schedule.total_steps} steps per seed: lower it, or raise total_steps"
        )
    if resume and out is None:
        raise UserError("resume needs the folder of the run to continue; give it with --out")
    arm = agent.name if arm is None else arm
    agent, _ = lanes.of_length(agent, total_steps)
    points = () if vary is None else lanes.points(agent, vary)
    _, points = lanes.of_length(agent, total_steps, points)
    shared = {
        "agent": agent.name,
        "config": agent.config,
        "env": agent.env.name,
        "reward": str(agent.reward),
        "seeds": seeds,
        "seed": seed,
        "total_steps": schedule.requested,
        "evals": evals,
        "eval_episodes": eval_episodes,
        "log_points": log_points,
        "shard": shard,  # another layout rounds otherwise
    }
    if agent.data is not None:
        shared["data"] = {
            "rows": agent.data.count,
            "checksums": [origin.checksum for origin in agent.data_origin],
        }
    arms = {arm: shared}
    if points:
        arms = {each.name: shared | packed for each, packed in _packed(arm, points, seeds)}
    with contextlib.ExitStack() as stack:
        started = time.perf_counter()
        folder = out if isinstance(out, RunFolder) else None
        if isinstance(out, str | Path):
            folder = stack.enter_context(RunFolder.join(out, resume=resume))
            processes.first_does(lambda: folder.expect(arms))
        if folder is not None:
            folder.register_all(arms)
        resume = folder is not None and folder.resume
        if programs is None:
            programs = Programs(
                agent, seeds=seeds, seed=seed, episodes=eval_episodes, points=points, shard=shard
            )
            if not resume:  # else the run may be over, and need no program at all
                compile_together([programs])
        else:
            started -= programs.compile_seconds
        first = processes.is_first()
        bar = Progress(arm, schedule, programs.lanes, enabled=progress and first)
        sinks = tuple(sinks) if first else ()
        run = _Run(arm, tuple(arms), schedule, programs, folder, range(seed, seed + seeds), sinks)
        run.bar = stack.enter_context(bar)
        run.started, run.checkpoint_seconds, run.keep = started, checkpoint_seconds, keep
        run.begin(resume)
        run.drive()
        result = run.result()
        if folder is not None and folder is not out:
            folder.write_summary(result.summary)
    return result


def _packed(arm: str, points: Sequence[lanes.Point], seeds: int) -> Any:
    """Each point, and what its arm's configuration has of its own."""
    for i, point in enumerate(points):
        pack = {"name": arm, "lanes": len(points) * seeds, "first": i * seeds}
        yield point, {"config": point.config, "reward": str(point.reward), "pack": pack}


@dataclass
class _Run:
    """The arms of one program on their way. All that a resumed run needs is in `save`."""

    name: str
    arms: tuple[str, ...]
    plan: Plan
    programs: Programs
    folder: RunFolder | None
    seeds: range
    sinks: tuple[Sink, ...]
    bar: Any = None
    started: float = 0.0
    checkpoint_seconds: float = 120.0
    keep: int = 2
    carry: Any = None
    iteration: int = 0
    logged: int = 0
    evaluated: int = -1
    rows: list[Rows] = field(default_factory=list)
    earlier: dict[str, float] = field(default_factory=dict)
    train_seconds: float = 0.0
    iteration_seconds: float = SLICE_SECONDS  # until measured: one iteration a slice
    may_hold_nan: list[str] = field(default_factory=list)
    saved: int = -1
    saved_at: float = field(default_factory=time.perf_counter)
    stopped: dict[str, str] = field(default_factory=dict)  # arms that ended early, and why

    @property
    def step(self) -> int:
        return self.iteration * self.plan.steps_per_iteration

    @property
    def live(self) -> np.ndarray:
        """Which lanes go on, `[L]`."""
        return np.repeat([arm not in self.stopped for arm in self.arms], len(self.seeds))

    def begin(self, resume: bool) -> None:
        """From the newest good checkpoint, or from the beginning."""
        found = None
        if resume and self.folder is not None:
            found = checkpoint.restore(self.folder.checkpoints(self.name), self.programs.abstract)
        if found is None:
            self.carry = self.programs.init()
            self.may_hold_nan = nan_leaves(self.carry.state, self.live)
            return
        self.carry, meta = found.tree, found.meta
        self.iteration = self.saved = meta["iteration"]
        self.logged, self.evaluated = meta["logged"], meta["evaluated"]
        self.may_hold_nan = meta["may_hold_nan"]
        self.earlier, self.stopped = meta["seconds"], meta.get("stopped", {})
        self.rows = [rows_from_parquet(found.read("rows.parquet"))]
        self.write_rows()

    def drive(self) -> None:
        """To the end, or to the first interrupt or non-finite value."""
        with deferred_interrupt() as interrupts:
            try:
                self.bar.start(self.iteration)
                while True:
                    self.settle()
                    if self.iteration == self.plan.iterations:
                        return
                    if processes.agree(bool(interrupts)):
                        raise KeyboardInterrupt
                    self.advance()
            except KeyboardInterrupt:
                # A second Ctrl-C asks to stop at once. One that came while the
                # device ran has cost the state: its buffers were donated.
                if len(interrupts) < 2 and not _is_deleted(self.carry):
                    self.save()
                raise
            except NonFiniteError:
                self.write_rows()
                raise

    def advance(self) -> None:
        """One call to the device, of about `SLICE_SECONDS`, not past a point."""
        room = self.plan.next_point(self.iteration) - self.iteration
        n = max(1, min(room, int(SLICE_SECONDS / self.iteration_seconds)))
        n = int(processes.agree(n))
        compiling = self.programs.compile_seconds
        began = time.perf_counter()
        self.carry = self.programs.advance(self.carry, self.iteration, n)
        seconds = time.perf_counter() - began - (self.programs.compile_seconds - compiling)
        self.iteration += n
        self.iteration_seconds = max(seconds / n, 1e-9)
        self.train_seconds += seconds
        first_bad = processes.to_host(self.carry.tally.first_bad)
        while (first_bad := np.where(self.live[:, None], first_bad, 0)).any():
            when = np.where(first_bad > 0, first_bad, np.iinfo(np.int32).max)
            lane, metric = np.unravel_index(np.argmin(when), when.shape)
            step = int(when[lane, metric]) * self.plan.steps_per_iteration
            self.stop(self.programs.metrics[metric], int(lane), step)
        self.bar.advance(self.iteration, n, seconds)

    def stop(self, metric: str, lane: int, step: int) -> None:
        """Ends the arm of a lane that is not finite; raises if no arm is left."""
        kept = None
        if self.folder is not None and self.saved >= 0:
            name = str(self.saved * self.plan.steps_per_iteration)
            kept = self.folder.checkpoints(self.name) / name
        arm, seed = divmod(lane, len(self.seeds))
        error = NonFiniteError(metric, self.seeds[seed], step, kept)
        self.stopped[self.arms[arm]] = error.reason
        if not self.live.any():
            raise error
        warnings.warn(f"arm {self.arms[arm]!r} ends: {error.reason}", stacklevel=2)

    def settle(self) -> None:
        """What is due at this iteration and has not happened: log, evaluate, save."""
        if self.iteration in self.plan.log_points and self.logged < self.iteration:
            tally = self.carry.tally
            total, counted = processes.to_host(tally.total), processes.to_host(tally.counted)
            means = averages(total, counted, self.programs.metrics)
            self.carry, self.logged = self.programs.clear(self.carry), self.iteration
            self.record(means)
        due = self.iteration in self.plan.eval_points
        if due and self.evaluated < self.iteration:
            returns, lengths = self.programs.evaluate(self.carry, self.iteration)
            for name, values in (("return", returns), ("length", lengths)):
                bad = ~np.isfinite(values).all(axis=1)
                while (bad := bad & self.live).any():
                    self.stop(name, int(np.argmax(bad)), self.step)
            self.evaluated = self.iteration
            self.record({"return": returns.mean(axis=1), "length": lengths.mean(axis=1)})
            self.bar.evaluated(self.iteration, float(returns[self.live].mean()))
        if due or processes.agree(time.perf_counter() - self.saved_at > self.checkpoint_seconds):
            self.save()

    def record(self, values: dict[str, np.ndarray]) -> None:
        parts, count = [], len(self.seeds)
        for i, arm in enumerate(self.arms):
            if arm not in self.stopped:
                own = {name: each[i * count : (i + 1) * count] for name, each in values.items()}
                parts.append(Rows.at(arm, self.seeds, self.step, own))
        rows = Rows.concatenate(parts)
        self.rows.append(rows)
        self.sinks = show(rows, self.sinks)

    def write_rows(self) -> None:
        if self.folder is not None:
            self.folder.write_rows(Rows.concatenate(self.rows))

    def save(self) -> None:
        """Rows and a checkpoint, unless this state is saved, or is not good."""
        self.saved_at = time.perf_counter()
        if self.folder is None or self.saved == self.iteration:
            return
        found = nan_leaves(self.carry.state, self.live)
        bad = [name for name in found if name not in self.may_hold_nan]
        if bad:
            # Parameters may turn NaN in the last update of an iteration, whose
            # metrics are still finite: such a state must not replace a good one.
            warnings.warn(f"{bad[0]} holds a NaN at step {self.step:,}: not saved", stacklevel=2)
            return
        self.rows = [Rows.concatenate(self.rows)]
        self.write_rows()
        meta = {
            "iteration": self.iteration,
            "logged": self.logged,
            "evaluated": self.evaluated,
            "may_hold_nan": self.may_hold_nan,
            "seconds": self.seconds(),
            "stopped": self.stopped,
        }
        files = {"rows.parquet": rows_to_parquet(self.rows[0])}
        folder = self.folder.checkpoints(self.name)
        checkpoint.save(folder, self.step, self.carry, meta, files=files, keep=self.keep)
        self.saved, self.saved_at = self.iteration, time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Time spent, with what was spent before the run was resumed."""
        now = {
            "train": self.train_seconds,
            "compile": self.programs.compile_seconds,
            "wall": time.perf_counter() - self.started,
        }
        return {name: value + self.earlier.get(name, 0.0) for name, value in now.items()}

    def result(self) -> Result:
        # Not needed before the end, and its package brings the plots along.
        from jaxrl_reward.report import statistics

        rows = Rows.concatenate(self.rows)
        last = rows.where(step=self.plan.total_steps, metric="return")
        final = {arm: part.curve("return")[1][:, -1] for arm, part in last.by_arm().items()}
        seconds = self.seconds()
        steps = self.plan.total_steps * self.programs.lanes
        learns = self.programs.agent.data is not None  # from data, and plays nothing
        summary = {
            "arms": {arm: statistics.summarize(returns) for arm, returns in final.items()},
            "env_steps": 0 if learns else steps,
            "steps_per_second": steps / seconds["train"],
            "compile_seconds": seconds["compile"],
            "wall_seconds": seconds["wall"],
            "device": device_name(),
            "verdicts": [],
        }
        if learns:
            summary["gradient_steps"] = steps
        if self.plan.rounding:
            length = {"asked": self.plan.requested, "steps": self.plan.total_steps}
            summary["rounded_up"] = dict.fromkeys(self.arms, length)
        if self.stopped:
            summary["stopped"] = dict(self.stopped)
        unknown = np.full(len(self.seeds), np.nan)
        returns = np.concatenate([final.get(arm, unknown) for arm in self.arms])
        return Result(self.name, self.carry.state, rows, summary, returns, self.plan, self.arms)


def _is_deleted(carry: Carry | None) -> bool:
    return carry is None or any(leaf.is_deleted() for leaf in carry.tally)
