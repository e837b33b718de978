"""Data sets of our own: an agent is trained once, and played or recorded at several levels.

    random         uniform actions
    medium         the policy, frozen where it first reaches a third of the final
                   return above random, plays anew
    medium-replay  all that was played in training until then, thinned by whole
                   episodes to a size
    expert         the policy at the end of training, plays anew

Demonstrations for an imitator are some whole episodes of `expert`: `episodes` in place of
`rows`. Steps are left out where they are shown, `rewards.demonstrations(every=20)`.

Levels as of D4RL (Fu et al. 2020, arXiv:2004.07219), a third as of its "medium".
Terminations and truncations are apart, and successors are the true ones.
"""

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl_reward.agents.common.base import Agent
from jaxrl_reward.collecting import record
from jaxrl_reward.data import described
from jaxrl_reward.data.dataset import Dataset, Provenance, make
from jaxrl_reward.training import lanes
from jaxrl_reward.training.progress import Progress
from jaxrl_reward.training.record.result import NonFiniteError
from jaxrl_reward.training.record.run_folder import plain, versions
from jaxrl_reward.training.schedule import first_seed, plan, positive
from jaxrl_reward.types import UserError, nearest

LEVELS = ("random", "medium", "medium-replay", "expert")
MEDIUM = 1 / 3  # of the final return, above random
PLAY_STEPS = 250  # of each environment, in one call to the device
TRAIN_STEPS = 2000  # about so many of all of them, likewise
STREAM_BYTES = 2**30  # of what is played in training, kept where it is only measured


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the data, besides the agent.

    Attributes:
      rows: steps of a data set; the most of `medium-replay`.
      episodes: if not 0, so many whole episodes in place of rows.
      total_steps: of the environment, in training.
      seed: of everything.
      evals: greedy evaluations in training: how finely `medium` is found.
      eval_episodes: of each.
      num_envs: that a frozen policy plays side by side.
      greedy: whether a frozen policy takes its likeliest action; else it draws.
    """

    rows: int = 100_000
    episodes: int = 0
    total_steps: int = 500_000
    seed: int = 0
    evals: int = 20
    eval_episodes: int = 16
    num_envs: int = 16
    greedy: bool = False


class Collected(NamedTuple):
    """What `collect` gives.

    Attributes:
      datasets: by level.
      curve: `(step, mean greedy return)` at each evaluation, empty without training.
      stream: all that was played in training, None if it was not recorded.
    """

    datasets: dict[str, Dataset]
    curve: list[tuple[int, float]]
    stream: Dataset | None


class _Run(NamedTuple):
    """A training run: at each evaluation the step, the mean return and the policy."""

    steps: list[int]
    returns: list[float]
    policies: list[Any]
    blocks: list[dict[str, np.ndarray]]


def collect(
    agent: Agent, levels: Sequence[str], settings: Settings = Settings(), progress: bool = True
) -> Collected:
    """Data sets of several levels from one training run, or from none for `random`.

    The same agent and settings give the same data, whatever the other levels are;
    but `random` knows the expert's return only if something else is collected.

    Args:
      agent: untrained; learns from the environment's own reward.
      levels: of `LEVELS`.
      settings: how much, and how.
      progress: draw bars, or print lines, on standard error.

    Raises:
      UserError: an unknown level, a setting out of range, an agent that cannot be
        recorded or played, or training that does not improve on random actions.
      NonFiniteError: an evaluation is not finite.
    """
    asked, agent = agent, lanes.of_length(agent, settings.total_steps)
    check(agent, levels, settings)
    key_init, key_train, key_play = _keys(settings.seed)
    player = record.player(agent, settings.num_envs, settings.greedy, PLAY_STEPS)
    trained = any(level != "random" for level in levels)
    state = record.begin(agent, key_init)

    def played(
        name: str, number: int, policy: Any, rows: int, episodes: int = 0
    ) -> dict[str, np.ndarray]:
        key, uniform = jax.random.fold_in(key_play, number), name == "random"
        calls = player.calls(rows, episodes)
        with _bar(f"{agent.name} {name}", player, calls, progress) as advanced:
            return player.play(policy, key, rows, uniform, advanced, episodes)

    # The same whatever is collected, as what is medium depends on it.
    rows = settings.num_envs * (agent.env.max_steps or record.UNLIMITED)
    untrained = record.kept(agent, state)  # training gives `state` up
    low = _mean_return(played("random", len(LEVELS), untrained, rows), agent)
    run, medium = _Run([], [], [], []), 0
    if trained:
        run = _train(
            agent, state, key_train, settings, _recorded(agent, levels, settings), progress
        )
        medium = _medium(run, low)
    policies = {"medium": medium, "expert": -1}
    stream = record.joined(run.blocks) if run.blocks else None
    datasets = {}
    for level in levels:
        if level == "medium-replay" and stream is not None:
            until = stream["first"].shape[0] * medium // (len(run.steps) - 1)
            found = record.flatten(stream, until, settings.rows)
        else:
            policy = untrained if level == "random" else run.policies[policies[level]]
            size = settings.rows, settings.episodes
            found = played(level, LEVELS.index(level), policy, *size)
        datasets[level] = make(found, _provenance(asked, level, settings, run, medium, low))
    curve = list(zip(run.steps, run.returns, strict=True))
    return Collected(datasets, curve, None if stream is None else make(record.flatten(stream)))


def check(agent: Agent, levels: Sequence[str], settings: Settings) -> None:
    """Raises a `UserError` that names the first thing that cannot be collected."""
    for level in levels:
        if level not in LEVELS:
            raise UserError(f"unknown level {level!r}, {nearest(level, LEVELS)}")
    if not levels or len(set(levels)) < len(levels):
        raise UserError(f"levels must be some of {', '.join(LEVELS)}, each once")
    for name in ("rows", "total_steps", "evals", "eval_episodes", "num_envs"):
        positive(name, getattr(settings, name))
    if settings.episodes:
        positive("episodes", settings.episodes)
        if "medium-replay" in levels:
            raise UserError(
                "medium-replay is what was played in training, thinned to rows; "
                "episodes are of random, medium or expert"
            )
    first_seed(settings.seed, 1)
    record.check(agent, "medium-replay" in levels)
    if agent.learning_starts > settings.total_steps and tuple(levels) != ("random",):
        raise UserError(
            f"{agent.name}'s learning_starts={agent.learning_starts} is beyond the run's "
            f"{settings.total_steps} steps: lower it, or raise total_steps"
        )


def configuration(agent: Agent, level: str, settings: Settings, trained: bool) -> str:
    """All that decides a data set, as JSON: two of the same are the same."""
    about = {
        "agent": agent.name,
        "config": agent.config,
        "env": agent.env.name,
        "level": level,
        "settings": dataclasses.asdict(settings),
        "trained": trained,
    }
    about["settings"].pop("rows" if settings.episodes else "episodes")  # which decides nothing
    return json.dumps(plain(about), sort_keys=True)


def _provenance(
    agent: Agent, level: str, settings: Settings, run: _Run, medium: int, low: float
) -> Provenance:
    trained = len(run.steps) > 0
    steps = {"random": 0, "expert": run.steps[-1] if trained else 0}
    return Provenance(
        environment=agent.env.name,
        behaviour="random" if level == "random" else agent.name,
        level=level,
        seed=settings.seed,
        env_steps=steps.get(level, run.steps[medium] if trained else 0),
        settings=configuration(agent, level, settings, trained),
        versions=tuple(versions().items()),
        random_return=low,
        expert_return=run.returns[-1] if trained else None,
        observation_space=described.text_of(agent.env.observation_space),
        action_space=described.text_of(agent.env.action_space),
    )


def _recorded(agent: Agent, levels: Sequence[str], settings: Settings) -> bool:
    """Whether to keep what is played: to give, or, where it is small, to measure the others by."""
    size = 4 * (2 * math.prod(agent.env.observation_space.shape) + 8) * settings.total_steps
    return "medium-replay" in levels or (size <= STREAM_BYTES and record.can_record(agent))


# ---- training ----------------------------------------------------------------------


def _train(
    agent: Agent, state: Any, key: Any, settings: Settings, recorded: bool, progress: bool
) -> _Run:
    """Trains to the end; keeps the policy at each evaluation, and what was played."""
    asked = plan(agent.steps_per_iteration, settings.total_steps, settings.evals, 1)
    interval = -(-asked.iterations // (len(asked.eval_points) - 1))
    calls = -(-interval * agent.steps_per_iteration // TRAIN_STEPS)
    length = -(-interval // calls)  # one length, so that one program does
    evals = len(asked.eval_points) - 1
    points = frozenset(i * calls * length for i in range(evals + 1))
    whole = dataclasses.replace(asked, iterations=evals * calls * length, eval_points=points)
    advance = record.advance(agent, length, recorded)
    count = settings.eval_episodes
    evaluate = jax.jit(lambda state, key: agent.evaluate(state, key, count)[0].mean())
    run = _Run([], [], [], [])
    with Progress(agent.name, whole, 1, enabled=progress) as bar:
        bar.start(0)
        for iteration in range(0, whole.iterations + 1, length):
            if iteration in points:
                policy, step = record.kept(agent, state), iteration * agent.steps_per_iteration
                mean = float(evaluate(policy, jax.random.fold_in(key, iteration)))
                if not np.isfinite(mean):
                    raise NonFiniteError("return", settings.seed, step)
                run.policies.append(policy)
                run.steps.append(step)
                run.returns.append(mean)
                bar.evaluated(iteration, mean)
            if iteration < whole.iterations:
                state, block, seconds = advance(state)
                if recorded:
                    run.blocks.append(block)
                bar.advance(iteration + length, length, seconds)
    return run


def _medium(run: _Run, low: float) -> int:
    """The first evaluation, after some training, a third of the way to the final return."""
    final = run.returns[-1]
    if final <= low:
        raise UserError(
            f"after {run.steps[-1]:,} steps the policy returns {final:,.1f}, random actions "
            f"{low:,.1f}: there is no medium between them; raise total_steps"
        )
    goal = low + MEDIUM * (final - low)
    return next(i for i in range(1, len(run.returns)) if run.returns[i] >= goal)


def _mean_return(rows: dict[str, np.ndarray], agent: Agent) -> float:
    returns = make(rows, where="random actions").returns()
    if not len(returns):
        raise UserError(
            f"no episode of {agent.env.name} ended under random actions within "
            f"{record.UNLIMITED} steps; give it a time limit, where it has one as an option"
        )
    return float(returns.mean())


def _keys(seed: int) -> tuple[Any, Any, Any]:
    """For the agent, as in training by `train`, for evaluations, and for play."""
    key = jax.random.key(seed)
    return (key, *jax.random.split(jax.random.fold_in(key, 2**31 - 1)))


@contextlib.contextmanager
def _bar(name: str, player: record.Player, calls: int, progress: bool) -> Iterator[Any]:
    """A progress bar of a policy's play; gives what to call after each part of it."""
    per_call = player.steps * player.num_envs
    whole = plan(per_call, per_call * calls, 1, 1)
    with Progress(name, whole, 1, enabled=progress) as bar:
        bar.start(0)
        yield lambda call, seconds: bar.advance(call, 1, seconds)
