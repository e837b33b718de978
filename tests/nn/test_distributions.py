"""Distributions against scipy, closed forms and counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxrl_reward.nn.distributions import (
    Categorical,
    DiagonalNormal,
    Support,
    TanhNormal,
    TanhPoint,
    _running_sum,
)

INF = np.inf
HUGE = float(np.finfo(np.float32).max)
NORMALS = [DiagonalNormal(3), TanhNormal(3)]
ALL = [Categorical(5), *NORMALS]
EXTREME_LOGITS = np.array(
    [
        [0.0, 0.0, 0.0, 0.0],
        [1e4, -1e4, 0.0, 1e4],
        [HUGE, -HUGE, 0.0, 1.0],
        [-HUGE, -HUGE, -HUGE, -HUGE],
        [-INF, 0.0, -INF, 1.0],
        [-INF, -INF, -INF, -7.0],
        [0.0, -200.0, -INF, -200.0],
        [1e-30, 88.0, -88.0, -INF],
    ],
    np.float32,
)


def normal_params(mean, std):
    return jnp.asarray(np.concatenate([mean, np.log(std)]).astype(np.float32))


def random_params(dist, shape, seed=0, scale=1.0):
    draws = scale * np.random.default_rng(seed).normal(size=(*shape, dist.param_size))
    return jnp.asarray(draws.astype(np.float32))


def random_noise(dist, shape, seed=0):
    """As `dist.noise` draws it, without a compiled generator for each shape."""
    rng = np.random.default_rng(seed)
    if isinstance(dist, Categorical):
        return jnp.asarray(rng.random(shape, np.float32))
    return jnp.asarray(rng.normal(size=(*shape, dist.dim)).astype(np.float32))


def tanh_density(x, mean, std):
    """Density of tanh(normal) at the action x, by the change of variables."""
    return stats.norm.pdf(np.arctanh(x), mean, std) / (1.0 - x**2)


# Every distribution -----------------------------------------------------------


@pytest.mark.parametrize("dist", ALL, ids=repr)
def test_shapes_and_dtypes(dist):
    params = random_params(dist, (4, 7)).astype(jnp.bfloat16)
    noise = jax.eval_shape(lambda: dist.noise(jax.random.key(0), (4, 7)))
    raw = jax.eval_shape(dist.sample, params, noise)
    mode, action = jax.eval_shape(dist.mode, params), jax.eval_shape(dist.to_action, raw)
    event = () if isinstance(dist, Categorical) else (3,)
    assert params.shape[-1] == dist.param_size
    assert raw.shape == mode.shape == action.shape == (4, 7, *event)
    assert raw.dtype == mode.dtype == action.dtype == (jnp.float32 if event else jnp.int32)
    for value in (
        jax.eval_shape(dist.log_prob, params, raw),
        jax.eval_shape(dist.entropy, params),
        jax.eval_shape(dist.entropy, params, raw),
        jax.eval_shape(dist.kl, params, params),
    ):
        assert value.shape == (4, 7)
        assert value.dtype == jnp.float32


@pytest.mark.parametrize("dist", ALL[:2], ids=repr)
def test_noise_distribution(dist):
    noise = np.asarray(dist.noise(jax.random.key(0), (50, 100)))
    assert noise.dtype == np.float32
    if isinstance(dist, Categorical):
        assert noise.shape == (50, 100)
        assert noise.min() >= 0.0
        assert noise.max() < 1.0
        assert stats.kstest(noise.ravel(), stats.uniform.cdf).pvalue > 1e-3
    else:
        assert noise.shape == (50, 100, 3)
        assert stats.kstest(noise.ravel(), stats.norm.cdf).pvalue > 1e-3


@pytest.mark.parametrize("dist", ALL, ids=repr)
def test_noise_drawn_ahead_gives_the_same_rollout(dist):
    """A scan over [T, N] noise equals one call on the whole block."""
    params = random_params(dist, (6, 5))
    noise = random_noise(dist, (6, 5), 1)
    scan = jax.jit(lambda *xs: jax.lax.scan(lambda _, x: (None, dist.sample(*x)), None, xs)[1])
    np.testing.assert_allclose(scan(params, noise), jax.jit(dist.sample)(params, noise), rtol=1e-6)


@pytest.mark.parametrize("dist", ALL, ids=repr)
def test_kl_is_zero_for_equals_positive_otherwise_and_matches_sampling(dist):
    p, q = random_params(dist, (1,), 0, 0.4), random_params(dist, (1,), 1, 0.4)
    np.testing.assert_allclose(dist.kl(p, p), 0.0, atol=1e-7)
    draws = 100_000
    noise = random_noise(dist, (draws,))

    @jax.jit
    def log_ratio(p, q, noise):
        p, q = (jnp.broadcast_to(x, (draws, dist.param_size)) for x in (p, q))
        raw = dist.sample(p, noise)
        return dist.log_prob(p, raw) - dist.log_prob(q, raw)

    ratio = log_ratio(p, q, noise)
    error = 4.0 * float(ratio.std()) / np.sqrt(draws)
    assert float(dist.kl(p, q)[0]) > 10 * error
    np.testing.assert_allclose(dist.kl(p, q)[0], ratio.mean(), atol=error)


@pytest.mark.parametrize("dist", ALL, ids=repr)
def test_mode_is_a_maximum_of_the_raw_density(dist):
    params = random_params(dist, (50,))
    noise = random_noise(dist, (5, 50), 0)
    base = DiagonalNormal(3) if isinstance(dist, TanhNormal) else dist
    log_prob = jax.jit(base.log_prob)
    top = log_prob(params, dist.mode(params))
    for raw in jax.jit(jax.vmap(dist.sample, (None, 0)))(params, noise):
        assert (log_prob(params, raw) <= np.asarray(top) + 1e-6).all()


@pytest.mark.parametrize("dist", ALL, ids=repr)
def test_a_wrong_number_of_parameters_is_refused(dist):
    with pytest.raises(AssertionError):
        dist.mode(jnp.zeros((2, dist.param_size + 1)))


@pytest.mark.parametrize("dist", ALL, ids=repr)
def test_vmap_over_seeds_equals_a_loop(dist):
    noise, params = random_noise(dist, (3, 4), 0), random_params(dist, (3, 4))
    sample = jax.jit(dist.sample)
    loop = [sample(*each) for each in zip(params, noise, strict=True)]
    np.testing.assert_allclose(jax.jit(jax.vmap(dist.sample))(params, noise), loop, rtol=1e-6)


# Categorical ------------------------------------------------------------------


@pytest.mark.parametrize("num_actions", [1, 2, 6, 40])  # above 32: another running sum
def test_categorical_frequencies(num_actions):
    dist, draws = Categorical(num_actions), 100_000
    logits = random_params(dist, (), 2, 1.5)
    noise = random_noise(dist, (draws,), 0)
    index = jax.jit(dist.sample)(jnp.broadcast_to(logits, (draws, num_actions)), noise)
    counts = np.bincount(index, minlength=num_actions)
    expected = np.asarray(jax.nn.softmax(logits), np.float64)
    assert counts.shape == (num_actions,)
    if num_actions > 1:
        assert stats.chisquare(counts, draws * expected / expected.sum()).pvalue > 1e-3


def test_categorical_sampling_is_the_inverse_cdf():
    logits = jnp.log(jnp.array([0.25, 0.5, 0.25]))
    noise = jnp.array([0.0, 0.2499, 0.2501, 0.7499, 0.7501, 1.0])
    index = jax.jit(Categorical(3).sample)(jnp.broadcast_to(logits, (6, 3)), noise)
    np.testing.assert_array_equal(index, [0, 0, 1, 1, 2, 2])


def test_categorical_sampling_at_the_boundaries():
    """Exact sums 1, 2, 3, 4: a threshold on one belongs to the next choice."""
    noise = jnp.array([0.0, 0.25, 0.5, 0.75])
    index = jax.jit(Categorical(4).sample)(jnp.zeros((4, 4)), noise)
    np.testing.assert_array_equal(index, [0, 1, 2, 3])


@pytest.mark.parametrize("copies", [1, 20])  # four choices, then 80: both running sums
def test_categorical_never_draws_the_impossible(copies):
    logits = np.tile(EXTREME_LOGITS, (1, copies))
    ends = [0.0, np.finfo(np.float32).tiny, 1 - 2**-24, 1.0]
    noise = np.concatenate([ends, np.linspace(0, 1, 996)])
    dist = Categorical(logits.shape[-1])
    shape = (len(logits), len(noise))
    index = jax.jit(dist.sample)(
        np.broadcast_to(logits[:, None], (*shape, dist.num_actions)),
        np.broadcast_to(noise.astype(np.float32), shape),
    )
    assert ((index >= 0) & (index < dist.num_actions)).all()
    with np.errstate(over="ignore"):
        prob = np.exp((logits - logits.max(-1, keepdims=True)).astype(np.float32))
    assert (np.take_along_axis(prob, np.asarray(index), -1) > 0).all()


@pytest.mark.parametrize("num_actions", [31, 1000])
def test_categorical_with_masks_between_rounded_sums(num_actions):
    """A masked choice is not drawn even where sums round up at it, or down."""
    dist, rng = Categorical(num_actions), np.random.default_rng(0)
    logits = rng.normal(size=(20, num_actions)).astype(np.float32)
    logits[rng.random(logits.shape) < 0.5] = -np.inf
    weight = jnp.exp(logits - logits.max(-1, keepdims=True))
    sums = np.asarray(jax.jit(_running_sum)(weight))
    edges = sums / sums[:, -1:]  # uniforms that fall on the sums, or just beside
    noise = np.concatenate([edges, np.nextafter(edges, 0.0), np.nextafter(edges, 1.0)], 1)
    draw = jax.jit(jax.vmap(jax.vmap(dist.sample, (None, 0))))
    index = np.asarray(draw(logits, noise))
    assert np.isfinite(np.take_along_axis(logits, index, 1)).all()


def test_categorical_stays_in_range_for_broken_logits():
    logits = jnp.array([[jnp.nan, 0.0], [-jnp.inf, -jnp.inf], [jnp.inf, jnp.inf]])
    index = jax.jit(Categorical(2).sample)(logits, jnp.array([0.9, 0.9, 0.9]))
    assert ((index >= 0) & (index < 2)).all()


def test_categorical_against_scipy():
    dist = Categorical(5)
    p, q = random_params(dist, (8,), 0, 3.0), random_params(dist, (8,), 1, 3.0)
    raw = jnp.arange(8) % 5
    p_prob, q_prob = (np.asarray(jax.nn.softmax(x), np.float64) for x in (p, q))
    np.testing.assert_allclose(dist.entropy(p), stats.entropy(p_prob, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(dist.kl(p, q), stats.entropy(p_prob, q_prob, axis=-1), rtol=1e-5)
    expected = [stats.rv_discrete(values=(range(5), p_prob[i])).logpmf(raw[i]) for i in range(8)]
    np.testing.assert_allclose(dist.log_prob(p, raw), expected, rtol=1e-5)


def test_categorical_masks():
    dist = Categorical(4)
    masked = jnp.array([-jnp.inf, 0.0, jnp.log(3.0), -jnp.inf])
    open_ = jnp.zeros(4)
    np.testing.assert_allclose(dist.entropy(masked), stats.entropy([1, 3]), rtol=1e-6)
    np.testing.assert_allclose(dist.kl(masked, open_), stats.entropy([1, 3], [1, 1]) + np.log(2))
    np.testing.assert_allclose(dist.kl(masked, masked), 0.0, atol=1e-7)
    assert dist.kl(open_, masked) == jnp.inf
    assert dist.log_prob(masked, jnp.int32(0)) == -jnp.inf
    np.testing.assert_allclose(dist.log_prob(masked, jnp.int32(2)), np.log(0.75), rtol=1e-6)


def test_categorical_extreme_values_and_gradients_are_finite():
    dist, logits = Categorical(4), jnp.asarray(EXTREME_LOGITS)

    def total(params, logits):
        best = dist.mode(logits)
        return dist.entropy(params) + dist.log_prob(params, best) + dist.kl(params, logits)

    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(total)))(logits, logits)
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(gradient).all()
    entropy = dist.entropy(logits)
    assert ((entropy >= 0.0) & (entropy <= np.log(4) + 1e-6)).all()


def test_categorical_gradients_against_finite_differences():
    dist, p, q = Categorical(4), jnp.array([0.3, -1.0, 2.0, 0.1]), jnp.array([1.0, 0.0, 0.5, -2.0])
    functions = [
        lambda x: dist.log_prob(x, jnp.int32(2)),
        dist.entropy,
        lambda x: dist.kl(x, q),
        lambda x: dist.kl(q, x),
    ]
    for function in functions:
        many, step = jax.jit(jax.vmap(function)), 1e-2 * np.eye(4, dtype=np.float32)
        slope = (many(p[None] + step) - many(p[None] - step)) / 2e-2
        np.testing.assert_allclose(jax.jit(jax.grad(function))(p), slope, atol=2e-4)


# Normals ----------------------------------------------------------------------


def test_normal_against_scipy():
    dist = DiagonalNormal(3)
    mean, std = np.array([0.5, -2.0, 10.0]), np.array([0.1, 1.0, 5.0])
    raw = np.array([0.4, 1.0, -3.0])
    params = normal_params(mean, std)
    normal = stats.norm(mean, std)
    np.testing.assert_allclose(
        dist.log_prob(params, jnp.asarray(raw)), normal.logpdf(raw).sum(), 1e-5
    )
    np.testing.assert_allclose(dist.entropy(params), normal.entropy().sum(), rtol=1e-5)


def test_normal_kl_by_quadrature():
    p, q = (0.3, 0.5), (-0.4, 1.2)
    density = stats.norm(*p)
    expected = integrate.quad(
        lambda x: density.pdf(x) * (density.logpdf(x) - stats.norm.logpdf(x, *q)), -8, 8
    )[0]
    for dist in (DiagonalNormal(1), TanhNormal(1)):  # a bijection does not change a KL
        params = [normal_params(np.array([m]), np.array([s])) for m, s in (p, q)]
        np.testing.assert_allclose(dist.kl(*params), expected, rtol=1e-5)


def test_normal_kl_resolves_a_tiny_change():
    p, q = jnp.array([0.0, 0.0]), jnp.array([0.0, 1e-4])
    np.testing.assert_allclose(DiagonalNormal(1).kl(p, q), 1e-8, rtol=0.3)


@pytest.mark.parametrize("dist", NORMALS, ids=repr)
def test_normal_sampling_distribution(dist):
    mean, std, draws = np.array([0.5, -1.0, 0.0]), np.array([0.1, 1.0, 3.0]), 20_000
    noise = random_noise(dist, (draws,), 0)
    raw = jax.jit(dist.sample)(jnp.broadcast_to(normal_params(mean, std), (draws, 6)), noise)
    for i in range(3):
        assert stats.kstest(raw[:, i], stats.norm(mean[i], std[i]).cdf).pvalue > 1e-3
    correlation = np.corrcoef(np.asarray(raw).T)[np.triu_indices(3, 1)]
    assert (np.abs(correlation) < 4.0 / np.sqrt(draws)).all()


def test_normal_actions():
    raw = jnp.array([-30.0, -0.5, 2.0])
    np.testing.assert_allclose(DiagonalNormal(3).to_action(raw), [-1.0, -0.5, 1.0])
    np.testing.assert_allclose(TanhNormal(3).to_action(raw), np.tanh(raw), rtol=1e-6)


def test_log_std_bounds_hold():
    dist = DiagonalNormal(1, min_log_std=-1.0, max_log_std=0.5)
    one = jnp.ones((2, 1))
    noise = dist.sample(jnp.array([[0.0, -50.0], [0.0, 50.0]]), one)
    np.testing.assert_allclose(noise[:, 0], np.exp([-1.0, 0.5]), rtol=1e-6)


@pytest.mark.parametrize("mean,std", [(0.0, 0.3), (0.8, 1.0), (-1.5, 0.6)])
def test_tanh_density_is_that_of_the_action(mean, std):
    dist = TanhNormal(1)
    params = normal_params(np.array([mean]), np.array([std]))
    raw = jnp.linspace(-2.0, 2.0, 21)[:, None]
    many = jnp.broadcast_to(params, (21, 2))
    action = np.tanh(np.linspace(-2.0, 2.0, 21))
    expected = tanh_density(action, mean, std)
    np.testing.assert_allclose(jnp.exp(dist.log_prob(many, raw)), expected, rtol=1e-4)

    actions = np.linspace(-1, 1, 20_001)[1:-1]
    grid = jnp.broadcast_to(params, (len(actions), 2))
    density = np.exp(jax.jit(dist.log_prob)(grid, np.arctanh(actions, dtype=np.float32)[:, None]))
    np.testing.assert_allclose(np.trapezoid(density, actions), 1.0, atol=2e-3)


@pytest.mark.parametrize("std,tolerance", [(0.1, 2e-4), (1.0, 2e-4), (2.7, 3e-4), (7.3, 3e-2)])
def test_tanh_entropy_without_a_draw(std, tolerance):
    dist = TanhNormal(1)
    for mean in (0.0, 0.37, -2.0, 6.0):
        normal = stats.norm(mean, std)

        def integrand(x, normal=normal):
            return normal.pdf(x) * 2.0 * (np.log(2.0) - x - np.logaddexp(0.0, -2.0 * x))

        bounds = mean - 10 * std, mean + 10 * std
        slope = integrate.quad(integrand, *bounds, points=[0.0, mean], limit=500)[0]
        params = normal_params(np.array([mean]), np.array([std]))
        np.testing.assert_allclose(dist.entropy(params), normal.entropy() + slope, atol=tolerance)


def test_tanh_entropy_estimate_is_unbiased_with_its_gradient():
    dist, draws = TanhNormal(2), 40_000
    params = jnp.array([0.3, -1.0, -0.5, 0.2])
    noise = random_noise(dist, (draws,), 0)

    def estimate(params):
        many = jnp.broadcast_to(params, (draws, 4))
        return dist.entropy(many, dist.sample(many, noise)).mean()

    def surprise(params):
        many = jnp.broadcast_to(params, (draws, 4))
        return -dist.log_prob(many, dist.sample(many, noise)).mean()

    value, gradient = jax.jit(jax.value_and_grad(estimate))(params)
    exact, exact_gradient = jax.jit(jax.value_and_grad(dist.entropy))(params)
    np.testing.assert_allclose(value, exact, atol=0.02)
    np.testing.assert_allclose(value, jax.jit(surprise)(params), atol=0.02)
    np.testing.assert_allclose(gradient, exact_gradient, atol=0.02)


def test_tanh_far_from_zero():
    """Where tanh rounds to one, the density and its gradients stay exact."""
    raw = np.array([-1e4, -100.0, -20.0, 0.0, 9.5, 1e4])
    log_slope = 2.0 * (np.log(2.0) - np.abs(raw) - np.log1p(np.exp(-2.0 * np.abs(raw))))
    expected = stats.norm.logpdf(raw, 0.5, np.exp(1.0)) - log_slope
    params = jnp.broadcast_to(jnp.array([0.5, 1.0]), (6, 2))
    both = jax.jit(jax.vmap(jax.value_and_grad(TanhNormal(1).log_prob, (0, 1))))
    value, gradients = both(params, jnp.asarray(raw)[:, None])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("dist", NORMALS, ids=repr)
def test_normal_extreme_parameters_have_finite_gradients(dist):
    noise = jnp.array([0.0, 4.0, -4.0])
    params = jnp.array([[0.0, 50.0, -50.0] + 3 * [x] for x in (-1e6, -5.0, 2.0, 1e6)])

    def total(params):
        raw = dist.sample(params, noise)
        return dist.log_prob(params, raw) + dist.entropy(params) + dist.kl(params, jnp.zeros(6))

    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(total)))(params)
    assert jnp.isfinite(value).all()
    assert jnp.isfinite(gradient).all()


# Where the numbers of an action lie ---------------------------------------------

LIES = {"both": (-1.0, 1.0), "below": (-1.0, INF), "above": (-INF, 1.0), "none": (-INF, INF)}


@pytest.mark.parametrize("low,high", LIES.values(), ids=LIES)
@pytest.mark.parametrize("mean,std", [(0.0, 0.5), (-2.0, 1.0), (2.0, 1.5)])
def test_the_density_is_that_of_the_action(low, high, mean, std):
    """Its integral over actions is 1, and over those below each point the share of draws."""
    dist = TanhNormal(1, support=Support((low,), (high,)))
    params = normal_params(np.array([mean]), np.array([std]))
    raw = np.linspace(mean - 7 * std, mean + 7 * std, 20_001).astype(np.float32)
    action = np.asarray(dist.to_action(jnp.asarray(raw)[:, None]), np.float64)[:, 0]
    assert (np.diff(action) > -1e-6).all() and action.min() >= low and action.max() <= high
    many = jnp.broadcast_to(params, (len(raw), 2))
    density = np.exp(np.asarray(dist.log_prob(many, raw[:, None]), np.float64))
    # At the ends a tanh rounds actions together; by the midpoints no point is lost.
    share = np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(action))
    np.testing.assert_allclose(share[-1], 1.0, atol=2e-3)
    for quantile in (0.1, 0.5, 0.9):
        at = stats.norm.ppf(quantile, mean, std)
        np.testing.assert_allclose(share[np.searchsorted(raw, at)], quantile, atol=2e-3)


@pytest.mark.parametrize("low,high", LIES.values(), ids=LIES)
def test_entropy_is_minus_the_mean_log_density(low, high):
    dist = TanhNormal(1, support=Support((low,), (high,)))
    for mean, std in ((0.0, 0.5), (-2.0, 1.0), (3.0, 2.0)):
        params = normal_params(np.array([mean]), np.array([std]))
        raw = np.linspace(mean - 8 * std, mean + 8 * std, 4001).astype(np.float32)
        many = jnp.broadcast_to(params, (len(raw), 2))
        log_prob = np.asarray(dist.log_prob(many, raw[:, None]), np.float64)
        expected = -np.trapezoid(stats.norm.pdf(raw, mean, std) * log_prob, raw)
        np.testing.assert_allclose(dist.entropy(params), expected, atol=5e-4)
        drawn = dist.entropy(many, raw[:, None])
        expected = np.trapezoid(stats.norm.pdf(raw, mean, std) * np.asarray(drawn), raw)
        np.testing.assert_allclose(dist.entropy(params), expected, atol=5e-4)


def test_numbers_of_one_action_may_lie_differently():
    support = Support(*map(tuple, np.array(list(LIES.values())).T.tolist()))
    raw = jnp.array([[-30.0] * 4, [0.0] * 4, [30.0] * 4])
    # log(e - 1) = 0.5413 makes the softplus of 0 a 1, so that 0 stays 0.
    squashed = [[-1.0, -1.0, -29.5413, -30.0], [0.0] * 4, [1.0, 29.5413, 1.0, 30.0]]
    np.testing.assert_allclose(TanhNormal(4, support=support).to_action(raw), squashed, atol=1e-4)
    np.testing.assert_allclose(TanhPoint(4, support=support).mode(raw), squashed, atol=1e-4)
    clipped = [[-1.0, -1.0, -30.0, -30.0], [0.0] * 4, [1.0, 30.0, 1.0, 30.0]]
    np.testing.assert_allclose(DiagonalNormal(4, support=support).to_action(raw), clipped)
    noisy = TanhPoint(4, support=support).sample(jnp.zeros((3, 4)), raw)
    np.testing.assert_allclose(noisy, clipped)


def test_an_open_support_far_from_zero_has_finite_gradients():
    dist = TanhNormal(4, support=Support(*map(tuple, np.array(list(LIES.values())).T.tolist())))
    params = jnp.array([[0.0] * 4 + [1.0] * 4])
    for raw in (jnp.full((1, 4), -1e4), jnp.full((1, 4), 1e4)):
        value, slope = jax.value_and_grad(lambda x: dist.log_prob(params, x).sum())(raw)
        assert jnp.isfinite(value) and jnp.isfinite(slope).all()
        assert jnp.isfinite(jax.grad(lambda x: dist.to_action(x).sum())(raw)).all()


# Other libraries --------------------------------------------------------------


def test_against_distrax():
    distrax = pytest.importorskip("distrax")
    params = random_params(Categorical(5), (8,))
    raw = jnp.arange(8) % 5
    theirs = distrax.Categorical(logits=params)
    np.testing.assert_allclose(Categorical(5).log_prob(params, raw), theirs.log_prob(raw), 1e-5)
    np.testing.assert_allclose(Categorical(5).entropy(params), theirs.entropy(), rtol=1e-5)
    params, raw = random_params(TanhNormal(2), (8,)), 0.3 * random_params(TanhNormal(1), (8,))
    mean, log_std = jnp.split(params, 2, -1)
    normal = distrax.MultivariateNormalDiag(mean, jnp.exp(log_std))
    theirs = distrax.Transformed(normal, distrax.Block(distrax.Tanh(), 1))
    np.testing.assert_allclose(
        TanhNormal(2).log_prob(params, raw), theirs.log_prob(jnp.tanh(raw)), rtol=1e-3
    )


@pytest.mark.filterwarnings("ignore:Rlax:PendingDeprecationWarning")
def test_against_rlax():
    rlax = pytest.importorskip("rlax")
    dist = Categorical(5)
    p, q = random_params(dist, (8,), 0), random_params(dist, (8,), 1)
    theirs = jax.vmap(rlax.categorical_kl_divergence)(p, q)
    np.testing.assert_allclose(dist.kl(p, q), theirs, rtol=1e-4)
