"""Exact planning for expected returns: values, optimal policies, occupancies.

Of one MDP; `vmap` over MDPs and discounts. With `gamma=1` every policy that is
evaluated must end with probability 1. In float32 a value of size v is right to
about `1e-6 v / (1 - gamma)`; enable x64 for more. The unit of the rewards does not
matter: tolerances are shares of what the MDP pays and is worth.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular.checks import COUNT, DISCOUNT, TOLERANCE
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, UserError

SOLVED = 8192  # states whose values are solved for: 268 MB in float32, and time grows as S^3


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


def _in_units(mdp: MDP, gamma: Array | float) -> tuple[MDP, Array, Array]:
    """The MDP in units of its rewards, the discount of the same type, and the unit."""
    scaled, unit = numerics.in_units(mdp)
    return scaled, jnp.asarray(gamma, scaled.reward.dtype), unit


@checks.arguments(vector=False, gamma=DISCOUNT, tolerance=TOLERANCE, max_iterations=COUNT)
@jax.jit
def value_iteration(
    mdp: MDP, gamma: Array | float, *, tolerance: float = 1e-6, max_iterations: int = 100_000
) -> Plan:
    """Optimal values, by backups until none changes by more than `tolerance (u + max |V|)`.

    u is the power of two at or below the largest expected |reward| of an action. The
    values are then within `gamma / (1 - gamma) * residual` of the optimum.
    """
    mdp, gamma, unit = _in_units(mdp, gamma)

    def backup(plan: Plan) -> Plan:
        q = q_values(mdp, plan.values, gamma)
        change = jnp.abs(q.max(-1) - plan.values).max()
        return Plan(q.max(-1), q, plan.iterations + 1, change)

    def unfinished(plan: Plan) -> Array:
        enough = tolerance * (1 + jnp.abs(plan.values).max())
        return (plan.residual > enough) & (plan.iterations < max_iterations)

    return _times(unit, jax.lax.while_loop(unfinished, backup, _nothing(mdp)))


@checks.arguments(vector=False, gamma=DISCOUNT, horizon=COUNT)
@partial(jax.jit, static_argnames="horizon")
def finite_horizon(mdp: MDP, horizon: int, gamma: Array | float = 1.0) -> Plan:
    """Optimal values with `1, ..., horizon` steps left: `values[H, S]`, `q[H, S, A]`."""
    mdp = numerics.same_type(mdp)
    gamma = jnp.asarray(gamma, mdp.reward.dtype)

    def backup(values: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        q = q_values(mdp, values, gamma)
        return q.max(-1), (q.max(-1), q)

    zero = jnp.zeros_like(mdp.reward[:, 0, 0])
    _, (values, q) = jax.lax.scan(backup, zero, None, length=horizon)
    return Plan(values, q, jnp.int32(horizon), jnp.zeros((), zero.dtype))


@checks.arguments(vector=False, gamma=DISCOUNT, tolerance=TOLERANCE, max_iterations=COUNT)
@jax.jit
def policy_iteration(
    mdp: MDP, gamma: Array | float, *, tolerance: Array | float = 0.0, max_iterations: int = 1000
) -> Plan:
    """Optimal values, by exact evaluation and improvement (Howard 1960).

    Args:
      mdp: the MDP.
      gamma: the discount.
      tolerance: an action is changed only where another is better by more than this
        share of the largest |Q|, and by more than rounding.
      max_iterations: where it stops in any case.

    Raises:
      UserError: it has more than 8,192 states, for which `value_iteration` is.
    """
    mdp, gamma, unit = _in_units(mdp, gamma)

    def small(q: Array) -> Array:
        return jnp.maximum(tolerance * numerics.size(q), numerics.rounding(q, 8))

    def improve(carry: tuple[Array, Plan, Array]) -> tuple[Array, Plan, Array]:
        actions, old, _ = carry
        values = _evaluate(mdp, jax.nn.one_hot(actions, mdp.actions), gamma)
        q = q_values(mdp, values, gamma)
        kept = jnp.take_along_axis(q, actions[:, None], 1)[:, 0]
        gain = q.max(-1) - kept
        new = Plan(values, q, old.iterations + 1, gain.max())
        # A policy that seems better but has no larger values is so by rounding: without
        # this the search could go round in circles.
        rises = (old.iterations == 0) | ((values - old.values).sum() > 0)
        plan = jax.tree.map(lambda x, y: jnp.where(rises, x, y), new, old)
        better = gain > small(q)
        return jnp.where(better, q.argmax(-1), actions), plan, rises & better.any()

    def unfinished(carry: tuple[Array, Plan, Array]) -> Array:
        return carry[2] & (carry[1].iterations < max_iterations)

    plan = _nothing(mdp)
    start = (jnp.zeros(mdp.states, jnp.argmax(plan.q).dtype), plan, jnp.bool_(True))
    return _times(unit, jax.lax.while_loop(unfinished, improve, start)[1])


@checks.arguments(gamma=DISCOUNT)
@jax.jit
def evaluate(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    """The value of each state under a policy, `[S]` (`[S, m]` of a vector reward).

    Solves `V = r + gamma P V`.

    Args:
      mdp: the MDP.
      policy: probabilities `[S, A]`.
      gamma: the discount.

    Raises:
      UserError: the policy has another shape.
    """
    wanted = mdp.probability.shape[:2]
    if jnp.shape(policy) != wanted:
        raise UserError(f"evaluate: policy must be {list(wanted)}, not {list(jnp.shape(policy))}")
    return _evaluate(numerics.same_type(mdp), policy, gamma)


def _evaluate(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    policy = policy.astype(mdp.reward.dtype)
    matrix = _system(mdp, policy, gamma)
    reward = jnp.einsum("sa,sa...->s...", policy, mdp.expected_reward())
    return jnp.linalg.solve(matrix, reward)


@checks.arguments(gamma=DISCOUNT)
@jax.jit
def occupancy(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    """The expected discounted number of visits `sum_t gamma^t P(s_t, a_t)`, `[S, A]`.

    From `mdp.start`. Its sum with the rewards is the policy's return; without
    ends it sums to `1 / (1 - gamma)`.
    """
    mdp = numerics.same_type(mdp)
    policy = policy.astype(mdp.reward.dtype)
    visits = jnp.linalg.solve(_system(mdp, policy, gamma).T, mdp.start)
    return visits[:, None] * policy


def optimal_actions(q: Array, tolerance: Array | float = 1e-4) -> Array:
    """All actions that are as good as the best, bool `[..., A]`, of one problem.

    With the optimal q, every policy that only takes these is optimal. `tolerance` is a
    share of what the worst action of all loses: see `margin`.
    """
    return q >= q.max(-1, keepdims=True) - margin(q, tolerance)


def margin(q: Array, tolerance: Array | float = 1e-4) -> Array:
    """How much worse counts as equal, a scalar.

    A share of the largest loss of an action of q `[..., A]`, which neither the unit of
    the rewards nor a potential changes but by a factor; and at least q's rounding.
    """
    return jnp.maximum(
        tolerance * numerics.size(q.max(-1, keepdims=True) - q), numerics.rounding(q)
    )


@checks.arguments(vector=False, gamma=DISCOUNT, tolerance=TOLERANCE)
@jax.jit
def optimal_set(mdp: MDP, gamma: Array | float, *, tolerance: Array | float = 1e-4) -> Array:
    """The actions that some optimal policy takes in each state, bool `[S, A]`.

    What an invariant shaping leaves as it is.

    Args:
      mdp: the MDP.
      gamma: the discount.
      tolerance: what counts as equally good, as a share of what the worst action
        loses; below 1e-4 enable x64.
    """
    return optimal_actions(policy_iteration(mdp, gamma).q, tolerance)


@checks.arguments(gamma=DISCOUNT, horizon=COUNT, tolerance=TOLERANCE, max_iterations=COUNT)
@partial(jax.jit, static_argnames=("horizon", "shorter"))
def bounds(
    mdp: MDP,
    gamma: Array | float,
    *,
    horizon: int | None = None,
    shorter: bool = False,
    tolerance: float = 1e-5,
    max_iterations: int = 10_000,
) -> tuple[Array, Array]:
    """The least and the largest return that can happen from any state, however unlikely.

    Args:
      mdp: the MDP.
      gamma: the discount.
      horizon: how many steps; needed where returns have no bound otherwise
        (`gamma=1` and a loop that pays or costs).
      shorter: also of fewer steps than the horizon, down to none, whose return is 0.
      tolerance: as in `value_iteration`.
      max_iterations: where it stops in any case.

    Returns:
      Two scalars, or `[m]` each of a vector reward, for `gamma < 1` rounded
      outwards by what the last iterations may lack; infinite where they have not
      come to rest.
    """
    vector = mdp.reward.ndim > 3
    mdp, gamma, unit = _in_units(mdp, gamma)
    reward = mdp.reward if vector else mdp.reward[..., None]
    exists, ends = (mdp.probability > 0)[..., None], mdp.ends[..., None]

    def extreme(sign: float) -> Array:
        def step(carry: tuple[Array, ...]) -> tuple[Array, ...]:
            values, count, _, most = carry
            total = sign * reward + gamma * jnp.where(ends, 0.0, values[mdp.successor])
            after = jnp.where(exists, total, -jnp.inf).max((1, 2))
            return after, count + 1, jnp.abs(after - values).max(), jnp.maximum(most, after)

        def moving(values: Array, change: Array) -> Array:
            return change > tolerance * (1 + jnp.abs(values).max())

        def unfinished(carry: tuple[Array, ...]) -> Array:
            values, count, change, _ = carry
            if horizon is not None:
                return count < horizon
            return moving(values, change) & (count < max_iterations)

        zero = jnp.zeros_like(reward[:, 0, 0])
        start = (zero, jnp.int32(0), jnp.full((), jnp.inf, zero.dtype), zero)
        values, _, change, most = jax.lax.while_loop(unfinished, step, start)
        if horizon is not None:
            return sign * (most if shorter else values).max(0)
        lacks = jnp.where(gamma < 1, change * gamma / jnp.where(gamma < 1, 1 - gamma, 1.0), 0.0)
        lacks = jnp.where(moving(values, change), jnp.inf, lacks)
        return sign * (values.max(0) + lacks)

    least, most = extreme(-1.0) * unit, extreme(1.0) * unit
    return (least, most) if vector else (least[0], most[0])


def _system(mdp: MDP, policy: Array, gamma: Array | float) -> Array:
    """`I - gamma P`, `[S, S]`, of what a policy does.

    Raises:
      UserError: it would have more rows than can be solved in reasonable time.
    """
    if mdp.states > SOLVED:
        raise UserError(
            f"{mdp.states:,} states are a system of {mdp.states:,} x {mdp.states:,} numbers, of "
            f"which more than {SOLVED:,} rows are not solved; use value_iteration"
        )
    step = mdp.under(policy)
    return jnp.eye(mdp.states, dtype=step.dtype) - jnp.asarray(gamma, step.dtype) * step


def _nothing(mdp: MDP) -> Plan:
    """Where planning begins."""
    zero = jnp.zeros_like(mdp.reward[..., 0])
    return Plan(zero[:, 0], zero, jnp.int32(0), jnp.full((), jnp.inf, zero.dtype))


def _times(unit: Array, plan: Plan) -> Plan:
    """What was found in units of the rewards, as they are."""
    return Plan(unit * plan.values, unit * plan.q, plan.iterations, unit * plan.residual)
