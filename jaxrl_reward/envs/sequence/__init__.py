"""Writing tasks with exact verifiers, as environments: `sequence:sum`, others, and one's own."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from jaxrl_reward.envs.sequence import arithmetic, choices, copying, modes, outcomes
from jaxrl_reward.envs.sequence.base import (
    END,
    Question,
    Score,
    Sequence,
    SequenceState,
    Task,
)
from jaxrl_reward.errors import UserError
from jaxrl_reward.options import check
from jaxrl_reward.plugins.definitions import check_free

Function = TypeVar("Function", bound=Callable[..., Task])

TASKS: dict[str, Callable[..., Task]] = {
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
    "choice": choices.choice,
    "local": choices.local,
    "lookup": choices.lookup,
    "compass": choices.compass,
}

__all__ = ["END", "TASKS", "Question", "Score", "Sequence", "SequenceState", "Task", "register"]


def names() -> Iterable[str]:
    """The tasks that `make` knows."""
    return TASKS


def register(name: str) -> Callable[[Function], Function]:
    """Makes a task known as `sequence:NAME`.

    What it decorates gives the `Task`; its arguments, each with a number, a text or a truth
    value as default, are the environment's options.

    Args:
      name: a Python identifier.

    Raises:
      UserError: the name is none, or is another definition's; or an argument has no default.
    """
    if not name.isidentifier():
        raise UserError(f"task name {name!r} is not an identifier")

    def add(function: Function) -> Function:
        for option, each in inspect.signature(function).parameters.items():
            if not isinstance(each.default, bool | int | float | str):
                raise UserError(
                    f"sequence:{name}: {option} must have a number, a text or a truth value as "
                    "default, which says what may be given"
                )
        check_free(f"task name {name!r}", TASKS.get(name), function)
        TASKS[name] = function
        return function

    return add


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """One of the tasks as an environment, and its parameters.

    Args:
      name: one of `names()`.
      options: the task's own, `max_tokens` among them; `mix`, the weight of harder prompts,
        see `Task.draw`; and `modes`, whether its writer also judges, compares and mends, see
        `modes.with_modes`.

    Raises:
      UserError: an option is unknown, or does not fit.
    """
    function = TASKS[name]
    own = {key: each.default for key, each in inspect.signature(function).parameters.items()}
    given = check(f"sequence:{name}", options, {**own, "mix": 0.0, "modes": False})
    mix, has_modes = given.pop("mix", 0.0), given.pop("modes", False)
    task: Any = function(**given)
    if not isinstance(task, Task):
        raise UserError(f"sequence:{name} must be a Task, and is a {type(task).__name__}")
    environment = Sequence(name, modes.with_modes(task) if has_modes else task)
    return environment, environment.default_params.replace(mix=mix)
