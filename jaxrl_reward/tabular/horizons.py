"""How far ahead one must look, after acting at random, to act optimally.

Potential shaping does not change it: shaping moves the random policy's values, and
all that is backed up from them, by the potential alone. What a potential shortens is
planning from nothing (`planning_depth`), where it stands in for the values that are
missing; and the horizon of episodes that a clock ends, after which the last potential
is kept.
"""

import jax
import jax.numpy as jnp

from jaxrl_reward.intervals import Interval
from jaxrl_reward.tabular import checks, numerics, planning
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array


@checks.arguments(
    vector=False,
    gamma=checks.DISCOUNT,
    limit=Interval(0, whole=True),
    tolerance=checks.TOLERANCE,
)
@jax.jit
def effective_horizon(
    mdp: MDP, gamma: Array | float, *, limit: Array | int = 200, tolerance: float = 1e-4
) -> Array:
    """The smallest k with which the MDP is k-QVI-solvable, int32.

    `Q^1` is that of the uniform policy and `Q^{i+1}(s,a) = E[r + gamma max Q^i(s',.)]`;
    k is the first for which every policy that is greedy in `Q^k` is optimal from
    `mdp.start` (Laidlaw et al. 2024, "The effective horizon explains deep RL performance
    in stochastic environments", definition of k-QVI-solvable). `with_clock` makes the
    definition's finite horizon a part of the state.

    Args:
      mdp: a reward is part of it; `rewards.tabulate` pays another.
      gamma: the discount; with 1 the uniform policy must end.
      limit: where it gives up, and returns `limit + 1`.
      tolerance: what counts as equal, as a share of what the worst action loses.
    """
    mdp = numerics.in_units(mdp)[0]
    uniform = jnp.full(mdp.probability.shape[:2], 1.0 / mdp.actions, mdp.reward.dtype)
    return _first(mdp, gamma, planning.evaluate(mdp, uniform, gamma), limit, tolerance)


@checks.arguments(
    vector=False,
    gamma=checks.DISCOUNT,
    limit=Interval(0, whole=True),
    tolerance=checks.TOLERANCE,
)
@jax.jit
def planning_depth(
    mdp: MDP, gamma: Array | float, *, limit: Array | int = 200, tolerance: float = 1e-4
) -> Array:
    """The fewest steps of value iteration from 0 whose greedy policies are all optimal.

    Shaping by a potential is a start from that potential instead (Wiewiora 2003,
    "Potential-based shaping and Q-value initialization are equivalent"): by the optimal
    values, one step is enough. Arguments as for `effective_horizon`.
    """
    mdp = numerics.in_units(mdp)[0]
    return _first(mdp, gamma, jnp.zeros_like(mdp.reward[:, 0, 0]), limit, tolerance)


def _first(
    mdp: MDP, gamma: Array | float, values: Array, limit: Array | int, tolerance: float
) -> Array:
    """How many backups of `values[S]` it takes, of an MDP in units of its rewards."""
    gamma = jnp.asarray(gamma, mdp.reward.dtype)
    near = planning.value_iteration(mdp, gamma).q
    chosen = jax.nn.one_hot(near.argmax(-1), mdp.actions, dtype=near.dtype)
    best = planning.q_values(mdp, planning.evaluate(mdp, chosen, gamma), gamma)
    margin = planning.margin(best, tolerance)
    right = _greedy(best, margin)

    def wrong(q: Array) -> Array:
        greedy = _greedy(q, margin)
        return (greedy & ~right & reached(mdp, greedy)[:, None]).any()

    def deeper(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, k = carry
        return planning.q_values(mdp, q.max(-1), gamma), k + 1

    def unsolved(carry: tuple[Array, Array]) -> Array:
        return (carry[1] <= limit) & wrong(carry[0])

    begin = (planning.q_values(mdp, values, gamma), jnp.int32(1))
    return jax.lax.while_loop(unsolved, deeper, begin)[1]


def _greedy(q: Array, margin: Array) -> Array:
    return q >= q.max(-1, keepdims=True) - margin


def reached(mdp: MDP, allowed: Array) -> Array:
    """The states that policies taking only `allowed[S, A]` actions can come to, `[S]` bool."""
    happens = (mdp.probability > 0) & ~mdp.ends & allowed[..., None]

    def further(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        known, _ = carry
        after = happens & known[:, None, None]
        more = known.at[mdp.successor].max(after)
        return more, (more != known).any()

    begin = (mdp.start > 0, jnp.bool_(True))
    return jax.lax.while_loop(lambda carry: carry[1], further, begin)[0]
