"""Risk measures of the return, by one more search: over the initial stock.

CVaR, the mean of the worst fraction tau of the outcomes, is

    CVaR_tau(G) = max_c { c + E min(G - c, 0) / tau }

(Rockafellar and Uryasev 2000), so the best of all policies is found by solving
for every stock at once and searching `c_0 = -c` (Bauerle and Ott 2011). The mean
of the best fraction is a min over c instead. The best policy for it may have to
be drawn by chance before the first step: the maximum over such policies and the
minimum over c can be exchanged (von Neumann), over others not.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrl_reward.rounding import ulps
from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular.returns import functionals
from jaxrl_reward.tabular.returns.stock import StockPlan, plan_on, warn_if_narrow
from jaxrl_reward.tabular.types import MDP, Grid
from jaxrl_reward.types import Array, UserError

TIED = 8  # roundings: nearer than this to the best is as good
_checked = checks.arguments(
    tau=checks.FRACTION, weight=checks.SHARE, gamma=checks.STOCK, horizon=checks.COUNT
)


class Risk(NamedTuple):
    """What a search over the initial stock gives.

    Attributes:
      value: the best value of the measure, for each start, `[S]`.
      stock: the initial stock that leads to it, `[S]`; of several the largest,
        which is minus the lowest tau-quantile.
      index: its place in the grid, `[S]` int32.
      plan: values and actions from every state and stock.
    """

    value: Array
    stock: Array
    index: Array
    plan: StockPlan


@_checked
def mean_cvar(mdp: MDP, grid: Grid, *, tau: Any, weight: Any = 0.0, **settings: Any) -> Risk:
    """The best `weight E G + (1 - weight) CVaR_tau(G)` from each state.

    Exact if the grid holds the optimum, which is minus a possible return, and
    `solve` is exact on it; else the error is that of `solve`, and at most
    `max(1, 1 / tau - 1) / 2` spacings more.

    Args:
      mdp: one MDP.
      grid: the stocks.
      tau: in (0, 1]; 1 is the mean.
      weight: in [0, 1]; of the mean.
      **settings: `gamma` and others of `solve`.
    """
    if np.ndim(tau) or np.ndim(weight):
        raise UserError("tau and weight must be one number each; vmap over several")
    plan = plan_on(mdp, functionals.mean_cvar(tau, weight), grid, **settings)
    # The utility counts the stock once too often, whatever the weights are.
    found = _search(plan, plan.values - grid.points()[None], grid, sign=1.0)
    return _told(mdp, grid, found, **settings)


@_checked
def cvar(mdp: MDP, grid: Grid, *, tau: Any, **settings: Any) -> Risk:
    """The best mean of the worst fraction `tau` of the returns, from each state."""
    return mean_cvar(mdp, grid, tau=tau, **settings)


@_checked
def upper_cvar(mdp: MDP, grid: Grid, *, tau: Any, **settings: Any) -> Risk:
    """The best mean of the best fraction `tau` of the returns, from each state.

    `min_c max_policy`: no policy does better, and one that is drawn by chance
    before the first step does as well. The minimum need not be at a possible
    return: the value found is too large by up to `max(1, 1 / tau - 1) / 2` spacings.
    """
    plan = plan_on(mdp, functionals.excess(), grid, **settings)
    found = _search(plan, plan.values / tau - grid.points()[None], grid, sign=-1.0)
    return _told(mdp, grid, found, **settings)


@checks.arguments(tau=checks.FRACTION)
@jax.jit
def cvar_of(values: Array, weights: Array, tau: Any) -> Array:
    """CVaR_tau of laws, `[..., M]` particles: `[...]`.

    The mean of the lowest outcomes that together have probability tau.
    """
    order = jnp.argsort(values, -1)
    values, weights = (jnp.take_along_axis(x, order, -1) for x in (values, weights))
    before = weights.cumsum(-1) - weights
    used = jnp.clip(tau - before, 0.0, weights)
    return (values * used).sum(-1) / tau


def _search(plan: StockPlan, objective: Array, grid: Grid, sign: float) -> Risk:
    objective = sign * objective
    best = objective.max(-1, keepdims=True)
    scale = numerics.size(objective, -1, keepdims=True)
    near = objective >= best - ulps(scale, TIED)
    index = grid.size - 1 - near[:, ::-1].argmax(-1)
    return Risk(sign * best[:, 0], grid.points()[index], index, plan)


def _told(
    mdp: MDP, grid: Grid, found: Risk, *, gamma: Any, horizon: int | None = None, **_: Any
) -> Risk:
    """What was found, with a warning if the grid does not hold it."""
    ends = (False, False)
    if not isinstance(found.index, Tracer) and not isinstance(mdp.start, Tracer):
        begins = np.asarray(found.index)[np.asarray(mdp.start) > 0]
        ends = (bool((begins == 0).any()), bool((begins == grid.size - 1).any()))
    warn_if_narrow(mdp, grid, found.plan, gamma, horizon, ends)
    return found
