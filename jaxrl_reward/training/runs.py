"""A run: what is trained, on which seeds and for how long, and which runs are one program."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.training import lanes
from jaxrl_reward.training.devices.layout import Shard
from jaxrl_reward.training.schedule import Plan, first_seed, plan, positive
from jaxrl_reward.types import UserError


@dataclass(frozen=True)
class Run:
    """One way to train an agent, with several seeds: all that decides its numbers.

    Attributes:
      name: of the arm, in tables, figures and files.
      agent: an agent's name, or one that is made.
      env: an environment's name; left out with a made agent, which has its own.
      reward: an expression or its text; by default the environment's, or that of the
        made agent.
      data: the file or data set that an agent learns from which does not play.
      settings: of the agent, those that are not its defaults; or its `Config`.
      seeds: how many; seed `i` starts from `jax.random.key(seed + i)`.
      seed: the first of them.
      total_steps: environment steps per seed, rounded up to whole iterations; of an
        agent that learns from data, gradient steps.
      evals: greedy evaluations after the one at step 0; the last is at the end.
      eval_episodes: episodes of one evaluation, per seed.
      log_points: how often training metrics are recorded.
      shard: what is split over devices, `seeds` (points too) or `envs`, or what fills
        them: see `layout.py`. Either gives the numbers of one device, up to rounding.
      begin: `begin(state, first) -> state`, another first state: from the one that the
        agent begins with, and the one with which the study's first run does with this
        seed. So several runs share a warm-up, which is then done once.
      adapt: `adapt(agent, plan) -> agent`, the one that trains, with another `iterate`, say.
      shown: the reward as reports have it, where that is not all of the expression.
    """

    name: str
    agent: Any = "ppo"
    env: str = ""
    reward: Any = None
    data: Any = None
    settings: Any = field(default_factory=dict)
    seeds: int = 1
    seed: int = 0
    total_steps: int = 500_000
    evals: int = 10
    eval_episodes: int = 16
    log_points: int = 100
    shard: Shard = "auto"
    begin: Callable[[Any, Any], Any] | None = None
    adapt: Callable[[Any, Plan], Any] | None = None
    shown: str | None = None

    def made(self, make_env: Callable[[str], Any] | None = None) -> Any:
        """Its agent, with the run's settings and reward.

        Raises:
          UserError: an unknown name or setting, or a value that cannot be.
        """
        # Agents bring all of the simulators along.
        from jaxrl_reward import agents
        from jaxrl_reward import rewards as rw

        if isinstance(self.agent, str):
            env = make_env(self.env) if self.env and make_env else self.env or None
            data = self.data or None if isinstance(self.data, str) else self.data
            return agents.make(self.agent, env, self.reward, data=data, **self.settings)
        numbers: dict[str, Any] = {}
        if dataclasses.is_dataclass(self.settings):
            numbers["config"] = self.settings
        elif self.settings:
            raise UserError(
                f"run {self.name!r} has an agent that is made: it takes a whole Config, or give "
                f"{next(iter(self.settings))} to agents.make"
            )
        if self.reward is not None:
            text = isinstance(self.reward, str)
            numbers["reward"] = rw.parse(self.reward) if text else self.reward
        return self.agent._replace(**numbers) if numbers else self.agent


def one(what: Any, **numbers: Any) -> Run:
    """A run with these fields, from another one or from an agent, whose name it has."""
    if isinstance(what, Run):
        return dataclasses.replace(what, **numbers)
    if not hasattr(what, "iterate"):
        wanted = "an agent, as agents.make('ppo', env) gives, or a Run"
        raise UserError(f"{wanted} is needed, not {what if isinstance(what, str) else type(what)}")
    return Run(**{"name": what.name, "agent": what, **numbers})


def of_point(run: Run, agent: Any, point: Run, name: str | None = None) -> Run:
    """The run with the numbers of a point, and the agent that it is made with.

    The point may have been made of another agent, of other data, say: only its numbers count.
    """
    own = {"agent": agent, "settings": point.settings, "reward": point.reward}
    return dataclasses.replace(run, name=name or point.name, **own)


class Lane(NamedTuple):
    """A run and its agent: with each of its seeds one lane of a program.

    Attributes:
      run: what it is.
      agent: made, with the numbers of the run.
      plan: the run's steps.
      program: equal for runs that can be one program; so far as it is the run's own.
    """

    run: Run
    agent: Any
    plan: Plan
    program: tuple[Any, ...]

    @property
    def config(self) -> Any:
        """The agent's settings."""
        return self.agent.config

    @property
    def reward(self) -> Any:
        """What it learns from."""
        return self.agent.reward

    @property
    def varies(self) -> bool:
        """Whether its numbers may be others than those that its agent was made with."""
        given = self.run.reward is not None or dataclasses.is_dataclass(self.run.settings)
        return given and not isinstance(self.run.agent, str)

    def configuration(self) -> dict[str, Any]:
        """What it is, for `config.json`."""
        from jaxrl_reward.envs import recorded

        run, agent = self.run, self.agent
        found = {
            "agent": agent.name,
            "config": agent.config,
            "env": agent.env.name,
            "reward": run.shown or str(agent.reward),
            "seeds": run.seeds,
            "seed": run.seed,
            "total_steps": self.plan.requested,
            "evals": run.evals,
            "eval_episodes": run.eval_episodes,
            "log_points": run.log_points,
            "shard": run.shard,  # another layout rounds otherwise
        }
        if run.shown:
            found["mixture"] = str(agent.reward)
        if agent.data_origin:
            origins = [origin.checksum for origin in agent.data_origin]
            kept = agent.data is None  # in the state, as pairs are
            rows = agent.data_origin[0].rows if kept else agent.data.count
            found["data"] = {"rows": rows, "checksums": origins}
            if agent.references is not None:
                found["data"]["references"] = list(agent.references)
            if not agent.env.playable:
                env = agent.env
                known = {"obs": env.observation_space, "action": env.action_space}
                spaces = {name: recorded.described(space) for name, space in known.items()}
                found["data"] |= {"spaces": spaces, "assumed": env.environment.assumed}
                found["metric"] = agent.metric
        return found


