"""Finite MDPs as arrays: the outcomes of every action in every state.

An *outcome* is a successor with a probability and a reward; two outcomes may
share their successor, so rewards may be random. An outcome that ends the
episode leads nowhere. A batch of MDPs is one whose leaves have a leading axis:
every function here is for one MDP, and `vmap` or `jax.lax.map` makes it one
for many.
"""

from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.tabular import checks
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, UserError

SORTED = 2048  # states of a Garnet whose successors are the first of all in a random order


def from_outcomes(
    outcomes: Sequence[Sequence[Sequence[tuple[float, int | None, Any]]]], start: int = 0
) -> MDP:
    """An MDP written by hand.

    Args:
      outcomes: `outcomes[s][a]` is a list of `(probability, successor, reward)`;
        a successor None ends the episode. A state with fewer actions than
        others repeats its first.
      start: the state in which episodes start.

    Raises:
      UserError: probabilities that are none or do not sum to 1, a reward that is not
        finite, an unknown successor, or a state without actions.
    """
    if not outcomes or not all(row and all(row) for row in outcomes):
        raise UserError("from_outcomes: each state needs an action, each action an outcome")
    states, actions = len(outcomes), max(map(len, outcomes))
    if not 0 <= start < states:
        raise UserError(f"from_outcomes: the start is state {start}, of {states} states")
    rows = [[list(row[a] if a < len(row) else row[0]) for a in range(actions)] for row in outcomes]
    most = max(len(each) for row in rows for each in row)
    shape = np.shape(rows[0][0][0][2])
    probability = np.zeros((states, actions, most))
    successor = np.zeros(probability.shape, np.int32)
    reward = np.zeros((*probability.shape, *shape))
    ends = np.ones(probability.shape, bool)
    for s, row in enumerate(rows):
        for a, each in enumerate(row):
            total = sum(p for p, _, _ in each)
            if not abs(total - 1) <= checks.SUM:
                raise UserError(f"outcomes of state {s}, action {a} have probability {total:g}")
            for k, (p, after, r) in enumerate(each):
                if p < 0:
                    raise UserError(f"state {s}, action {a} has an outcome of probability {p:g}")
                if not np.isfinite(r).all():
                    raise UserError(f"state {s}, action {a} pays {r}, which is not finite")
                if after is not None and not (isinstance(after, Integral) and 0 <= after < states):
                    raise UserError(f"state {s}, action {a} leads to {after}, of {states} states")
                probability[s, a, k], reward[s, a, k] = p, r
                successor[s, a, k], ends[s, a, k] = after or 0, after is None
    first = np.eye(states)[start]
    # Without x64 JAX makes float32 of them, which does not hold all numbers.
    kept = jnp.result_type(float)
    with np.errstate(over="ignore"):
        checks.finite("from_outcomes", f"reward as {kept}", reward.astype(kept))
    return MDP(*map(jnp.asarray, (probability, successor, reward, ends, first)))


def from_tables(
    transition: Array, reward: Array, ends: Array | None = None, start: Array | None = None
) -> MDP:
    """An MDP from its usual tables.

    Args:
      transition: `[S, A, S']`, sums to 1 over S'.
      reward: `[S, A]` or `[S, A, S']`.
      ends: the states that end an episode when they are reached, `[S]` bool;
        none by default.
      start: `[S]`; uniform by default.

    Raises:
      UserError: the shapes do not fit, rows are no probabilities (negative, or not of
        sum 1), or a number is not finite; traced tables are not looked into.
    """
    transition, reward = jnp.asarray(transition), jnp.asarray(reward)
    dtype = jnp.result_type(transition, reward)
    dtype = dtype if jnp.issubdtype(dtype, jnp.inexact) else jnp.result_type(float)
    dtype = jnp.promote_types(dtype, jnp.float32)  # nothing is solved in half precision
    transition, reward = transition.astype(dtype), reward.astype(dtype)
    shape = transition.shape
    if len(shape) != 3 or shape[0] != shape[2]:
        raise UserError(f"transition must be [S, A, S'], not {list(shape)}")
    if reward.shape not in (shape, shape[:2]):
        raise UserError(f"reward must be [S, A] or [S, A, S'], not {list(reward.shape)}")
    if ends is not None and np.shape(ends) != shape[:1]:
        raise UserError(f"ends must be [S], not {list(np.shape(ends))}")
    first = jnp.full(shape[0], 1.0 / shape[0]) if start is None else jnp.asarray(start)
    if first.shape != shape[:1]:
        raise UserError(f"start must be [S], not {list(first.shape)}")
    checks.distributions("from_tables", "transition", transition)
    checks.finite("from_tables", "reward", reward)
    checks.distributions("from_tables", "start", first)
    if reward.ndim == 2:
        reward = reward[..., None]
    after = jnp.arange(shape[0], dtype=jnp.int32)[None, None]
    over = jnp.zeros(shape[0], bool) if ends is None else jnp.asarray(ends, bool)
    return MDP(
        probability=transition,
        successor=jnp.broadcast_to(after, shape),
        reward=jnp.broadcast_to(reward, shape),
        ends=jnp.broadcast_to(over[None, None], shape),
        start=first.astype(dtype),
    )


