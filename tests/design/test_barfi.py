"""BARFI's gradient is that through the inner optimum, and its estimates are of that."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.design import barfi, episodes

S, A = 3, 2
SOLVERS = {
    "exact": {},
    "cg": {"iterations": 60},
    "neumann": {"iterations": 400, "step": 0.3},
}


@pytest.fixture(scope="module")
def tiny():
    world = tabular.garnet(jax.random.key(1), S, A, 2)
    world = world.replace(ends=world.ends.at[2, 1].set(True))
    heuristic = jax.random.normal(jax.random.key(2), (S, A))
    mixing = barfi.naive((S, A), 0.7, heuristic=0.5)
    return barfi.Task(world, heuristic), mixing


SETTINGS = barfi.Settings(regular=0.5, gamma=0.8, price=0.1)


@jax.jit
def optimum(task, mixing):
    """The inner optimum, by gradient ascent; the regulariser makes it unique."""
    push = jax.grad(barfi.inner, argnums=3)

    def step(_, logits):
        return logits + 0.3 * push(SETTINGS, task, mixing, logits)

    return jax.lax.fori_loop(0, 400, step, jnp.zeros((S, A)))


def test_the_implicit_gradient_is_that_of_finite_differences(tiny):
    task, mixing = tiny
    logits = optimum(task, mixing)

    def judged(mixing):
        return float(barfi.outer(SETTINGS, task, mixing, optimum(task, mixing)))

    rng, slopes, ways = np.random.default_rng(0), [], []
    for _ in range(3):
        way = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), mixing)
        there, back = (
            judged(jax.tree.map(lambda x, d, e=e: x + e * d, mixing, way)) for e in (1e-2, -1e-2)
        )
        ways.append(way)
        slopes.append((there - back) / 2e-2)
    for solver, more in SOLVERS.items():
        settings = SETTINGS.replace(solver=solver, **more)
        found = jax.jit(barfi.gradient)(settings, task, mixing, logits)
        along = [
            sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), found, way)))
            for way in ways
        ]
        np.testing.assert_allclose(along, slopes, rtol=0.03, atol=3e-3, err_msg=solver)


@pytest.mark.slow
def test_following_it_undoes_a_harmful_heuristic(tiny):
    """The heuristic pays for what the task does not: its weight falls, the return rises."""
    task, _ = tiny
    task = task.replace(heuristic=-3.0 * task.mdp.expected_reward())
    mixing, settings = barfi.naive((), 0.8), SETTINGS.replace(solver="exact")
    step = jax.jit(partial(barfi.gradient, settings))
    values, weights = [], []
    for _ in range(15):
        logits = optimum(task, mixing)
        values.append(float(barfi.outer(settings, task, mixing, logits)))
        weights.append(float(mixing.heuristic))
        mixing = jax.tree.map(lambda x, g: x + 1.0 * g, mixing, step(task, mixing, logits))
    assert weights[-1] < weights[0] - 0.3 and values[-1] > values[0] + 0.1


def test_estimates_have_the_gradients_of_the_exact_functions(tiny):
    task, mixing = tiny
    logits = 0.5 * jax.random.normal(jax.random.key(3), (S, A))
    settings = SETTINGS.replace(horizon=60)

    @jax.jit
    def both(key):
        seen = episodes.play(key, task.mdp, jax.nn.softmax(logits), 60, 4000)
        inner = jax.grad(barfi.sampled, argnums=3)(settings, task, mixing, logits, seen)
        outer = jax.grad(barfi.judged, argnums=3)(settings, task, mixing, logits, seen)
        return inner, outer, jax.grad(barfi.judged, argnums=2)(settings, task, mixing, logits, seen)

    inner, outer, price = both(jax.random.key(4))
    # The estimate weighs step t by 1, not gamma^t: so does the closed form beside it.
    np.testing.assert_allclose(inner, undiscounted(task, logits, mixing, settings), atol=0.25)
    own = barfi.naive((S, A), settings.gamma, 0.0)
    plain = undiscounted(task, logits, own, settings.replace(regular=0.0))
    np.testing.assert_allclose(outer, plain, atol=0.25)
    slope = 0.7 * 0.3 * -settings.price
    np.testing.assert_allclose(price.discount, slope, rtol=1e-4)


def undiscounted(task, logits, mixing, settings):
    """`sum_t P(s_t = s) pi(a|s) A(s, a) - regular logits`, over 60 steps, in NumPy."""
    pi = np.asarray(jax.nn.softmax(logits), np.float64)
    going = np.asarray(task.mdp.transition(), np.float64)
    reward = np.asarray(barfi.reward(mixing, task), np.float64)
    gamma, state = float(barfi.discount(mixing)), np.asarray(task.mdp.start, np.float64)
    step = np.einsum("sa,sat->st", pi, going)
    push = np.zeros((S, A))
    values = [np.zeros(S)]
    for _ in range(60):
        values.append((pi * (reward + gamma * going @ values[-1])).sum(1))
    for t in range(60):
        q = reward + gamma * going @ values[59 - t]
        push += state[:, None] * pi * (q - values[60 - t][:, None])
        state = state @ step
    return push - settings.regular * np.asarray(logits)


@pytest.mark.slow
def test_without_alignment_phi_stays(tiny):
    task, mixing = tiny
    settings = SETTINGS.replace(align=False, horizon=6, episodes=4)
    state = barfi.start(settings, task, mixing, jax.random.key(0))
    after = jax.jit(barfi.update)(settings, task, state, jax.random.key(1))
    for x, y in zip(jax.tree.leaves(after.mixing), jax.tree.leaves(mixing), strict=True):
        np.testing.assert_array_equal(x, y)
    assert (after.logits != 0).any()
    learnt = jax.jit(barfi.update)(settings.replace(align=True), task, state, jax.random.key(1))
    assert np.abs(learnt.mixing.heuristic - mixing.heuristic).max() > 0.01