def lanes_of(runs: Sequence[Run]) -> list[Lane]:
    """The runs with their agents; environments of one name are made once.

    Raises:
      UserError: bad input, or two runs of one name.
    """
    from jaxrl_reward import envs

    names = Counter(run.name for run in runs)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise UserError(f"two runs are called {twice!r}; give each its own name")
    make_env = cache(envs.make)
    return [_lane(run, make_env) for run in runs]


class Pack(NamedTuple):
    """The runs of one program, in order.

    Attributes:
      name: of its checkpoints.
      lanes: the runs.
    """

    name: str
    lanes: tuple[Lane, ...]

    @property
    def points(self) -> tuple[Lane, ...]:
        """Those whose numbers the program takes; none where they are the agent's own."""
        return self.lanes if self.lanes[1:] or self.lanes[0].varies else ()

    @property
    def title(self) -> str:
        """What to call it to someone who waits."""
        more = len(self.lanes) - 1 if self.name == self.lanes[0].run.name else 0
        return f"{self.name} and {more} more" if more else self.name

    @property
    def shape(self) -> dict[str, Any]:
        """What `Programs` are made with beside the agent."""
        run, shape = self.lanes[0].run, {"points": self.points}
        shape |= {"seeds": run.seeds, "seed": run.seed, "shard": run.shard}
        return shape | {"episodes": run.eval_episodes}

    def configurations(self) -> dict[str, dict[str, Any]]:
        """Of each run, by name, with its place in the program."""
        seeds, arms = self.lanes[0].run.seeds, {}
        for i, lane in enumerate(self.lanes):
            arms[lane.run.name] = lane.configuration()
            if self.points:
                place = {"name": self.name, "lanes": len(self.lanes) * seeds, "first": i * seeds}
                arms[lane.run.name]["pack"] = place
        return arms


def packs(lanes: Sequence[Lane], name: str | None = None) -> list[Pack]:
    """Runs that differ in numbers only, side by side; with a name all of them."""
    if name is not None:
        return [Pack(name, tuple(lanes))]
    found: dict[Any, list[Lane]] = {}
    for lane in lanes:
        found.setdefault(lane.program, []).append(lane)
    return [Pack(each[0].run.name, tuple(each)) for each in found.values()]


def _lane(run: Run, make_env: Callable[[str], Any]) -> Lane:
    from jaxrl_reward.agents import table
    from jaxrl_reward.agents.common import base

    run = dataclasses.replace(run, seeds=positive("seeds", run.seeds))
    run = dataclasses.replace(
        run,
        seed=first_seed(run.seed, run.seeds),
        eval_episodes=positive("eval_episodes", run.eval_episodes),
    )
    agent = run.made(make_env)
    schedule = plan(agent.steps_per_iteration, run.total_steps, run.evals, run.log_points)
    if agent.learning_starts > schedule.total_steps:
        raise UserError(
            f"{agent.name}'s learning_starts={agent.learning_starts} is beyond the run's "
            f"{schedule.total_steps} steps per seed: lower it, or raise total_steps"
        )
    what = (id(run.agent),)
    if isinstance(agent, base.Agent) and agent.name in table.names():
        function = getattr(agent.iterate, "__func__", agent.iterate)
        learner = type(getattr(getattr(agent.iterate, "__self__", None), "learner", None))
        what = (agent.name, function, learner, id(agent.env), id(agent.data))
    agent = lanes.of_length(agent, schedule.total_steps)
    if run.adapt is not None:
        agent = run.adapt(agent, schedule)
    how = [getattr(run, name) for name in ("seeds", "seed", "eval_episodes", "shard")]
    numbers = (agent.config, lanes.bound(agent.config, agent.reward))
    shapes = tuple(jnp.shape(leaf) for leaf in jax.tree.leaves(numbers))
    program = (what, schedule, *how, jax.tree.structure(numbers), shapes, run.begin, run.adapt)
    return Lane(run, agent, schedule, program)
