"""Slopes of values on linear systems, where they are known, and bounds on them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.nn import lipschitz

# F, G, K, w, gamma; the exact slope, the published bound and the one that holds.
CASES = {
    "E1": ([[0.5]], [[0.2]], [[-0.3]], [1, 0.5], 0.99, 1.919328, 1.321502, 2.521533),
    "E2": ([[1.0]], [[0.0]], [[0.0]], [1, 0], 0.9, 10.0, 2.294157, 10.0),
    "E3": ([[0.6]], [[0.3]], [[1.0]], [1, 1], 0.9, 7.709763, 1.774015, 9.674134),
    "E4": (
        *([[0.45, 0.05], [0.0, 0.4]], [[0.0], [0.1]], [[-0.2, -0.4]], [1, 0, 0.2]),
        *(0.99, 1.784733, 1.282328, 3.036144),
    ),
}


def norms(f, g, k, w):
    return np.linalg.norm(w), np.linalg.norm(np.hstack([f, g])), np.linalg.norm(k)


def slope_of_returns(f, g, k, w, gamma, horizon):
    """By automatic differentiation of the discounted return of a rollout."""
    f, g, k, w = (jnp.asarray(x, jnp.float32) for x in (f, g, k, w))

    def value(state, action):
        total = 0.0
        for i in range(horizon):
            total += gamma**i * (w @ jnp.concatenate([state, action]))
            state = f @ state + g @ action
            action = k @ state
        return total

    return lipschitz.slopes(value, jnp.ones((1, f.shape[0])), jnp.ones((1, g.shape[1])))[0]


@pytest.mark.parametrize("name", CASES)
def test_the_bound_holds_on_linear_systems_and_the_published_one_does_not(name):
    *system, gamma, exact, published, valid = CASES[name]
    f, g, k, w = (np.asarray(x, np.float64) for x in system)
    through = np.vstack([np.eye(len(f)), k]) @ np.hstack([f, g])
    slope = np.linalg.norm(np.linalg.solve(np.eye(len(through)) - gamma * through.T, w))
    assert slope == pytest.approx(exact, rel=1e-5)
    sizes = norms(f, g, k, w)
    assert float(lipschitz.bound(*sizes, gamma)) == pytest.approx(valid, rel=1e-5)
    assert float(lipschitz.published_bound(*sizes, gamma)) == pytest.approx(published, rel=1e-5)
    assert published < slope <= valid * (1 + 1e-6)


@pytest.mark.parametrize(
    ("horizon", "exact", "valid"),
    [(1, 1.118034, 1.118034), (3, 1.767172, 2.086715), (5, 1.890454, 2.386822)],
)
def test_a_finite_horizon(horizon, exact, valid):
    *system, gamma = CASES["E1"][:5]
    assert slope_of_returns(*system, gamma, horizon) == pytest.approx(exact, rel=1e-5)
    sizes = norms(*map(np.asarray, system))
    assert float(lipschitz.bound(*sizes, gamma, horizon)) == pytest.approx(valid, rel=1e-5)


def test_random_linear_systems_stay_below_the_bound_and_a_quarter_exceed_the_published_one():
    rng, gamma, slopes, sizes = np.random.default_rng(0), 0.99, [], []
    for _ in range(2000):
        d, m = rng.integers(1, 4), rng.integers(1, 3)
        f, g = rng.normal(size=(d, d)), rng.normal(size=(d, m))
        k, w = rng.normal(size=(m, d)) * rng.uniform(0, 1.5), rng.normal(size=d + m)
        size = np.linalg.norm(np.hstack([f, g])) * np.sqrt(1 + np.linalg.norm(k) ** 2)
        scale = rng.uniform(0.1, 0.95) / size
        f, g = f * scale, g * scale
        through = np.vstack([np.eye(d), k]) @ np.hstack([f, g])
        slopes.append(np.linalg.norm(np.linalg.solve(np.eye(d + m) - gamma * through.T, w)))
        sizes.append(norms(f, g, k, w))
    slope, sizes = np.array(slopes), jnp.asarray(sizes).T
    above = slope > np.asarray(lipschitz.bound(*sizes, gamma)) * (1 + 1e-5)
    exceeded = slope > np.asarray(lipschitz.published_bound(*sizes, gamma)) * (1 + 1e-5)
    assert above.sum() == 0 and 0.2 < exceeded.mean() < 0.3


def test_bounds_are_infinite_where_slopes_may_grow():
    assert lipschitz.bound(1.0, 1.0, 1.0, 0.9) == jnp.inf
    assert lipschitz.published_bound(1.0, 1.2, 0.0, 0.9) == jnp.inf


def test_secants_see_what_gradients_do_not():
    """A jump, and a reward that lets no gradient through."""
    x = jnp.array([[0.0, 0.0], [5.0, 5.0]])
    stopped = lambda x: jax.lax.stop_gradient(3 * x[:, 0] + 4 * x[:, 1])  # noqa: E731
    found = lipschitz.local_constants(stopped, jax.random.key(0), 0.1, x, draws=256)
    assert ((found > 4.9) & (found < 5.001)).all()
    jump = lambda x: (x[:, 0] > 0).astype(jnp.float32)  # noqa: E731
    found = lipschitz.local_constants(jump, jax.random.key(0), 0.1, x)
    np.testing.assert_allclose(found, [10.0, 0.0], rtol=1e-4)
