"""What it costs to prefer policies by the wrong reward, exactly.

Returns are linear in a policy's occupancy, so what can be lost is a linear program
over pairs of policies: the largest `J1(p) - J1(q)` with `J2(q) >= J2(p)`. Its dual has
one variable, a price on J2, and for each price both policies are optimal policies of
an ordinary MDP: the minimum over prices of a convex, piecewise linear function, which
the steepest lines on both sides find in finitely many steps. Nothing is sampled.

Rewards are means of actions, `[S, A]` (`Dynamics.level`). All losses are divided by
the range of J1 over all policies; one that all policies share loses nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular import dynamics as worlds
from jaxrl_reward.tabular.comparing.reward_distance import size
from jaxrl_reward.tabular.types import Dynamics
from jaxrl_reward.types import Array


class Worst(NamedTuple):
    """The worst case.

    Attributes:
      regret: between 0 (the second reward orders policies as the first, or the first
        does not care) and 1.
      gap: of the dual's value above it, 0 up to rounding where it is exact.
      rounds: how many prices were tried.
      range: of J1 over all policies.
    """

    regret: Array
    gap: Array
    rounds: Array
    range: Array


class _Pair(NamedTuple):
    """The best and the worst policy for some reward, and how far apart they are.

    Attributes:
      best: actions, `[S]`.
      worst: actions, `[S]`.
      first: `J1(best) - J1(worst)`.
      second: the same of J2.
    """

    best: Array
    worst: Array
    first: Array
    second: Array


class _Search(NamedTuple):
    """The prices that are left: the minimum lies where the two lines cross, or above.

    Attributes:
      low: the pair of the largest price known to be too low; J2 prefers its best.
      high: of the smallest price known to be too high; J2 prefers its worst.
      least: the smallest value met.
      rounds: how many prices were tried.
      ended: whether `least` is the minimum.
    """

    low: _Pair
    high: _Pair
    least: Array
    rounds: Array
    ended: Array


@checks.arguments()
@jax.jit
def worst_case(dynamics: Dynamics, first: Array, second: Array) -> Worst:
    """The most that a policy which the second reward prefers can lose by the first.

    `max J1(p) - J1(q)` over all policies p and q with `J2(q) >= J2(p)`, over the range
    of J1: the regret that STARC's theorems bound (Skalse et al. 2024, definition of
    soundness).

    Args:
      dynamics: the world.
      first: the reward that counts, `[S, A]`.
      second: the reward that policies are chosen by, `[S, A]`.
    """
    dynamics, first, second = numerics.widest(dynamics, first, second)
    unit = numerics.unit(jnp.abs(first).max())
    first, second = first / unit, second / numerics.unit(jnp.abs(second).max())
    zero = jnp.zeros(dynamics.states, jnp.int32)
    # For J1 itself, a price of 0; and against J2, the largest price there is.
    ends = jax.vmap(lambda reward: _pair(dynamics, reward, first, second, zero, zero))(
        jnp.stack([first, -second])
    )
    low, high = _Pair(*(x[0] for x in ends)), _Pair(*(x[1] for x in ends))
    total, other = low.first, -high.second
    rounding = 256 * jnp.finfo(first.dtype).eps / (1 - dynamics.gamma)
    indifferent = other <= rounding * jnp.abs(second).max() / (1 - dynamics.gamma)
    pointless = total <= rounding * jnp.abs(first).max() / (1 - dynamics.gamma)
    opposed = (low.second <= rounding * other) | indifferent

    def tried(search: _Search) -> _Search:
        low, high = search.low, search.high
        price = (low.first - high.first) / (low.second - high.second)
        found = _pair(dynamics, first - price * second, first, second, low.best, low.worst)
        value = found.first - price * found.second
        below = low.first - price * low.second
        too_low = found.second > 0
        keep = lambda where, x, y: jax.tree.map(lambda a, b: jnp.where(where, a, b), x, y)  # noqa: E731
        return _Search(
            low=keep(too_low, found, low),
            high=keep(too_low, high, found),
            least=jnp.minimum(search.least, value),
            rounds=search.rounds + 1,
            ended=value - below <= rounding * total,
        )

    def unfinished(search: _Search) -> Array:
        return ~search.ended & (search.rounds < 64)

    known = opposed | pointless
    start = _Search(low, high, low.first, jnp.int32(0), known)
    search = jax.lax.while_loop(unfinished, tried, start)
    low, high = search.low, search.high
    # The two pairs, mixed so that J2 is indifferent: policies that lose so much.
    across = jnp.where(~known, low.second - high.second, 1.0)
    mixed = (low.second * high.first - high.second * low.first) / across
    value = jnp.where(opposed, total, mixed)
    safe = jnp.where(~pointless, total, 1.0)
    regret = jnp.where(~pointless, jnp.clip(value / safe, 0.0, 1.0), 0.0)
    gap = jnp.where(~known, (search.least - value) / safe, 0.0)
    return Worst(regret, gap, search.rounds, unit * total)


@checks.arguments()
@jax.jit
def of_optimum(dynamics: Dynamics, first: Array, second: Array) -> Array:
    """What the best policy by the second reward loses by the first, over J1's range.

    The regret of STARC's experiments, there from rollouts, here exact. Where several
    policies are best by the second, it is that of one of them.
    """
    dynamics, first, second = numerics.widest(dynamics, first, second)
    first = first / numerics.unit(jnp.abs(first).max())
    best, worst, chosen = jax.vmap(lambda reward: worlds.best(dynamics, reward).actions)(
        jnp.stack([first, -first, second])
    )
    returns = [
        dynamics.start @ worlds.values(dynamics, _one_hot(dynamics, actions, first), first)
        for actions in (best, worst, chosen)
    ]
    total, lost = returns[0] - returns[1], returns[0] - returns[2]
    rounding = 256 * jnp.finfo(first.dtype).eps / (1 - dynamics.gamma) ** 2
    pointless = total <= rounding * jnp.abs(first).max()
    share = lost / jnp.where(pointless, 1.0, total)
    return jnp.where(pointless, 0.0, jnp.clip(share, 0.0, 1.0))


@checks.arguments()
def bound(
    dynamics: Dynamics,
    canonical: Array,
    total: Array,
    norm: str = "l2",
    weights: Array | None = None,
) -> Array:
    """The U with `worst_case(R1, R2).regret <= U * starc(R1, R2)`, for R1 in this form.

    Canonical rewards `c` give differences of returns as R does, and `J1(p) - J1(q)` is
    at most `|c1| <s1 - s2, x>` with x the difference of two occupancies, when J2 does
    not prefer p: Hoelder's inequality gives the constant. The paper's U is the largest
    over rewards.

    Args:
      dynamics: the world.
      canonical: of the first reward, constant over s' (`canonical.val`), `[S, A, S']`.
      total: the range of the first reward's returns, `worst_case(...).range`.
      norm: of the distance.
      weights: of the norm, if it has any; then only "l2" has a bound here.
    """
    count = canonical.shape[-1]
    most = 1 / (1 - dynamics.gamma)
    # Norms of [S, A, S'] tables are those of [S, A], times a power of S'.
    if weights is not None:
        share = weights.sum(-1)
        # <s, x> <= |s|_w |x / sqrt(w)|, and |x / sqrt(w)| <= sqrt(2) most / sqrt(min w).
        dual = jnp.sqrt(2.0) * most / jnp.sqrt(share.min())
    elif norm == "l1":
        dual = most / count
    elif norm == "l2":
        dual = jnp.sqrt(2.0) * most / jnp.sqrt(1.0 * count)
    else:
        dual = 2 * most
    return 2 * dual * size(canonical, norm, weights) / total


def _pair(
    dynamics: Dynamics, reward: Array, first: Array, second: Array, best: Array, worst: Array
) -> _Pair:
    """The best and the worst policy for `reward[S, A]`, sought from these `[S]`."""
    # Together: a loop that solves systems is most of what there is to compile.
    signs = jnp.array([1.0, -1.0], reward.dtype)
    actions = jax.vmap(lambda sign, begin: worlds.best(dynamics, sign * reward, begin).actions)(
        signs, jnp.stack([best, worst])
    )
    visits = jax.vmap(lambda each: worlds.occupancy(dynamics, _one_hot(dynamics, each, reward)))(
        actions
    )
    apart = visits[0] - visits[1]
    return _Pair(actions[0], actions[1], (apart * first).sum(), (apart * second).sum())


def _one_hot(dynamics: Dynamics, actions: Array, like: Array) -> Array:
    return jax.nn.one_hot(actions, dynamics.actions, dtype=like.dtype)
