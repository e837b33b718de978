"""Deep eta-networks: Q-learning for the law of the return, with a stock that remembers it.

The network gives quantiles of the return G of each action from an observation
and a stock c, and the greedy action is best by a functional of the law of
`c + G`: a target return, CVaR, the probability of reaching a goal, and others
of `objectives`. The stock starts at a chosen c_0 and follows `c' = (c + r) / gamma`
(Avila Pires et al. 2025, "Optimizing Return Distributions with Distributional
Dynamic Programming", sections 3 and 6).

What a state does next does not depend on the stock, so every stored step is
learned from under stocks drawn anew: one network serves all initial stocks of
its range. For CVaR the best one is found by a search, with the learned
quantiles at the start (Bauerle and Ott 2011). Of several rewards a step each has
its stock and its quantiles, which is enough for functionals that are sums over
them (distances in the 1-norm, constraints with prices).

The rest is DQN's: see `dqn` and `q_learning`.
"""

import dataclasses
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrl_reward import envs, settings
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, replay, rollout
from jaxrl_reward.agents.common.shared_settings import QLearning
from jaxrl_reward.agents.distributional.objectives import OBJECTIVES, check_numbers
from jaxrl_reward.agents.distributional.objectives import check as check_objective
from jaxrl_reward.agents.distributional.stocks import OwnRewards, Stocks, seen
from jaxrl_reward.agents.off_policy import q_learning
from jaxrl_reward.agents.off_policy.q_learning import LOSSES
from jaxrl_reward.agents.shells import off_policy
from jaxrl_reward.agents.shells.off_policy import State
from jaxrl_reward.rewards.core.operators import Chain
from jaxrl_reward.settings import setting
from jaxrl_reward.types import Array, UserError

__all__ = ["LOSSES", "Config", "State", "check", "initial_stock", "inputs", "make"]

STARTS = 64  # initial states of a search over the initial stock


class Config(QLearning):
    """The settings of deep eta-networks. Floats are leaves: `vmap` over them to sweep."""

    objective: str = setting("mean", "a name that `objectives` knows", choices=OBJECTIVES)
    stocks: int = setting(
        1,
        "rewards a step, each with a stock. Above 1 the reward expression gives as many, or "
        "is `env`, for the environment's own",
        low=1,
    )
    tracked: bool = setting(
        True,
        "the stock follows the rewards; else it stays as it began, and the policy cannot "
        "react to luck",
    )
    relabel: bool = setting(
        True, "learn under stocks drawn anew, uniformly; else from those played"
    )
    fan_out: int = setting(4, "how many stocks for each step of a batch", low=1)
    search_points: int = setting(257, "initial stocks tried in a search", low=1)
    features: int = setting(16, "cosines of each stock that the network sees", low=1)
    unsound: bool = setting(
        False, "learn an objective even where theory says that this need not work"
    )
    n_step: int = setting(
        help="rewards before the value in a target, within an episode. Above 1 they are "
        "those of another stock's policy"
    )
    double: bool = setting(
        help="the online network chooses the action whose law the target network gives; else "
        "the target network does both"
    )
    quantiles: int = setting(32, "of the return of each action")
    placement: Literal["step"] = setting("step", "`step`, for the policy must see the stock")
    c0: tuple[float, ...] = setting(
        (),
        "the initial stock of greedy play, one number or one for each reward: minus the "
        "return to aim at. Empty, it is searched for, or of no account",
    )
    stock_low: tuple[float, ...] = setting(
        (-20.0,), "the least stock to learn and to start from, one or several"
    )
    stock_high: tuple[float, ...] = setting((20.0,), "the largest")
    tau: float = setting(
        0.25, "the fraction of `cvar`, or the level of `quantile`", low=1e-6, high=1.0
    )
    weight: float = setting(
        0.5, "of the mean in `mean_cvar`, of the deviation in `mean_deviation`", low=0.0, high=1.0
    )
    exponent: float = setting(2.0, "of the distance in `power`", low=0.0)
    slack: float = setting(0.25, "of `reach`: rewards that may be lacking", low=0.0)
    price: float = setting(10.0, "of a constraint, per unit that is lacking", low=0.0)
    tie_break: float = setting(
        0.01,
        "weight of the mean return, as a fraction of the range of stocks, to choose between "
        "actions that are otherwise as good",
        low=0.0,
    )
    epsilon_end: float = 0.1
    huber_delta: float = 0.1

    def validate(self, owner: str) -> None:
        super().validate(owner)
        ends = ("stock_low", "stock_high")
        for name in ends:
            check_numbers(owner, self, name)
        low, high = (getattr(self, name) for name in ends)
        known = not any(isinstance(x, Tracer) for x in (*low, *high))
        if known and np.any(np.broadcast_to(low, self.stocks) >= np.array(high)):
            raise UserError(f"{owner}'s stock_low must be below stock_high, not {low} and {high}")
        if self.normalize_obs and not self.relabel:
            raise UserError(
                f"{owner}'s normalize_obs needs relabel: the stocks played are not kept apart"
            )


