"""Optimisers that keep a network able to learn, and what tells: optax, and numbers by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl_reward.nn.plasticity import diagnostics, optimisers
from jaxrl_reward.types import UserError


def test_classp_without_a_threshold_is_adagrad():
    params = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array([[0.3]])}
    ours = optimisers.classp(0.2, threshold=0.0, power=2.0, eps=1e-5)
    theirs = optax.adagrad(0.2, initial_accumulator_value=0.0, eps=1e-5)
    states, found = [ours.init(params), theirs.init(params)], [params, params]
    for step in range(5):
        for i, each in enumerate((ours, theirs)):
            grads = jax.tree.map(lambda x, step=step: jnp.sin(3 * x + step), found[i])
            updates, states[i] = each.update(grads, states[i])
            found[i] = optax.apply_updates(found[i], updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *found)


def test_classp_leaves_small_gradients_alone():
    rule = optimisers.classp(0.2, threshold=0.25, power=1.0, eps=0.0)
    state = rule.init(jnp.zeros(3))
    updates, state = rule.update(jnp.array([0.5, -0.6, 1.0]), state)  # .5^2 is not above
    np.testing.assert_allclose(updates, [0.0, 0.2, -0.2], rtol=1e-6)
    np.testing.assert_allclose(state.sums, [0.0, 0.6, 1.0])
    updates, state = rule.update(jnp.array([0.1, -0.6, 1.0]), state)
    np.testing.assert_allclose(updates, [0.0, 0.1, -0.1], rtol=1e-6)


def test_norms_are_kept_and_the_direction_is_that_of_the_step():
    params = {"w": jnp.array([[3.0, 0.0], [0.0, 4.0]]), "b": jnp.ones(2)}
    rule = optax.chain(optax.sgd(1.0), optimisers.project_norms())
    state = rule.init(params)
    grads = {"w": jnp.array([[0.0, 5.0], [0.0, 0.0]]), "b": jnp.ones(2)}
    updates, state = rule.update(grads, state, params)
    found = optax.apply_updates(params, updates)
    want = np.array([[3.0, -5.0], [0.0, 4.0]]) * 5 / np.sqrt(50)
    np.testing.assert_allclose(found["w"], want, rtol=1e-6)
    np.testing.assert_allclose(found["b"], [0.0, 0.0], atol=1e-6)  # biases are not projected
    with pytest.raises(UserError, match="needs the parameters"):
        optimisers.project_norms().update(grads, state[1])


def test_ranks():
    np.testing.assert_allclose(diagnostics.rank_me(jnp.array([4.0, 2, 1, 1])), 3.363586, rtol=1e-6)
    np.testing.assert_allclose(diagnostics.rank_me(jnp.array([2.0, 2, 2, 0])), 3.0, rtol=1e-6)
    for alpha in (0.5, 1.0, 2.3):
        law = jnp.arange(1.0, 65.0) ** -alpha
        np.testing.assert_allclose(diagnostics.alpha_req(7 * law), alpha, rtol=1e-4)
        np.testing.assert_allclose(diagnostics.alpha_req(law, 5, 40), alpha, rtol=1e-4)


def test_units_that_are_off():
    seen = jnp.array([[1.0, 0.0, 0.001], [3.0, 0.0, 0.0]])
    np.testing.assert_allclose(diagnostics.active_units(seen), 3 / 6)
    np.testing.assert_allclose(diagnostics.dormant_units(seen), 2 / 3)
    np.testing.assert_allclose(diagnostics.dormant_units(seen, 0.0), 1 / 3)
