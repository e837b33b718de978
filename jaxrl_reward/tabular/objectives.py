"""Objectives beyond a sum of rewards: with entropy, or any concave function of the visits.

No reward says what they say: their best policies may all be mixed ones, where a reward
always has a pure one among its best.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics, planning
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array


class Soft(NamedTuple):
    """What planning with entropy gives.

    Attributes:
      values: of each state, `[S]`.
      q: of each action, `[S, A]`.
      policy: the only best one, `softmax(q / temperature)`, `[S, A]`.
    """

    values: Array
    q: Array
    policy: Array


@checks.arguments(
    vector=False, gamma=checks.DISCOUNT, temperature=checks.POSITIVE, iterations=checks.COUNT
)
@partial(jax.jit, static_argnames="iterations")
def soft_planning(
    mdp: MDP, gamma: Array | float, temperature: Array | float, *, iterations: int = 500
) -> Soft:
    """Values of `E sum_t gamma^t (r_t + temperature H(pi(.|s_t)))`, by soft backups.

    `V(s) = temperature log sum_a exp(Q(s, a) / temperature)` (Ziebart 2010). After n backups
    values are right to `gamma^n` of their size.
    """
    mdp = numerics.same_type(mdp)
    gamma, temperature = numerics.astype((gamma, temperature), mdp.reward.dtype)

    def backup(values: Array, _: None) -> tuple[Array, None]:
        q = planning.q_values(mdp, values, gamma)
        return temperature * jax.nn.logsumexp(q / temperature, -1), None

    zero = jnp.zeros_like(mdp.reward[:, 0, 0])
    values = jax.lax.scan(backup, zero, None, length=iterations)[0]
    q = planning.q_values(mdp, values, gamma)
    return Soft(values, q, jax.nn.softmax(q / temperature))


class Spread(NamedTuple):
    """What maximising a function of the visits gives.

    Attributes:
      policy: `[S, A]`; uniform where it never comes.
      visits: discounted, of each state and action, `[S, A]`.
      value: of the function.
      gap: how much more there can be at most.
    """

    policy: Array
    visits: Array
    value: Array
    gap: Array


@checks.arguments(gamma=checks.FOREVER, iterations=checks.COUNT)
@partial(jax.jit, static_argnames=("function", "iterations"))
def best_visits(
    mdp: MDP, gamma: Array | float, function: Callable[[Array], Array], *, iterations: int = 200
) -> Spread:
    """The policy whose discounted visits make a concave function largest.

    Frank and Wolfe 1956, on the visits that policies can have (Hazan et al. 2019, "Provably
    Efficient Maximum Entropy Exploration"): each step plans for the function's slope as a
    reward, and mixes the visits of that plan in.

    Args:
      mdp: the MDP; its own reward does not count.
      gamma: the discount, below 1.
      function: of the visits `[S, A]` (`planning.occupancy`), concave, with a slope.
      iterations: the gap falls as one over their number.
    """
    mdp = numerics.same_type(mdp)
    dtype = mdp.probability.dtype

    def planned(visits: Array) -> tuple[Array, Array]:
        """The visits of the best plan for the slope, and what it promises at most."""
        slope = jax.grad(function)(visits)
        paid = mdp.replace(reward=jnp.broadcast_to(slope[..., None], mdp.probability.shape))
        actions = planning.policy_iteration(paid, gamma).q.argmax(-1)
        best = planning.occupancy(mdp, jax.nn.one_hot(actions, mdp.actions), gamma)
        return best, (slope * (best - visits)).sum()

    def step(visits: Array, i: Array) -> tuple[Array, None]:
        return visits + (2.0 / (i + 2.0)).astype(dtype) * (planned(visits)[0] - visits), None

    uniform = jnp.full((mdp.states, mdp.actions), 1.0 / mdp.actions, dtype)
    start = planning.occupancy(mdp, uniform, gamma)
    visits = jax.lax.scan(step, start, 1.0 + jnp.arange(iterations))[0]
    each = visits.sum(-1, keepdims=True)
    policy = jnp.where(each > 0, visits / jnp.where(each > 0, each, 1.0), uniform)
    return Spread(policy, visits, function(visits), planned(visits)[1])
