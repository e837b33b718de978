"""One environment by name: `make("gymnax:CartPole-v1")`, `make("brax:ant,backend=spring")`."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp

from jaxrl_reward import options, partition, spaces
from jaxrl_reward.envs import (
    brax,
    carried,
    clock,
    recorded,
    restored,
    sequence,
    strangers,
    suites,
)
from jaxrl_reward.envs.worlds import arena, finite, noisy_tv, probes, rally, walk
from jaxrl_reward.plugins.definitions import check_free
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, UserError

Factory = Callable[[str, dict[str, Any]], tuple[Any, Any]]

ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete)  # the spaces of arrays
_STRUCTURED = (spaces.Dict, spaces.Tuple, spaces.MultiDiscrete)  # observed as one flat vector
_LEFT_OUT = {"gymnax:MNISTBandit-bsuite": "it downloads its images"}


@dataclasses.dataclass(frozen=True, eq=False)
class Env:
    """One environment with its parameters, without auto-reset.

    Compared and hashed by identity, so it can be a static argument.

    Attributes:
      name: the text that `make` reads.
      environment: follows gymnax 1.x (`reset_env`, `step_env`, `is_truncated`). Of a
        class written for 0.x, without a method `is_truncated` of its own, the time limit
        `params.max_steps_in_episode` is told apart from what ends the task.
      params: its parameters.
    """

    name: str
    environment: Any
    params: Any

    def __post_init__(self) -> None:
        object.__setattr__(self, "environment", clock.completed(self.environment))

    @property
    def observation_space(self) -> Any:
        """A gymnax `Box`: observations are float32 arrays of its `shape`.

        A `Discrete` observation of n values is given as a one-hot vector `[n]`, and one of
        several parts as the flat vector `[D]` of them all, see `parts`.
        """
        space = self.environment.observation_space(self.params)
        if isinstance(space, spaces.Discrete):
            return spaces.Box(0.0, 1.0, (space.n,))
        if isinstance(space, _STRUCTURED):
            with partition.at_once():
                return spaces.vector(space)
        return space

    @property
    def parts(self) -> tuple[spaces.Part, ...]:
        """What an observation is made of, and where that lies in the flat vector.

        Raises:
          TypeError: a part is no array.
        """
        return spaces.parts(self.environment.observation_space(self.params))

    @property
    def mask(self) -> spaces.Part | None:
        """The part that says which actions are allowed, `action_mask`; None without one."""
        return spaces.mask(self.parts)

    @property
    def action_space(self) -> Any:
        """A gymnax `Box` or `Discrete`, or a `MultiDiscrete`."""
        # Bounds made with jax.numpy inside a compiled function are to be numbers, too.
        with partition.at_once():
            return self.environment.action_space(self.params)

    @property
    def max_steps(self) -> int | None:
        """The time limit in steps, None without one."""
        limit = getattr(self.params, "max_steps_in_episode", None)
        return None if limit is None else int(limit)

    @property
    def playable(self) -> bool:
        """Whether it can be played; else it has the spaces of data alone, see `of_data`."""
        return not isinstance(self.environment, recorded.Recorded)

    def reset(self, key: Array) -> tuple[Array, Any]:
        """Starts an episode.

        Args:
          key: one typed key.

        Returns:
          The first observation, float32 `[*obs_shape]`, and the state.
        """
        obs, state = self.environment.reset_env(key, self.params)
        return self._observe(obs), jax.tree.map(carried.strong, state)

    def step(
        self, key: Array, state: Any, action: Array
    ) -> tuple[Array, Any, Array, Array, Array, dict[str, Any]]:
        """One step, without auto-reset.

        Args:
          key: one typed key.
          state: the state before.
          action: `[*action_shape]`.

        Returns:
          next_obs: the true successor, float32 `[*obs_shape]`.
          state: the state after, with the types of the one before.
          reward: float32 scalar.
          terminated: the task ended, bool scalar; the clock never sets it.
          truncated: the clock ran out, bool scalar.
          info: the environment's extra arrays.

        Raises:
          TypeError: the state cannot keep the types that `reset` gave it.
        """
        step_env, told = self.environment.step_env, self._clock
        obs, new, reward, terminated, info = step_env(key, state, action, self.params)
        truncated = self.environment.is_truncated(new, self.params) if told.asked else False
        if told.in_step:
            over = jnp.asarray(terminated, bool)
            terminated = step_env(key, state, action, clock.unlimited(self.params))[3]
            truncated |= over & ~jnp.asarray(terminated, bool)
        new = jax.tree.map(self._keep_type, state, new)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        terminated = jnp.asarray(terminated, bool).reshape(())
        truncated = jnp.asarray(truncated, bool).reshape(())
        return self._observe(obs), new, reward, terminated, truncated, info

    @cached_property
    def _clock(self) -> clock.Clock:
        """Where the time limit is told; in gymnax 0.x `step_env` ended the task by it."""
        return clock.of(self.name, self.environment, self.params, self.action_space)

    def _observe(self, obs: Any) -> Array:
        space = self.environment.observation_space(self.params)
        if isinstance(space, spaces.Discrete):
            return jax.nn.one_hot(obs, space.n, dtype=jnp.float32)
        if isinstance(space, _STRUCTURED):
            try:
                return spaces.flatten(space, obs)
            except TypeError as error:
                raise UserError(f"{self.name}: {error}") from None
        return jnp.asarray(obs, jnp.float32)

    def _keep_type(self, old: Any, new: Any) -> Array:
        """`new` with the type of `old`: a scan's carry must not change its own."""
        was, now = jnp.result_type(old), jnp.result_type(new)
        if not carried.keeps(was, now):
            raise TypeError(f"{self.name}: step turns {was} of the state into {now}; see its reset")
        return jnp.asarray(new, was)


