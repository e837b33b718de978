"""Running mean and variance against NumPy, in float64, over long streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.nn import running_statistics
from jaxrl_reward.nn.running_statistics import MAX_COUNT, init, normalize, update


def stream(seed, *shape, mean=0.0, std=1.0):
    draws = np.random.default_rng(seed).normal(mean, std, shape)
    return draws.astype(np.float32)


def assert_close(stats, samples, rtol=1e-5):
    samples = np.asarray(samples, np.float64)
    np.testing.assert_allclose(stats.mean, samples.mean(0), atol=rtol * samples.std(), rtol=1e-6)
    np.testing.assert_allclose(stats.variance, samples.var(0), rtol=rtol)


@pytest.mark.parametrize("shape", [(), (3,), (4, 2)])
def test_any_split_equals_numpy(shape):
    samples = stream(0, 120, *shape, mean=3.0, std=2.0)
    for sizes in ([120], [1] * 5 + [115], [40, 40, 40], [119, 1]):
        stats, start = init(shape), 0
        for size in sizes:
            stats = update(stats, samples[start : start + size])
            start += size
        assert int(stats.count) == 120
        assert_close(stats, samples)
        np.testing.assert_allclose(stats.std, samples.std(0), rtol=1e-5)


def test_every_leading_axis_counts():
    samples = stream(1, 6, 5, 4, 3)
    flat = update(init((3,)), samples.reshape(-1, 3))
    for each in (update(init((3,)), samples), update(init((3,)), samples.reshape(12, 10, 3))):
        jax.tree.map(np.testing.assert_array_equal, each, flat)


@pytest.mark.parametrize("mean,std", [(1e4, 1.0), (-1e6, 10.0), (1e-6, 1e-8), (0.0, 1e8)])
def test_a_mean_far_from_zero(mean, std):
    samples = stream(2, 50, 200, mean=mean, std=std)
    stats = jax.lax.scan(lambda s, x: (update(s, x), None), init(), samples)[0]
    assert_close(stats, samples.ravel(), rtol=2e-4 if abs(mean) > 1e5 else 2e-5)


@pytest.mark.timeout(120)
def test_a_hundred_million_samples():
    """Exact values: the batches are known, only their order is mixed."""
    block = stream(3, 100, 1000, mean=50.0, std=3.0)

    @jax.jit
    def run(block):
        def step(i, stats):
            return update(stats, block[i % 100] + jnp.where(i < 50_000, 0.0, 4.0))

        return jax.lax.fori_loop(0, 100_000, step, init())

    stats = run(block)
    exact = block.astype(np.float64).ravel()
    assert int(stats.count) == 100_000_000
    np.testing.assert_allclose(stats.mean, exact.mean() + 2.0, rtol=2e-7)
    np.testing.assert_allclose(stats.variance, exact.var() + 4.0, rtol=2e-5)


@pytest.mark.timeout(120)
def test_single_samples_late_in_a_run():
    """Steps far below what float32 resolves still add up, without a bias."""
    steps, before = 1_000_000, 100_000_000
    samples = stream(4, 1000, mean=5.0)
    start = init().replace(
        count=jnp.int32(before), mean=jnp.float32(5.0), variance=jnp.float32(1.0)
    )

    @jax.jit
    def run(samples):
        step = lambda i, stats: update(stats, 2.0 * samples[i % 1000][None])  # noqa: E731
        return jax.lax.fori_loop(0, steps, step, start)

    stats = run(samples)
    new, share = 2.0 * samples.astype(np.float64), steps / (before + steps)
    mean = 5.0 + share * (new.mean() - 5.0)
    variance = (1 - share) * (1.0 + (5.0 - mean) ** 2)
    variance += share * (new.var() + (new.mean() - mean) ** 2)
    np.testing.assert_allclose(stats.mean - 5.0, mean - 5.0, rtol=1e-4)
    np.testing.assert_allclose(stats.variance - 1.0, variance - 1.0, rtol=1e-4)


def test_the_count_saturates():
    stats = init().replace(count=jnp.int32(MAX_COUNT - 10))
    for _ in range(3):
        stats = update(stats, jnp.ones(100))
        assert int(stats.count) == MAX_COUNT
    assert 0.0 < float(stats.mean) < 1e-6


def test_constant_and_single_samples():
    stats = update(init((2,)), jnp.full((1000, 2), 0.1))
    np.testing.assert_array_equal(stats.variance, 0.0)
    np.testing.assert_allclose(stats.mean, 0.1, rtol=1e-7)
    np.testing.assert_array_equal(normalize(stats, jnp.full((2,), 0.1)), 0.0)
    np.testing.assert_array_equal(normalize(stats, jnp.array([1.0, -1.0])), [10.0, -10.0])
    jax.tree.map(np.testing.assert_array_equal, update(stats, jnp.zeros((0, 2))), stats)


def test_normalize():
    samples = stream(5, 500, 3, mean=-7.0, std=4.0)
    stats = update(init((3,)), samples)
    normal = np.asarray(normalize(stats, samples))
    np.testing.assert_allclose(normal.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(normal.std(0), 1.0, rtol=1e-4)
    assert np.abs(normalize(stats, 1e9 * samples, clip=2.5)).max() == 2.5
    per_row = jnp.stack([normalize(stats, row) for row in samples[:3]])
    np.testing.assert_array_equal(per_row, normalize(stats, samples[:3]))


def test_normalize_before_any_sample():
    x = jnp.array([-20.0, 0.5, 3.0])
    np.testing.assert_array_equal(normalize(init((3,)), x), [-10.0, 0.5, 3.0])


def test_integers_and_half_precision_become_float32():
    images = np.random.default_rng(6).integers(0, 256, (64, 3), dtype=np.uint8)
    stats = update(init((3,)), images)
    assert_close(stats, images)
    assert normalize(stats, images).dtype == jnp.float32
    assert update(init(), jnp.ones(4, jnp.bfloat16)).mean.dtype == jnp.float32


def test_vmap_over_seeds_equals_a_loop():
    samples = stream(7, 4, 32, 3)
    batched = jax.vmap(lambda x: update(init((3,)), x))(samples)
    for i in range(4):
        one = update(init((3,)), samples[i])
        np.testing.assert_allclose(batched.mean[i], one.mean, rtol=1e-6)
        np.testing.assert_allclose(batched.variance[i], one.variance, rtol=1e-6)


def test_a_wrong_shape_is_refused():
    with pytest.raises(AssertionError):
        update(init((3,)), jnp.zeros((5, 4)))
    with pytest.raises(AssertionError):
        update(init((3, 3)), jnp.zeros(3))
    with pytest.raises(AssertionError):
        normalize(init((3,)), jnp.zeros((5, 4)))


def test_types_are_stable():
    before = init((3,))
    after = jax.eval_shape(update, before, jnp.zeros((5, 3)))
    assert jax.tree.structure(before) == jax.tree.structure(after)
    same = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, before, after)
    assert all(jax.tree.leaves(same))
    assert running_statistics.init().mean.shape == ()
