"""What is no environment of gymnax's kind, though a user took it for one."""

import types
from typing import Any

from jaxrl_reward.types import UserError

NEEDED = ("reset_env", "step_env", "observation_space", "action_space")


def check(what: Any) -> None:
    """Raises a `UserError` that says what to do, unless it has what gymnax's environments have."""
    if (problem := _problem(what)) is not None:
        raise UserError(problem)


def _problem(what: Any) -> str | None:
    """Why this is no environment of gymnax's kind, and what to do; None if it is one."""
    kind = what if isinstance(what, type) else type(what)
    name = kind.__name__
    packages = {str(base.__module__).partition(".")[0] for base in kind.__mro__}
    if packages & {"gymnasium", "gym", "dm_env"}:
        return (
            f"{name} is a {min(packages & {'gymnasium', 'gym', 'dm_env'})} environment, whose "
            "steps run in Python; here they are compiled: write reset_env and step_env in "
            "jax.numpy, as in gymnax"
        )
    if isinstance(what, type):
        return f"{name} is a class, and an environment is needed: write {name}()"
    if "brax" in packages:
        return f"{name} is a brax environment: name it, as in 'brax:ant'"
    if what is None or isinstance(what, types.FunctionType | types.ModuleType | int | float):
        return f"an environment or its name is needed, such as 'gymnax:CartPole-v1', not {what!r}"
    missing = [each for each in NEEDED if not callable(getattr(what, each, None))]
    if missing == ["step_env"] and callable(getattr(what, "step", None)):
        return (
            f"{name} has step and no step_env: a step that resets by itself, as in gymnax 0.x, "
            "does not tell where an episode ended; write step_env, which does not reset"
        )
    if missing:
        return f"{name} is no gymnax environment: it has no {', '.join(missing)}"
    return None
