"""Training: compiled chunks on the devices, everything else between them.

The device runs iterations; the host logs, evaluates, draws the progress bar,
looks for non-finite values and writes checkpoints. What is computed and
recorded is a function of the configuration alone. Time decides only how many
iterations a call to the device runs and when an extra checkpoint is written,
and neither changes a result.
"""

import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxrl_reward.data import normalized_score
from jaxrl_reward.training import culprit
from jaxrl_reward.training.devices import processes
from jaxrl_reward.training.devices.sharding import (
    Carry,
    Programs,
    device_name,
    nan_leaves,
    select_seed,
)
from jaxrl_reward.training.progress import Progress, deferred_interrupt
from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.training.record.metrics import Rows, Sink, averages, show
from jaxrl_reward.training.record.result import NonFiniteError, Result
from jaxrl_reward.training.record.run_folder import RunFolder, rows_from_parquet, rows_to_parquet
from jaxrl_reward.training.runs import Pack
from jaxrl_reward.types import UserError

AGAIN = 20.0  # seconds that may be run again to find what was not finite
SLICE_SECONDS = 0.5  # how long a call to the device runs: the bar and Ctrl-C wait for it


@dataclass
class Training:
    """The runs of one program on their way. All that a resumed one needs is in `save`."""

    pack: Pack
    programs: Programs
    folder: RunFolder | None
    bar: Progress
    metric: str
    started: float
    sinks: tuple[Sink, ...]
    checkpoint_seconds: float
    keep: int
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

    def __post_init__(self):
        run = self.pack.lanes[0].run
        self.name, self.plan = self.pack.name, self.pack.lanes[0].plan
        self.arms = tuple(lane.run.name for lane in self.pack.lanes)
        self.seeds = range(run.seed, run.seed + run.seeds)

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
        room = min(room, self.programs.room(self.iteration) or room)
        self.programs.feed(self.iteration)
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
            found = self.culprit(int(lane), int(when[lane, metric]))
            self.stop(self.programs.metrics[metric], int(lane), step, found)
        self.bar.advance(self.iteration, n, seconds)

    def culprit(self, lane: int, iteration: int) -> str | None:
        """What of a lane's reward first was not finite, in the iteration of this number.

        The way there from the newest good state is run again, if it is short.
        """
        start, carry = 0, None
        if processes.several() or (iteration - max(self.saved, 0)) * self.iteration_seconds > AGAIN:
            return None
        if self.programs.agent.stream is not None:  # of which there were several windows
            return None
        try:
            if self.folder is not None and self.saved >= 0:
                found = checkpoint.restore(
                    self.folder.checkpoints(self.name), self.programs.abstract
                )
                assert found is not None
                start, carry = found.meta["iteration"], found.tree
            carry = self.programs.init() if carry is None else carry
            carry = self.programs.advance(carry, start, iteration - 1 - start)
            one = jax.device_put(select_seed(carry.state, lane), jax.local_devices()[0])
            return culprit.find(self.programs.agent, one)
        except Exception as error:  # what explains an error must not take its place
            warnings.warn(f"which term was not finite was not found: {error}", stacklevel=2)
            return None

    def stop(self, metric: str, lane: int, step: int, found: str | None = None) -> None:
        """Ends the arm of a lane that is not finite; raises if no arm is left."""
        kept = None
        if self.folder is not None and self.saved >= 0:
            name = str(self.saved * self.plan.steps_per_iteration)
            kept = self.folder.checkpoints(self.name) / name
        arm, seed = divmod(lane, len(self.seeds))
        error = NonFiniteError(metric, self.seeds[seed], step, kept, found)
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
            found: dict[str, np.ndarray] = {}
            if self.programs.has("evaluate"):
                returns, lengths = self.programs.evaluate(self.carry, self.iteration)
                found = {"return": returns.mean(axis=1), "length": lengths.mean(axis=1)}
                if (known := self.programs.agent.references) is not None:
                    found["score"] = normalized_score(found["return"], *known)
            self.programs.feed(max(self.iteration - 1, 0))  # what was learned from last
            found |= self.programs.judge(self.carry, self.iteration)
            found |= self.programs.probe(self.carry)
            if self.metric not in found:
                known = ", ".join(sorted(found))
                raise UserError(f"there is no {self.metric!r} to report; the probe finds {known}")
            for name in [each for each in found if each in ("return", "length", self.metric)]:
                bad = ~np.isfinite(found[name])
                while (bad := bad & self.live).any():
                    self.stop(name, int(np.argmax(bad)), self.step)
            self.evaluated = self.iteration
            self.record(found)
            shown = "return" if "return" in found else self.metric
            self.bar.evaluated(self.iteration, float(found[shown][self.live].mean()), shown)
        if due or processes.agree(time.perf_counter() - self.saved_at > self.checkpoint_seconds):
            self.save()

    def record(self, values: dict[str, np.ndarray]) -> None:
        shape = (len(self.arms), len(self.seeds))
        going = [i for i, arm in enumerate(self.arms) if arm not in self.stopped]
        own = {name: each.reshape(shape)[going] for name, each in values.items()}
        rows = Rows.of_arms([self.arms[i] for i in going], self.seeds, self.step, own)
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
        last = rows.where(step=self.plan.total_steps, metric=self.metric)
        final = {arm: part.curve(self.metric)[1][:, -1] for arm, part in last.by_arm().items()}
        seconds = self.seconds()
        steps = self.plan.total_steps * self.programs.lanes
        learns = self.programs.agent.data is not None  # from data, and plays nothing
        summary = {
            "arms": {arm: statistics.summarize(x, self.metric) for arm, x in final.items()},
            "env_steps": 0 if learns else steps,
            "steps_per_second": steps / seconds["train"],
            "compile_seconds": seconds["compile"],
            "wall_seconds": seconds["wall"],
            "device": device_name(),
            "verdicts": [],
        }
        if learns:
            summary["gradient_steps"] = steps
        if (known := self.programs.agent.references) is not None:
            for arm, own in rows.where(step=self.plan.total_steps).by_arm().items():
                if arm in final:
                    scores = own.curve("score")[1][:, -1]
                    summary["arms"][arm]["score"] = statistics.scored(scores, known)
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
