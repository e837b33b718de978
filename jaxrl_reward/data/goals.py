"""Hindsight: data of any behaviour as data of reaching goals (Andrychowicz et al. 2017).

The mixture is OGBench's (Park et al. 2025, arXiv:2410.20092, `GCDataset` of its code): a
row's goal is its own state, a later state of its trajectory, or a state of any row.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.checks import check_number
from jaxrl_reward.data.dataset import Dataset
from jaxrl_reward.intervals import Interval
from jaxrl_reward.types import Array, UserError


class Mixture(NamedTuple):
    """Where goals are from; the default is OGBench's for values.

    Attributes:
      current: the probability that a goal is the row's own state.
      trajectory: likewise a later state of its trajectory.
      geometric: such a state is `Geometric(1 - discount)` steps later, at most the last;
        else evenly drawn from the next to the last.
      discount: of those steps. What is left of the probability is a state of any row.
    """

    current: Any = 0.2
    trajectory: Any = 0.5
    geometric: bool = True
    discount: Any = 0.99


VALUES = Mixture()
POLICY = Mixture(0.0, 1.0, geometric=False)  # OGBench's for policies


def relabel_goals(
    dataset: Dataset,
    key: Array,
    mixture: Mixture = VALUES,
    *,
    goal: Sequence[int] | None = None,
    tolerance: Any = 0.0,
    copies: int = 1,
) -> Dataset:
    """The steps with a goal each behind their observations, rewarded by it; pure.

    A step that starts at its goal pays 0 and is terminated, for no value follows it; others
    pay -1. So a state's value is minus the discounted number of steps to the goal. The
    trajectories go on, as in OGBench's data: where they begin and are cut stays as it is.
    Another reward is an expression, such as `rewards.goal_reached(size)`.

    Args:
      dataset: N steps, with flat observations `[N, O]`; rewards are not read.
      key: draws the goals.
      mixture: where they are from.
      goal: which numbers of an observation make up a goal, G of them; all by default.
      tolerance: the distance up to which it is reached.
      copies: how often each step is there, each time with a goal of its own.

    Returns:
      `copies * N` steps, with observations `[O + G]`, the goal last.

    Raises:
      UserError: probabilities that are none, or observations or numbers of them that are not.
    """
    check_number("relabel_goals", "current", mixture.current, Interval(0.0, 1.0))
    check_number("relabel_goals", "trajectory", mixture.trajectory, Interval(0.0, 1.0))
    check_number("relabel_goals", "discount", mixture.discount, Interval(0.0, 1.0))
    check_number("relabel_goals", "copies", copies, Interval(1, whole=True))
    steps = dataset.steps
    if steps.obs.ndim != 2:
        shape = list(steps.obs.shape[1:])
        raise UserError(f"relabel_goals needs flat observations [N, O], not of shape {shape}")
    size = steps.obs.shape[1]
    chosen = tuple(range(size)) if goal is None else tuple(goal)
    if not chosen or any(not 0 <= i < size for i in chosen):
        raise UserError(f"goal={list(chosen)} must name some of the numbers 0 to {size - 1}")
    parts = []
    for each in jax.random.split(key, copies):
        rows = goal_rows(jnp.asarray(steps.first), each, mixture)
        parts.append(_relabelled(steps, rows, chosen, tolerance))
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    return dataset.replace(steps=joined, left_out=None).replace_provenance(
        observation_space="",  # it was that of observations without goals
        checksum="",
        random_return=None,
        expert_return=None,
    )


def goal_rows(first: Array, key: Array, mixture: Mixture = VALUES) -> Array:
    """The row whose state is the goal of each row, `[N]` int32.

    Args:
      first: where trajectories begin, `[N]` bool.
      key: draws them.
      mixture: where they are from.
    """
    count = first.shape[0]
    row = jnp.arange(count, dtype=jnp.int32)
    last = jnp.concatenate([first[1:], jnp.ones(1, bool)])
    final = jax.lax.cummin(jnp.where(last, row, count), reverse=True)
    kinds, key_any, key_later = jax.random.split(key, 3)
    anywhere = jax.random.randint(key_any, (count,), 0, count, jnp.int32)
    uniform = jax.random.uniform(key_later, (count,), minval=jnp.finfo(jnp.float32).tiny)
    if mixture.geometric:
        # The inverse of the law; a discount of 0 is always one step.
        ahead = 1.0 + jnp.floor(jnp.log(uniform) / jnp.log(jnp.maximum(mixture.discount, 1e-30)))
        later = row + jnp.minimum(ahead, count).astype(jnp.int32)
    else:
        room = jnp.maximum(final - row, 1)
        later = row + 1 + jnp.floor(uniform * room).astype(jnp.int32)
    later = jnp.minimum(later, final)
    which = jax.random.uniform(kinds, (count,))
    own, in_trajectory = jnp.asarray(mixture.current), jnp.asarray(mixture.trajectory)
    found = jnp.where(which < own + in_trajectory, later, anywhere)
    return jnp.where(which < own, row, found)


def _relabelled(steps: Any, rows: Array, chosen: tuple[int, ...], tolerance: Any) -> Any:
    """The steps with the goals of those rows behind their observations."""
    obs, after = (jnp.asarray(x, jnp.float32) for x in (steps.obs, steps.next_obs))
    at = jnp.asarray(chosen, jnp.int32)
    goal = obs[rows][:, at]
    reached = jnp.linalg.norm(obs[:, at] - goal, axis=-1) <= tolerance
    reward = reached.astype(jnp.float32) - 1.0
    return steps.replace(
        obs=jnp.concatenate([obs, goal], axis=1),
        next_obs=jnp.concatenate([after, goal], axis=1),
        reward=reward,
        env_reward=reward,
        terminated=reached,
        **{name: jnp.asarray(getattr(steps, name)) for name in ("action", "first", "truncated")},
    )
