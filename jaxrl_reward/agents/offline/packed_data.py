"""Rows of data in one piece, as every update reads them, and their statistics."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward import envs
from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.envs import spaces
from jaxrl_reward.envs.bounds import unit_action
from jaxrl_reward.types import Array, Transition

MOST_STARTS = 512  # of episodes, in whose first states policies are valued
PART = 2**18  # rows that are copied at once


class Data(struct.PyTreeNode):
    """D sets of N rows, one behind the other.

    Attributes:
      rows: what every update reads, in one piece: the flat observation, the
        action in unit numbers (one of n choices as it is), the next observation, the
        environment's reward and whether the task ended, `[D * N, 2 O + A + 2]` float32.
      extra: what else the reward reads, leaves `[D * N, ...]`; else `()`.
      mean: of observations and next observations together, `[D, O]`.
      std: likewise.
      starts: rows of each set with which episodes begin, at most `MOST_STARTS`, `[D, M]`.
      clock: the steps of its episode before each row, `[D * N]`, of held-out rows alone.
      held: the episodes that are set aside, likewise `Data`; None for none.
    """

    rows: Array
    extra: Transition
    mean: Array
    std: Array
    starts: Array
    clock: Any = ()
    held: "Data | None" = None

    @property
    def count(self) -> int:
        """The rows N of one set."""
        return self.rows.shape[0] // self.mean.shape[0]


def stack(
    env: envs.Env,
    found: Sequence[Dataset],
    chosen: Sequence[np.ndarray | None],
    keep: dict[str, bool],
    clocked: bool = False,
) -> Data:
    """The chosen rows of all sets in one piece. The host holds them once, as they are copied."""
    steps = [each.steps for each in found]
    packed = [_packed(env, *each) for each in zip(steps, chosen, strict=True)]
    rows = packed[0] if len(packed) == 1 else np.concatenate(packed)  # one is not copied again
    size = math.prod(env.observation_space.shape)
    measured = [_spread(each, size) for each in np.split(rows, len(found))]
    begins = [np.asarray(_cut(each.first, some)) for each, some in zip(steps, chosen, strict=True)]
    starts = [np.flatnonzero(first) for first in begins]
    few = min(MOST_STARTS, *(len(each) for each in starts))
    starts = [each[np.arange(few) * len(each) // few] for each in starts]

    def extra(name: str) -> Any:
        if not keep.get(name):
            return ()
        parts = [_cut(getattr(s, name), some) for s, some in zip(steps, chosen, strict=True)]
        return jnp.asarray(np.concatenate(parts))

    names = [field.name for field in dataclasses.fields(Transition)]
    return Data(
        rows=jnp.asarray(rows),
        extra=Transition(**{name: extra(name) for name in names}),
        mean=jnp.asarray(np.stack([mean for mean, _ in measured]), jnp.float32),
        std=jnp.asarray(np.stack([std for _, std in measured]), jnp.float32),
        starts=jnp.asarray(np.stack(starts), jnp.int32),
        clock=jnp.asarray(np.concatenate([clock(x) for x in begins])) if clocked else (),
    )


def _cut(values: Any, chosen: np.ndarray | None) -> np.ndarray:
    values = np.asarray(values)
    return values if chosen is None else values[chosen]


def _packed(env: envs.Env, steps: Transition, chosen: np.ndarray | None) -> np.ndarray:
    fields = (steps.obs, steps.action, steps.next_obs, steps.env_reward, steps.terminated)
    index = None if chosen is None else np.flatnonzero(chosen)
    return pack(env, *(np.asarray(x) for x in fields), index=index)


def pack(env: envs.Env, *fields: np.ndarray, index: np.ndarray | None = None) -> np.ndarray:
    """What `Data.rows` has of a set, filled a part at a time: no field is copied whole.

    Args:
      env: what it is of.
      *fields: observations, actions, next observations, rewards and ends, `[N, ...]`.
      index: which rows; all by default.
    """
    index = np.arange(len(fields[0])) if index is None else index
    widths = [math.prod(x.shape[1:]) for x in fields]
    packed = np.empty((len(index), sum(widths)), np.float32)
    ends = np.cumsum([0, *widths])
    continuous = not isinstance(env.action_space, spaces.Discrete)
    for start in range(0, len(index), PART):
        at = index[start : start + PART]
        for i, field in enumerate(fields):
            part = field[at].reshape(len(at), -1).astype(np.float32)
            if i == 1 and continuous:
                part = np.asarray(unit_action(env.action_space, part))
            packed[start : start + PART, ends[i] : ends[i + 1]] = part
    return packed


def _spread(rows: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the standard deviation of both observations of packed rows, `[O]` float64."""
    parts = [slice(start, start + PART) for start in range(0, len(rows), PART)]
    after = rows.shape[1] - 2 - size
    columns = [(part, slice(at, at + size)) for part in parts for at in (0, after)]
    count = 2 * len(rows)
    mean, square = np.zeros(size), np.zeros(size)
    for each in columns:
        mean += rows[each].astype(np.float64).sum(0) / count
    for each in columns:
        square += np.square(rows[each].astype(np.float64) - mean).sum(0)
    return mean, np.sqrt(square / count)


def clock(first: np.ndarray) -> np.ndarray:
    """The steps of its episode before each row, `[N]` float32."""
    at = np.arange(len(first))
    return (at - np.maximum.accumulate(np.where(first, at, 0))).astype(np.float32)