@checks.arguments(states=checks.COUNT, actions=checks.COUNT)
@partial(jax.jit, static_argnames=("states", "actions", "branching", "random_rewards"))
def garnet(
    key: Array, states: int, actions: int, branching: int, *, random_rewards: bool = False
) -> MDP:
    """A random MDP: each action leads to `branching` distinct random states.

    Probabilities are the gaps between uniform random cuts of [0, 1]; rewards
    are standard normal (Archibald, McKinnon and Thomas 1995). No episode ends.
    Beyond 2,048 states it is made without a number for each pair of states.

    Args:
      key: a typed key.
      states: S.
      actions: A.
      branching: K, at most S.
      random_rewards: a reward for each outcome instead of each action.

    Raises:
      UserError: `branching` is not between 1 and S.
    """
    if not 1 <= branching <= states:
        raise UserError(f"branching must be between 1 and {states}, not {branching}")
    key_after, key_cuts, key_reward = jax.random.split(key, 3)
    if states > SORTED:
        successor = _distinct(key_after, (states, actions), states, branching)
    else:
        order = jax.random.uniform(key_after, (states, actions, states))
        successor = jax.lax.top_k(-order, branching)[1]
    cuts = jnp.sort(jax.random.uniform(key_cuts, (states, actions, branching - 1)), -1)
    probability = jnp.diff(cuts, axis=-1, prepend=0.0, append=1.0)
    own = branching if random_rewards else 1
    reward = jax.random.normal(key_reward, (states, actions, own))
    return MDP(
        probability=probability,
        successor=successor.astype(jnp.int32),
        reward=jnp.broadcast_to(reward, probability.shape),
        ends=jnp.zeros(probability.shape, bool),
        start=jnp.full(states, 1.0 / states),
    )


def _distinct(key: Array, shape: tuple[int, ...], most: int, count: int) -> Array:
    """Sets of `count` distinct whole numbers below `most`, `[*shape, count]` int32.

    All sets are as likely; their order is not random. Floyd's algorithm (Bentley and Floyd
    1987): the next of a range one larger, or its new end where that is taken.
    """

    def draw(i: Array, chosen: Array) -> Array:
        end = most - count + i
        new = jax.random.randint(jax.random.fold_in(key, i), shape, 0, end + 1, jnp.int32)
        taken = (chosen == new[..., None]).any(-1)
        return chosen.at[..., i].set(jnp.where(taken, end, new).astype(jnp.int32))

    return jax.lax.fori_loop(0, count, draw, jnp.full((*shape, count), -1, jnp.int32))


@checks.arguments(horizon=checks.COUNT)
def with_clock(mdp: MDP, horizon: int) -> MDP:
    """The MDP with the time as part of the state, which ends after `horizon` steps.

    State s at time t is state `t S + s` of `horizon * S`. So what is optimal for
    the horizon needs no other clock, and a learner that sees the state can find it.

    Raises:
      UserError: the horizon is not a positive whole number.
    """
    over = (jnp.arange(horizon) == horizon - 1).repeat(mdp.states)
    again = lambda x: jnp.tile(x, (horizon, *(1,) * (x.ndim - 1)))  # noqa: E731
    later = (jnp.arange(horizon, dtype=jnp.int32) + 1).repeat(mdp.states) * mdp.states
    later = jnp.where(over, 0, later)[:, None, None]
    ends = again(mdp.ends) | over[:, None, None]
    return MDP(
        probability=again(mdp.probability),
        successor=jnp.where(ends, 0, again(mdp.successor) + later),
        reward=again(mdp.reward),
        ends=ends,
        start=jnp.zeros(horizon * mdp.states, mdp.start.dtype).at[: mdp.states].set(mdp.start),
    )


def stack(mdps: Sequence[MDP]) -> MDP:
    """MDPs of one shape as a batch, with a leading axis.

    Raises:
      UserError: their shapes differ, or there are none.
    """
    if not mdps:
        raise UserError("stack needs at least one MDP")
    shapes = {mdp.reward.shape for mdp in mdps}
    if len(shapes) != 1:
        raise UserError(f"MDPs of one shape make a batch, not of {sorted(shapes)}")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *mdps)
