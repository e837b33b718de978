"""What a sweep runs: a small TOML file, read and checked whole before anything starts.

    agent = "ppo"                        # these hold for every trial
    total_steps = 500_000
    seeds = 8
    num_steps = 128                      # any setting of the agent

    [grid]                               # every combination of these lists
    env = ["gymnax:CartPole-v1", "gymnax:Acrobot-v1"]
    num_envs = [8, 16]
    reward = { plain = "env", counts = "env + 0.1*counts()" }    # with short names

    [[trial]]                            # and runs of their own
    name = "sac"
    agent = "sac"
    env = "gymnax:Pendulum-v1"

A key is one of a run (`RUN_KEYS`) or a setting of the agent, in each of the
three places. `import = ["terms.py"]` at the top names modules of one's own; files are
looked for beside the sweep's.
"""

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from jaxrl_reward.files import read_text, user_path
from jaxrl_reward.plugins import imports
from jaxrl_reward.training.record.run_folder import plain
from jaxrl_reward.training.runs import Run
from jaxrl_reward.training.schedule import Plan, first_seed, plan, positive
from jaxrl_reward.types import UserError, nearest

MOST_TRIALS = 10_000


@dataclass(frozen=True)
class Trial(Run):
    """One run of a sweep: all that another process needs to do it.

    Attributes:
      folder: its own, below the sweep's `trials`.
    """

    reward: str = "env"
    folder: str = ""


_TEXTS = ("agent", "env", "reward", "data")
RUN_KEYS = (*_TEXTS, "seeds", "seed", "total_steps", "evals", "eval_episodes")


@dataclass(frozen=True)
class Sweep:
    """A name, for titles, and the trials in the order of the file.

    Attributes:
      name: the sweep's.
      trials: in the order of the file.
      steps: what all of them will take together, by `env_steps` and `gradient_steps`.
      rounding: of each trial that takes more steps than it asks for, one line.
      dashboards: where rows of all trials go besides, of `metrics.DASHBOARDS`.
    """

    name: str
    trials: tuple[Trial, ...]
    steps: Mapping[str, int] = field(default_factory=dict)
    rounding: Mapping[str, str] = field(default_factory=dict)
    dashboards: tuple[str, ...] = ()


def read(path: Path | str) -> Sweep:
    """A sweep from its file.

    Raises:
      UserError: anything is wrong with it; one line, beginning with the path.
    """
    path = user_path(path)
    try:
        content = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; give the path of a sweep's .toml") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; give the path of a sweep's .toml") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8; save it as such") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {' '.join(str(error).split())}") from None
    try:
        return parse(content, path.stem, path.parent)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse(content: Mapping[str, Any], name: str = "sweep", folder: Path = Path()) -> Sweep:
    """A sweep from the content of its file. Builds every trial's agent once.

    What it imports is imported first.

    Args:
      content: the file, as `tomllib` gives it.
      name: the sweep's, unless the file has one.
      folder: where files lie that it imports.

    Raises:
      UserError: an unknown or misspelt key, a value of the wrong type or out of
        range, nothing to run, or two trials that are the same.
    """
    shared = dict(content)
    _import(shared.pop("import", []), folder)
    name, grid, trials = shared.pop("name", name), shared.pop("grid", None), shared.pop("trial", [])
    if not isinstance(name, str) or not name:
        raise UserError(f"name must be a text, not {name!r}")
    if not isinstance(trials, list) or not all(isinstance(each, dict) for each in trials):
        raise UserError("trial must be written [[trial]], once for each")
    _check_values(shared, "at the top")
    if grid is None and not trials:
        raise UserError("there is nothing to run; add a [grid] of lists, or a [[trial]]")
    drafts = [] if grid is None else list(_combinations(shared, grid))
    drafts += [_own(shared, number, each) for number, each in enumerate(trials, start=1)]
    return _checked(name, drafts)


def _import(names: Any, folder: Path) -> None:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f'import must be a list, such as import = ["terms.py"], not {names!r}')
    for name in names:
        imports.load(str(folder / user_path(name)) if imports.is_file(name) else name)


# ---- from the file to trials ------------------------------------------------------

_Draft = tuple[str, dict[str, Any]]  # a name, and the values by key


def _combinations(shared: Mapping[str, Any], grid: Any) -> Iterator[_Draft]:
    if not isinstance(grid, dict) or not grid:
        raise UserError("[grid] is empty; give it a list, such as num_envs = [8, 16]")
    axes = {key: _axis(key, values) for key, values in grid.items()}
    size = math.prod(len(axis) for axis in axes.values())
    if size > MOST_TRIALS:
        raise UserError(f"[grid] has {size:,} combinations; at most {MOST_TRIALS:,} are run")
    for point in itertools.product(*axes.values()):
        values = {key: value for key, (_, value) in zip(axes, point, strict=True)}
        label = {key: text for key, (text, _) in zip(axes, point, strict=True)}
        yield _named(label), {**shared, **values}


def _axis(key: str, values: Any) -> list[tuple[str, Any]]:
    """A list of the grid as labels and values; a table has labels of its own."""
    if isinstance(values, dict):
        axis = list(values.items())
    elif isinstance(values, list):
        axis = [(_label(value), value) for value in values]
    else:
        raise UserError(f"{key} in [grid] must be a list, not {values!r}")
    if not axis:
        raise UserError(f"{key} in [grid] is empty; give it at least one value")
    for i, (label, value) in enumerate(axis):
        if (label, value) in axis[:i]:
            raise UserError(f"{key} in [grid] has {value!r} twice; give each value once")
        _check_values({key: value}, "in [grid]")
    return axis


