"""NAVIX (extra `navix`, Python 3.12 or newer): MiniGrid's tasks, seen whole as planes.

The task's end terminates and the clock truncates, as NAVIX tells them. Its goals pay 1, where
MiniGrid's pay less the later they are reached. `info` has `success`, 1 where a task ends with
a reward.
"""

from typing import Any

import jax.numpy as jnp
from flax import struct

from jaxrl_reward import spaces
from jaxrl_reward.envs.suites.base import Adapter, planes
from jaxrl_reward.envs.suites.loading import load
from jaxrl_reward.options import check
from jaxrl_reward.types import Array, UserError, nearest

_SIZED = {
    **dict.fromkeys(("BlockedUnlockPickup", "LockedRoom", "Playground", "Unlock"), ""),
    "UnlockPickup": "",
    "DistShift": "1 2",
    "DoorKey": "-5x5 -6x6 -8x8 -16x16",
    "DoorKey-Random": "-5x5 -6x6 -8x8 -16x16",
    "Dynamic-Obstacles": "-5x5 -5x5-Random -6x6 -6x6-Random -8x8 -16x16",
    "Empty": "-5x5 -6x6 -8x8 -16x16",
    "Empty-Random": "-5x5 -6x6 -8x8 -16x16",
    "Fetch": "-5x5-N2 -6x6-N2 -8x8-N3",
    "FourRooms": " -7x7 -9x9 -11x11 -13x13 -15x15 -17x17",
    "GoToDoor": "-5x5 -6x6 -8x8",
    "GoToObject": "-6x6-N2 -8x8-N2",
    "KeyCorridor": "S3R1 S3R2 S3R3 S4R3 S5R3 S6R3",
    "LavaCrossing": "S9N1 S9N2 S9N3 S11N5",
    "LavaGap": "S5 S6 S7",
    "Memory": "S7 S9 S11 S13 S13Random S17Random",
    "MultiRoom": "-N2-S4 -N4-S5 -N6",
    "ObstructedMaze": "-1Dl -1Dlh -1Dlhb -1Q -2Dl -2Dlh -2Dlhb -2Q -Full",
    "PutNear": "-6x6-N2 -8x8-N3",
    "RedBlueDoors": "-6x6 -8x8",
    "SimpleCrossing": "S9N1 S9N2 S9N3 S11N5",
}
_NAMES = [f"Navix-{task}{size}-v0" for task, sizes in _SIZED.items() for size in sizes.split(" ")]
_COLOURS, _STATES = 6, 4  # of a door: open, closed, locked; of the player: where it faces
_WALL, _BORDER, _TAG = -1, 100, 2  # a wall, and what is beyond, in "categorical"; a wall's tag
_KINDS = ("symbolic", "categorical", "rgb")
_VIEWS = (*_KINDS, *(f"{kind}_first_person" for kind in _KINDS))


class NavixParams(struct.PyTreeNode):
    """The time limit in steps, and what finishing at it would cost of the last reward."""

    max_steps_in_episode: int
    penalty_coeff: float = 0.0


class Navix(Adapter):
    """A task of NAVIX without its reset; the state is its `Timestep`, without the observation.

    Attributes:
      one_hot: whether objects, colours and states are planes, or the suite's own numbers.
    """

    def __init__(self, suite: Any, params: Any, one_hot: bool = True):
        # NAVIX's own reset comes a step late, and its step is no transition.
        suite = suite.replace(disable_autoreset=True)
        super().__init__(type(suite).__name__, suite, params)
        view = getattr(suite.observation_fn, "__name__", "")
        self.one_hot, self._seen = one_hot and view in _VIEWS, suite.observation_space.shape
        objects = int(load("navix", "navix.environments.environment").MAX_CATEGORICAL_VALUE)
        self._counts, self._ends = {
            "symbolic": ((objects, _COLOURS, _STATES), (0, objects - 1)),
            "categorical": ((objects,), (_WALL, _BORDER)),
            "rgb": ((), (0, 255)),
        }.get(view.removesuffix("_first_person"), ((), (-jnp.inf, jnp.inf)))

    def reset_env(self, key: Array, params: Any) -> tuple[Array, Any]:
        del params
        step = self.suite.reset(key)
        return self._observe(step.observation), step.replace(observation=())

    def step_env(
        self, key: Array, state: Any, action: Any, params: Any
    ) -> tuple[Array, Any, Array, Array, dict[Any, Any]]:
        del key
        limit, cost = params.max_steps_in_episode, params.penalty_coeff
        after = self.suite.replace(max_steps=limit, penalty_coeff=cost).step(state, action)
        terminated = after.is_termination()
        paid = after.reward + cost * (after.t / limit)
        told = {"success": (terminated & (paid > 0.0)).astype(jnp.float32)}
        new = after.replace(observation=())
        return self._observe(after.observation), new, after.reward, terminated, told

    def is_truncated(self, state: Any, params: Any) -> Any:
        return state.t >= params.max_steps_in_episode

    def observation_space(self, params: Any) -> Any:
        if self.one_hot and self._counts:
            return spaces.Box(0.0, 1.0, (*self._seen[:2], sum(self._counts)))
        low, high = (0.0, 1.0) if self.one_hot else self._ends
        return spaces.Box(low, high, self._seen)

    def action_space(self, params: Any = None) -> Any:
        return spaces.Discrete(len(self.suite.action_set))

    def _observe(self, grid: Array) -> Array:
        if not self.one_hot:
            return grid
        if not self._counts:
            return grid / 255.0
        if grid.ndim == 2:  # whose space leaves out walls and what is beyond the border
            grid = jnp.where((grid == _WALL) | (grid == _BORDER), _TAG, grid)[..., None]
        return planes(grid, self._counts)


def names() -> tuple[str, ...]:
    """NAVIX's names."""
    return tuple(sorted(_NAMES))


def make(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """A task and its parameters.

    Args:
      name: one of `names()`.
      options: `max_steps`, `penalty_coeff`, what finishing at the limit would cost of the last
        reward, `observation_fn`, one of NAVIX's names ("symbolic" sees the whole grid,
        "symbolic_first_person" what lies before the agent, through walls, too; "rgb" is an image
        from 0 to 1), and `one_hot`, true by default: false gives NAVIX's own numbers.

    Raises:
      UserError: NAVIX is not installed, or an option is unknown or does not fit.
    """
    suite = load("navix", "navix")
    plain = suite.make(name)
    view = plain.observation_fn.__name__
    known: dict[str, Any] = {"max_steps": plain.max_steps, "penalty_coeff": 0.0, "one_hot": True}
    known["observation_fn"] = view
    chosen = known | check(f"navix:{name}", options, known)
    if (view := chosen["observation_fn"]) not in _VIEWS:
        raise UserError(f"navix:{name} has no observation_fn {view!r}, {nearest(view, _VIEWS)}")
    environment = suite.make(name, observation_fn=getattr(suite.observations, view))
    params = NavixParams(chosen["max_steps"], chosen["penalty_coeff"])
    return Navix(environment, params, chosen["one_hot"]), params


def adapt(environment: Any, params: Any = None) -> tuple[Any, Any]:
    """A task that the user made."""
    if not isinstance(params, NavixParams):
        params = NavixParams(environment.max_steps, float(environment.penalty_coeff))
    return Navix(environment, params), params
