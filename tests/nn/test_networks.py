"""The networks behind `init` and `apply`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _jaxprs import programs_in

from jaxrl_reward.nn.networks import ACTIVATIONS, activation, mlp, orthogonal
from jaxrl_reward.types import UserError

KEY = jax.random.key(0)


def random_params(network, obs, seed=0):
    """Parameters of the right shapes, without compiling the initialisers."""
    rng, shapes = np.random.default_rng(seed), jax.eval_shape(network.init, KEY, obs)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32) / 2, shapes)


def layers(params):
    """Kernels and biases in order of depth."""
    dense = params["params"]
    return [dense[f"Dense_{i}"] for i in range(sum("Dense" in name for name in dense))]


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_apply_is_the_plain_formula(name):
    network = mlp((8, 6, 3), name, final_scale=0.5)
    obs = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    params = random_params(network, obs)
    x = obs
    *hidden, last = layers(params)
    for layer in hidden:
        x = np.asarray(activation(name)(x @ np.asarray(layer["kernel"]) + layer["bias"][None]))
    expected = x @ np.asarray(last["kernel"]) + last["bias"][None]
    np.testing.assert_allclose(network.apply(params, obs), expected, rtol=1e-4, atol=1e-6)


# exp(-1) - 1; -1 / (1 + e); the normal's share below -1 (0.1587), by its usual approximation.
AT_ONE = {"elu": (1.0, -0.6321), "gelu": (0.8412, -0.1588), "relu": (1.0, 0.0)}
AT_ONE |= {"swish": (0.7311, -0.2689), "tanh": (0.7616, -0.7616)}


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_at_one_and_minus_one(name):
    found = activation(name)(jnp.array([1.0, -1.0]))
    np.testing.assert_allclose(found, AT_ONE[name], atol=1e-4)


def test_weights_are_orthogonal_with_their_gain():
    params = jax.jit(mlp((16, 8, 4), final_scale=0.01).init)(KEY, jnp.zeros(5))
    for layer, gain in zip(layers(params), (np.sqrt(2), np.sqrt(2), 0.01), strict=True):
        singular = np.linalg.svd(layer["kernel"], compute_uv=False)
        np.testing.assert_allclose(singular, gain, rtol=1e-4)
        np.testing.assert_array_equal(layer["bias"], 0.0)


def drawn(shape, count, jit=False):
    keys = jax.random.split(jax.random.key(7), count)
    draw = jax.vmap(lambda key: orthogonal()(key, shape))
    return np.asarray((jax.jit(draw) if jit else draw)(keys)), keys


@pytest.mark.parametrize("shape", [(64, 64), (3, 20), (20, 3), (1, 5)])
def test_initial_weights_are_orthonormal(shape):
    weights, _ = drawn(shape, 8, jit=True)
    tall = weights if shape[0] >= shape[1] else weights.swapaxes(1, 2)
    gram = np.einsum("nij,nik->njk", tall, tall, dtype=np.float64)
    np.testing.assert_allclose(gram, np.broadcast_to(np.eye(min(shape)), gram.shape), atol=1e-5)


def test_initial_weights_favour_no_rotation():
    """Haar measure on O(3): moments of entries and trace, and the first column on a sphere."""
    weights, _ = drawn((3, 3), 4000)
    weights = weights.astype(np.float64)
    # E q_ij = 0, E q_ij^2 = 1/3, E q_ij^4 = 3 / (3 * 5); E tr = 0, E tr^2 = 1, E det = 0.
    deviations = [
        (weights, 0.0),
        (weights**2, 1 / 3),
        (weights**4, 1 / 5),
        (np.trace(weights, axis1=1, axis2=2), 0.0),
        (np.trace(weights, axis1=1, axis2=2) ** 2, 1.0),
        (np.linalg.det(weights), 0.0),
    ]
    for values, expected in deviations:
        error = (values.mean(0) - expected) / (values.std(0) / np.sqrt(len(values)))
        assert np.abs(error).max() < 4.5  # standard errors, of at most nine entries
    # Archimedes: a coordinate of a uniform point on the sphere is uniform.
    heights = np.sort(weights[:, :, 0], axis=0)
    uniform = (np.arange(4000) + 0.5)[:, None] / 2000 - 1
    assert np.abs(heights - uniform).max() < 0.06  # 2 * 1.95 / sqrt(4000): p = 0.001


def test_a_seed_alone_starts_as_among_64():
    weights, keys = drawn((16, 16), 64, jit=True)
    for i in (0, 41, 63):
        alone = jax.jit(lambda key: orthogonal()(key, (16, 16)))(keys[i])
        np.testing.assert_array_equal(weights[i], alone)


def test_devices_never_run_a_batch_of_decompositions():
    """Such a batch waits for threads that all devices share: jaxlib 0.11.0 may hang in it."""
    keys = jax.random.split(KEY, (3, 5))
    network = mlp((8, 4))
    init = jax.vmap(jax.vmap(lambda key: network.init(key, jnp.zeros(6))))

    def shapes(jaxpr):
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in ("geqrf", "qr", "householder_product"):
                yield eqn.invars[0].aval.shape
            for inner in programs_in(eqn.params):
                yield from shapes(inner)

    found = list(shapes(jax.make_jaxpr(init)(keys).jaxpr))
    assert found and all(len(shape) == 2 for shape in found)


@pytest.mark.parametrize(
    "obs_shape,leading", [((), (4,)), ((3,), ()), ((3,), (2, 5)), ((4, 4, 2), (3,)), ((2, 2), ())]
)
def test_observations_of_any_rank_are_flattened(obs_shape, leading):
    network = mlp((8, 2), obs_rank=len(obs_shape))
    obs = np.random.default_rng(0).normal(size=(*leading, *obs_shape)).astype(np.float32)
    params = random_params(network, np.zeros(obs_shape, np.float32))
    assert layers(params)[0]["kernel"].shape == (int(np.prod(obs_shape)), 8)
    out = network.apply(params, obs)
    assert out.shape == (*leading, 2)
    flat = mlp((8, 2)).apply(params, obs.reshape(*leading, -1))
    np.testing.assert_array_equal(out, flat)


def test_the_example_may_have_leading_axes():
    network = mlp((8, 2))
    one, many = (jax.make_jaxpr(network.init)(KEY, jnp.zeros(shape)) for shape in (3, (5, 7, 3)))
    assert one.out_avals == many.out_avals


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, bool, jnp.bfloat16])
def test_any_dtype_becomes_float32(dtype):
    network, obs = mlp((8, 2)), np.array([[0, 1, 1]])
    params = random_params(network, jnp.zeros(3, dtype))
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(params))
    out = network.apply(params, jnp.asarray(obs, dtype))
    assert out.dtype == jnp.float32
    np.testing.assert_array_equal(out, network.apply(params, obs.astype(np.float32)))


def test_one_layer_is_linear():
    network = mlp((2,))
    params = random_params(network, jnp.zeros(3))
    zero, one, two = network.apply(params, np.array([[0.0], [1.0], [2.0]]) * [1.0, -2.0, 0.5])
    np.testing.assert_allclose(two - zero, 2.0 * (one - zero), rtol=1e-5)


def test_layer_norm_ignores_the_scale_of_the_observation():
    network = mlp((32, 2), "relu", layer_norm=True)
    params = random_params(network, jnp.zeros(3))
    obs = jnp.array([[1.0, -2.0, 0.5]])
    large, larger = network.apply(params, 1e4 * obs), network.apply(params, 1e6 * obs)
    np.testing.assert_allclose(larger, large, rtol=1e-2)


@pytest.mark.parametrize("mean,spread", [(0.0, 1.0), (3e3, 1.0), (-1e5, 10.0), (1e4, 1.0)])
def test_layer_norm_keeps_a_small_spread_on_a_large_mean(mean, spread):
    """Against NumPy in float64: the mean is taken off before anything is squared."""
    network = mlp((64, 64), "relu", layer_norm=True)
    params = random_params(network, jnp.zeros(1))
    rng = np.random.default_rng(1)
    first, last = layers(params)
    first["kernel"] = np.full((1, 64), mean, np.float32)
    first["bias"] = rng.normal(0.0, spread, 64).astype(np.float32)
    last["kernel"], last["bias"] = np.eye(64, dtype=np.float32), np.zeros(64, np.float32)
    params["params"]["LayerNorm_0"] = {"scale": np.ones(64), "bias": np.zeros(64)}
    x = (first["kernel"][0] + first["bias"]).astype(np.float64)  # as float32 holds it
    expected = np.maximum((x - x.mean()) / np.sqrt(x.var() + 1e-6), 0.0)
    np.testing.assert_allclose(network.apply(params, jnp.ones(1)), expected, rtol=5e-3, atol=5e-3)


def test_vmap_over_seeds_equals_a_loop():
    network, obs = mlp((8, 2)), jnp.ones((5, 3))
    keys = jax.random.split(KEY, 3)

    def run(key):
        return network.apply(network.init(key, obs), obs)

    loop = [jax.jit(run)(key) for key in keys]
    np.testing.assert_allclose(jax.jit(jax.vmap(run))(keys), loop, atol=1e-5)
    assert np.ptp(loop, axis=0).min() > 1e-3


def test_gradients_reach_every_parameter():
    network, obs = mlp((8, 6, 2), "relu"), jnp.linspace(-1.0, 1.0, 30).reshape(10, 3)
    params = random_params(network, obs)
    gradient = jax.jit(jax.grad(lambda p: jnp.square(network.apply(p, obs) - 1.0).sum()))(params)
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_user_errors():
    with pytest.raises(UserError, match="did you mean 'tanh'"):
        mlp((2,), "tahn")
    with pytest.raises(UserError, match="known: elu, gelu"):
        activation("qqq")
    for sizes in ((), (8, 0), (-1,)):
        with pytest.raises(UserError, match="positive"):
            mlp(sizes)


def test_an_observation_of_too_low_rank_is_refused():
    with pytest.raises(AssertionError):
        mlp((2,), obs_rank=3).init(KEY, jnp.zeros(4))
