"""What a run gives: its result, its error, and what can be loaded from its folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxrl_reward.training import lanes
from jaxrl_reward.training.devices.layout import seeds_mesh
from jaxrl_reward.training.devices.sharding import Programs
from jaxrl_reward.training.record import checkpoint
from jaxrl_reward.training.record.metrics import Rows
from jaxrl_reward.training.record.run_folder import arm_config, checkpoints_of
from jaxrl_reward.training.schedule import Plan
from jaxrl_reward.types import UserError

if TYPE_CHECKING:
    from jaxrl_reward.agents.common.base import Agent


class NonFiniteError(RuntimeError):
    """A metric or an evaluation became infinite or NaN; the run has stopped.

    Attributes:
      metric: the first metric that was not finite.
      seed: the seed it happened in.
      step: that seed's steps at the end of that iteration.
      culprit: the term of the reward, or the environment, that first made it so and
        what it does; None where neither did, or it was not looked for.
      reason: all of this in a few words.
    """

    def __init__(
        self,
        metric: str,
        seed: int,
        step: int,
        kept: Path | None = None,
        culprit: str | None = None,
    ):
        self.metric, self.seed, self.step, self.culprit = metric, seed, step, culprit
        what = metric if culprit is None else f"{culprit} that"
        self.reason = f"{what} is not finite (seed {seed}, step {step:,})"
        last = f"; the last good checkpoint is {kept}" if kept else ""
        super().__init__(f"{self.reason}: stopped{last}")


@dataclass(frozen=True)
class Result:
    """What a run of one arm gives, or of the arms of one program.

    Attributes:
      arm: its name.
      state: the agent's final state, leaves `[L, ...]`: the seeds of each arm in turn.
      curves: the rows of `metrics.parquet`, of this run.
      summary: the content of `summary.json`, for this run alone.
      returns: the final greedy return of each lane, `[L]`, or what else is reported of
        it; NaN in an arm that ended because something was not finite.
      plan: the run's steps and points; None where no agent was trained.
      arms: the names, more than one only with `vary`.
      study: what an experiment's `study` made of the state, if it has one.
    """

    arm: str
    state: Any = field(repr=False)
    curves: Rows
    summary: dict[str, Any]
    returns: np.ndarray
    plan: Plan | None = field(repr=False)
    arms: tuple[str, ...] = ()
    study: Any = field(default=None, repr=False)

    def by_arm(self) -> dict[str, "Result"]:
        """Each arm's own result. Steps and times are shared out evenly."""
        parts, count, curves = {}, len(self.arms), self.curves.by_arm()
        steps = [key for key in ("env_steps", "gradient_steps") if key in self.summary]
        for i, arm in enumerate(self.arms):
            own = slice(i * len(self.returns) // count, (i + 1) * len(self.returns) // count)
            share = {key: self.summary[key] // count for key in steps}
            share |= {key: self.summary[key] / count for key in ("compile_seconds", "wall_seconds")}
            for key in ("arms", "rounded_up", "stopped"):
                if key in self.summary:
                    share[key] = {n: self.summary[key][n] for n in [arm] if n in self.summary[key]}
            parts[arm] = Result(
                arm,
                jax.tree.map(lambda leaf, own=own: leaf[own], self.state),
                curves.get(arm, Rows()),
                self.summary | share,
                self.returns[own],
                self.plan,
                (arm,),
            )
        return parts

    @property
    def compile_seconds(self) -> float:
        return self.summary["compile_seconds"]

    @property
    def wall_seconds(self) -> float:
        return self.summary["wall_seconds"]

    @property
    def steps_per_second(self) -> float:
        """Steps of all seeds, of the environment or of the gradient, per second of
        training, without compilation and evaluation."""
        return self.summary["steps_per_second"]


class Loaded(NamedTuple):
    """A trained agent's state, leaves `[S, ...]`, and where it is from."""

    state: Any
    step: int
    arm: str
    config: dict[str, Any]


def load(agent: "Agent", out: Path | str, arm: str | None = None) -> Loaded:
    """The newest good state of a run, for evaluating or rendering it.

    Args:
      agent: built as the run's was; `run_folder.arm_config` says how.
      out: the run's folder.
      arm: which arm; may be left out where there is one only.

    Raises:
      UserError: there is no such run or arm, no checkpoint that can be read,
        or it is of another agent.
    """
    arm, config = arm_config(out, arm)
    agent = lanes.of_length(agent, config["total_steps"])
    episodes, seeds, seed = config["eval_episodes"], config["seeds"], config["seed"]
    pack = config.get("pack", {"name": arm, "lanes": seeds, "first": 0})
    # Shapes are those of as many seeds: what the lanes differ in is in the state.
    programs = Programs(agent, seeds=pack["lanes"], seed=seed, episodes=episodes)
    restored = checkpoint.restore(checkpoints_of(out, pack["name"]), programs.abstract)
    if restored is None:
        raise UserError(f"{out} has no checkpoint of arm {arm!r} yet; train it first")
    state = restored.tree.state
    if pack["lanes"] > seeds:
        own = slice(pack["first"], pack["first"] + seeds)
        rows = NamedSharding(seeds_mesh(seeds), P("seeds"))
        state = jax.device_put(jax.tree.map(lambda leaf: leaf[own], state), rows)
    return Loaded(state, restored.step, arm, config)
