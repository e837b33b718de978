"""Are two rewards the same task, and how different? Exactly, or from samples.

What the command `compare` computes: of a finite MDP all distances, regrets and best
actions exactly; of any other environment what random actions show.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import rewards as rw
from jaxrl_reward.compare import reward_samples as samples
from jaxrl_reward.envs.registry import Env
from jaxrl_reward.report.statistics import Interval, stratified_bootstrap
from jaxrl_reward.rewards.core.tabulate import tabulate
from jaxrl_reward.tabular import dynamics, horizons, numerics, planning
from jaxrl_reward.tabular.comparing import canonical, regret
from jaxrl_reward.tabular.comparing import reward_distance as distances
from jaxrl_reward.tabular.types import MDP
from jaxrl_reward.types import Array, Transition, UserError


class Exact(NamedTuple):
    """On a finite MDP.

    Attributes:
      distances: by name, 0 to 1.
      worst: the worst-case regret, judged by the first and chosen by the second; and
        the other way round.
      lost: what the best policy of the other gives up, in the same order.
      best: each one's best actions, two of `[S, A]` bool.
      returns: each one's best return from the start.
      horizon: each one's effective horizon.
      depth: each one's planning depth.
    """

    distances: dict[str, float]
    worst: tuple[float, float]
    lost: tuple[float, float]
    best: tuple[np.ndarray, np.ndarray]
    returns: tuple[float, float]
    horizon: tuple[int, int]
    depth: tuple[int, int]


class Sampled(NamedTuple):
    """From random actions: an interval for each distance, over independent batches.

    Attributes:
      distances: by name.
      episodes: how many ended, in all batches.
    """

    distances: dict[str, Interval]
    episodes: int


def exact(mdp: MDP, first: rw.RewardTransform, second: rw.RewardTransform, gamma: float) -> Exact:
    """Compares two expressions on a finite MDP.

    Raises:
      UserError: one remembers, pays several rewards, or gamma is not below 1.
    """
    first, second = _with_discount(gamma, first, second)
    with jax.enable_x64(True):
        ending = bool(mdp.ends.any())
        # The expressions are constants here: a mistake in one is told as it was written.
        solve = jax.jit(lambda wide: _solve(wide, (first, second), gamma, ending))
        wide = numerics.astype(mdp, jnp.float64)
        # Those of single precision sum to 1 +- 1e-7, and a potential would not cancel.
        total = wide.probability.sum(-1, keepdims=True)
        wide = wide.replace(probability=wide.probability / total)
        found = jax.device_get(solve(wide))
    floats = {name: _two(map(float, found[name])) for name in ("worst", "lost", "returns")}
    whole = {name: _two(map(int, found[name])) for name in ("horizon", "depth")}
    apart = {name: float(each) for name, each in found["distances"].items()}
    return Exact(distances=apart, best=_two(found["best"]), **floats, **whole)


def sampled(
    env: Env,
    first: rw.RewardTransform,
    second: rw.RewardTransform,
    gamma: float,
    *,
    steps: int = 256,
    batches: int = 8,
    seed: int = 0,
) -> Sampled:
    """Compares two expressions on random actions in any environment.

    Args:
      env: one environment.
      first: an expression.
      second: another.
      gamma: the discount.
      steps: of each of 16 environments, in each batch.
      batches: independent ones, for the intervals.
      seed: of all.

    Raises:
      UserError: as for `exact`.
    """
    first, second = _with_discount(gamma, first, second)
    play = jax.jit(partial(_play, env, (first, second), gamma, steps))
    estimate = jax.jit(_estimate)
    rows: list[dict[str, float]] = []
    episodes = 0
    for key in jax.random.split(jax.random.key(seed), batches):
        key_play, key_features = jax.random.split(key)
        block, paid, known = play(key_play)
        totals = _episodes(block, paid)
        episodes += len(totals[0])
        with jax.enable_x64(True):  # nearly collinear features
            found = estimate(*numerics.astype((block, paid), jnp.float64), gamma, key_features)
        rows.append({name: float(each) for name, each in {**found, **known}.items()})
        rows[-1]["episode returns"] = _order(*totals)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    known = {name: each for name, each in columns.items() if np.isfinite(each).all()}
    return Sampled({name: stratified_bootstrap(each) for name, each in known.items()}, episodes)


# ---- a finite MDP -----------------------------------------------------------------


def table(mdp: MDP, reward: rw.RewardTransform) -> Array:
    """What an expression pays for every (s, a, s'), `[S, A, S']`, as `starc` takes it.

    Where episodes end there is one state more, which stands for their end and pays
    nothing. For a transition that cannot happen, the expression is asked with the mean
    of what the MDP pays for the action.

    Raises:
      UserError: the expression remembers, or pays several rewards.
    """
    return _table(mdp, reward, bool(mdp.ends.any()))


def _table(mdp: MDP, reward: rw.RewardTransform, ending: bool) -> Array:
    paid = tabulate(reward, mdp)
    if paid.reward.ndim > 3:
        raise UserError(f"{reward} pays {paid.reward.shape[-1]} rewards; end it with weighted_sum")
    known = dynamics.absorbing(paid) if ending else paid
    tables = dynamics.reward_table(known)
    happens = known.transition() > 0
    shape = (mdp.states, mdp.actions, mdp.states)
    anywhere = MDP(
        probability=jnp.full(shape, 1.0 / mdp.states, mdp.probability.dtype),
        successor=jnp.broadcast_to(jnp.arange(mdp.states, dtype=jnp.int32)[None, None], shape),
        reward=jnp.broadcast_to(mdp.expected_reward()[..., None], shape),
        ends=jnp.zeros(shape, bool),
        start=mdp.start,
    )
    asked = tabulate(reward, anywhere).reward.astype(tables.dtype)
    own = slice(0, mdp.states)
    filled = jnp.where(happens[own, :, own], tables[own, :, own], asked)
    return tables.at[own, :, own].set(filled)


def _solve(
    mdp: MDP, rewards: Sequence[rw.RewardTransform], gamma: float, ending: bool
) -> dict[str, Any]:
    """What `Exact` holds; of two rewards an axis of 2."""
    tables = jnp.stack([_table(mdp, each, ending) for each in rewards])
    paid = jnp.stack([tabulate(each, mdp).reward for each in rewards])
    world = dynamics.of(dynamics.absorbing(mdp) if ending else mdp, gamma)
    means = jax.vmap(world.level)(tables)
    plans = jax.vmap(lambda mean: dynamics.best(world, mean))(means)
    best = jax.vmap(partial(planning.optimal_actions, tolerance=1e-6))(plans.q)
    each = jax.vmap(lambda reward: mdp.replace(reward=reward))(paid)
    return {
        "distances": _distances(world, *tables),
        "worst": jax.vmap(partial(regret.worst_case, world))(means, means[::-1]).regret,
        "lost": jax.vmap(partial(regret.of_optimum, world))(means, means[::-1]),
        "best": best[:, : mdp.states],
        "returns": plans.values @ world.start,
        "horizon": jax.vmap(lambda one: horizons.effective_horizon(one, gamma))(each),
        "depth": jax.vmap(lambda one: horizons.planning_depth(one, gamma))(each),
    }


def _distances(world: dynamics.Dynamics, first: Array, second: Array) -> dict[str, Array]:
    policies = distances.random_policies(jax.random.key(0), world, 256)
    return {
        "STARC, VAL": distances.starc(world, first, second),
        "STARC, minimal": distances.starc(world, first, second, canonical.minimal),
        "DARD": distances.dard(world, first, second),
        "EPIC": distances.epic(world, first, second),
        "256 random policies' order": distances.policy_order(
            # Expressions may compute in single precision.
            world,
            first,
            second,
            policies,
            error=float(jnp.finfo(jnp.float32).eps),
        ),
    }


# ---- samples ----------------------------------------------------------------------


def _play(
    env: Env, rewards: Sequence[rw.RewardTransform], gamma: float, steps: int, key: Array
) -> tuple[Transition, list[Array], dict[str, Array]]:
    """A batch, what each expression pays for it, and EPIC's distance."""
    key_play, key_epic = jax.random.split(key)
    block = samples.collect(env, key_play, steps)
    some = jax.tree.map(lambda x: x[:: max(1, steps // 64)], block)
    forms = [samples.epic(each, some, gamma, key_epic) for each in rewards]
    paid = [samples.pay(each, block) for each in rewards]
    return block, paid, {"EPIC": samples.distance(*forms, centred=True)}


def _estimate(block: Transition, paid: Sequence[Array], gamma: float, key: Array) -> dict[str, Any]:
    """STARC's distances."""
    basis = samples.features(key, block)
    return {
        f"STARC, {name}": samples.distance(*(form(block, each, gamma, basis) for each in paid))
        for name, form in (("VAL", samples.val), ("minimal", samples.minimal))
    }


def _episodes(block: Transition, paid: Sequence[Array]) -> tuple[np.ndarray, np.ndarray]:
    """The return of each episode that began and ended, by either reward, `[E]` each."""
    first, last = (np.asarray(each)[..., 0] for each in (block.first, block.last))
    totals: tuple[list[float], list[float]] = ([], [])
    for n in range(first.shape[1]):
        ends = np.flatnonzero(last[:, n])
        begins = np.flatnonzero(first[:, n])[: len(ends)]
        for begin, end in zip(begins, ends, strict=True):
            for total, each in zip(totals, paid, strict=True):
                total.append(float(np.asarray(each)[begin : end + 1, n, 0].sum()))
    return np.array(totals[0]), np.array(totals[1])


def _order(first: np.ndarray, second: np.ndarray) -> float:
    """Of two lists of returns; NaN of fewer than three."""
    if len(first) < 3:
        return float("nan")
    return float(distances.order_distance(jnp.asarray(first), jnp.asarray(second)))


def _two(values: Iterable[Any]) -> tuple[Any, Any]:
    first, second = values
    return first, second


def _with_discount(gamma: float, *rewards: rw.RewardTransform) -> list[rw.RewardTransform]:
    """The expressions with this discount where they leave theirs out."""
    for each in rewards:
        samples.refuse_memory(each)
    if not 0 <= gamma < 1:
        raise UserError(f"gamma must be at least 0 and below 1, not {gamma:g}")
    return [rw.discounts.bind(each, gamma) for each in rewards]
