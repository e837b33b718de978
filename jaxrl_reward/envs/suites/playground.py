"""MuJoCo Playground (extra `playground`): its bare environments, and a clock of our own.

Playground's wrappers reset by themselves to a cached first state and hide the last
observation, so they are not used. What its `done` says ends the task: a fall, or a
simulation that has exploded. Its `info["time_out"]` is no time limit, and is not read.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxrl_reward import spaces
from jaxrl_reward.envs.suites import clocks, known
from jaxrl_reward.envs.suites.loading import load, plain, quiet
from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError

IMPLS = ("jax", "warp")
_UNLOADED = "MuJoCo 3.17 does not load it: Playground 0.2 asks its MjSpec for find_body"
LEFT_OUT = dict.fromkeys(known.UNLOADED, _UNLOADED)
# What it steps, or what would need another adapter: pictures, and its wrapper's repeats.
_NOT_OPTIONS = ("impl", "vision", "action_repeat", "episode_length")


class Playground(clocks.Clocked):
    """A bare Playground environment: its `done` terminates, the clock truncates.

    `info` has its metrics of the step, such as the parts of the reward, `reward/NAME`, and
    `broken`: 1 where the simulation has exploded. Such a step ends the task too; what is no
    finite number of it is 0 in the observation, the reward and the metrics.
    Actions are `[action_size]` in [-1, 1]; MuJoCo clips them, some rewards do not.

    Args:
      name: the environment's.
      env: the bare environment.
      params: its time limit.
      privileged: shows what a policy on a robot could not sense, too.
    """

    def __init__(self, name: str, env: Any, params: Any, privileged: bool = False):
        super().__init__(name, env, params)
        # Its step writes into the dicts of the state that it is given; a compiled function
        # hands it new ones. Traced once, for a run needs it in several programs.
        self._reset, self._step = jax.jit(env.reset, inline=True), jax.jit(env.step, inline=True)
        self._obs = jax.eval_shape(self._reset, jax.random.key(0)).obs
        self._parts = isinstance(self._obs, dict)
        if privileged and not self._parts:
            raise UserError(f"playground:{name} shows a policy all that there is")
        self._state_alone = self._parts and not privileged

    def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
        del params
        state = self._reset(key)
        return self._seen(state.obs), clocks.State(state, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Any, Any, Array, Array, dict[Any, Any]]:
        del key, params
        after = self._step(state.suite, action)
        told = {name: jnp.asarray(x, jnp.float32) for name, x in after.metrics.items()}
        given = (self._seen(after.obs), after.reward, told)
        broken = ~jnp.all(jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(given)]))
        zeroed = lambda x: jnp.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)  # noqa: E731
        obs, reward, told = jax.tree.map(zeroed, given)
        told["broken"] = broken.astype(jnp.float32)
        ends = (after.done > 0.5) | broken
        return obs, clocks.State(after, state.time + 1), reward, ends, told

    def observation_space(self, params: Any) -> Any:
        seen = self._seen(self._obs)
        if isinstance(seen, dict):
            return spaces.Dict({part: clocks.real(x.shape) for part, x in seen.items()})
        return clocks.real(seen.shape)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Box(-1.0, 1.0, (self.suite.action_size,), jnp.float32)

    def _seen(self, obs: Any) -> Any:
        return obs["state"] if self._state_alone else obs


def names() -> list[str]:
    """Every environment of Playground."""
    return [*known.CONTROL, *known.ROBOTS]


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """An environment of Playground and its parameters.

    Args:
      name: one of `names()`.
      options: `impl`, "jax" or "warp"; `episode_length`; numbers of its own configuration,
        such as `ctrl_dt`, those within others with dots: `reward_config.scales.torques`.
        A robot shows its policy what it can sense; `privileged=true` shows all, a part each.

    Raises:
      UserError: Playground or a robot's model is not installed, it does not load with this
        MuJoCo, or an option is unknown.
    """
    registry = load("playground", "mujoco_playground").registry
    config = registry.get_default_config(name)
    numbers = {k: v for k, v in plain(_flat(config)).items() if k not in _NOT_OPTIONS}
    offered = {"impl": IMPLS[0], "episode_length": int(config.episode_length), **numbers}
    if name in known.ROBOTS:
        offered["privileged"] = False
    chosen = {**offered, **check(f"playground:{name}", options, offered)}
    if chosen["impl"] not in IMPLS:
        raise UserError(f"playground:{name} has no impl {chosen['impl']!r}, use: jax, warp")
    if name in known.ROBOTS:
        _check_models(name)
    overrides = {k: chosen[k] for k in numbers if k in options} | {"impl": chosen["impl"]}
    with quiet():
        try:
            env = registry.load(name, config_overrides=overrides)
        except Exception as error:  # of MuJoCo's compiler or its interface: any kind
            version = load("playground", "mujoco").__version__
            words = f"playground:{name} does not load with MuJoCo {version}: {error}"
            raise UserError(words.partition("\n")[0]) from error
    params = clocks.timed(chosen["episode_length"])
    return Playground(name, env, params, chosen.get("privileged", False)), params


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """An environment of Playground that was made elsewhere, with its own time limit."""
    params = params or clocks.timed(environment._config.episode_length)
    return Playground(type(environment).__name__, environment, params), params


def _check_models(name: str) -> None:
    """Raises unless the robots' models are there: Playground would clone them by itself."""
    home = load("playground", "mujoco_playground._src.mjx_env")
    path, commit = home.MENAGERIE_PATH, home.MENAGERIE_COMMIT_SHA
    if not path.exists():
        raise UserError(
            f"playground:{name} needs models that do not come with Playground: git clone "
            f"https://github.com/google-deepmind/mujoco_menagerie {path} && "
            f"git -C {path} checkout {commit}"
        )


def _flat(config: Any, before: str = "") -> dict[str, Any]:
    """A configuration's values, those within others named with dots."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        inner = hasattr(value, "items")
        found |= _flat(value, f"{before}{name}.") if inner else {f"{before}{name}": value}
    return found
