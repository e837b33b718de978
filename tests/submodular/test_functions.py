"""Set functions: their laws against brute force, swept over all of them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jaxrl_reward import submodular as sm
from jaxrl_reward.types import UserError

N, T = 6, 7  # elements, and how many are chosen
# What runs for microseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def coverage(rng):
    covers = [rng.choice(9, 3, replace=False).tolist() for _ in range(N - 1)]
    return sm.coverage([*covers, [8]], rng.random(9))


def grid_coverage(rng):
    return sm.GridCoverage(2, 3, sm.disc(1), np.float32(rng.random()))


def groups(rng):
    members = [rng.choice(N, 4, replace=False).tolist() for _ in range(2)]
    return sm.groups(members, rng.integers(1, 4, 2), N, rng.random(2))


def facility_location(rng):
    return sm.FacilityLocation(rng.random((N, 4), np.float32))


def information_gain(rng):
    points = rng.normal(size=(N, 2)).astype(np.float32)
    prior = sm.kernel("matern52", points, *rng.uniform(0.5, 2, 2).astype(np.float32))
    known = sm.conditioned(prior, rng.normal(size=(2, 2)), 0.1)
    return sm.InformationGain(known, np.float32(0.1), capacity=T)


def entropy(rng):
    factor = rng.normal(size=(N, N)).astype(np.float32)
    return sm.entropy(sm.Table(factor @ factor.T / N), 0.02, capacity=T)


def linear_design(rng):
    return sm.LinearDesign(rng.normal(size=(N, 3)).astype(np.float32), np.float32(0.3))


def test_a_cut_is_the_graph_cut_of_other_libraries_with_a_factor_of_one():
    """apricot's and submodlib's: what the chosen have in common with all, less with themselves."""
    weights = np.random.default_rng(0).random((5, 5))
    weights += weights.T
    for chosen in ([0], [1, 3], [0, 2, 4], [0, 1, 2, 3, 4]):
        theirs = weights[chosen].sum() - weights[np.ix_(chosen, chosen)].sum()
        found = sm.GraphCut(jnp.asarray(weights)).evaluate(chosen)
        np.testing.assert_allclose(found, theirs, atol=1e-9)


def graph_cut(rng):
    edges = np.triu(rng.random((N, N), np.float32), 1)
    return sm.GraphCut(edges + edges.T)


FUNCTIONS = (
    coverage,
    grid_coverage,
    groups,
    facility_location,
    information_gain,
    entropy,
    linear_design,
    graph_cut,
)
every_function = pytest.mark.parametrize("build", FUNCTIONS, ids=lambda f: f.__name__)
seeds = st.integers(0, 2**31 - 1)


def choose(function, elements):
    """Gains, values and singles of elements `[T]`, the value of the first, and the last view."""

    def step(memory, element):
        gain, memory = function.gain(memory, element)
        return memory, (gain, function.value(memory), function.single(element))

    started = function.value(function.start(elements[0]))
    memory, steps = jax.lax.scan(step, function.init(), elements)
    return *steps, started, function.view(memory)


chosen = quick(choose)


def case(build, seed):
    rng = np.random.default_rng(seed)
    return build(rng), rng.integers(0, N, T).astype(np.int32), rng


def gains(function, elements):
    filled = np.resize(np.asarray(elements, np.int32), T)
    return np.asarray(chosen(function, filled)[0])[: len(elements)]


def test_definitions_by_hand():
    """What `evaluate` says, against which all else is tested."""
    both = [0, 1]
    covering = sm.coverage([[0, 2], [1, 2]], [1.0, 2.0, 4.0])
    assert covering.evaluate([0]) == 5.0 and covering.evaluate([0, 1, 1]) == 1 + 2 + 4
    facility = sm.FacilityLocation(np.array([[1.0, 2.0, 0.0], [3.0, 0.5, 0.0]], np.float32))
    assert facility.evaluate(both) == 3 + 2 and facility.evaluate([1]) == 3.5
    wanted = sm.groups([[0, 1, 2], [2]], [2, 1], 3, [1.0, 10.0])
    assert [wanted.evaluate(s) for s in ([0], both, [0, 1, 2])] == [1.0, 2.0, 12.0]
    path = sm.GraphCut(np.array([[0, 2, 0], [2, 0, 3], [0, 3, 0]], np.float32))
    assert [path.evaluate(s) for s in ([0], [1], both, [0, 1, 2])] == [2.0, 5.0, 3.0, 0.0]
    # det(I + [[4, 2], [2, 1]] / 0.5) = 9 * 3 - 16 = 11, and one of them alone: 1 + 4 / 0.5 = 9.
    line = sm.LinearDesign(np.array([[2.0, 0.0], [1.0, 0.0]], np.float32), np.float32(0.5))
    np.testing.assert_allclose(line.evaluate(both), np.log(11) / 2)
    np.testing.assert_allclose(line.evaluate([0]), np.log(9) / 2)
    # Two noisy normals of variance 1 + 0.5 and covariance 1: det = 1.25.
    same = sm.entropy(sm.Table(np.ones((2, 2), np.float32)), 0.5)
    exact = stats.multivariate_normal(cov=[[1.5, 1.0], [1.0, 1.5]]).entropy()
    np.testing.assert_allclose(same.evaluate(both), exact)


@every_function
@given(seed=seeds)
def test_gains_telescope_to_the_definition(build, seed):
    function, elements, _ = case(build, seed)
    gained, value, single, started, _ = chosen(function, elements)
    brute = [function.evaluate(elements[: t + 1].tolist()) for t in range(T)]
    np.testing.assert_allclose(np.cumsum(gained), brute, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(value, brute, rtol=1e-4, atol=1e-4)
    alone = [function.evaluate([element]) for element in elements.tolist()]
    np.testing.assert_allclose(single, alone, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(started, brute[0], rtol=1e-4, atol=1e-4)
    assert function.evaluate([]) == 0.0


@every_function
@given(seed=seeds)
def test_order_does_not_matter(build, seed):
    function, elements, rng = case(build, seed)
    mixed = rng.permutation(elements)
    one, other = (chosen(function, each)[1][-1] for each in (elements, mixed))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@every_function
@given(seed=seeds)
def test_returns_diminish(build, seed):
    """What an element adds to a set without it, it adds at least to a part of that set."""
    function, elements, rng = case(build, seed)
    if not function.repeats:
        elements[:-1] = np.where(
            elements[:-1] == elements[-1], (elements[-1] + 1) % N, elements[:-1]
        )
    cut = rng.integers(0, T - 1)
    small = gains(function, [*elements[:cut], elements[-1]])[-1]
    assert small >= gains(function, elements)[-1] - 1e-4


@every_function
@given(seed=seeds)
def test_gains_are_negative_only_where_that_is_declared(build, seed):
    function, elements, _ = case(build, seed)
    gained = gains(function, elements)
    if function.monotone:
        assert (gained >= -1e-5).all()
    else:
        # All nodes cut nothing; to measure again is to learn less than the noise hides.
        assert min(gains(function, each).min() for each in (range(N), [0] * T)) < 0


@every_function
@given(seed=seeds)
def test_a_repeat_pays_only_where_that_is_declared(build, seed):
    function, elements, rng = case(build, seed)
    elements[-1] = elements[rng.integers(0, T - 1)]
    again = gains(function, elements)[-1]
    if function.repeats:
        offset = function.offset if isinstance(function, sm.InformationGain) else 0.0
        assert again > offset
    else:
        assert again == 0.0


@pytest.mark.parametrize("build", FUNCTIONS[1:3], ids=lambda f: f.__name__)
def test_numbers_are_leaves(build):
    """Many weights are one program: `vmap` over functions is a loop."""
    many = [build(np.random.default_rng(seed)) for seed in range(3)]
    elements = np.arange(T, dtype=np.int32) % N
    stacked = jax.tree.map(lambda *x: np.stack(x), *many)
    played = quick(jax.vmap(choose, in_axes=(0, None)))(stacked, elements)[0]
    for each, gained in zip(many, played, strict=True):
        np.testing.assert_allclose(gained, gains(each, elements), rtol=1e-5, atol=1e-6)


# ---- what a policy sees ----------------------------------------------------------------


def test_views_say_what_was_reached():
    covering = sm.coverage([[0, 40], [40, 41], [7]])
    for elements, items in (([0, 0], [0, 40]), ([1, 0], [0, 40, 41])):
        view = chosen(covering, np.array(elements, np.int32))[-1]
        assert np.flatnonzero(view).tolist() == items
    wanted = sm.groups([[0, 1], [2]], [2, 1], 3)
    np.testing.assert_allclose(chosen(wanted, np.array([1, 1]))[-1], [0, 1, 0, 0.5, 0])
    measured = sm.InformationGain(sm.Table(np.eye(3, dtype=np.float32)), 1.0, capacity=4)
    np.testing.assert_allclose(chosen(measured, np.array([2, 2]))[-1], [0, 0, 2])


def test_neighbourhoods_and_sensors():
    path = np.eye(4, k=1) + np.eye(4, k=-1)
    assert sm.neighbourhoods(path) == [[0, 1], [0, 1, 2], [1, 2, 3], [2, 3]]
    assert sm.neighbourhoods(path, hops=2)[0] == [0, 1, 2]
    assert len(sm.disc(1)) == 9 and len(sm.disc(2)) == 21 and len(sm.square(2)) == 25


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sm.coverage([[0, 3]], [1.0]), "1 weights, for items 0 to 3"),
        (lambda: sm.coverage([[0]], [-1.0]), "not negative"),
        (lambda: sm.groups([[0]], [1, 2], 3), "1 groups, 2 caps"),
        (lambda: sm.groups([[5]], [1], 3), "group 0 has an element that is not in 0 to 2"),
        (lambda: sm.kernel("rbff", np.zeros((1, 1))), "did you mean 'rbf'"),
    ],
)
def test_bad_functions_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()


# ---- Gaussian processes ----------------------------------------------------------------


@quick
def run(function, elements):
    return jax.lax.scan(
        lambda memory, element: function.gain(memory, element)[::-1], function.init(), elements
    )[1]


def test_a_hundred_measurements_are_slogdet():
    for seed, shape in enumerate(("rbf", "matern52", "rbf")):
        rng = np.random.default_rng(seed)
        prior = sm.kernel(shape, rng.uniform(0, 4, (60, 2)).astype(np.float32))
        function = sm.InformationGain(prior, np.float32(1e-2), capacity=100)
        elements = rng.integers(0, 60, 100).astype(np.int32)
        exact = [function.evaluate(elements[: t + 1].tolist()) for t in range(0, 100, 9)]
        summed = np.cumsum(np.asarray(run(function, elements), float))[::9]
        np.testing.assert_allclose(summed, exact, rtol=0, atol=1e-4)


def test_a_gain_costs_the_square_of_the_measurements():
    def flops(capacity):
        prior = sm.kernel("rbf", np.zeros((5, 1), np.float32))
        function = sm.InformationGain(prior, 0.1, capacity=capacity)
        lowered = jax.jit(function.gain).lower(function.init(), jnp.int32(0))
        assert not any(word in lowered.as_text() for word in ("cholesky", "triangular"))
        return lowered.cost_analysis()["flops"]

    assert flops(256) / flops(64) < 17  # 4^2, and what is linear


@pytest.mark.parametrize(
    ("shape", "variance", "noise", "points", "known"),
    [
        ("rbf", 1.0, 0.01, [0.0], 2.307560),
        ("rbf", 1.0, 0.01, [0.0, 0.0], 2.651652),
        ("rbf", 1.0, 0.01, [0.0, 1.0], 4.391484),
        ("rbf", 1.0, 0.01, [0.0, 1.0, 2.0], 6.408272),
        ("rbf", 1.0, 0.01, [0.0, 2.0, 4.0], 6.904402),
        ("rbf", 1.0, 0.01, [0.0, 0.1], 2.852727),
        ("matern52", 1.0, 0.01, [0.0, 1.0], 4.458340),
        ("matern52", 1.0, 0.01, [0.0, 1.0, 2.0], 6.592570),
        ("matern52", 1.0, 0.01, [0.0, 2.0, 4.0], 6.903550),
        ("matern52", 1.0, 0.01, [0.0, 0.1, 0.2], 3.579389),
        ("matern52", np.log(2), 1e-6, [0.0], 6.724500),
        ("matern52", np.log(2), 1e-6, [0.0, 0.0], 7.071073),
        ("matern52", np.log(2), 1e-6, [0.0, 1.0], 13.288504),
        ("matern52", np.log(2), 1e-6, [0.0, 1.0, 2.0], 19.834644),
        ("matern52", np.log(2), 1e-6, [0.0, 0.1, 0.2], 14.898180),
    ],
)
def test_known_information(shape, variance, noise, points, known):
    """Values computed independently (card of the paper, example F)."""
    x = np.array([*points, 9.0, 9.0])[:3, None]  # one length, one program
    elements = range(len(points))
    prior = sm.kernel(shape, x, variance=float(variance))
    function = sm.InformationGain(prior, noise, capacity=3)
    np.testing.assert_allclose(function.evaluate(elements), known, atol=1e-6)
    with jax.enable_x64(True):
        gained = np.asarray(run(function, np.arange(3)))[elements]
    np.testing.assert_allclose(gained.sum(), known, atol=1e-6)


def test_a_known_point_has_nothing_to_tell():
    points = np.linspace(0, 3, 7, dtype=np.float32)[:, None]
    prior = sm.kernel("rbf", points)
    known = sm.conditioned(prior, points[[2]].astype(float), 1e-6)
    left = known.table()
    cross = prior.table()[:, [2]]
    np.testing.assert_allclose(left, prior.table() - cross @ cross.T / (1 + 1e-6), atol=1e-5)
    assert abs(left[2, 2]) < 1e-5
