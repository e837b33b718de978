"""Rewards as expressions: small pure transforms composed with `+ * |`."""

from jaxrl_reward.rewards import trial
from jaxrl_reward.rewards.automata import ltlf
from jaxrl_reward.rewards.automata.machines import ltl, reward_machine
from jaxrl_reward.rewards.core import discounts, one_step, potentials
from jaxrl_reward.rewards.core.base import Applied, RewardTransform, State, no_state, static
from jaxrl_reward.rewards.core.inspect import (
    check,
    explain,
    needs_episodes,
    replay_problem,
    scopes,
    terms,
    varies,
)
from jaxrl_reward.rewards.core.operators import constant, env, named, stack, where
from jaxrl_reward.rewards.core.parse import RewardSyntaxError, parse
from jaxrl_reward.rewards.core.registry import entries, register
from jaxrl_reward.rewards.core.schedules import scheduled
from jaxrl_reward.rewards.core.signals import signal
from jaxrl_reward.rewards.core.tabulate import tabulate
from jaxrl_reward.rewards.core.ways import (
    Affine,
    Causal,
    Episodes,
    Episodic,
    Learned,
    Pointwise,
    episodic,
    pointwise,
)
from jaxrl_reward.rewards.curiosity.distillation import rnd
from jaxrl_reward.rewards.curiosity.marginal import marginal_gain, modular
from jaxrl_reward.rewards.curiosity.prediction import (
    byol,
    disagreement,
    empowerment,
    hindsight,
    icm,
    pseudo_counts,
    rdd,
)
from jaxrl_reward.rewards.groups.advantages import (
    bnpo,
    centred,
    copo,
    grpo,
    reinforce,
    riskpo,
    rloo,
    whitened,
)
from jaxrl_reward.rewards.groups.implicit import implicit_process, prime
from jaxrl_reward.rewards.groups.lengths import (
    by_length,
    crf,
    drpo,
    hbpo,
    pear,
    within,
    within_by_success,
)
from jaxrl_reward.rewards.groups.likelihoods import jepo, likelihood, on_scratch
from jaxrl_reward.rewards.groups.outcomes import empg, pav, rlcr, trust, verpo
from jaxrl_reward.rewards.groups.ranks import group_win_rate, preferred, tournament
from jaxrl_reward.rewards.groups.self_agreement import (
    agreement,
    co_reward,
    coin,
    flip_group,
    majority,
)
from jaxrl_reward.rewards.groups.ways import Grouped, Groups, gives_own_steps, grouped
from jaxrl_reward.rewards.imitation.adversarial import airl, gail
from jaxrl_reward.rewards.imitation.demonstrations import Demonstrations, demonstrations
from jaxrl_reward.rewards.imitation.density import red
from jaxrl_reward.rewards.objectives.goals import goal_reached
from jaxrl_reward.rewards.objectives.many import (
    direction,
    gradient_weights,
    hypervolume,
    hypervolume_weight,
    lagrangian,
    min_norm_weights,
)
from jaxrl_reward.rewards.objectives.postfix import postfix
from jaxrl_reward.rewards.objectives.scalarise import (
    Scalariser,
    chebyshev,
    chebyshev_return,
    geometric_mean,
    harmonic,
    objective,
    pool,
)
from jaxrl_reward.rewards.objectives.stock import stock, stock_utility
from jaxrl_reward.rewards.preference.ensembles import ensemble
from jaxrl_reward.rewards.preference.self_play import win_rate
from jaxrl_reward.rewards.shaping.credit import (
    decomposed_return,
    gated,
    progress,
    renorm,
    rudder,
    spread_return,
)
from jaxrl_reward.rewards.shaping.hops import Hops, hop_potential
from jaxrl_reward.rewards.shaping.potential_based import (
    difference,
    dynamic_potential,
    learned_potential,
    look_ahead,
    look_back,
    mistaken_potential,
)
from jaxrl_reward.rewards.transforms.bounded import (
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
from jaxrl_reward.rewards.transforms.causal import counts, delay, episode_end, lifetime_counts
from jaxrl_reward.rewards.transforms.corrupted import (
    flip_binary,
    flip_sign,
    gaussian_noise,
    replaced,
    uniform_noise,
)
from jaxrl_reward.rewards.transforms.normalize import normalize
from jaxrl_reward.rewards.transforms.pointwise import (
    clip,
    potential,
    scale,
    sign,
    state_bonus,
    symlog,
    threshold,
    weighted_sum,
)
from jaxrl_reward.rewards.transforms.purple import purple
from jaxrl_reward.rewards.transforms.standardize import (
    clip_spread,
    min_max,
    percentile_scale,
    popart,
    rank,
    standardize,
    standardize_batch,
)

__all__ = [
    "Affine",
    "Applied",
    "Causal",
    "Demonstrations",
    "Episodes",
    "Episodic",
    "Grouped",
    "Groups",
    "Hops",
    "Learned",
    "Pointwise",
    "RewardSyntaxError",
    "RewardTransform",
    "Scalariser",
    "State",
    "agreement",
    "airl",
    "bnpo",
    "by_length",
    "byol",
    "centred",
    "chebyshev",
    "chebyshev_return",
    "check",
    "clip",
    "clip_spread",
    "co_reward",
    "coin",
    "constant",
    "copo",
    "counts",
    "crf",
    "decomposed_return",
    "delay",
    "delta",
    "demonstrations",
    "difference",
    "direction",
    "disagreement",
    "discounts",
    "drpo",
    "dynamic_potential",
    "empg",
    "empowerment",
    "ensemble",
    "entries",
    "env",
    "episode_end",
    "episodic",
    "explain",
    "flip_binary",
    "flip_group",
    "flip_sign",
    "gail",
    "gated",
    "gaussian_noise",
    "gaussian_quantile",
    "geometric_mean",
    "gives_own_steps",
    "goal_reached",
    "gradient_weights",
    "group_win_rate",
    "grouped",
    "grpo",
    "harmonic",
    "hbpo",
    "hindsight",
    "hold",
    "hop_potential",
    "hypervolume",
    "hypervolume_weight",
    "icm",
    "implicit_process",
    "jepo",
    "lagrangian",
    "learned_potential",
    "lifetime_counts",
    "likelihood",
    "log_sigmoid",
    "look_ahead",
    "look_back",
    "ltl",
    "ltlf",
    "majority",
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
    "on_scratch",
    "one_step",
    "par",
    "parse",
    "pav",
    "pear",
    "percentile_scale",
    "pointwise",
    "pool",
    "popart",
    "postfix",
    "potential",
    "potentials",
    "preferred",
    "prime",
    "progress",
    "proximity",
    "pseudo_counts",
    "purple",
    "rank",
    "rdd",
    "red",
    "register",
    "reinforce",
    "renorm",
    "replaced",
    "replay_problem",
    "reward_machine",
    "riskpo",
    "rlcr",
    "rloo",
    "rnd",
    "rudder",
    "scale",
    "scheduled",
    "scopes",
    "shortfall",
    "sign",
    "signal",
    "spread_return",
    "stack",
    "standardize",
    "standardize_batch",
    "state_bonus",
    "static",
    "stock",
    "stock_utility",
    "symlog",
    "tabulate",
    "tanh",
    "terminal",
    "terms",
    "threshold",
    "tournament",
    "trial",
    "trust",
    "uniform_noise",
    "varies",
    "verpo",
    "weighted_sum",
    "where",
    "whitened",
    "win_rate",
    "within",
    "within_by_success",
]
