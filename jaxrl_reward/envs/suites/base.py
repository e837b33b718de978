"""What the adapters of suites share: a name, default parameters, planes of whole numbers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import environment

from jaxrl_reward.types import Array


class Adapter(environment.Environment):
    """An environment of a suite, known by the suite's own name for it.

    Attributes:
      suite: the suite's own environment.
    """

    def __init__(self, name: str, suite: Any, params: Any):
        self._name, self.suite, self._params = name, suite, params

    @property
    def name(self) -> str:
        return self._name

    @property
    def default_params(self) -> Any:
        return self._params


def planes(grid: Array, counts: Sequence[int]) -> Array:
    """Whole numbers `[..., K]` as one-hot planes `[..., sum(counts)]`, float32.

    A number of an object or a colour is a name: as a number, the key would lie between the
    door and the ball. A dense layer or a convolution on planes is the embedding of the names.
    """
    hot = [jax.nn.one_hot(grid[..., i], n, dtype=jnp.float32) for i, n in enumerate(counts)]
    return jnp.concatenate(hot, axis=-1)
