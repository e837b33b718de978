"""Finite MDPs, solved exactly: expected returns, and the whole law of the return."""

from jaxrl_reward.tabular import (
    dynamics,
    mazes,
    mdp,
    objectives,
    planning,
    sensitivity,
    sqirl,
    tilted,
    worlds,
)
from jaxrl_reward.tabular.comparing import canonical, regret, reward_distance
from jaxrl_reward.tabular.comparing.reward_distance import dard, epic, starc
from jaxrl_reward.tabular.dynamics import absorbing, reward_table
from jaxrl_reward.tabular.horizons import effective_horizon, planning_depth
from jaxrl_reward.tabular.mdp import (
    MDP,
    from_outcomes,
    from_tables,
    garnet,
    stack,
    with_clock,
)
from jaxrl_reward.tabular.planning import optimal_set
from jaxrl_reward.tabular.returns import distributional, forward, functionals, laws, risk, stock
from jaxrl_reward.tabular.returns.laws import Categorical, Laws, Particles, Quantiles
from jaxrl_reward.tabular.returns.risk import cvar, cvar_of, mean_cvar, upper_cvar
from jaxrl_reward.tabular.returns.stock import covering, grid, lattice, solve, solve_with_clock
from jaxrl_reward.tabular.types import Dynamics, Grid

__all__ = [
    "MDP",
    "Categorical",
    "Dynamics",
    "Grid",
    "Laws",
    "Particles",
    "Quantiles",
    "absorbing",
    "canonical",
    "covering",
    "cvar",
    "cvar_of",
    "dard",
    "distributional",
    "dynamics",
    "effective_horizon",
    "epic",
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
    "optimal_set",
    "planning",
    "planning_depth",
    "regret",
    "reward_distance",
    "reward_table",
    "risk",
    "sensitivity",
    "solve",
    "solve_with_clock",
    "sqirl",
    "stack",
    "starc",
    "stock",
    "tilted",
    "upper_cvar",
    "with_clock",
    "worlds",
]
