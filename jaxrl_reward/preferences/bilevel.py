"""The gradient through an optimal policy: a reward is judged by what it makes an agent do.

Chakraborty et al. 2024, "PARL: A Unified Framework for Policy Alignment in
Reinforcement Learning": preferences are asked about behaviour of the policy that
the reward itself brings about, so that changing the reward also changes the data.
Ordinary alternation drops that term.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxrl_reward.types import Array, UserError, nearest

SOLVERS = ("exact", "cg", "neumann")


def hypergradient(
    upper: Callable[[Any, Any], Array],
    lower: Callable[[Any, Any], Array],
    outer: Any,
    inner: Any,
    *,
    solver: Literal["exact", "cg", "neumann"] = "exact",
    iterations: int = 20,
    damping: float = 0.0,
    step: float = 0.1,
) -> Any:
    """`d upper(outer, inner*(outer)) / d outer`, inner* the stationary point of `lower`.

    By the implicit function theorem, `d_outer G - (d_outer d_inner V)^T (d_inner^2 V)^-1
    d_inner G`, evaluated at `inner`.

    Args:
      upper: G(outer, inner), a scalar.
      lower: V(outer, inner), a scalar, maximised or minimised by the inner variable.
      outer: the reward's parameters, a pytree.
      inner: the policy's, at a stationary point of V.
      solver: of the linear system: `exact` (small problems), `cg` on the
        squared system, as V need not be convex, or `neumann`, a truncated series.
      iterations: of the latter two.
      damping: added to the Hessian's diagonal, with its sign for a maximum (-).
      step: of the Neumann series, for a maximum: `H^-1 v = -step sum_i (1 + step H)^i v`.

    Raises:
      UserError: there is no such solver.
    """
    if solver not in SOLVERS:
        raise UserError(f"unknown solver {solver!r}, {nearest(solver, SOLVERS)}")
    flat, unravel = ravel_pytree(inner)

    def slope(outer: Any, flat: Array) -> Array:
        """d V / d inner."""
        return jax.grad(lambda flat: lower(outer, unravel(flat)))(flat)

    def hessian(v: Array) -> Array:
        return jax.jvp(lambda flat: slope(outer, flat), (flat,), (v,))[1] + damping * v

    direct, through = jax.grad(lambda o, f: upper(o, unravel(f)), argnums=(0, 1))(outer, flat)
    solved = _solve(hessian, through, solver, iterations, step)
    (indirect,) = jax.vjp(lambda outer: slope(outer, flat), outer)[1](solved)
    return jax.tree.map(jnp.subtract, direct, indirect)


def _solve(
    hessian: Callable[[Array], Array], v: Array, solver: str, iterations: int, step: float
) -> Array:
    """`hessian^-1 v`, by its products with vectors; it is symmetric."""
    if solver == "exact":
        return jnp.linalg.solve(jax.vmap(hessian)(jnp.eye(v.size, dtype=v.dtype)), v)
    if solver == "cg":
        squared = lambda x: hessian(hessian(x))  # noqa: E731
        return jax.scipy.sparse.linalg.cg(squared, hessian(v), maxiter=iterations)[0]

    def more(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        total, term = carry
        term = term + step * hessian(term)
        return total + term, term

    total, _ = jax.lax.fori_loop(0, iterations, more, (v, v))
    return -step * total
