"""brax (extra `brax`) behind gymnax's interface: true flags, no wrappers.

brax's own wrappers reset by themselves, to a cached first state, and hide the
last observation; so only its bare environments are used, and the clock is kept
here.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError, nearest

BACKENDS = ("spring", "generalized", "positional", "mjx")

# Where brax gives its maximal-coordinate engines a time step and gears of their
# own, "spring" is stable and 2 to 6 times cheaper a step; where it does not,
# only "generalized" moves like the MuJoCo model. The first is the default. The
# pendulum's is the one that costs little and that SAC balances in 15,000 steps;
# in the "spring" one it falls after 70 even after 30,000.
_TUNED = BACKENDS
_UNTUNED = ("generalized", "mjx", "spring", "positional")
NAMES = {
    "ant": _TUNED,
    "fast": _TUNED,  # brax's own toy for tests; it has no physics
    "halfcheetah": _TUNED,
    "hopper": _UNTUNED,
    "humanoid": _TUNED,
    "humanoidstandup": _TUNED,
    "inverted_double_pendulum": _TUNED,
    "inverted_pendulum": _UNTUNED,
    "pusher": _TUNED,
    "reacher": _TUNED,
    "swimmer": ("generalized",),
    "walker2d": _UNTUNED,
}
# These leave out where they are, as their tasks do not depend on it.
_HIDDEN = ("ant", "halfcheetah", "hopper", "humanoid", "swimmer", "walker2d")


class BraxState(struct.PyTreeNode):
    """brax's own state (`brax.pipeline_state` for rendering) and the clock."""

    brax: Any
    time: Array


class BraxParams(struct.PyTreeNode):
    """The time limit in steps; brax trains all of its environments with 1000."""

    max_steps_in_episode: int = 1000


class Brax(environment.Environment):
    """A bare brax environment: brax's end flag terminates, the clock truncates.

    `info` has brax's metrics of the step: parts of the reward, velocities, places.
    Actions are `[action_size]` in [-1, 1]. Like brax's bare environments it
    does not clip them: some charge for the action that was asked for.

    Attributes:
      brax: the bare environment (`sys` for rendering).
    """

    def __init__(self, name: str, env: Any):
        self._name, self.brax = name, env
        # Tracing brax takes seconds, and a run needs it in several programs: once is enough.
        self._reset, self._step = jax.jit(env.reset, inline=True), jax.jit(env.step, inline=True)
        # `env.observation_size` would run a whole reset at each look.
        self._obs_shape = jax.eval_shape(self._reset, jax.random.key(0)).obs.shape

    @property
    def name(self) -> str:
        return self._name

    @property
    def default_params(self) -> Any:
        return BraxParams()

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del params
        state = self._reset(key)
        return state.obs, BraxState(state, jnp.int32(0))

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        del key, params
        after = self._step(state.brax, action)
        terminated = after.done > 0.5
        told = {name: jnp.asarray(x, jnp.float32) for name, x in after.metrics.items()}
        return after.obs, BraxState(after, state.time + 1), after.reward, terminated, told

    def observation_space(self, params: Any) -> Any:
        return spaces.Box(-jnp.inf, jnp.inf, self._obs_shape, jnp.float32)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Box(-1.0, 1.0, (self.brax.action_size,), jnp.float32)


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A brax environment and its parameters.

    Args:
      name: one of `NAMES`.
      options: `backend`, one of those that `NAMES` lists for it (the first by
        default), `episode_length`, 1000 by default, and for robots that move
        about `positions`: true puts where they are in front of the observation.

    Raises:
      UserError: brax is not installed, or an unknown option or backend.
    """
    backends = NAMES[name]
    known = {"backend": backends[0], "episode_length": BraxParams().max_steps_in_episode}
    if name in _HIDDEN:
        known["positions"] = False
    chosen = {**known, **check(f"brax:{name}", options, known)}
    backend, length = chosen["backend"], chosen["episode_length"]
    if backend not in backends:
        raise UserError(f"brax:{name} has no backend {backend!r}, {nearest(backend, backends)}")
    with _quiet():
        try:
            from brax import envs
        except ImportError as error:
            fix = 'pip install "jaxrl-reward[brax]"'
            raise UserError(f"brax cannot be imported ({error}): {fix}") from None
        shown = {"exclude_current_positions_from_observation": False}
        shown = shown if chosen.get("positions") else {}
        env = envs.get_environment(name, backend=backend, **shown)
    return Brax(name, env), BraxParams(length)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what brax and MuJoCo say of themselves on being loaded.

    MuJoCo prints "Failed to import warp" on standard output; brax warns that
    neither it nor JAXopt is maintained any longer.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
