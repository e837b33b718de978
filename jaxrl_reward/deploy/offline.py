"""Policies from data, played in an environment that is not this package's."""

from typing import Any, NamedTuple

import numpy as np

from jaxrl_reward.types import UserError

__all__ = ["Played", "evaluate_gymnasium"]


class Played(NamedTuple):
    """What episodes gave.

    Attributes:
      returns: the undiscounted sums of the environment's rewards, `[E]` float64.
      lengths: steps, `[E]` int64.
      terminated: whether the task ended, and not the clock alone, `[E]` bool.
    """

    returns: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray


def evaluate_gymnasium(
    policy: Any, env: Any, episodes: int = 10, seed: int = 0, max_steps: int = 100_000
) -> Played:
    """Plays episodes in a gymnasium environment, the likeliest actions, outside compiled code.

    Args:
      policy: as `jr.load` gives it: `policy(obs) -> action`, and `policy.reset()`.
      env: a gymnasium environment, of which one episode is played at a time. Its observations
        have as many numbers as the policy's; those with parts are flat vectors in the data,
        so wrap the environment as the data was recorded.
      episodes: how many, E.
      seed: of the first episode; each has the next one.
      max_steps: where an episode is cut that does not end.

    Raises:
      UserError: the environment is none, or an observation does not fit the policy.
    """
    if episodes < 1 or max_steps < 1:
        raise UserError(f"episodes and max_steps must be at least 1, not {episodes}, {max_steps}")
    if not (hasattr(env, "reset") and hasattr(env, "step") and hasattr(env, "action_space")):
        raise UserError(f"a gymnasium environment is needed, not {type(env).__name__}")
    shape, space = tuple(policy.obs_shape), env.action_space
    found: list[tuple[float, int, bool]] = []
    for i in range(episodes):
        obs, _ = env.reset(seed=seed + i)
        policy.reset()
        total, length, terminated, paid = 0.0, 0, False, None
        for length in range(1, max_steps + 1):  # noqa: B007
            told = {"reward": paid} if policy.paid and paid is not None else {}
            action = policy(_fitted(obs, shape), **told)
            obs, paid, terminated, truncated, _ = env.step(_given(action, space))
            total += float(paid)
            if terminated or truncated:
                break
        found.append((total, length, bool(terminated)))
    returns, lengths, ends = zip(*found, strict=True)
    return Played(np.array(returns), np.array(lengths), np.array(ends))


def _fitted(obs: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The observation in the policy's shape; one of n values one-hot, as data have it."""
    array = np.asarray(obs)
    if array.shape == () and array.dtype.kind in "iu" and len(shape) == 1:
        return np.eye(shape[0], dtype=np.float32)[int(array)]
    if array.dtype.kind not in "biuf" or array.shape != shape:
        found = (
            f"{array.dtype} {list(array.shape)}" if array.dtype.kind != "O" else type(obs).__name__
        )
        raise UserError(
            f"the environment's observations are {found}, and the policy's {list(shape)}: wrap the "
            "environment as its data was recorded"
        )
    return array


def _given(action: np.ndarray, space: Any) -> Any:
    """The action as the environment's space has it; whole numbers from its own start."""
    if type(space).__name__ == "Discrete":
        return int(action) + int(getattr(space, "start", 0))
    return np.asarray(action, space.dtype).reshape(space.shape)
