"""What may follow a name of an environment: `,max_steps_in_episode=500,gravity=3`."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxrl_reward.types import UserError, nearest

LIMITS = (
    *("max_steps_in_episode", "episode_length", "max_steps", "max_timesteps", "time_limit"),
    "max_num_steps_per_episodes",
)
LARGEST = 2**31 - 1  # what an int32 holds


def read(pairs: Iterable[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options from `NAME=VALUE` texts, joined with those given by keyword.

    Raises:
      UserError: a text is not a pair, or an option is set twice.
    """
    options = dict(given)
    for pair in pairs:
        option, equals, value = (part.strip() for part in pair.partition("="))
        if not (option and equals):
            raise UserError(f"environment option {pair!r} must be NAME=VALUE")
        if option in options:
            raise UserError(f"environment option {option!r} is set twice")
        options[option] = value
    return options


def check(owner: str, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options, each with the type of its default.

    Args:
      owner: whose options they are, for messages.
      options: by name; texts are converted.
      defaults: every option it has: a bool, an int, a float or a str each.

    Raises:
      UserError: one is unknown or does not fit.
    """
    for option in options:
        if option not in defaults:
            hint = nearest(option, defaults) if defaults else "it has none"
            raise UserError(f"{owner} has no option {option!r}, {hint}")
    return {name: _convert(owner, name, value, defaults[name]) for name, value in options.items()}


def _convert(owner: str, option: str, value: Any, default: Any) -> Any:
    if isinstance(default, str):
        return str(value)
    if isinstance(default, bool):
        known = {"true": True, "false": False}
        if str(value).lower() not in known:
            raise UserError(f"{owner}: {option} must be true or false, not {value!r}")
        return known[str(value).lower()]
    number = _number(value)
    if number is None:
        raise UserError(f"{owner}: {option} must be a number, not {value!r}")
    # A clock may be stored as a float, and still counts steps.
    whole = isinstance(default, int) or option in LIMITS
    if whole and not (number.is_integer() and abs(number) <= LARGEST):
        raise UserError(f"{owner}: {option} must be an integer, not {value!r}")
    if option in LIMITS and number < 1:
        raise UserError(f"{owner}: {option} must be at least 1, not {value!r}")
    return type(default)(number)


def _number(value: Any) -> float | None:
    """A finite number, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
