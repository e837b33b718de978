"""Who says that an episode's time is up: gymnax 1.x asks `is_truncated`, 0.x did not tell.

A class written for gymnax 0.x has the time limit in `is_terminal`, and so in what its
`step_env` returns: every limit would end the task, and its value. Here it is told apart,
by whether what `step_env` says depends on `max_steps_in_episode`.
"""

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from jaxrl_reward.types import UserError

LIMIT = "max_steps_in_episode"
NEVER = 2**30  # steps; twice of it would be too large for int32
_FIX = (
    "write is_truncated(state, params) for its time limit, and leave that out of what "
    "step_env returns as terminated, as in gymnax 1.x"
)


def in_step(name: str, environment: Any, params: Any, action_space: Any) -> bool:
    """Whether the time limit is among what `step_env` says ends the task.

    A class that has its own `is_truncated` means what it says.

    Raises:
      UserError: nothing tells the time limit.
    """
    own = _owner(environment, "is_truncated")
    if _ours(_owner(environment, "step_env")) or not (own is None or _ours(own)):
        return False
    try:
        by_limit, by_time = _reads(environment, params, action_space)
        told = own is not None and (by_limit or _truncates(environment, params))
    except NotImplementedError:
        # gymnax 1.x's `discount` calls an `is_terminated` that 0.x did not have.
        raise UserError(
            f"{name} is written for gymnax 0.x: write is_terminated(state, params), what ends "
            "its task without the time limit, and return that from step_env"
        ) from None
    if not (by_limit or told):
        raise UserError(f"{name} does not tell when its time is up: {_FIX}")
    if by_time and not by_limit and _owner(environment, "is_terminal") not in (None, own):
        text = f"{name} ends by state.time, and not by {LIMIT}: this counts as the task's end; if"
        warnings.warn(f"{text} it is a time limit, {_FIX}", stacklevel=2)
    return by_limit


def unlimited(params: Any) -> Any:
    """The same parameters without a time limit."""
    limit = getattr(params, LIMIT)
    return dataclasses.replace(params, **{LIMIT: jnp.asarray(NEVER, jnp.result_type(limit))})


def _owner(environment: Any, name: str) -> Any:
    """The class that has a method, None without one."""
    return next((c for c in type(environment).__mro__ if name in vars(c)), None)


def _ours(owner: Any) -> bool:
    """Whether a class is gymnax's or one of this package, which keep to gymnax 1.x."""
    return owner is not None and owner.__module__.split(".")[0] in ("gymnax", "jaxrl_reward")


def _reads(environment: Any, params: Any, action_space: Any) -> tuple[bool, bool]:
    """Whether what ends the task depends on the limit, and on `state.time`."""
    key = jax.random.key(0)
    state, action = jax.eval_shape(
        lambda: (environment.reset_env(key, params)[1], action_space.sample(key))
    )
    limited = dataclasses.is_dataclass(params) and hasattr(params, LIMIT)
    clocked = dataclasses.is_dataclass(state) and hasattr(state, "time")

    def terminated(limit: Any, time: Any, state: Any, action: Any) -> Any:
        known = dataclasses.replace(params, **{LIMIT: limit}) if limited else params
        state = dataclasses.replace(state, time=time) if clocked else state
        return environment.step_env(key, state, action, known)[3]

    limit, time = getattr(params, LIMIT, 0), getattr(state, "time", 0)
    jaxpr = jax.make_jaxpr(terminated)(limit, time, state, action).jaxpr
    used = partial_eval.dce_jaxpr(jaxpr, [True])[1]
    return used[0], used[1]


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