class _Family(NamedTuple):
    """Environments with one prefix: `factory(name, options)` makes one of `names()`."""

    factory: Factory
    names: Callable[[], Iterable[str]]


def make(name: str, **settings: Any) -> Env:
    """An environment by name.

    Args:
      name: `gymnax:`, `brax:`, `probe:`, `tabular:`, `arcade:`, `tv:`, `sequence:` or a
        suite's, such as `craftax:`, and a name, or one of the submodular tasks, `grid:NAME`,
        `graph:NAME` and `arena:NAME`; options may follow after commas:
        `gymnax:MountainCar-v0,max_steps_in_episode=500`.
      **settings: the same by keyword. gymnax: fields of the environment's
        parameters. brax: `backend` and `episode_length`.

    Raises:
      UserError: an unknown environment or option, a value that does not fit,
        or an environment whose observations or actions are not arrays.
    """
    base, *pairs = name.split(",")
    base = base.strip()
    given = options.read(pairs, settings)
    prefix, _, short = base.partition(":")
    if base not in names():
        raise _unknown(base)
    environment, params = suites.adapted(*_made(base, _FAMILIES[prefix].factory(short, given)))
    strangers.check(environment)
    env = Env(
        ",".join([base, *(f"{k}={v}" for k, v in sorted(given.items()))]), environment, params
    )
    for kind in ("observation", "action"):
        try:
            space = getattr(env, f"{kind}_space")
        except TypeError as error:
            raise UserError(f"{base} has no array {kind}s: {error}") from None
        if not isinstance(space, ARRAYS):
            raise UserError(f"{base} has no array {kind}s, but {type(space).__name__}")
    return env


def _made(name: str, made: Any) -> tuple[Any, Any]:
    """An environment and its parameters, its own by default, as a factory gave them."""
    if isinstance(made, tuple) and len(made) == 2:
        return made
    if made is None or isinstance(made, tuple):
        raise UserError(
            f"{name}: its factory gives {made!r}, and an environment and its parameters are wanted"
        )
    return made, getattr(made, "default_params", None)


def from_mdp(mdp: MDP, name: str = "finite", max_steps: int = 100) -> Env:
    """Any finite MDP as an environment; its state is observed one-hot, `[S]`."""
    environment = finite.Finite(mdp, name)
    params = environment.default_params.replace(max_steps_in_episode=max_steps)
    return Env(name, environment, params)