def _own(shared: Mapping[str, Any], number: int, given: Mapping[str, Any]) -> _Draft:
    values = dict(given)
    name = values.pop("name", None)
    if name is None:
        name = _named({key: _label(value) for key, value in values.items()}) or f"trial {number}"
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"name of [[trial]] {number} must be a text, not {name!r}")
    _check_values(values, f"in [[trial]] {number}")
    return name, {**shared, **values}


def _named(labels: Mapping[str, str]) -> str:
    """`CartPole-v1, num_envs=8`: what differs between trials."""
    return ", ".join(text if key in _TEXTS else f"{key}={text}" for key, text in labels.items())


def _label(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_values(values: Mapping[str, Any], where: str) -> None:
    """Types of a run's own keys; settings are checked by their agent."""
    for key, value in values.items():
        if key in _TEXTS and not isinstance(value, str):
            raise UserError(f"{key} {where} must be a text, not {value!r}")
        if isinstance(value, dict):
            raise UserError(f"unknown table [{key}]; {nearest(key, ('grid', 'trial'))}")
        if key in RUN_KEYS and key not in _TEXTS:
            _whole(key, value)


def _whole(key: str, value: Any) -> int:
    """TOML reads `1e6` as a float: whole numbers may be written so."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool):
        raise UserError(f"{key} must be a whole number, got {value!r}")
    return first_seed(value, 1) if key == "seed" else positive(key, value)


# ---- checks -----------------------------------------------------------------------


def _checked(sweep: str, drafts: list[_Draft]) -> Sweep:
    names = [name for name, _ in drafts]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UserError(f"two trials are called {name!r}; give each its own name")
    known = _known_keys(values for _, values in drafts)
    trials: list[Trial] = []
    resolved: dict[str, str] = {}
    steps, rounding = Counter[str](), dict[str, str]()
    make_env = _environments()
    for (name, values), folder in zip(drafts, _folders(names), strict=True):
        for key in values:
            if key not in known:
                raise UserError(f"unknown key {key!r}; {nearest(key, known)}")
        trial = _trial(name, folder, values)
        try:
            same, schedule = _resolve(trial, make_env)
        except UserError as error:
            raise UserError(f"trial {name!r}: {error}") from error
        if same in resolved:
            other = resolved[same]
            raise UserError(f"trials {other!r} and {name!r} are the same run; remove one")
        resolved[same] = name
        trials.append(trial)
        kind = "gradient_steps" if trial.data else "env_steps"
        steps[kind] += trial.seeds * schedule.total_steps
        if schedule.rounding:
            rounding[name] = schedule.rounding
    return Sweep(sweep, tuple(trials), steps, rounding)


def _known_keys(drafts: Any) -> set[str]:
    """What a key may be, given the agents that occur."""
    from jaxrl_reward import agents, settings

    known: set[str] = set(RUN_KEYS)
    for agent in {values.get("agent", "ppo") for values in drafts}:
        known |= settings.declared(agents.module(agent).Config).keys()
    return known


def _trial(name: str, folder: str, values: Mapping[str, Any]) -> Trial:
    run: dict[str, Any] = {key: value for key, value in values.items() if key in RUN_KEYS}
    run = {key: value if key in _TEXTS else _whole(key, value) for key, value in run.items()}
    settings = {key: value for key, value in values.items() if key not in RUN_KEYS}
    return Trial(name, folder=folder, settings=settings, **run)


def _environments() -> Any:
    from jaxrl_reward import envs

    return cache(envs.make)  # trials share them, and some take a second


def _resolve(trial: Trial, make_env: Any) -> tuple[str, Plan]:
    """Builds the trial's agent; a text that is equal for two trials that are the same."""
    from jaxrl_reward import agents

    if not trial.env and not (trial.data and agents.learns_from_data(trial.agent)):
        raise UserError('env is missing; give one, such as env = "gymnax:CartPole-v1"')
    if agents.learns_from_data(trial.agent) and not trial.data:
        raise UserError(f'data is missing: {trial.agent} learns from it; give data = "FILE"')
    env, data = make_env(trial.env) if trial.env else None, trial.data or None
    agent = agents.make(trial.agent, env, trial.reward, data=data, **trial.settings)
    first_seed(trial.seed, trial.seeds)
    schedule = plan(agent.steps_per_iteration, trial.total_steps, trial.evals, log_points=1)
    what = (agent.name, agent.env.name, str(agent.reward), agent.config, agent.data_origin)
    how = [getattr(trial, key) for key in RUN_KEYS if key not in _TEXTS]
    return json.dumps(plain([*what, *how]), sort_keys=True), schedule


def _folders(names: list[str]) -> list[str]:
    """A readable folder for each trial, unlike any other's in upper or lower case."""
    short = [re.sub(r"[^\w.=+-]+", "-", name).strip("-.") or "trial" for name in names]
    folders = []
    for name, text in zip(names, short, strict=True):
        shared = sum(text.casefold() == other.casefold() for other in short) > 1
        if shared or len(text.encode()) > 100:
            text = f"{text[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        folders.append(text)
    return folders
