"""Of the tests of agents: settings of those with a store, and what is close."""

import jax
import jax.numpy as jnp
import numpy as np

STORING = {
    "num_envs": 4,
    "num_steps": 2,
    "updates": 2,
    "batch_size": 16,
    "buffer_size": 64,
    "learning_starts": 16,
    "hidden": (8,),
}


def close(a, b, rtol=1e-3, atol=1e-4):
    """Trees of arrays, with typed keys."""

    def compare(x, y):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)

    jax.tree.map(compare, a, b)
