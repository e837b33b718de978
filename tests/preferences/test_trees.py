"""Prefix trees: who shares what, and that each leaf is drawn as any response is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.errors import UserError
from jaxrl_reward.nn import language_models
from jaxrl_reward.preferences import trees

V, P, T = 5, 2, 6


@pytest.fixture(scope="module")
def writer():
    model = language_models.recurrent(V, P, 8)
    return model, model.init(jax.random.key(0))


def test_a_leaf_takes_the_draws_of_the_first_of_its_node():
    own = trees.owners([1, 3], 2, 5)
    expected = [[0, 0, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2], [0, 1, 2, 3], [0, 1, 2, 3]]
    np.testing.assert_array_equal(own, expected)
    np.testing.assert_array_equal(trees.owners([], 2, 3), np.zeros((3, 1)))


def test_leaves_of_a_node_begin_alike_and_nodes_differ(writer):
    prompt = jnp.array([[1, 2], [3, 4], [1, 2]])
    made = trees.grow(*writer, prompt, jax.random.key(1), cuts=[2, 4], branches=3, length=T)
    tokens = np.asarray(made.tokens).reshape(T, 3, 3, 3)  # trees, their halves, leaves
    assert (tokens[:2] == tokens[:2, :, :1, :1]).all()
    assert (tokens[2:4] == tokens[2:4, :, :, :1]).all()
    assert (tokens[2:4] != tokens[2:4, :, :1]).any() and (tokens[4:] != tokens[4:, ..., :1]).any()
    assert (tokens[:, 0] != tokens[:, 2]).any()  # another tree of the same prompt


def test_each_leaf_is_drawn_from_the_model(writer):
    """The share of each first two tokens, over 4,000 trees, against the model's own chances."""
    model, params = writer
    many = 4000
    prompt = jnp.tile(jnp.array([[1, 2]]), (many, 1))
    made = trees.grow(model, params, prompt, jax.random.key(2), cuts=[1], branches=2, length=2)
    log_probs = lambda text: jax.nn.log_softmax(model.logits(params, text))  # noqa: E731
    texts = jnp.array([[1, 2, a, b] for a in range(1, V) for b in range(V)])
    known = log_probs(texts)
    rows = jnp.arange(len(texts))
    chance = jnp.exp(known[rows, 0, texts[:, 2]] + known[rows, 1, texts[:, 3]])
    for leaf in (0, 1):
        found = np.asarray(made.tokens[:, leaf::2])
        share = [(found == np.asarray(text[2:])[:, None]).all(0).mean() for text in texts]
        np.testing.assert_allclose(share, chance, atol=4 * (0.25 / many) ** 0.5)


def test_without_cuts_and_alike_responses_are_what_they_were(writer):
    prompt = jnp.array([[1, 2], [3, 4]])
    own = jnp.broadcast_to(jnp.arange(2)[None], (T, 2))
    plain = language_models.generate(*writer, prompt, T, jax.random.key(3))
    alike = language_models.generate(*writer, prompt, T, jax.random.key(3), alike=own)
    for one, other in zip(plain, alike, strict=True):
        np.testing.assert_array_equal(one, other)


def test_pairs_are_of_one_tree_and_of_different_leaves(writer):
    prompt = jnp.array([[1, 2], [3, 4]])
    made = trees.grow(*writer, prompt, jax.random.key(4), cuts=[2], branches=4, length=T)
    found = trees.compared(jax.random.key(5), made.tokens, 4, 600)
    first, second = np.asarray(found.first), np.asarray(found.second)
    assert (first // 4 == second // 4).all() and (first != second).all()
    assert (first.reshape(2, 600) // 4 == [[0], [1]]).all()
    counts = np.bincount(first[:600] * 4 + second[:600], minlength=16).reshape(4, 4)
    off = counts[~np.eye(4, dtype=bool)]
    assert (np.abs(off - 50) < 5 * 50**0.5).all()
    assert (np.asarray(found.shared) >= 2).all()
    tokens = np.asarray(made.tokens)
    at = int(np.asarray(found.shared).argmin())
    size = int(found.shared[at])
    a, b = tokens[:, first[at]], tokens[:, second[at]]
    assert (a[:size] == b[:size]).all() and a[size] != b[size]


@pytest.mark.parametrize(
    ("cuts", "branches", "said"),
    [([2, 2], 2, "must rise"), ([6], 2, "to below 6"), ([0], 1, "at least 2 branches, not 1")],
)
def test_what_is_no_tree_is_said(cuts, branches, said):
    with pytest.raises(UserError, match=said):
        trees.owners(cuts, branches, T)
