"""Rewards as expressions: small pure transforms composed with `+ * |`."""

from jaxrl_reward.rewards import ltlf, one_step, potentials
from jaxrl_reward.rewards.adversarial import airl, gail
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
from jaxrl_reward.rewards.demonstrations import Demonstrations, demonstrations
from jaxrl_reward.rewards.distilled import red
from jaxrl_reward.rewards.ensembles import ensemble
from jaxrl_reward.rewards.hops import Hops, hop_potential
from jaxrl_reward.rewards.inspect import explain, needs_episodes, replay_problem, varies
from jaxrl_reward.rewards.intrinsic import rnd
from jaxrl_reward.rewards.machines import ltl, reward_machine
from jaxrl_reward.rewards.marginal import marginal_gain, modular
from jaxrl_reward.rewards.normalize import normalize
from jaxrl_reward.rewards.objectives import (
    direction,
    gradient_weights,
    hypervolume,
    hypervolume_weight,
    lagrangian,
    min_norm_weights,
)
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
from jaxrl_reward.rewards.purple import purple
from jaxrl_reward.rewards.redistributed import (
    decomposed_return,
    gated,
    progress,
    renorm,
    rudder,
    spread_return,
)
from jaxrl_reward.rewards.registry import entries, register
from jaxrl_reward.rewards.scalarise import (
    Scalariser,
    chebyshev,
    chebyshev_return,
    geometric_mean,
    harmonic,
    objective,
    pool,
)
from jaxrl_reward.rewards.schedules import scheduled
from jaxrl_reward.rewards.self_play import win_rate
from jaxrl_reward.rewards.shaping import (
    difference,
    dynamic_potential,
    learned_potential,
    look_ahead,
    look_back,
    mistaken_potential,
)
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
    "Demonstrations",
    "Episodes",
    "Episodic",
    "Hops",
    "Learned",
    "Pointwise",
    "RewardSyntaxError",
    "RewardTransform",
    "Scalariser",
    "State",
    "airl",
    "byol",
    "chebyshev",
    "chebyshev_return",
    "clip",
    "clip_spread",
    "constant",
    "counts",
    "decomposed_return",
    "delay",
    "delta",
    "demonstrations",
    "difference",
    "direction",
    "disagreement",
    "dynamic_potential",
    "empowerment",
    "ensemble",
    "entries",
    "env",
    "episode_end",
    "episodic",
    "explain",
    "flip_binary",
    "flip_sign",
    "gail",
    "gated",
    "gaussian_noise",
    "gaussian_quantile",
    "geometric_mean",
    "gradient_weights",
    "harmonic",
    "hindsight",
    "hold",
    "hop_potential",
    "hypervolume",
    "hypervolume_weight",
    "icm",
    "lagrangian",
    "learned_potential",
    "lifetime_counts",
    "log_sigmoid",
    "look_ahead",
    "look_back",
    "ltl",
    "ltlf",
    "marginal_gain",
    "min_max",
    "min_norm_weights",
    "mistaken_potential",
    "modular",
    "named",
    "needs_episodes",
    "no_state",
    "normalize",
    "objective",
    "one_step",
    "par",
    "parse",
    "percentile_scale",
    "pointwise",
    "pool",
    "popart",
    "potential",
    "potentials",
    "progress",
    "proximity",
    "pseudo_counts",
    "purple",
    "rank",
    "rdd",
    "red",
    "register",
    "renorm",
    "replaced",
    "replay_problem",
    "reward_machine",
    "rnd",
    "rudder",
    "scale",
    "scheduled",
    "shortfall",
    "sign",
    "spread_return",
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
