"""How different two rewards are, as tasks: STARC, EPIC, DARD, and orders of returns.

A reward is brought into its canonical form (`canonical`), divided by its norm, and
subtracted from the other. All distances are pseudometrics between 0 and 1, half of
what the papers that do not halve them give: 0 is the same task, 1 the opposite one.
A reward whose canonical form is 0 (all policies are worth the same) is at 1/2 from
all others.

One world and one pair of rewards `[S, A, S']`; `vmap` for more. Shaping cancels up to
rounding, which grows with `1 / (1 - gamma)`: enable x64 for distances below 1e-4.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxrl_reward.tabular import checks, numerics
from jaxrl_reward.tabular import dynamics as worlds
from jaxrl_reward.tabular.comparing import canonical as forms
from jaxrl_reward.tabular.types import Dynamics
from jaxrl_reward.types import Array, UserError, nearest

Canonical = Callable[[Dynamics, Array], Array]

NORMS = ("l1", "l2", "linf")
METRICS = (*NORMS, "angle")
_TIED = 1e-6  # of the range of policies' returns: nearer than this they are worth the same
_ROUNDING = 1e3  # of returns, in units of the least difference of numbers of their size


def starc(
    dynamics: Dynamics,
    first: Array,
    second: Array,
    canonical: Canonical = forms.val,
    *,
    norm: str = "l2",
    metric: str | None = None,
    weights: Array | None = None,
) -> Array:
    """The distance of two standardised rewards (Skalse et al. 2024, definition of STARC).

    With `canonical.val` or `canonical.minimal` it is a STARC metric: 0 exactly where
    the two order all policies alike, and worst-case regret is at most a constant
    times it, and at least another (`regret.bound`). Other forms give the metrics
    that it is compared with.

    Args:
      dynamics: the world.
      first: a reward, `[S, A, S']`.
      second: another.
      canonical: from the dynamics and a reward to its canonical form.
      norm: by which it is divided: "l1", "l2" or "linf".
      metric: of the difference, the same by default; or "angle", of l2, over pi.
        With two different norms the largest distance is not 1.
      weights: of the norm and the metric, `[S, A, S']`; 1 by default. Where they are
        0 the reward does not count.

    Raises:
      UserError: an unknown norm or metric, or a reward of another shape.
    """
    metric = norm if metric is None else metric
    if norm not in NORMS:
        raise UserError(f"unknown norm {norm!r}, {nearest(norm, NORMS)}")
    if metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}, {nearest(metric, METRICS)}")
    if metric == "angle" and norm != "l2":
        raise UserError(f"an angle is between rewards of l2 norm 1, not {norm}")
    checks.dynamics("starc", dynamics)
    dynamics, first, second = numerics.widest(dynamics, *_tables(dynamics, first, second))
    scaled = [standardise(dynamics, reward, canonical, norm, weights) for reward in (first, second)]
    apart = size(scaled[0] - scaled[1], "l2" if metric == "angle" else metric, weights) / 2
    if metric != "angle":
        return apart
    # The arc of a chord, which is exact for small angles as acos(<x, y>) is not.
    arc = 2 * jnp.arcsin(jnp.minimum(apart, 1.0)) / jnp.pi
    none = [size(each, norm, weights) < 0.5 for each in scaled]
    return jnp.where(none[0] ^ none[1], 0.5, arc)


@checks.arguments()
def epic(
    dynamics: Dynamics,
    first: Array,
    second: Array,
    states: Array | None = None,
    actions: Array | None = None,
    weights: Array | None = None,
) -> Array:
    """EPIC (Gleave et al. 2021, definition 4.3): Pearson distance of canonical rewards.

    Args:
      dynamics: only its discount counts.
      first: a reward, `[S, A, S']`.
      second: another.
      states: where transitions begin and end, `[S]`; uniform by default.
      actions: `[A]`; uniform by default.
      weights: the coverage distribution, `[S, A, S']`; the product of the others by
        default, whose canonical rewards have mean 0.
    """
    if weights is None:
        s = jnp.full(dynamics.states, 1.0 / dynamics.states) if states is None else states
        a = jnp.full(dynamics.actions, 1.0 / dynamics.actions) if actions is None else actions
        weights = s[:, None, None] * a[None, :, None] * s[None, None, :]
    form = lambda world, reward: forms.epic(world, reward, states, actions)  # noqa: E731
    return _centred(dynamics, first, second, form, weights)


@checks.arguments()
def dard(
    dynamics: Dynamics,
    first: Array,
    second: Array,
    actions: Array | None = None,
    weights: Array | None = None,
) -> Array:
    """DARD (Wulfe et al. 2022): Pearson distance of its canonical rewards.

    Args:
      dynamics: the world.
      first: a reward, `[S, A, S']`.
      second: another.
      actions: `[A]`; uniform by default.
      weights: the coverage distribution, `[S, A, S']`; by default that of a uniform
        state and action and what follows them.
    """
    weights = dynamics.transition if weights is None else weights
    form = lambda world, reward: forms.dard(world, reward, actions)  # noqa: E731
    return _centred(dynamics, first, second, form, weights)


def _centred(
    dynamics: Dynamics, first: Array, second: Array, canonical: Canonical, weights: Array
) -> Array:
    """Pearson's distance `sqrt((1 - rho) / 2)` is half the l2 distance without the means."""
    weights = weights / weights.sum()

    def form(dynamics: Dynamics, reward: Array) -> Array:
        found = canonical(dynamics, reward)
        return found - (weights * found).sum()

    return starc(dynamics, first, second, form, weights=weights)


