"""Who says that an episode's time is up: gymnax 1.x asks `is_truncated`, 0.x did not tell.

A class written for gymnax 0.x has the time limit in `is_terminal`, and so in what its
`step_env` returns: every limit would end the task, and its value. Here it is told apart,
by whether what `step_env` says depends on `max_steps_in_episode`. A limit that is a number
of its own cannot be told from the task's end, and is refused.
"""

import copy
import dataclasses
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from jaxrl_reward.types import UserError

LIMIT = "max_steps_in_episode"
_TIME = re.compile(r"(time|clock|tick|step\w*|\bt)\W*$")  # what counts time, by its name
NEVER = 2**30  # steps; twice of it would be too large for int32
_FIX = (
    "write is_truncated(state, params) for its time limit, and leave that out of what "
    "step_env returns as terminated, as in gymnax 1.x"
)


class Clock(NamedTuple):
    """Where the time limit is told.

    Attributes:
      in_step: it is among what `step_env` says ends the task.
      asked: `is_truncated` tells it.
    """

    in_step: bool
    asked: bool


def of(name: str, environment: Any, params: Any, action_space: Any) -> Clock:
    """Where an environment tells its time limit.

    A class that has its own `is_truncated` means what it says.

    Raises:
      UserError: nothing tells the time limit.
    """
    own = _owner(environment, "is_truncated")
    if _ours(_owner(environment, "step_env")) or tells_its_own(environment):
        return Clock(False, True)
    try:
        by_limit, by_time = _reads(environment, params, action_space)
        asked = own is not None and _truncates(environment, params)
    except NotImplementedError:
        # gymnax 1.x's `discount` calls an `is_terminated` that 0.x did not have.
        raise UserError(
            f"{name} is written for gymnax 0.x: write is_terminated(state, params), what ends "
            "its task without the time limit, and return that from step_env"
        ) from None
    if not (by_limit or asked):
        raise UserError(f"{name} does not tell when its time is up: {_FIX}")
    if by_time and not by_limit:
        raise UserError(
            f"{name} ends by {by_time}, and not by params.{LIMIT}: whether that is a time limit "
            "cannot be told; write is_truncated(state, params), which says when only the time "
            "is up, and leave that out of what step_env returns as terminated"
        )
    return Clock(by_limit, asked)


def tells_its_own(environment: Any) -> bool:
    """Whether a class has an `is_truncated` of its own, which may mean anything."""
    own = _owner(environment, "is_truncated")
    return own is not None and not _ours(own)


def completed(environment: Any) -> Any:
    """The environment, with the `is_terminated` that gymnax 1.x's `discount` asks.

    In 0.x that was `is_terminal`, and a class written for it has no other.
    """
    ends, new = _owner(environment, "is_terminal"), _owner(environment, "is_terminated")
    if ends is None or _ours(ends) or new is None or not _ours(new):
        return environment
    made = copy.copy(environment)
    made.is_terminated = environment.is_terminal
    return made


def unlimited(params: Any) -> Any:
    """The same parameters without a time limit."""
    return _with(params, LIMIT, jnp.asarray(NEVER, jnp.result_type(getattr(params, LIMIT))))


def _owner(environment: Any, name: str) -> Any:
    """The class that has a method, None without one."""
    return next((c for c in type(environment).__mro__ if name in vars(c)), None)


def _ours(owner: Any) -> bool:
    """Whether a class is gymnax's or one of this package, which keep to gymnax 1.x."""
    return owner is not None and str(owner.__module__).split(".")[0] in ("gymnax", "jaxrl_reward")


def _reads(environment: Any, params: Any, action_space: Any) -> tuple[bool, str]:
    """Whether what ends the task depends on the limit, and on which count of time, if any."""
    key = jax.random.key(0)
    state, action = jax.eval_shape(
        lambda: (environment.reset_env(key, params)[1], action_space.sample(key))
    )

    def terminated(limit: Any, state: Any, action: Any) -> Any:
        return environment.step_env(key, state, action, _with(params, LIMIT, limit))[3]

    jaxpr = jax.make_jaxpr(terminated)(getattr(params, LIMIT, 0), state, action).jaxpr
    used = partial_eval.dce_jaxpr(jaxpr, [True])[1]
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state)]
    counts = [f"state{path}" for path, read in zip(paths, used[1:], strict=False) if read]
    return used[0], next(filter(_TIME.search, counts), "")


def _with(tree: Any, name: str, value: Any) -> Any:
    """The same dataclass with another value of a field, where it has that."""
    if not (dataclasses.is_dataclass(tree) and hasattr(tree, name)):
        return tree
    known: Any = tree
    return dataclasses.replace(known, **{name: value})


def _truncates(environment: Any, params: Any) -> bool:
    """Whether gymnax's `is_truncated` finds the state and the parameters that it reads."""
    key = jax.random.key(0)
    try:
        jax.eval_shape(
            lambda: environment.is_truncated(environment.reset_env(key, params)[1], params)
        )
    except AttributeError:
        return False
    return True
