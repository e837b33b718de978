"""Expressions on episodes of one step."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import rewards as rw


def test_vectors_are_judged_by_an_expression():
    scores = jnp.array([[1.0, 3.0], [2.0, -4.0]])
    term = rw.parse("stack(objective(1), objective(2)) | pool(how='min')")
    state = rw.one_step.start(term, jax.random.key(0), scores)
    _, reward = rw.one_step.judge(term, state, scores)
    np.testing.assert_allclose(reward, [1.0, -4.0])
    _, first = rw.one_step.judge(
        rw.env(), rw.one_step.start(rw.env(), jax.random.key(0), scores), scores
    )
    np.testing.assert_allclose(first, scores[:, 0])


def test_what_an_expression_learns_is_carried_on():
    term = rw.parse("objective(1) | min_max()")
    state = rw.one_step.start(term, jax.random.key(0), jnp.zeros((3, 1)))
    state, at_first = rw.one_step.judge(term, state, jnp.array([[0.0], [1.0], [4.0]]))
    _, reward = rw.one_step.judge(term, state, jnp.array([[2.0], [5.0], [-1.0]]))
    np.testing.assert_allclose(at_first, 0.5)
    np.testing.assert_allclose(reward, [0.5, 1.0, 0.0])
