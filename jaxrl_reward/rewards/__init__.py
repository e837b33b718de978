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
from jaxrl_reward.rewards.corrupted import (
    flip_binary,
    flip_sign,
    gaussian_noise,
    replaced,
    uniform_noise,
)
from jaxrl_reward.rewards.curious import (
    byol,
    disagreement,
    empowerment,
    hindsight,
    icm,
    pseudo_counts,
    rdd,
)
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
from jaxrl_reward.rewards.self_play import win_rate
from jaxrl_reward.rewards.standardize import (
    clip_spread,
    min_max,
    percentile_scale,
    popart,
    rank,
    standardize,
    standardize_batch,
)
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
    "byol",
    "clip",
    "clip_spread",
    "constant",
    "counts",
    "delay",
    "delta",
    "disagreement",
    "empowerment",
    "entries",
    "env",
    "episode_end",
    "episodic",
    "explain",
    "flip_binary",
    "flip_sign",
    "gaussian_noise",
    "gaussian_quantile",
    "hindsight",
    "hold",
    "icm",
    "lifetime_counts",
    "log_sigmoid",
    "marginal_gain",
    "min_max",
    "modular",
    "named",
    "needs_episodes",
    "no_state",
    "normalize",
    "par",
    "parse",
    "percentile_scale",
    "pointwise",
    "popart",
    "potential",
    "potentials",
    "proximity",
    "pseudo_counts",
    "rank",
    "rdd",
    "register",
    "replaced",
    "replay_problem",
    "rnd",
    "scale",
    "scheduled",
    "shortfall",
    "sign",
    "stack",
    "standardize",
    "standardize_batch",
    "state_bonus",
    "static",
    "stock",
    "stock_utility",
    "symlog",
    "tanh",
    "terminal",
    "threshold",
    "uniform_noise",
    "varies",
    "weighted_sum",
    "where",
    "win_rate",
]