def of_data(name: str, observations: Any, actions: Any, assumed: str = "") -> Env:
    """What takes an environment's place where there are only data: it cannot be played.

    Args:
      name: what the data are of.
      observations: their space, a Box.
      actions: likewise, a Box or a Discrete.
      assumed: what the data do not say of them, in words.
    """
    return Env(name, recorded.Recorded(name, observations, actions, assumed), None)


def names() -> list[str]:
    """Every name that `make` knows, sorted."""
    known = {f"{prefix}:{n}" for prefix, family in _FAMILIES.items() for n in family.names()}
    return sorted(known.difference(_LEFT_OUT))


def register(prefix: str, factory: Factory, names: Iterable[str]) -> None:
    """Lets `make` know more environments: `PREFIX:NAME`.

    Args:
      prefix: not yet in use, but by this definition.
      factory: from a name and its options (`{option: value}`, where a value
        may be text; `envs.check_options` converts and refuses) to a gymnax
        1.x environment and its parameters.
      names: the names it knows.

    Raises:
      UserError: the prefix is another definition's, or is not a plain word.
    """
    if not prefix.isidentifier():
        raise UserError(f"a prefix of environments must be a plain word, not {prefix!r}")
    if not callable(factory):
        raise UserError(f"{prefix}: a factory(name, options) is wanted, not {factory!r}")
    if isinstance(names, str):
        raise UserError(f"{prefix}: the names must be several, such as [{names!r}]")
    holder = _FAMILIES[prefix].factory if prefix in _FAMILIES else None
    check_free(f"the prefix {prefix!r} of environments", holder, factory)
    known = tuple(names)
    _FAMILIES[prefix] = _Family(factory, lambda: known)


def _unknown(base: str) -> UserError:
    """Names the nearest, in capitals or not: of the same prefix, or much alike of another."""
    prefix, colon, short = base.partition(":")
    absent = _LEFT_OUT | (suites.left_out(prefix) if prefix in suites.available() else {})
    if base in absent:
        return UserError(f"{base} is left out: {absent[base]}")
    short = short if colon else base
    family = [n for n in names() if n.startswith(f"{prefix}:")] or names()
    for among, likeness in ((family, 0.8), (names(), 0.8), (family, 0.5)):
        by_short = {n.partition(":")[2].lower(): n for n in among}
        close = difflib.get_close_matches(short.lower(), by_short, n=1, cutoff=likeness)
        if close:
            return UserError(f"unknown environment {base!r}, did you mean {by_short[close[0]]!r}?")
    known = ", ".join(f"{p}:" for p in _FAMILIES)
    return UserError(
        f"unknown environment {base!r}, known: {known} and a name; see `jaxrl-reward list envs`"
    )


def _gymnax(name: str, given: dict[str, Any]) -> tuple[Any, Any]:
    environment, params = gymnax.make(name)
    fields: Any = dataclasses.fields(params)
    defaults = {field.name: getattr(params, field.name) for field in fields}
    # An array as an option would need a syntax of its own.
    defaults = {k: v for k, v in defaults.items() if isinstance(v, bool | int | float)}
    more = restored.options(name)
    chosen = options.check(f"gymnax:{name}", given, {**defaults, **more})
    own = {k: v for k, v in chosen.items() if k not in more}
    return restored.apply(
        environment, params.replace(**own), {k: chosen[k] for k in more if k in chosen}
    )


_FAMILIES: dict[str, _Family] = {
    "gymnax": _Family(_gymnax, lambda: gymnax.registered_envs),
    "brax": _Family(brax.make, lambda: brax.NAMES),
    "probe": _Family(probes.make, lambda: probes.PROBES),
    "tabular": _Family(finite.make, finite.names),
    "arena": _Family(arena.make, arena.names),
    "grid": _Family(partial(walk.make, "grid"), walk.grids),
    "graph": _Family(partial(walk.make, "graph"), walk.graphs),
    "arcade": _Family(rally.make, lambda: rally.GAMES),
    "tv": _Family(noisy_tv.make, lambda: noisy_tv.ROOMS),
    "sequence": _Family(sequence.make, sequence.names),
    **{
        suite: _Family(partial(suites.make, suite), partial(suites.names, suite))
        for suite in suites.available()
    },
}