def make(config: Config, env: envs.Env, reward: rw.RewardTransform | None = None) -> base.Agent:
    """An agent of deep eta-networks.

    Its inputs are observations, the memory of the reward if it has any, and last
    what `inputs` makes of a stock.

    Args:
      config: the settings.
      env: what it plays, with Discrete actions.
      reward: what it learns from, and the stock follows; the environment's own
        by default.

    Raises:
      UserError: a setting is out of range or does not fit another, dynamic
        programming cannot optimise the objective, or the environment or the
        reward is not for it.
    """
    env = envs.given(env)
    learner, checked = partial(Learner, env=env), partial(check, horizon=env.max_steps)
    return off_policy.make("eta", config, env, reward, learner, checked)


def check(config: Config, horizon: int | None = None) -> None:
    """Raises a `UserError` that names the first bad setting and what would do."""
    settings.check("eta", config)
    check_objective("eta", config, horizon)


def inputs(config: Config, obs: Array, stock: Array) -> Array:
    """What `act` takes, `[N, D]`, of a reward without a memory of its own.

    Args:
      config: the agent's.
      obs: observations, `[N, ...]`.
      stock: `[N]`, or `[N, m]`.
    """
    stock = jnp.asarray(stock, jnp.float32).reshape(obs.shape[0], -1)
    return rollout.policy_input(obs, seen(stock, *_range(config)))


def initial_stock(learner: "Learner", state: State, key: Array) -> Array:
    """The stock `[m]` that greedy play starts from: c0, or the best by the learned laws.

    That is the largest `E f(c + G) - c`, or the least of the optimistic CVaR, on
    average over initial states.
    """
    config, count = state.config, learner.config.stocks
    if config.c0:
        return jnp.broadcast_to(jnp.asarray(config.c0, jnp.float32), (count,))
    objective = OBJECTIVES[config.objective]
    if objective.stock == "any":
        return jnp.zeros(count)
    obs, _ = jax.vmap(learner.env.reset)(jax.random.split(key, STARTS))
    fresh = state.reward.init(key, rollout.example(learner.env, STARTS, 1))
    memory = state.reward_state.replace(local=fresh.local)
    memory = state.reward.begin(memory, obs, jnp.ones(STARTS, bool))
    start = rollout.policy_input(obs, state.reward.observe(memory.local))
    low, high = (x[0] for x in _range(config))
    tried = jnp.linspace(low, high, config.search_points)

    def value(stock: Array) -> Array:
        looks = _replace(start, seen(jnp.full((STARTS, 1), stock), *_range(config)))
        looks = learner.normalize(state, looks)
        quantiles = learner.quantiles(state.params["online"], looks)
        best = learner.best(config, quantiles, looks)
        score = _functional(config, quantiles, looks)
        return jnp.take_along_axis(score, best[:, None], 1).mean() - stock

    values = jax.lax.map(value, tried)
    best = values.argmax() if objective.stock == "largest" else values.argmin()
    return tried[best][None]