# ---- norms ------------------------------------------------------------------------


def size(table: Array, norm: str = "l2", weights: Array | None = None) -> Array:
    """A norm of a reward; with weights, `(sum w |x|^p)^(1/p)`, or the most where w > 0."""
    values = jnp.abs(table)
    if norm == "linf":
        return values.max() if weights is None else jnp.where(weights > 0, values, 0.0).max()
    if norm == "l1":
        return (values if weights is None else weights * values).sum()
    unit = numerics.unit(values.max())  # squares would leave the range of float32
    values = (values / unit) ** 2
    return unit * jnp.sqrt((values if weights is None else weights * values).sum())


def standardise(
    dynamics: Dynamics,
    reward: Array,
    canonical: Canonical = forms.val,
    norm: str = "l2",
    weights: Array | None = None,
) -> Array:
    """The canonical reward at norm 1; 0 where only rounding is left of it."""
    # The canonical form is linear, and its unit does not count.
    reward = reward / numerics.unit(jnp.abs(reward).max())
    found = canonical(dynamics, reward)
    length = size(found, norm, weights)
    rounding = 64 * jnp.finfo(reward.dtype).eps / (1 - dynamics.gamma)
    some = length > rounding * size(reward, norm, weights)
    return jnp.where(some, found / jnp.where(some, length, 1.0), 0.0)


def coverage(dynamics: Dynamics, policy: Array | None = None) -> Array:
    """How often a policy (uniform) makes each transition, discounted, `[S, A, S']`."""
    policy = dynamics.uniform() if policy is None else policy
    visits = worlds.occupancy(dynamics, policy) * (1 - dynamics.gamma)
    return visits[..., None] * dynamics.transition


def _tables(dynamics: Dynamics, *rewards: Array) -> list[Array]:
    """Rewards as arrays, of the shape of the transitions."""
    tables = [jnp.asarray(each) for each in rewards]
    for each in tables:
        checks.finite("starc", "a reward", each)
        if each.shape != dynamics.transition.shape:
            want = list(dynamics.transition.shape)
            raise UserError(f"rewards must be [S, A, S'], here {want}, not {list(each.shape)}")
    return tables


# ---- orders of returns ------------------------------------------------------------


def order_distance(
    first: Array,
    second: Array,
    *,
    ranks: bool = True,
    equal: tuple[Array, Array] | None = None,
) -> Array:
    """`sqrt((1 - rho) / 2)` of two lists of returns `[P]`.

    rho is Spearman's (ties share their mean rank), or Pearson's without `ranks`; it
    counts as 0 where one list is constant.

    Args:
      first: by one reward.
      second: by another.
      ranks: whether only the order counts.
      equal: how far apart returns still tie, for each list; by default what rounding
        does to numbers of their size. Sums whose terms cancel need more.
    """
    if equal is None:
        equal = (numerics.rounding(first, _ROUNDING), numerics.rounding(second, _ROUNDING))
    scaled = []
    for values, close in zip((first, second), equal, strict=True):
        values = values - values.mean()
        apart = jnp.abs(values).max() > close
        values = _ranks(values, close) if ranks else values
        centred = values - values.mean()
        length = size(centred)
        some = apart & (length > 0)
        scaled.append(jnp.where(some, centred / jnp.where(some, length, 1.0), 0.0))
    return size(scaled[0] - scaled[1]) / 2


