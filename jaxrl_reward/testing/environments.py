"""What every environment must keep, played for a few steps."""

import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxrl_reward import envs
from jaxrl_reward.envs.clock import LIMIT, tells_its_own
from jaxrl_reward.envs.masks import random_action
from jaxrl_reward.testing.same import LawError, same, types
from jaxrl_reward.types import Array

STEPS = 3
LIMITS = (1, 2, 3, 1000)
QUICK: Any = {"xla_backend_optimization_level": 0}


def check_env(env: Any, *, seed: int = 0, beside: bool = True) -> None:
    """Tries what an environment must keep.

    The contract in shapes; a state that a loop can carry; finite numbers, and observations
    that lie in their space; a clock that truncates and never terminates, seen by setting it
    to 1, 2, 3 and 1000 steps; and the same steps whether alone or beside others.

    Args:
      env: an `Env`, the name of one, a gymnax environment, or a pair of that and its
        parameters.
      seed: of the keys and actions.
      beside: whether to compare with steps beside others, which is a second program.

    Raises:
      UserError: it does not keep gymnax's contract, in shapes alone.
      LawError: a law does not hold; the message says at which step.
    """
    env = envs.given(env)
    envs.check(env, every=True)
    carried(env)
    played(env, seed, beside)


def carried(env: envs.Env) -> None:
    """A scan can carry the state and the observation: no step changes their types."""

    def shapes(key: Array) -> Any:
        obs, state = env.reset(key)
        return obs, state, *env.step(key, state, random_action(env, obs, key))[:2]

    obs, state, next_obs, after = jax.eval_shape(shapes, jax.random.key(0))
    before, later = types((obs, state)), types((next_obs, after))
    if jax.tree.structure(state) != jax.tree.structure(after) or before != later:
        raise LawError(f"{env.name}: a step keeps the types of the state: {later}, not {before}")
    if any(weak for *_, weak in before):
        raise LawError(f"{env.name}: a state has no weak types: {before}")


def played(env: envs.Env, seed: int, beside: bool = True) -> dict[Any, Any]:
    """Some steps under each of the limits, also past the end; what they gave, by limit.

    Raises:
      LawError: see `check_env`.
    """
    keys = jax.random.split(jax.random.key(seed), 2 if beside else 1)
    limit = getattr(env.params, LIMIT, None)
    limits = (None,) if limit is None else tuple(type(limit)(each) for each in LIMITS)
    run = partial(play, env)
    together = jax.jit(jax.vmap(run, in_axes=(0, None)), compiler_options=QUICK)
    found = {each: jax.tree.map(np.asarray, together(keys, each)) for each in limits}
    last = found[limits[-1]]
    if beside:
        alone = jax.jit(run, compiler_options=QUICK)(keys[1], limits[-1])
        law = f"{env.name}: steps beside others are those alone"
        same(law, jax.tree.map(lambda x: x[1], last), alone, tolerance=1e-4)
    for name, values in (("obs", last[0]), ("next_obs", last[1][0]), ("reward", last[1][1])):
        if not np.isfinite(values).all():
            raise LawError(f"{env.name}: {name} is finite: it is {values[~np.isfinite(values)][0]}")
    _check_space(env, last[0], last[1][0])
    for each in limits:
        _check_clock(env, each, found[each][1], last[1])
    return found


def _check_space(env: envs.Env, obs: Any, next_obs: Any) -> None:
    """What is observed lies in the space that says so, but for rounding."""
    space = env.observation_space
    low, high = (np.asarray(x, np.float32) for x in (space.low, space.high))
    for name, values in (("obs", obs), ("next_obs", next_obs)):
        rounding = 1e-5 * (1.0 + np.abs(values))
        outside = np.argwhere((values < low - rounding) | (values > high + rounding))
        if len(outside):
            found = values[tuple(outside[0])]
            law = f"{env.name}: {name} lies in observation_space"
            raise LawError(f"{law}: it is {found:g}, beyond {space}")


def _check_clock(env: envs.Env, limit: Any, trace: Any, unlimited: Any) -> None:
    """Only the clock truncates, and the clock never terminates."""
    terminated, truncated = (np.asarray(trace[i]) for i in (2, 3))
    other = terminated != unlimited[2]
    if other.any():
        step = int(np.argwhere(other)[0][1]) + 1
        raise LawError(
            f"{env.name}: no termination follows the clock: with {LIMIT}={limit}, step {step} "
            f"ends the task, and with {LIMITS[-1]} it does not; leave that to is_truncated"
        )
    if limit is None or tells_its_own(env.environment):
        return
    wanted = np.broadcast_to(np.arange(1, STEPS + 1) >= limit, truncated.shape)
    if (truncated != wanted).any():
        step = int(np.argwhere(truncated != wanted)[0][1]) + 1
        raise LawError(
            f"{env.name}: the clock truncates from its limit on: with {LIMIT}={limit}, step "
            f"{step} is {'' if truncated[0, step - 1] else 'not '}truncated"
        )


def play(env: envs.Env, key: Array, limit: Any) -> Any:
    """The first observation, and of random steps `(next_obs, reward, ends, info)`."""
    if limit is not None:
        env = dataclasses.replace(env, params=dataclasses.replace(env.params, **{LIMIT: limit}))
    key_reset, key_steps = jax.random.split(key)
    obs, state = env.reset(key_reset)

    def step(now: Any, key: Array) -> Any:
        obs, state = now
        key_action, key_step = jax.random.split(key)
        action = random_action(env, obs, key_action)
        next_obs, state, *rest = env.step(key_step, state, action)
        return (next_obs, state), (next_obs, *rest)

    return obs, jax.lax.scan(step, (obs, state), jax.random.split(key_steps, STEPS))[1]