@dataclasses.dataclass(frozen=True, eq=False)
class Learner(q_learning.Learner):
    """Prefers an action by a functional of the law of stock and return.

    Attributes:
      env: what it plays.
    """

    env: envs.Env

    @property
    def parts(self) -> tuple[int, ...]:
        return (self.config.stocks,) if self.config.stocks > 1 else ()

    def reward(self, config: Any, reward: Any) -> Chain:
        return _with_stocks(config, reward)

    def score(self, config: Any, quantiles: Array, inputs: Array) -> Array:
        return _score(config, quantiles, inputs)

    def normalize(self, state: Any, inputs: Array) -> Array:
        """What is seen of the stocks stays as it is."""
        return _replace(super().normalize(state, inputs), inputs[..., -2 * self.config.stocks :])

    def encode(self, inputs: Array) -> Array:
        return _encode(self.config.stocks, self.config.features, inputs)

    def redraw(self, config: Any, key: Array, batches: replay.Batch) -> replay.Batch:
        return _redraw(config, key, batches)

    def prepare_eval(self, state: State, key: Array) -> State:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Episodes start from c0, or from the best stock by the learned laws."""
        return _start_from(state, initial_stock(self, state, key))


# ---- stocks ---------------------------------------------------------------------------


def _range(config: Config) -> tuple[Array, Array]:
    """The ends of the range, `[m]` each."""
    ends = (jnp.asarray(x, jnp.float32) for x in (config.stock_low, config.stock_high))
    low, high = (jnp.broadcast_to(x, (config.stocks,)) for x in ends)
    return low, high


class _Stocked(Chain):
    """An expression with its stocks, printed without them."""

    def text(self) -> tuple[str, int]:
        return self.parts[0].text()


def _with_stocks(config: Config, reward: Any) -> Chain:
    """The expression, and the stocks behind it."""
    low, high = _range(config)
    if config.stocks == 1:
        low, high = low[0], high[0]
    elif str(reward) == "env":
        reward = OwnRewards()
    kept = {"tracked": config.tracked, "recorded": not config.relabel}
    return _Stocked((reward, Stocks(low, high, low, high, config.gamma, **kept)))


def _start_from(state: State, stock: Array) -> State:
    """The state whose episodes start from the stock `[m]`."""
    reward, stocks = state.reward.parts
    stock = stock.reshape(jnp.shape(stocks.low))
    fixed = stocks.replace(first_low=stock, first_high=stock)
    return state.replace(reward=_Stocked((reward, fixed)))


def _replace(looks: Array, seen: Array) -> Array:
    """Inputs `[..., D]` with another stock, `[..., 2 m]`."""
    return jnp.concatenate([looks[..., : -seen.shape[-1]], seen], -1)


def _redraw(config: Config, key: Array, batches: replay.Batch) -> replay.Batch:
    """Batches `[U, B, ...]` as `[U, B * fan_out, ...]`, each step under stocks drawn anew.

    A window of k rewards that sum up to R leads from c to `(c + R) / gamma^k`.
    """
    if not config.relabel:
        return batches
    batch = jax.tree.map(lambda x: jnp.repeat(x, config.fan_out, axis=1), batches)
    low, high = (x[None, None] for x in _range(config))
    shape = (*batch.weight.shape, config.stocks)
    stock = low + (high - low) * jax.random.uniform(key, shape)
    after = stock
    if config.tracked:
        weight: Array = batch.weight[..., None]
        total: Array = stock + batch.reward.reshape(shape)
        after = jnp.where(weight > 0, total / jnp.where(weight > 0, weight, 1.0), 0.0)
    look = partial(seen, low=low[0, 0], high=high[0, 0])
    return batch._replace(
        inputs=_replace(batch.inputs, look(stock)),
        next_inputs=_replace(batch.next_inputs, look(after)),
    )


# ---- the criterion --------------------------------------------------------------------


def _encode(stocks: int, features: int, looks: Array) -> Array:
    """The observation and, of each stock's place x in [0, 1], x and `cos(pi k x)`.

    The best law may jump at a stock, which a network of x alone is slow to learn.
    """
    obs, place = looks[..., : -2 * stocks], looks[..., -2 * stocks : -stocks]
    waves = jnp.arange(1, features + 1, dtype=jnp.float32)
    waves = jnp.cos(jnp.pi * place[..., None] * waves.reshape(*(1,) * place.ndim, -1))
    return jnp.concatenate([obs, place, waves.reshape(*place.shape[:-1], -1)], -1)


def _functional(config: Config, quantiles: Array, looks: Array) -> Array:
    """K of the law of `c + G` for each action, `[..., A]`.

    Args:
      config: the settings.
      quantiles: `[..., (m,) K, A]`.
      looks: inputs that end in the stocks, `[..., D]`.
    """
    stock, many = looks[..., -config.stocks :], config.stocks > 1
    values = quantiles.swapaxes(-1, -3) if many else quantiles.swapaxes(-1, -2)  # [..., A, K(, m)]
    shift = stock[..., None, None, :] if many else stock[..., None]
    shape = values.shape[:-1] if many else values.shape
    functional = OBJECTIVES[config.objective].make(config, config.stocks)
    return functional(values + shift, jnp.full(shape, 1.0 / config.quantiles))


def _score(config: Config, quantiles: Array, looks: Array) -> Array:
    """The functional, and as much of the mean return as breaks ties, `[..., A]`."""
    low, high = _range(config)
    mean = quantiles.mean(-2)
    mean = mean.sum(-2) if config.stocks > 1 else mean
    return _functional(config, quantiles, looks) + config.tie_break * mean / (high - low).sum()