@checks.arguments(error=checks.TOLERANCE)
def policy_order(
    dynamics: Dynamics,
    first: Array,
    second: Array,
    policies: Array,
    *,
    ranks: bool = True,
    error: float = 0.0,
) -> Array:
    """How differently two rewards order policies `[P, S, A]`, by their exact returns.

    Returns tie that differ by less than a millionth of their range, or than the rounding
    of their terms can make. Policies that hardly reach anything have an order by one
    reward, which is lost in a potential that the other adds: what one cannot tell apart
    counts as equal by both.

    Args:
      dynamics: the world.
      first: a reward, `[S, A, S']`.
      second: another.
      policies: `[P, S, A]`.
      ranks: whether only the order counts.
      error: of the rewards, as a share of each; 1e-7 if they were single precision once.
    """
    dynamics, first, second, policies = numerics.widest(dynamics, first, second, policies)
    visits = jax.vmap(lambda policy: worlds.occupancy(dynamics, policy))(policies)
    returns, spans, noises = [], [], []
    for each in (first, second):
        mean = dynamics.level(each / numerics.unit(jnp.abs(each).max()))
        returns.append(jnp.einsum("psa,sa->p", visits, mean))
        spans.append(returns[-1].max() - returns[-1].min())
        # What a potential pays and takes again cancels in the sum, but its rounding does not;
        # and solving for the visits multiplies it by their number.
        terms = jnp.einsum("psa,sa->p", visits, jnp.abs(mean))
        noises.append(numerics.rounding(terms) / (1 - dynamics.gamma) + error * terms.max())
    # Where a list is nothing but noise it is constant, and says nothing of the other.
    alive = [span > noise for span, noise in zip(spans, noises, strict=True)]
    shares = [
        some * noise / jax.lax.select(some, span, jnp.ones_like(span))
        for some, noise, span in zip(alive, noises, spans, strict=True)
    ]
    share = jnp.maximum(jnp.stack(shares).max(), _TIED)
    equal = [jnp.maximum(share * span, noise) for span, noise in zip(spans, noises, strict=True)]
    return order_distance(*returns, ranks=ranks, equal=(equal[0], equal[1]))


@checks.arguments(gamma=checks.DISCOUNT)
def rollout_order(
    first: Array, second: Array, rollouts: Array, gamma: Array | float, *, ranks: bool = True
) -> Array:
    """How differently two rewards order rollouts `[P, T, 3]` of indices s, a, s'."""
    first, second = numerics.widest(first, second)
    discount = gamma ** jnp.arange(rollouts.shape[1])
    at = tuple(jnp.moveaxis(rollouts, -1, 0))
    returns = [(discount[None].astype(each.dtype) * each[at]).sum(-1) for each in (first, second)]
    return order_distance(*returns, ranks=ranks)


@checks.arguments(count=checks.COUNT)
def random_policies(key: Array, dynamics: Dynamics, count: int) -> Array:
    """Deterministic policies drawn uniformly, `[P, S, A]`."""
    actions = jax.random.randint(key, (count, dynamics.states), 0, dynamics.actions)
    return jax.nn.one_hot(actions, dynamics.actions, dtype=dynamics.transition.dtype)


@checks.arguments(count=checks.COUNT, steps=checks.COUNT)
def random_rollouts(key: Array, dynamics: Dynamics, count: int, steps: int) -> Array:
    """Of the uniform policy: indices s, a, s', `[P, T, 3]` int32."""
    key_start, key_steps = jax.random.split(key)
    so_far = dynamics.transition.cumsum(-1)

    def draw(cumulative: Array, u: Array) -> Array:
        # The total may round to less than 1; the last state that can follow is then right.
        return (cumulative < u[:, None] * cumulative[:, -1:]).sum(-1).astype(jnp.int32)

    def step(states: Array, key: Array) -> tuple[Array, Array]:
        key_action, key_after = jax.random.split(key)
        actions = jax.random.randint(key_action, states.shape, 0, dynamics.actions)
        after = draw(so_far[states, actions], jax.random.uniform(key_after, states.shape))
        return after, jnp.stack([states, actions, after], -1)

    uniform = jax.random.uniform(key_start, (count,))
    start = jnp.broadcast_to(dynamics.start.cumsum()[None], (count, dynamics.states))
    _, path = jax.lax.scan(step, draw(start, uniform), jax.random.split(key_steps, steps))
    return jnp.moveaxis(path, 0, 1)


def _ranks(values: Array, close: Array) -> Array:
    """From 1; those that are so close are worth the same."""
    apart = values[:, None] - values[None, :]
    less, same = (apart > close).sum(1), (jnp.abs(apart) <= close).sum(1)
    return (less + (same + 1) / 2.0).astype(values.dtype)
