"""A judge as it is scored: the mean of its members, read in parts of one size."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward.nn.response_models import ResponseModel
from jaxrl_reward.types import Array

_ROWS = 4096  # texts that are read at once


class Scorer:
    """The mean of a judge's members, in parts of one size."""

    def __init__(self, model: ResponseModel):
        self.model = model
        self._plain = jax.jit(lambda text: model.scores(text).mean(0))
        aside = lambda known: known.swapaxes(0, 1).reshape(known.shape[1], -1)  # noqa: E731
        self._read = jax.jit(lambda text: aside(model.judge(text).features))
        self._read_beside = jax.jit(lambda text, o: aside(model.judge(text, other=o).features))
        self._other = jax.jit(lambda text, other: model.scores(text, other=other).mean(0))

    def __call__(self, text: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
        """Of texts `[N, P + T]`, `[N]`."""
        if other is None:
            return _by_parts(self._plain, text)
        return _by_parts(self._other, text, other)

    def features(self, text: np.ndarray) -> np.ndarray:
        """What the members read of texts `[N, P + T]`, side by side, `[N, members * H]`."""
        if self.model.design.relative:  # with any other: it is not in what is read of one's own
            return _by_parts(self._read_beside, text, text[:, self.model.design.prompt :])
        return _by_parts(self._read, text)

    def gap(self, one: np.ndarray, two: np.ndarray) -> np.ndarray:
        """By how much the first is better; what a judge that compares says of it."""
        if self.model.design.relative:
            return self(one, two[:, self.model.design.prompt :])
        return self(one) - self(two)

    def against(self, right: np.ndarray, wrong: np.ndarray) -> tuple[Array, Array]:
        """Scores `[N]` and `[N, k]` of texts `[N, P + T]` and `[N, k, P + T]`."""
        count, k = wrong.shape[:2]
        flat = wrong.reshape(count * k, -1)
        if not self.model.design.relative:
            return jnp.asarray(self(right)), jnp.asarray(self(flat).reshape(count, k))
        # A response that loses to it in the mean of both orders is below it.
        again = np.repeat(right, k, 0)
        ahead = 0.5 * (self.gap(again, flat) - self.gap(flat, again))
        return jnp.zeros(count), jnp.asarray(-ahead.reshape(count, k))


def _by_parts(read: Any, *given: np.ndarray) -> np.ndarray:
    """A function of rows, of parts of one size, so that it is compiled once."""
    count, found = len(given[0]), []
    size = min(_ROWS, count)
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        now = read(*(jnp.asarray(x[rows]) for x in given))
        found.append(np.asarray(now)[: count - start])
    return np.concatenate(found)
