"""A small agent with every kind of state that a real one has."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from flax import struct

from jaxrl_reward import rewards as rw
from jaxrl_reward.training.experiments import experiment as experiments
from jaxrl_reward.types import Mean


class FakeConfig(struct.PyTreeNode):
    rate: Any = 0.5
    width: int = struct.field(pytree_node=False, default=3)


class FakeMoments(NamedTuple):
    mean: jax.Array
    none: jax.Array  # no elements, as the memory of a reward that has none


class FakeState(struct.PyTreeNode):
    config: FakeConfig
    weights: jax.Array
    moments: FakeMoments
    extras: dict[str, Any]
    key: jax.Array
    iteration: jax.Array


class FakeEnv(NamedTuple):
    name: str = "fake:env"
    playable: bool = True


class FakeAgent(NamedTuple):
    """Random numbers, added up: any lost or repeated iteration shows in every bit."""

    config: FakeConfig = FakeConfig()
    name: str = "fake"
    env: FakeEnv = FakeEnv()
    reward: rw.RewardTransform = rw.env()
    steps_per_iteration: int = 8
    learning_starts: int = 0
    shards_envs: bool = False
    check: Any = lambda config: None
    data: Any = None
    data_origin: tuple[Any, ...] = ()
    judge: Any = None
    metric: str = "return"
    references: Any = None
    stream: Any = None
    bad_at: int = -1  # the iteration whose loss is not finite
    poison_at: int = -1  # the iteration that leaves a NaN behind finite metrics
    bad_evaluation: bool = False

    def init(self, key, config=None, reward=None):
        del reward
        key, weights = jax.random.split(key)
        return FakeState(
            config=self.config if config is None else config,
            weights=jax.random.normal(weights, (self.config.width,)),
            moments=FakeMoments(jnp.zeros(2, jnp.bfloat16), jnp.zeros((4, 0))),
            extras={"flag": jnp.array(False), "count": jnp.uint32(0), "unset": jnp.nan},
            key=key,
            iteration=jnp.int32(0),
        )

    def iterate(self, state):
        key, noise = jax.random.split(state.key)
        iteration = state.iteration + 1
        change = jax.random.normal(noise, state.weights.shape)
        weights = state.weights * 0.9 + state.config.rate * change
        poisoned = jnp.where(iteration == self.poison_at, jnp.nan, weights)
        loss = jnp.where(iteration == self.bad_at, jnp.nan, weights.sum())
        metrics = {
            "loss": Mean.of(loss),
            "absolute": Mean.of(jnp.abs(weights)),
            "episode_return": Mean.of(weights, where=change > 1.5),
        }
        state = state.replace(weights=poisoned, key=key, iteration=iteration)
        return state.replace(extras={**state.extras, "flag": ~state.extras["flag"]}), metrics

    def act(self, state, obs, key=None):
        del key
        return obs @ state.weights

    def evaluate(self, state, key, num_episodes):
        # As an argmax over logits does, this hides a NaN in the weights.
        seen = jnp.where(jnp.isnan(state.weights), 0.0, state.weights)
        returns = seen.sum() + jax.random.normal(key, (num_episodes,))
        if self.bad_evaluation:
            returns = jnp.where(state.iteration > 0, jnp.inf, returns)
        return returns, jnp.full(num_episodes, 7, jnp.int32)


class Stopped(BaseException):
    """A process that ends here: nothing in the library may catch it."""


class StopAfter:
    """A sink that ends the run at its n-th write."""

    def __init__(self, writes: int, error: type[BaseException] = Stopped):
        self.left, self.error = writes, error

    def write(self, rows):
        del rows
        self.left -= 1
        if self.left <= 0:
            raise self.error

    def close(self):
        pass


@pytest.fixture(scope="package")
def fake_agent() -> Callable[..., FakeAgent]:
    return FakeAgent


@pytest.fixture
def stop_after() -> Callable[..., StopAfter]:
    return StopAfter


@pytest.fixture
def stopped() -> type[BaseException]:
    return Stopped


@pytest.fixture
def assert_same() -> Callable[[Any, Any], None]:
    """Equal structure, dtypes and bits, typed keys included."""

    def bits(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return str(leaf.dtype), leaf.shape, jax.device_get(leaf).tobytes()

    def compare(a, b):
        assert jax.tree.structure(a) == jax.tree.structure(b)
        for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
            assert bits(left) == bits(right)

    return compare


@pytest.fixture
def beside(monkeypatch):
    """What lies beside the experiments, by the name of its file."""
    for folder in {file.parent for file in experiments.folders()[-1].rglob("*.py")}:
        monkeypatch.syspath_prepend(folder)
    return importlib.import_module
