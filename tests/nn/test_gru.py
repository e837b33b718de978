"""The GRU against flax's, and by steps against sequences."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.nn.gru import gru
from jaxrl_reward.types import UserError

T, N, D, H = 6, 3, 4, 5


def inputs():
    first = np.zeros((T, N), bool)
    first[0, 0] = first[3, 1] = first[4, 1] = True
    return jax.random.normal(jax.random.key(1), (T, N, D)), jnp.asarray(first)


def test_the_cell_is_that_of_flax():
    network = gru((H, 2))
    params = network.init(jax.random.key(0), jnp.zeros((N, D)))
    params |= {
        "bias": jax.random.normal(jax.random.key(2), (3 * H,)),
        "memory_bias": jax.random.normal(jax.random.key(3), (H,)),
    }
    split = lambda x: jnp.split(x, 3, axis=-1)  # noqa: E731
    cell = nn.GRUCell(H)
    names = zip("rzn", split(params["input"]), split(params["bias"]), strict=True)
    theirs = {f"i{gate}": {"kernel": kernel, "bias": bias} for gate, kernel, bias in names}
    for gate, kernel in zip("rzn", split(params["memory"]), strict=True):
        theirs[f"h{gate}"] = {"kernel": kernel}
    theirs["hn"]["bias"] = params["memory_bias"]
    x, memory = inputs()[0][0], jax.random.normal(jax.random.key(4), (N, H))
    with jax.numpy_rank_promotion("allow"):
        expected, _ = jax.jit(cell.apply)({"params": theirs}, memory, x)
    found, _ = jax.jit(network.step)(params, memory, x, jnp.zeros(N, bool))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("sizes", [(H, 2), (7, H, 2)])
def test_a_sequence_is_its_steps_and_forgets_where_an_episode_begins(sizes):
    network = gru(sizes)
    x, first = inputs()
    params = network.init(jax.random.key(0), x)
    memory = start = jax.random.normal(jax.random.key(4), (N, H))
    unroll, step = jax.jit(network.unroll), jax.jit(network.step)
    memories, out = unroll(params, start, x, first)
    for t in range(T):
        memory, now = step(params, memory, x[t], first[t])
        np.testing.assert_allclose(memories[t], memory, atol=1e-6)
        np.testing.assert_allclose(out[t], now, atol=1e-6)
    # From where it begins, an episode has nothing of what was before.
    fresh = unroll(params, network.start(N), x[4:], first[4:])[1]
    np.testing.assert_allclose(out[4:, 1], fresh[:, 1], atol=1e-6)
    assert np.abs(out[4:, 0] - fresh[:, 0]).max() > 1e-3


def test_a_memory_needs_a_width():
    with pytest.raises(UserError, match="needs the width of its memory"):
        gru((2,))
