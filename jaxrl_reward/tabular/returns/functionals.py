"""What is optimised of a return's distribution, and what dynamic programming can do.

A functional K maps the law of `c + G` to a number, where c is the stock and G
the return. Dynamic programming on (state, stock) optimises it if K is
*indifferent to mixtures* (better parts make a better mixture) and *indifferent
to gamma* (better stays better when every outcome is multiplied by gamma); it
converges over an infinite horizon if K is also *Lipschitz* in the Wasserstein
distance (Avila Pires et al. 2025, "Optimizing Return Distributions with
Distributional Dynamic Programming", section 4). `problems` says which of these
fails.
"""

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.core import Tracer

from jaxrl_reward.tabular import numerics
from jaxrl_reward.types import Array, UserError


class Functional(struct.PyTreeNode):
    """A functional of laws, as weighted particles. Override `__call__`.

    Class attributes:
      mixtures: whether it is indifferent to mixtures.
      gammas: whether it is indifferent to every gamma in (0, 1).
      lipschitz: whether it is Lipschitz.
    """

    mixtures: ClassVar[bool] = False
    gammas: ClassVar[bool] = False
    lipschitz: ClassVar[bool] = False

    def __call__(self, values: Array, weights: Array) -> Array:
        """K of laws.

        Args:
          values: particles `[..., M]`, of vectors `[..., M, m]`.
          weights: their probabilities, `[..., M]`.

        Returns:
          `[...]`.
        """
        raise NotImplementedError(f"{type(self).__name__}.__call__ is missing")


class Utility(Functional):
    """An expected utility `E f(c + G)`. Override `utility`.

    Class attributes:
      degree, shift: p and b in `f(gamma x) = gamma^p f(x) + b log(gamma)`; what
        is not indifferent to gamma has neither, and p = b = 0 is right for it
        where gamma is 1.
      tail: how values go on beyond a stock grid that covers `[-max G, -min G]`:
        "linear" (`V(c) + f(d)`, d beyond the edge c), "flat", or "none": NaN.
    """

    mixtures = True
    degree: ClassVar[float] = 0.0
    shift: ClassVar[float] = 0.0
    tail: ClassVar[str] = "none"

    def utility(self, x: Array) -> Array:
        """f at `[...]`, of vectors at `[..., m]`: `[...]`."""
        raise NotImplementedError(f"{type(self).__name__}.utility is missing")

    def __call__(self, values: Array, weights: Array) -> Array:
        return (self.utility(values) * weights).sum(-1)

    def scaling(self, gamma: Array | float) -> tuple[Array, Array]:
        """a and b in `f(gamma x) = a f(x) + b`."""
        gamma = jnp.asarray(gamma, jnp.result_type(gamma, float))
        return gamma**self.degree, self.shift * jnp.log(gamma)

    def beyond(self, distance: Array) -> Array:
        """What to add at a signed distance beyond the grid's edge, 0 within."""
        if self.tail == "linear":
            return self.utility(distance)
        return jnp.where(distance != 0, 0.0 if self.tail == "flat" else jnp.nan, 0.0)


class PiecewiseLinear(Utility):
    """`f(x) = left min(x, 0) + right max(x, 0)`, summed over a vector's parts.

    Both slopes are leaves: one program serves the mean (1, 1), CVaR (1, 0), the
    optimistic CVaR (0, 1), a target return (1, -1) and everything between.
    """

    left: Any = 1.0
    right: Any = 1.0
    vector: bool = struct.field(pytree_node=False, default=False)
    gammas = True
    lipschitz = True
    degree = 1.0
    tail = "linear"

    def utility(self, x: Array) -> Array:
        value = self.left * jnp.minimum(x, 0.0) + self.right * jnp.maximum(x, 0.0)
        return value.sum(-1) if self.vector else value


class Reach(Utility):
    """`f(x) = 1[x >= 0]`: the probability of a return of at least -c.

    `slack` forgives rounding: reaching is `x >= -slack`. By default it is what rounding
    does to the largest of the numbers that are asked about together.
    """

    slack: Any = None
    gammas = True
    degree = 0.0
    tail = "flat"

    def utility(self, x: Array) -> Array:
        slack = numerics.rounding(x) if self.slack is None else self.slack
        return (x >= -slack).astype(x.dtype)


class Power(Utility):
    """`f(x) = -|x|^exponent`: a target return with another distance; 2 is its square."""

    exponent: float = 2.0
    gammas = True

    def scaling(self, gamma: Array | float) -> tuple[Array, Array]:
        gamma = jnp.asarray(gamma, jnp.result_type(gamma, float))
        return gamma**self.exponent, jnp.zeros_like(gamma)

    def utility(self, x: Array) -> Array:
        return -(jnp.abs(x) ** self.exponent)


