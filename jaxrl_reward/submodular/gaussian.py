"""Information of measurements: log-determinants, one row of a factor at a time."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct

from jaxrl_reward.submodular.base import SetFunction
from jaxrl_reward.types import Array, UserError, nearest

KERNELS = ("matern52", "rbf")


class Kernel(struct.PyTreeNode):
    """The covariance of a Gaussian process at n points, computed when it is asked for.

    Attributes:
      shape: one of `KERNELS`.
      points: `[n, d]`.
      length: the length scale.
      variance: the prior variance of each value.
      known: `[n, m]`, the coordinates of each point's covariance with m values
        that were measured before (see `conditioned`); their product is what
        those measurements explain. m may be 0.
    """

    shape: str = struct.field(pytree_node=False)
    points: Any
    length: Any
    variance: Any
    known: Any

    @property
    def ground(self) -> int:
        """n."""
        return self.points.shape[-2]

    def __call__(self, a: Array, b: Array) -> Array:
        """The covariance of points number `a` and `b`, `[...]` each."""
        points, known = jnp.asarray(self.points), jnp.asarray(self.known)
        apart = jnp.square(points[a] - points[b]).sum(-1) / self.length**2
        return self.variance * _correlation(self.shape, apart, jnp) - (known[a] * known[b]).sum(-1)

    def table(self) -> np.ndarray:
        """All covariances, `[n, n]` float64."""
        points, known = np.asarray(self.points, float), np.asarray(self.known, float)
        return covariance(self.shape, points, points, self.length, self.variance) - known @ known.T


class Table(struct.PyTreeNode):
    """Covariances that are given, `[n, n]`."""

    covariance: Any

    @property
    def ground(self) -> int:
        """n."""
        return self.covariance.shape[-1]

    def __call__(self, a: Array, b: Array) -> Array:
        """The covariance of values number `a` and `b`, `[...]` each."""
        return jnp.asarray(self.covariance)[a, b]

    def table(self) -> np.ndarray:
        """All covariances, `[n, n]` float64."""
        return np.asarray(self.covariance, float)


def kernel(shape: str, points: Any, length: float = 1.0, variance: float = 1.0) -> Kernel:
    """The covariance of a Gaussian process with zero mean.

    Args:
      shape: `rbf`, `exp(-d^2 / (2 length^2))`, or `matern52`, Matern's of
        smoothness 5/2, times `variance`.
      points: `[n, d]`.
      length: the length scale.
      variance: the prior variance.

    Raises:
      UserError: another shape.
    """
    if shape not in KERNELS:
        raise UserError(f"unknown kernel {shape!r}, {nearest(shape, KERNELS)}")
    points = np.asarray(points)
    return Kernel(shape, points, length, variance, np.zeros((len(points), 0), points.dtype))


def conditioned(prior: Kernel, points: Any, noise: float) -> Kernel:
    """The covariance that is left after measurements at `points`, `[m, d]`, of variance `noise`."""
    points = np.asarray(points, float)
    parameters = (prior.length, prior.variance)
    among = covariance(prior.shape, points, points, *parameters)
    factor = np.linalg.cholesky(among + noise * np.eye(len(points)))
    cross = covariance(prior.shape, points, np.asarray(prior.points, float), *parameters)
    known = np.linalg.solve(factor, cross).T.astype(prior.points.dtype)
    return prior.replace(known=known)


def covariance(shape: str, a: Any, b: Any, length: Any, variance: Any) -> np.ndarray:
    """The kernel between points `[p, d]` and `[q, d]`, `[p, q]` in NumPy."""
    apart = np.square(a[:, None] - b[None]).sum(-1) / length**2
    return variance * _correlation(shape, apart, np)


def _correlation(shape: str, apart: Any, xp: Any) -> Any:
    """From squared distances in units of the length scale."""
    if shape == "rbf":
        return xp.exp(-0.5 * apart)
    scaled = xp.sqrt(5.0 * apart)
    return (1 + scaled + 5.0 / 3.0 * apart) * xp.exp(-scaled)


# ---- information gain -------------------------------------------------------------


class Measured(NamedTuple):
    """What was measured, and the Cholesky factor of its covariance, with its inverse.

    Attributes:
      elements: `[capacity]` int32; the first `count` count.
      factor: L, `[capacity, capacity]`, zero beyond `count`, where
        `L L^T = K + noise I` of the elements.
      inverse: of L, as large.
      count: int32.
      total: F.
    """

    elements: Array
    factor: Array
    inverse: Array
    count: Array
    total: Array


class InformationGain(SetFunction):
    """`1/2 logdet(I + K_S / noise) + offset |S|` of repeated noisy measurements.

    With offset 0, what measuring S says of the whole process. With `entropy`'s
    offset, the differential entropy of what is measured, which need not grow.

    The memory holds the Cholesky factor and its inverse; their new rows are four
    matrix-vector products of `capacity^2` and no triangular solve, which would
    be slow for many environments at once. In single precision 100 gains sum to
    F within 1e-4 where `noise` is at least a hundredth of the prior variance;
    the variance that is left is a difference of numbers of the latter's size,
    so below a ten-thousandth the digits are few. What is left is never taken to
    be below 0, so no gain is NaN, nor below `offset`.

    Attributes:
      kernel: a `Kernel` or a `Table`.
      noise: the variance of the measurements.
      offset: what every measurement pays besides.
      capacity: how many measurements the memory holds; those that come after
        are not remembered.
    """

    repeats: ClassVar[bool] = True

    kernel: Any
    noise: Any
    offset: Any = 0.0
    capacity: int = struct.field(pytree_node=False, default=40)

    @property
    def ground(self) -> int:
        return self.kernel.ground

    @property
    def monotone(self) -> bool:
        return bool(np.all(np.asarray(self.offset) >= 0))

    def init(self) -> Measured:
        zero = self.single(jnp.int32(0)) * 0
        square = jnp.zeros((self.capacity, self.capacity), zero.dtype)
        return Measured(jnp.zeros(self.capacity, jnp.int32), square, square, jnp.int32(0), zero)

    def gain(self, memory: Measured, element: Array) -> tuple[Array, Measured]:
        element = jnp.asarray(element, jnp.int32)
        cross = self.kernel(memory.elements, jnp.broadcast_to(element, (self.capacity,)))
        # Rows and columns beyond `count` are zero, so what is in `cross` there
        # does not matter. The second line corrects the rounding of the first: the
        # inverse alone loses digits, and at noise 1e-6 all of them.
        solved = memory.inverse @ cross
        solved += memory.inverse @ (cross - memory.factor @ solved)
        left = jnp.maximum(self.kernel(element, element) - solved @ solved, 0)
        deviation = jnp.sqrt(left + self.noise)
        row = (-(solved @ memory.inverse)).at[memory.count].set(1) / deviation
        gain = self._gain(left)
        return gain, Measured(
            memory.elements.at[memory.count].set(element),
            memory.factor.at[memory.count].set(solved.at[memory.count].set(deviation)),
            memory.inverse.at[memory.count].set(row),
            jnp.minimum(memory.count + 1, self.capacity),
            memory.total + gain,
        )

    def start(self, element: Array) -> Measured:
        # `gain` of an empty memory would multiply a matrix of zeros.
        element, gain = jnp.asarray(element, jnp.int32), self.single(element)
        deviation = jnp.sqrt(self.kernel(element, element) + self.noise)
        square = jnp.zeros((self.capacity, self.capacity), gain.dtype)
        return Measured(
            jnp.zeros(self.capacity, jnp.int32).at[0].set(element),
            square.at[0, 0].set(deviation),
            square.at[0, 0].set(1 / deviation),
            jnp.int32(1),
            gain,
        )

    def single(self, element: Array) -> Array:
        return self._gain(self.kernel(element, element))

    def view(self, memory: Measured) -> Array:
        """How often each element was measured, `[n]`."""
        exist = jnp.arange(self.capacity) < memory.count
        return jnp.zeros(self.ground).at[memory.elements].add(exist.astype(jnp.float32))

    def evaluate(self, elements: Sequence[int]) -> float:
        chosen = self.kernel.table()[np.ix_(elements, elements)]
        noise, offset = float(self.noise), float(self.offset)
        _, logdet = np.linalg.slogdet(np.eye(len(elements)) + chosen / noise)
        return float(0.5 * logdet + offset * len(elements))

    def _gain(self, left: Array) -> Array:
        return 0.5 * jnp.log1p(left / self.noise) + self.offset


def entropy(kernel: Any, noise: float, capacity: int = 40) -> InformationGain:
    """The differential entropy in nats of noisy measurements, `1/2 logdet(2 pi e (K_S + noise I))`.

    Submodular; monotone only where `noise >= 1 / (2 pi e)`.
    """
    return InformationGain(kernel, noise, 0.5 * np.log(2 * np.pi * np.e * noise), capacity)


# ---- D-optimal design of a linear model -------------------------------------------


class Posterior(NamedTuple):
    """The posterior covariance of the coefficients, `[d, d]`, and F."""

    covariance: Array
    total: Array


class LinearDesign(SetFunction):
    """`1/2 logdet(I + sum_S x x^T / noise)`: Bayesian D-optimal design, prior `N(0, I)`.

    A gain is a rank-one update of the posterior, O(d^2).

    Attributes:
      features: x of each of n experiments, `[n, d]`.
      noise: the variance of an outcome.
    """

    repeats: ClassVar[bool] = True

    features: Any
    noise: Any = 1.0

    @property
    def ground(self) -> int:
        return self.features.shape[-2]

    def init(self) -> Posterior:
        features = jnp.asarray(self.features)
        eye = jnp.eye(features.shape[-1], dtype=features.dtype)
        return Posterior(eye, jnp.zeros((), features.dtype))

    def gain(self, memory: Posterior, element: Array) -> tuple[Array, Posterior]:
        x = jnp.asarray(self.features)[element]
        along = memory.covariance @ x
        left = jnp.maximum(x @ along, 0)
        gain = 0.5 * jnp.log1p(left / self.noise)
        after = memory.covariance - along[:, None] * along[None] / (self.noise + left)
        return gain, Posterior(after, memory.total + gain)

    def view(self, memory: Posterior) -> Array:
        """The posterior covariance, `[d * d]`."""
        return memory.covariance.reshape(-1).astype(jnp.float32)

    def evaluate(self, elements: Sequence[int]) -> float:
        x = np.asarray(self.features, float)[list(elements)]
        _, logdet = np.linalg.slogdet(np.eye(x.shape[1]) + x.T @ x / float(self.noise))
        return float(0.5 * logdet)
