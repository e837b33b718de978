"""Episodes of given rewards, and what a term pays for them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.types import Transition


def block_of(reward, ends=(), truncated=False, obs=None, action=None, **info):
    """Rewards `[T]` or `[T, N]` whose episodes end after the rows `ends` and the last one.

    Args:
      reward: what the environment pays.
      ends: rows after which episodes end, in all environments.
      truncated: whether the clock ends them.
      obs: observations `[T + 1, D]`, of which every step sees two; zeros by default.
      action: `[T]`; zeros by default.
    """
    reward = np.asarray(reward, np.float32)
    reward = reward[:, None] if reward.ndim == 1 else reward
    steps, envs = reward.shape
    last = np.zeros((steps, envs), bool)
    last[[*ends, -1]] = True
    first = np.concatenate([np.ones((1, envs), bool), last[:-1]])
    seen = np.zeros((steps + 1, 1), np.float32) if obs is None else np.asarray(obs, np.float32)
    seen = np.repeat(seen[:, None], envs, 1)
    action = np.zeros(steps, np.int32) if action is None else np.asarray(action)
    action = np.repeat(action[:, None], envs, 1)
    no = np.zeros_like(last)
    ended = (no, last) if truncated else (last, no)
    block = Transition(seen[:-1], action, reward, reward, seen[1:], first, *ended, info=info)
    return jax.tree.map(jnp.asarray, block)


# What runs for microseconds need not be compiled for seconds; a term's numbers are
# arguments, so that one program serves all of them.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@quick
def applied(term, state, block):
    return term.apply(state, block)


@quick
def started(term, key, block):
    return term.init(key, block)


def paid(term, block, state=None, key=0):
    """What `term` pays for the block, `[T]` for one environment, else `[T, N]`."""
    state = started(term, jax.random.key(key), block) if state is None else state
    reward = np.asarray(applied(term, state, block).reward)
    return reward[:, 0] if reward.shape[1] == 1 else reward


def after(term, *blocks, key=0):
    """The state of `term` after these blocks."""
    state = started(term, jax.random.key(key), blocks[0])
    for block in blocks:
        state = applied(term, state, block).state
    return state


@pytest.fixture(name="block_of")
def _block_of():
    return block_of


@pytest.fixture(name="paid")
def _paid():
    return paid


def parameters(term, block, seed=0):
    """The state of a learned term with parameters drawn by NumPy.

    Orthogonal matrices, as `init` has them, take seconds to compile.
    """
    rng = np.random.default_rng(seed)
    state = jax.eval_shape(term.init, jax.random.key(0), block)
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), state)

    def draw(x):
        scale = np.sqrt(2 / x.shape[-2]) if x.ndim > 1 else 0.0
        return jnp.asarray(scale * rng.normal(size=x.shape), x.dtype)

    params = jax.tree.map(draw, state.shared.params)
    return state.replace(shared=state.shared.replace(params=params))


@quick
def _learnt(term, state, block):
    trained, _ = term.learn(state, jax.random.key(1), block)
    return jnp.stack([term.apply(s, block).reward for s in (state, trained)]), trained


def learnt(term, block):
    """What `term` pays before and after learning from the block, `[2, T, N]`, and its state."""
    return _learnt(term, parameters(term, block), block)


@pytest.fixture(name="learnt")
def _learnt_fixture():
    return learnt


@pytest.fixture(name="parameters")
def _parameters():
    return parameters


@pytest.fixture(name="started")
def _started():
    return started


@pytest.fixture(name="applied")
def _applied():
    return applied


@pytest.fixture(name="after")
def _after():
    return after
