"""One environment by name: `make("gymnax:CartPole-v1")`, `make("brax:ant,backend=spring")`."""

import dataclasses
import importlib
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
from gymnax.environments import spaces

from jaxrl_reward.types import Array, UserError, nearest

_LEFT_OUT = {"MNISTBandit-bsuite": "it downloads its images"}


@dataclasses.dataclass(frozen=True, eq=False)
class Env:
    """One environment with its parameters, without auto-reset.

    Attributes:
      name: the text that `make` reads.
      environment: follows gymnax 1.x (`reset_env`, `step_env`, `is_truncated`).
      params: its parameters.
    """

    name: str
    environment: Any
    params: Any

    @property
    def observation_space(self) -> Any:
        """A gymnax space."""
        return self.environment.observation_space(self.params)

    @property
    def action_space(self) -> Any:
        """A gymnax space."""
        return self.environment.action_space(self.params)

    @property
    def max_steps(self) -> int | None:
        """The time limit, None without one."""
        limit = getattr(self.params, "max_steps_in_episode", None)
        return None if limit is None else int(limit)

    def reset(self, key: Array) -> tuple[Array, Any]:
        """The first observation and state of an episode."""
        obs, state = self.environment.reset_env(key, self.params)
        return _observation(obs), jax.tree.map(_strong, state)

    def step(
        self, key: Array, state: Any, action: Array
    ) -> tuple[Array, Any, Array, Array, Array, dict[str, Any]]:
        """One step: next_obs, state, reward, terminated, truncated, info."""
        obs, new, reward, terminated, info = self.environment.step_env(
            key, state, action, self.params
        )
        truncated = self.environment.is_truncated(new, self.params)
        # A scan's carry must keep the types that reset gave it.
        new = jax.tree.map(lambda x, old: jnp.asarray(x, jnp.result_type(old)), new, state)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        flags = (jnp.asarray(flag).astype(bool).reshape(()) for flag in (terminated, truncated))
        return _observation(obs), new, reward, *flags, info  # type: ignore[return-value]


def make(name: str, **options: Any) -> Env:
    """An environment by name.

    Args:
      name: `gymnax:NAME`, `brax:NAME` or `probe:NAME`; options may follow
        after commas: `gymnax:MountainCar-v0,max_steps_in_episode=500`.
      **options: the same by keyword. gymnax: fields of the environment's
        parameters. brax: `backend` and `episode_length`.

    Raises:
      UserError: an unknown environment or option, or a value that does not fit.
    """
    base, *pairs = name.split(",")
    for pair in pairs:
        option, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"environment option {pair!r} must be NAME=VALUE")
        options[option.strip()] = value.strip()
    prefix, colon, short = base.partition(":")
    if not colon or prefix not in _MAKERS:
        raise UserError(f"unknown environment {base!r}, {nearest(base, names())}")
    environment, params = _MAKERS[prefix](short, options)
    text = ",".join([base, *(f"{key}={value}" for key, value in sorted(options.items()))])
    env = Env(text, environment, params)
    if isinstance(env.observation_space, spaces.Dict):
        raise UserError(f"{base} has no array observations")
    return env


def names() -> list[str]:
    """Every name that `make` knows."""
    from jaxrl_reward.envs import brax, probes

    gym = [f"gymnax:{n}" for n in gymnax.registered_envs if n not in _LEFT_OUT]
    return sorted(
        [*gym, *(f"brax:{n}" for n in brax.NAMES), *(f"probe:{n}" for n in probes.PROBES)]
    )


def convert(owner: str, option: str, value: Any, default: Any) -> Any:
    """An option's value with the type of its default.

    Raises:
      UserError: it does not fit.
    """
    if isinstance(default, str) or default is None or not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        raise UserError(f"{owner}: {option} must be a number, not {value!r}") from None
    if isinstance(default, int):
        if not number.is_integer():
            raise UserError(f"{owner}: {option} must be an integer, not {value!r}")
        return int(number)
    return number


def check_options(owner: str, options: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """The options, converted.

    Raises:
      UserError: one is unknown or does not fit.
    """
    for option in options:
        if option not in known:
            raise UserError(f"{owner} has no option {option!r}, {nearest(option, known)}")
    return {key: convert(owner, key, value, known[key]) for key, value in options.items()}


def _gymnax(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    if name in _LEFT_OUT:
        raise UserError(f"gymnax:{name} is left out: {_LEFT_OUT[name]}")
    if name not in gymnax.registered_envs:
        known = [n for n in gymnax.registered_envs if n not in _LEFT_OUT]
        raise UserError(f"unknown environment 'gymnax:{name}', {nearest(name, known)}")
    environment, params = gymnax.make(name)
    known = {f.name: getattr(params, f.name) for f in dataclasses.fields(params)}  # type: ignore
    return environment, params.replace(**check_options(f"gymnax:{name}", options, known))


def _brax(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    return importlib.import_module("jaxrl_reward.envs.brax").make(name, options)


def _probe(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    return importlib.import_module("jaxrl_reward.envs.probes").make(name, options)


_MAKERS = {"gymnax": _gymnax, "brax": _brax, "probe": _probe}


def _observation(obs: Any) -> Array:
    obs = jnp.asarray(obs)
    return obs.astype(jnp.float32) if obs.dtype != jnp.float32 else _strong(obs)


def _strong(x: Any) -> Array:
    """The same array without JAX's weak type, which a scan's carry must not change."""
    return jax.lax.convert_element_type(x, jnp.result_type(x)) if _typed(x) else jnp.asarray(x)


def _typed(x: Any) -> bool:
    return not jnp.issubdtype(jnp.asarray(x).dtype, jax.dtypes.prng_key)
