"""Points: a grid, or a list, of other numbers for an agent and its reward, as runs."""

import dataclasses
import itertools
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxrl_reward.training.runs import Run
from jaxrl_reward.types import UserError, nearest

REWARD = "reward"  # in a grid: whole rewards, as expressions or as text


Vary = Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any] | Run]


def points(agent: Any, vary: Vary, template: str | None = None) -> tuple[Run, ...]:
    """The points of a grid, or of a list of points.

    Args:
      agent: what to train; its own numbers are those that nothing replaces.
      vary: `{"learning_rate": [1e-4, 1e-3], "gamma": [0.9, 0.99]}` is a grid of
        four points, and `[{"learning_rate": 1e-4, "gamma": 0.9}, ...]` lists
        them. A name is a float of the agent's `Config`, `reward`, or a number
        of the template.
      template: a reward's text with names for numbers, as in
        `"env + {weight}*counts()"`.

    Raises:
      UserError: a name cannot vary, a value is not one that it can have, or a
        reward differs from the agent's in more than its numbers.
    """
    if isinstance(vary, Mapping):
        empty = [name for name, values in vary.items() if isinstance(values, str) or not values]
        if empty or not vary:
            raise UserError(f"{(empty or ['vary'])[0]} needs a list of values to vary over")
        grid = itertools.product(*vary.values())
        vary = [dict(zip(vary, values, strict=True)) for values in grid]
    if not vary:
        raise UserError("there is no point to train at; give at least one")
    made = [each if isinstance(each, Run) else _point(agent, each, template) for each in vary]
    counts = Counter(each.name for each in made)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise UserError(f"two points are {twice[0]!r}; give each value once")
    _check_discounts(agent, made)
    return tuple(made)


def _check_discounts(agent: Any, points: Sequence[Run]) -> None:
    """Warns once where a point's discount is not its reward's, unless the agent was made so."""
    from jaxrl_reward.agents.common import base

    def apart(config: Any, reward: Any) -> str | None:
        return base.other_discounts(agent.name, config, reward)

    if not hasattr(agent.config, "gamma") or apart(agent.config, agent.reward):
        return
    for message in list(filter(None, (apart(x.settings, x.reward) for x in points)))[:1]:
        warnings.warn(message, stacklevel=1)  # from here, so that the same one is told once


def _point(agent: Any, values: Mapping[str, Any], template: str | None) -> Run:
    wanted = names_in(template)
    inside = {name: value for name, value in values.items() if name in wanted}
    outside = {n: v for n, v in values.items() if n not in inside and n != REWARD}
    for name in outside:
        check_name(agent, name, wanted)
    if missing := [name for name in wanted if name not in values]:
        raise UserError(
            f"the reward has {{{missing[0]}}} in it, and no values vary under that name"
        )
    reward = agent.reward if template is None else _reward(agent, fill(template, inside))
    numbers = {name: value for name, value in values.items() if name != REWARD}
    typed = {n: _typed(agent.config, n, _number(n, value)) for n, value in numbers.items()}
    shown = [f"{name}={value!r}" for name, value in typed.items()]
    if REWARD in values:
        reward = _reward(agent, values[REWARD])
        shown.insert(0, str(reward))
    return Run(", ".join(shown), agent, reward=reward, settings=_config(agent, outside))


def check_name(agent: Any, name: str, known: Sequence[str] = ()) -> None:
    """Raises a `UserError` unless `name` may vary: it is a float, or in `known`."""
    fields = {field.name: field for field in dataclasses.fields(agent.config)}
    free = [n for n, field in fields.items() if field.metadata.get("pytree_node", True)]
    if name in fields and name not in free:
        raise UserError(
            f"{agent.name}'s {name} shapes the program and cannot vary within one; "
            f"these can: {', '.join([*free, *known, REWARD])}"
        )
    if name not in free and name not in known:
        raise UserError(f"{agent.name} has no {name!r} to vary, {nearest(name, [*free, *known])}")


def names_in(template: str | None) -> list[str]:
    """The names in braces, in order."""
    return list(dict.fromkeys(re.findall(r"\{(\w+)\}", template or "")))


def fill(template: str, values: Mapping[str, Any]) -> str:
    """The template with numbers in place of the names that have one."""
    texts = {name: repr(_number(name, value)) for name, value in values.items()}
    return re.sub(r"\{(\w+)\}", lambda found: texts.get(found[1], found[0]), template)


def _number(name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)
    except TypeError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{name} must be a number, got {value!r}")
    return number


def _config(agent: Any, values: Mapping[str, Any]) -> Any:
    if not values:
        return agent.config
    typed = {name: _typed(agent.config, name, _number(name, x)) for name, x in values.items()}
    config = agent.config.replace(**typed)
    agent.check(config)
    if agent.data is not None and not config.source < len(agent.data_origin):
        raise UserError(
            f"source={config.source}: {agent.name} was given {len(agent.data_origin)} data sets"
        )
    return config


def _typed(config: Any, name: str, number: float) -> Any:
    """The number as a setting has it: 0 and 1 are false and true, and counts are whole."""
    kind = type(getattr(config, name, number))
    if kind not in (bool, int):
        return number
    if number != kind(number):
        wanted = "0 or 1" if kind is bool else "a whole number"
        raise UserError(f"{name} must be {wanted}, got {number!r}")
    return kind(number)


def _reward(agent: Any, reward: Any) -> Any:
    from jaxrl_reward import rewards as rw

    reward = rw.parse(reward) if isinstance(reward, str) else reward
    # Any discount will do that every term can have.
    bound = [jax.tree.structure(rw.discounts.bind(x, 0.5)) for x in (reward, agent.reward)]
    if bound[0] != bound[1]:
        raise UserError(
            f"{reward} and {agent.reward} differ in more than their numbers; "
            "train them as arms of their own"
        )
    return reward
