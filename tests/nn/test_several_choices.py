"""Masked and several choices, against NumPy and against all there are, one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxrl_reward.nn.distributions import Categorical, MultiCategorical

SEVERAL = {counts: MultiCategorical(counts) for counts in [(3,), (2, 2), (1, 4, 2)]}
PROGRAMS = {
    (counts, name): jax.jit(getattr(dist, name))
    for counts, dist in SEVERAL.items()
    for name in ("log_prob", "entropy", "mode", "kl", "sample")
}
LOGITS = st.floats(-8.0, 8.0, width=32)


@st.composite
def several(draw):
    """How many choices, logits of them, and which are allowed, one of each number at least."""
    counts = draw(st.sampled_from([(3,), (2, 2), (1, 4, 2)]))  # each is a program
    rows = [draw(st.lists(LOGITS, min_size=n, max_size=n)) for n in counts]
    masks = [draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(any)) for n in counts]
    return counts, rows, masks


def _law(rows, masks):
    """The probability of each combination, by NumPy in float64."""
    each = []
    for row, mask in zip(rows, masks, strict=True):
        weight = np.where(mask, np.exp(np.float64(row) - max(row)), 0.0)
        each.append(weight / weight.sum())
    combinations = itertools.product(*(range(len(row)) for row in rows))
    return {c: np.prod([p[i] for p, i in zip(each, c, strict=True)]) for c in combinations}


def _params(rows, masks):
    return jnp.where(np.concatenate(masks), np.concatenate(rows).astype(np.float32), -jnp.inf)


@given(several())
def test_several_choices_are_their_product(one):
    counts, rows, masks = one
    law, params = _law(rows, masks), _params(rows, masks)
    raw = jnp.array(list(law))
    log_prob = PROGRAMS[counts, "log_prob"](jnp.broadcast_to(params, (len(law), params.size)), raw)
    wanted = np.array(list(law.values()))
    np.testing.assert_allclose(np.exp(log_prob), wanted, rtol=1e-4, atol=1e-7)
    seen = wanted[wanted > 0]
    entropy = PROGRAMS[counts, "entropy"](params)
    np.testing.assert_allclose(entropy, -(seen * np.log(seen)).sum(), atol=1e-4)
    best = tuple(PROGRAMS[counts, "mode"](params).tolist())
    np.testing.assert_allclose(law[best], wanted.max(), rtol=1e-5)


@given(several(), st.integers(0, 2**31 - 1), st.data())
def test_the_distance_of_two_laws_is_that_of_all_combinations(one, seed, data):
    counts, rows, masks = one
    others = [data.draw(st.lists(LOGITS, min_size=n, max_size=n)) for n in counts]
    p, q = _law(rows, masks), _law(others, masks)
    wanted = sum(p[c] * np.log(p[c] / q[c]) for c in p if p[c] > 0)
    found = PROGRAMS[counts, "kl"](_params(rows, masks), _params(others, masks))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    noise = SEVERAL[counts].noise(jax.random.key(seed), (50,))
    drawn = PROGRAMS[counts, "sample"](
        jnp.broadcast_to(_params(rows, masks), (50, sum(counts))), noise
    )
    assert all(p[tuple(each)] > 0 for each in drawn.tolist())


def test_draws_are_as_often_as_they_are_likely():
    counts, rows = (3, 2), [[0.0, 1.0, 2.0], [0.5, -0.5]]
    masks = [[True, False, True], [True, True]]
    dist = MultiCategorical(counts)
    noise = dist.noise(jax.random.key(0), (20_000,))
    params = jnp.broadcast_to(_params(rows, masks), (20_000, 5))
    drawn = [tuple(each) for each in dist.sample(params, noise).tolist()]
    for combination, wanted in _law(rows, masks).items():
        assert abs(drawn.count(combination) / 20_000 - wanted) < 4 * np.sqrt(0.25 / 20_000)


def test_one_number_is_a_categorical():
    params = jax.random.normal(jax.random.key(0), (6, 4))
    noise = jax.random.uniform(jax.random.key(1), (6,))
    one, several = Categorical(4), MultiCategorical((4,))
    raw = one.sample(params, noise)
    np.testing.assert_array_equal(several.sample(params, noise[:, None])[:, 0], raw)
    np.testing.assert_array_equal(several.log_prob(params, raw[:, None]), one.log_prob(params, raw))


def test_the_entropy_of_what_is_allowed_alike_is_the_log_of_how_many():
    allowed = jnp.array([[True, False, True, True], [False, False, False, True]])
    entropy = Categorical(4).entropy(jnp.where(allowed, 0.3, -jnp.inf))
    np.testing.assert_allclose(entropy, np.log([3, 1]), atol=1e-6)
    both = MultiCategorical((2, 2)).entropy(jnp.where(allowed, 0.3, -jnp.inf)[:1])
    np.testing.assert_allclose(both, np.log([2]), atol=1e-6)


def test_masks_leave_gradients_finite_and_none_for_what_is_not_allowed():
    logits = jnp.array([[3.0, 90.0, -2.0, 0.0, 1.0], [80.0, 0.0, 1.0, 2.0, 3.0]])
    allowed = jnp.array([[1, 0, 1, 1, 0], [0, 1, 1, 1, 0]], bool)
    of_one = (Categorical(5), jnp.array([2, 1]))
    of_two = (MultiCategorical((2, 3)), jnp.array([[0, 0], [1, 1]]))
    for dist, raw in (of_one, of_two):

        def total(logits, dist=dist, raw=raw):
            params = jnp.where(allowed, logits, -jnp.inf)
            kl = dist.kl(params, jax.lax.stop_gradient(params) + 1.0)
            return (dist.log_prob(params, raw) + dist.entropy(params) + kl).sum()

        gradient = jax.grad(total)(logits)
        assert jnp.isfinite(gradient).all() and (gradient != 0.0).any()
        np.testing.assert_array_equal(gradient[~allowed], 0.0)