class Logarithm(Utility):
    """`f(x) = log x`, of stocks and returns whose sum stays positive."""

    gammas = True
    degree = 0.0
    shift = 1.0

    def utility(self, x: Array) -> Array:
        return jnp.log(x)


class Exponential(Utility):
    """`f(x) = -exp(-rate x)`: indifferent to gamma = 1 only."""

    rate: float = 1.0

    def utility(self, x: Array) -> Array:
        return -jnp.exp(-self.rate * x)


class Constrained(Utility):
    """`f(x) = x_1 + sum_i price_i min(x_i, 0)` over the other parts of a vector.

    The stocks of the other parts are the slack of their constraints: part i is
    met where its return is at least minus its stock.
    """

    prices: Any = (1.0,)
    gammas = True
    lipschitz = True
    degree = 1.0
    tail = "linear"

    def utility(self, x: Array) -> Array:
        short = jnp.minimum(x[..., 1:], 0.0)
        return x[..., 0] + short @ jnp.asarray(self.prices, x.dtype)


class Quantile(Functional):
    """The lower quantile: the least value reached with probability `level`.

    0.5 is the lower median. A mixture of better laws may have a worse one.
    """

    level: float = 0.5
    gammas = True
    lipschitz = False

    def __call__(self, values: Array, weights: Array) -> Array:
        order = jnp.argsort(values, -1)
        values, weights = (jnp.take_along_axis(x, order, -1) for x in (values, weights))
        below = weights.cumsum(-1)
        enough = below >= self.level * below[..., -1:] - numerics.rounding(below)
        return jnp.where(enough & (weights > 0), values, jnp.inf).min(-1)


class MeanDeviation(Functional):
    """`mean - weight * std^power`: power 2 and no mean is minus the variance.

    A mixture of better laws may be worse: it has their means' spread too.
    """

    weight: float = 1.0
    mean: float = 1.0
    power: float = struct.field(pytree_node=False, default=1.0)
    gammas = True

    def __call__(self, values: Array, weights: Array) -> Array:
        mean = (values * weights).sum(-1)
        apart = values - mean[..., None]
        unit = numerics.unit(numerics.size(apart))  # squares could leave the range of float32
        variance = (jnp.square(apart / unit) * weights).sum(-1)
        return self.mean * mean - self.weight * unit**self.power * variance ** (self.power / 2)


# ---- by name ------------------------------------------------------------------------


def mean() -> PiecewiseLinear:
    """`E G`: the risk-neutral case, in which the stock does not matter."""
    return PiecewiseLinear(1.0, 1.0)


def shortfall() -> PiecewiseLinear:
    """`E min(c + G, 0)`, behind CVaR."""
    return PiecewiseLinear(1.0, 0.0)


def excess() -> PiecewiseLinear:
    """`E max(c + G, 0)`, behind the mean of the best outcomes."""
    return PiecewiseLinear(0.0, 1.0)


def target(vector: bool = False) -> PiecewiseLinear:
    """`-E |c + G|`: a return of -c; of a vector, the 1-norm (homeostasis)."""
    return PiecewiseLinear(1.0, -1.0, vector)


def mean_cvar(tau: Any, weight: Any = 0.0) -> PiecewiseLinear:
    """The utility behind `weight * mean + (1 - weight) * CVaR_tau`; see `risk`."""
    return PiecewiseLinear((1.0 - weight) / tau + weight, weight)


def minus_variance() -> MeanDeviation:
    """`-Var(c + G)`."""
    return MeanDeviation(weight=1.0, mean=0.0, power=2.0)


# ---- what theory says ----------------------------------------------------------------


def problems(
    functional: Functional, gamma: Array | float, horizon: int | None = None
) -> tuple[str, ...]:
    """Why dynamic programming need not optimise the functional; empty if it does.

    Args:
      functional: K.
      gamma: the discount; a traced one is taken to be below 1.
      horizon: a finite one, or None.
    """
    name, found = type(functional).__name__, []
    if not functional.mixtures:
        found.append(
            f"{name} is not indifferent to mixtures: what is best after every outcome "
            f"need not be best for their mixture"
        )
    undiscounted = not isinstance(gamma, Tracer) and bool(np.all(np.asarray(gamma) == 1))
    if not (functional.gammas or undiscounted):
        found.append(
            f"{name} is not indifferent to gamma: a later step sees its return undiscounted "
            f"and may prefer otherwise; use gamma=1, or `solve_with_clock`"
        )
    if horizon is None and not functional.lipschitz:
        found.append(f"{name} is not Lipschitz: values need not converge; give a horizon")
    return tuple(found)


def require(
    functional: Functional, gamma: Array | float, horizon: int | None, unsound: bool
) -> None:
    """Raises a `UserError` where `problems` finds any, unless `unsound`."""
    found = problems(functional, gamma, horizon)
    if found and not unsound:
        raise UserError(f"{'; '.join(found)} (unsound=True computes it all the same)")
