"""Rewards as expressions: small pure transforms composed with `+ * |`."""

from jaxrl_reward.rewards import potentials
from jaxrl_reward.rewards.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.bounded import (
    delta,
    gaussian_quantile,
    hold,
    log_sigmoid,
    par,
    proximity,
    shortfall,
    tanh,
    terminal,
)
from jaxrl_reward.rewards.causal import counts, delay, episode_end, lifetime_counts
from jaxrl_reward.rewards.inspect import explain, needs_episodes, replay_problem, varies
from jaxrl_reward.rewards.intrinsic import rnd
from jaxrl_reward.rewards.marginal import marginal_gain, modular
from jaxrl_reward.rewards.normalize import normalize
from jaxrl_reward.rewards.operators import constant, env, named, stack, where
from jaxrl_reward.rewards.parse import RewardSyntaxError, parse
from jaxrl_reward.rewards.pointwise import (
    clip,
    potential,
    scale,
    sign,
    state_bonus,
    symlog,
    threshold,
    weighted_sum,
)
from jaxrl_reward.rewards.registry import entries, register
from jaxrl_reward.rewards.schedules import scheduled
from jaxrl_reward.rewards.stock import stock, stock_utility
from jaxrl_reward.rewards.ways import (
    Affine,
    Causal,
    Episodes,
    Episodic,
    Learned,
    Pointwise,
    episodic,
    pointwise,
)

__all__ = [
    "Affine",
    "Applied",
    "Causal",
    "Episodes",
    "Episodic",
    "Learned",
    "Pointwise",
    "RewardSyntaxError",
    "RewardTransform",
    "State",
    "clip",
    "constant",
    "counts",
    "delay",
    "delta",
    "entries",
    "env",
    "episode_end",
    "episodic",
    "explain",
    "gaussian_quantile",
    "hold",
    "lifetime_counts",
    "log_sigmoid",
    "marginal_gain",
    "modular",
    "named",
    "needs_episodes",
    "no_state",
    "normalize",
    "par",
    "parse",
    "pointwise",
    "potential",
    "potentials",
    "proximity",
    "register",
    "replay_problem",
    "rnd",
    "scale",
    "scheduled",
    "shortfall",
    "sign",
    "stack",
    "state_bonus",
    "static",
    "stock",
    "stock_utility",
    "symlog",
    "tanh",
    "terminal",
    "threshold",
    "varies",
    "weighted_sum",
    "where",
]
