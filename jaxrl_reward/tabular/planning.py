"""Exact planning for expected returns: values, optimal policies, occupancies.

Of one MDP; `vmap` over MDPs and discounts. With `gamma=1` every policy that is
evaluated must end with probability 1. In float32 a value of size v is right to
about `1e-6 v / (1 - gamma)`; enable x64 for more.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular.mdp import MDP
from jaxrl_reward.types import Array


class Plan(NamedTuple):
    """What planning gives.

    Attributes:
      values: the optimal value of each state, `[S]`.
      q: of each action, `[S, A]`.
      iterations: how many it took, int32.
      residual: the largest change in the last one.
    """

    values: Array
    q: Array
    iterations: Array
    residual: Array


def q_values(mdp: MDP, values: Array, gamma: Array | float) -> Array:
    """`E[r + gamma V(s')]`, `[S, A]`, from values `[S]`; nothing follows an end."""
    follows = jnp.where(mdp.ends, 0.0, values[mdp.successor])
    return (mdp.probability * (mdp.reward + gamma * follows)).sum(-1)


@jax.jit
def value_iteration(
    mdp: MDP, gamma: Array | float, *, tolerance: float = 1e-6, max_iterations: int = 100_000
) -> Plan:
    """Optimal values, by backups until none changes by more than `tolerance (1 + max |V|)`.

    The values are then within `gamma / (1 - gamma) * residual` of the optimum.
    """

    def backup(plan: Plan) -> Plan:
        q = q_values(mdp, plan.values, gamma)
        change = jnp.abs(q.max(-1) - plan.values).max()
        return Plan(q.max(-1), q, plan.iterations + 1, change)

    def unfinished(plan: Plan) -> Array:
        enough = tolerance * (1 + jnp.abs(plan.values).max())
        return (plan.residual > enough) & (plan.iterations < max_iterations)

    zero = jnp.zeros_like(mdp.reward[..., 0])
    start = Plan(zero[:, 0], zero, jnp.int32(0), jnp.full((), jnp.inf, zero.dtype))
    return jax.lax.while_loop(unfinished, backup, start)


@partial(jax.jit, static_argnames="horizon")
def finite_horizon(mdp: MDP, horizon: int, gamma: Array | float = 1.0) -> Plan:
    """Optimal values with `1, ..., horizon` steps left: `values[H, S]`, `q[H, S, A]`."""

    def backup(values: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        q = q_values(mdp, values, gamma)
        return q.max(-1), (q.max(-1), q)

    zero = jnp.zeros_like(mdp.reward[:, 0, 0])
    _, (values, q) = jax.lax.scan(backup, zero, None, length=horizon)
    return Plan(values, q, jnp.int32(horizon), jnp.zeros((), zero.dtype))


@jax.jit
def policy_iteration(
    mdp: MDP, gamma: Array | float, *, tolerance: Array | float = 1e-5, max_iterations: int = 1000
) -> Plan:
    """Optimal values, by exact evaluation and improvement (Howard 1960).

    An action is changed only where another is better by more than `tolerance`,
    so that rounding cannot make it go round in circles.
    """

    def improve(carry: tuple[Array, Plan]) -> tuple[Array, Plan]:
        actions, plan = carry
        values = evaluate(mdp, jax.nn.one_hot(actions, mdp.actions), gamma)
        q = q_values(mdp, values, gamma)
        kept = jnp.take_along_axis(q, actions[:, None], 1)[:, 0]
        better = q.max(-1) > kept + tolerance
        actions = jnp.where(better, q.argmax(-1), actions)
        return actions, Plan(values, q, plan.iterations + 1, (q.max(-1) - kept).max())

    def unfinished(carry: tuple[Array, Plan]) -> Array:
        plan = carry[1]
        return (plan.residual > tolerance) & (plan.iterations < max_iterations)

    zero = jnp.zeros_like(mdp.reward[..., 0])
    plan = Plan(zero[:, 0], zero, jnp.int32(0), jnp.full((), jnp.inf, zero.dtype))
    start = (jnp.zeros(mdp.states, jnp.argmax(zero).dtype), plan)
    return jax.lax.while_loop(unfinished, improve, start)[1]


@jax.jit
def evaluate(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    """The value of each state under a policy, `[S]` (`[S, m]` of a vector reward).

    Solves `V = r + gamma P V`.

    Args:
      mdp: the MDP.
      policy: probabilities `[S, A]`.
      gamma: the discount.
    """
    matrix = _system(mdp, policy, gamma)
    reward = jnp.einsum("sa,sa...->s...", policy, mdp.expected_reward())
    return jnp.linalg.solve(matrix, reward)


@jax.jit
def occupancy(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    """The expected discounted number of visits `sum_t gamma^t P(s_t, a_t)`, `[S, A]`.

    From `mdp.start`. Its sum with the rewards is the policy's return; without
    ends it sums to `1 / (1 - gamma)`.
    """
    visits = jnp.linalg.solve(_system(mdp, policy, gamma).T, mdp.start)
    return visits[:, None] * policy


def optimal_actions(q: Array, tolerance: Array | float = 1e-4) -> Array:
    """All actions within `tolerance` of the best, bool `[..., A]`.

    With the optimal q, every policy that only takes these is optimal.
    """
    return q >= q.max(-1, keepdims=True) - tolerance


@jax.jit
def optimal_set(mdp: MDP, gamma: Array | float, *, tolerance: Array | float = 1e-4) -> Array:
    """The actions that some optimal policy takes in each state, bool `[S, A]`.

    What an invariant shaping leaves as it is.

    Args:
      mdp: the MDP.
      gamma: the discount.
      tolerance: what counts as equally good; below 1e-4 enable x64.
    """
    rounding = 64 * jnp.finfo(mdp.reward.dtype).eps * jnp.abs(mdp.reward).max() / (1 - gamma)
    plan = policy_iteration(mdp, gamma, tolerance=jnp.minimum(tolerance / 10, rounding))
    return optimal_actions(plan.q, tolerance)


@partial(jax.jit, static_argnames="horizon")
def bounds(
    mdp: MDP,
    gamma: Array | float,
    *,
    horizon: int | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> tuple[Array, Array]:
    """The least and the largest return that can happen from any state, however unlikely.

    Args:
      mdp: the MDP.
      gamma: the discount.
      horizon: how many steps; needed where returns have no bound otherwise
        (`gamma=1` and a loop that pays or costs).
      tolerance: as in `value_iteration`.
      max_iterations: where it stops in any case.

    Returns:
      Two scalars, or `[m]` each of a vector reward, for `gamma < 1` rounded
      outwards by what the last iterations may lack; infinite where they have not
      come to rest.
    """
    vector = mdp.reward.ndim > 3
    reward = mdp.reward if vector else mdp.reward[..., None]
    exists, ends = (mdp.probability > 0)[..., None], mdp.ends[..., None]
    gamma = jnp.asarray(gamma, reward.dtype)

    def extreme(sign: float) -> Array:
        def step(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            values, count, _ = carry
            total = sign * reward + gamma * jnp.where(ends, 0.0, values[mdp.successor])
            after = jnp.where(exists, total, -jnp.inf).max((1, 2))
            return after, count + 1, jnp.abs(after - values).max()

        def moving(values: Array, change: Array) -> Array:
            return change > tolerance * (1 + jnp.abs(values).max())

        def unfinished(carry: tuple[Array, Array, Array]) -> Array:
            values, count, change = carry
            if horizon is not None:
                return count < horizon
            return moving(values, change) & (count < max_iterations)

        zero = jnp.zeros_like(reward[:, 0, 0])
        start = (zero, jnp.int32(0), jnp.full((), jnp.inf, zero.dtype))
        values, _, change = jax.lax.while_loop(unfinished, step, start)
        lacks = jnp.where(gamma < 1, change * gamma / jnp.maximum(1 - gamma, 1e-9), 0.0)
        lacks = jnp.where(moving(values, change), jnp.inf, lacks)
        return sign * (values.max(0) + (lacks if horizon is None else 0.0))

    least, most = extreme(-1.0), extreme(1.0)
    return (least, most) if vector else (least[0], most[0])


def _system(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    step = jnp.einsum("sa,sat->st", policy, mdp.transition())
    return jnp.eye(mdp.states) - gamma * step
