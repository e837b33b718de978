"""Pieces give what the whole gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.agents.common import batching


def loss(params, batch):
    error = batch["x"] @ params - batch["y"]
    return jnp.square(error).mean(), {"size": jnp.abs(error).mean()}


@pytest.mark.parametrize(("rows", "piece"), [(1024, 256), (768, 256), (300, 150), (128, 128)])
def test_a_large_minibatch_is_cut_evenly(rows, piece):
    assert batching.piece_of(rows) == piece


def test_a_number_without_a_fit_divisor_is_not_cut():
    assert batching.piece_of(1009) == 1009


def test_the_gradient_by_pieces_is_that_of_the_minibatch():
    rng = np.random.default_rng(0)
    batch = {"x": rng.normal(size=(2000, 3)), "y": rng.normal(size=2000)}
    batch = jax.tree.map(jnp.float32, batch)
    params, rows = jnp.ones(3), rng.permutation(2000)[:1024]
    assert batching.piece_of(1024) < 1024
    found = batching.mean_gradient(loss, params, batch, rows)
    x, y = np.asarray(batch["x"])[rows], np.asarray(batch["y"])[rows]
    error = x @ np.ones(3) - y
    np.testing.assert_allclose(found[0], 2 * x.T @ error / 1024, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1]["size"], np.abs(error).mean(), rtol=1e-5)


def test_step_by_step_is_all_at_once():
    x = jnp.arange(3 * 256 * 2.0).reshape(3, 256, 2)
    np.testing.assert_array_equal(batching.by_steps(lambda x: x.sum(-1), x), x.sum(-1))
