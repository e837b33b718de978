"""Finite MDPs, solved exactly: expected returns, and the whole law of the return."""

from jaxrl_reward.tabular import (
    distributional,
    forward,
    functionals,
    laws,
    mazes,
    mdp,
    objectives,
    planning,
    risk,
    stock,
    worlds,
)
from jaxrl_reward.tabular.laws import Categorical, Laws, Particles, Quantiles
from jaxrl_reward.tabular.mdp import (
    MDP,
    from_outcomes,
    from_tables,
    garnet,
    stack,
    with_clock,
)
from jaxrl_reward.tabular.risk import cvar, cvar_of, mean_cvar, upper_cvar
from jaxrl_reward.tabular.stock import Grid, covering, grid, lattice, solve, solve_with_clock
from jaxrl_reward.tabular.tabulate import tabulate

__all__ = [
    "MDP",
    "Categorical",
    "Grid",
    "Laws",
    "Particles",
    "Quantiles",
    "covering",
    "cvar",
    "cvar_of",
    "distributional",
    "forward",
    "from_outcomes",
    "from_tables",
    "functionals",
    "garnet",
    "grid",
    "lattice",
    "laws",
    "mazes",
    "mdp",
    "mean_cvar",
    "objectives",
    "planning",
    "risk",
    "solve",
    "solve_with_clock",
    "stack",
    "stock",
    "tabulate",
    "upper_cvar",
    "with_clock",
    "worlds",
]
