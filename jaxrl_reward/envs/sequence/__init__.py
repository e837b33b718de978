"""Writing tasks with exact verifiers, as environments: `sequence:sum` and nine more."""

import inspect
from collections.abc import Iterable
from typing import Any

from jaxrl_reward.envs.sequence import arithmetic, copying, outcomes
from jaxrl_reward.envs.sequence.base import (
    END,
    Question,
    Score,
    Sequence,
    SequenceState,
    Task,
)
from jaxrl_reward.options import check

TASKS = {
    "sum": arithmetic.total,
    "modular": arithmetic.modular,
    "countdown": arithmetic.countdown,
    "copy": copying.copy,
    "brackets": copying.brackets,
    "think": outcomes.think,
    "confidence": outcomes.confidence,
    "tests": outcomes.tests,
    "hack": outcomes.hack,
    "tree": outcomes.tree,
}

__all__ = ["END", "TASKS", "Question", "Score", "Sequence", "SequenceState", "Task"]


def names() -> Iterable[str]:
    """The tasks that `make` knows."""
    return TASKS


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """One of the tasks as an environment, and its parameters.

    Args:
      name: one of `names()`.
      options: the task's own, `max_tokens` among them, and `mix`: the weight of
        harder prompts, see `Task.draw`.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    function = TASKS[name]
    own = {key: each.default for key, each in inspect.signature(function).parameters.items()}
    given = check(f"sequence:{name}", options, {**own, "mix": 0.0})
    mix = given.pop("mix", 0.0)
    environment = Sequence(name, function(**given))
    return environment, environment.default_params.replace(mix=mix)
