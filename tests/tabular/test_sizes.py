"""Numbers that a program makes, counted: what grows with the states, and which form is taken."""

import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular import mdp as mdps
from jaxrl_reward.tabular import planning
from jaxrl_reward.tabular.returns import functionals, stock
from jaxrl_reward.types import UserError


def made(jaxpr):
    """The sizes of all arrays that a program makes, those of programs inside it too."""
    for equation in jaxpr.eqns:
        yield from (each.aval.size for each in equation.outvars if hasattr(each.aval, "size"))
        for part in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            if hasattr(part, "eqns"):
                yield from made(getattr(part, "jaxpr", part))


@pytest.mark.parametrize("states", [5000, 10_000, 100_000])
def test_a_large_garnet_makes_nothing_larger_than_itself(states):
    actions, branching = 4, 3
    program = jax.make_jaxpr(lambda key: tabular.garnet(key, states, actions, branching))
    assert max(made(program(jax.random.key(0)).jaxpr)) <= 4 * states * actions * branching


def test_sets_of_successors_are_all_as_likely():
    drawn = np.asarray(mdps._distinct(jax.random.key(0), (6000,), 5, 3))
    counts = Counter(tuple(sorted(each)) for each in drawn.tolist())
    assert set(counts) == set(itertools.combinations(range(5), 3))
    expected = 6000 / 10
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < 27.9  # chi^2(9), 0.999
    assert sorted(mdps._distinct(jax.random.key(1), (1,), 4, 4)[0].tolist()) == [0, 1, 2, 3]


def test_a_large_garnet_is_one():
    world = tabular.garnet(jax.random.key(0), 3000, 2, 4)
    after = np.sort(np.asarray(world.successor), -1)
    assert (np.diff(after) > 0).all() and after.min() >= 0 and after.max() < 3000
    # 24,000 of 3,000 states: each is reached 8 times on average, nearly as Poisson's law.
    reached = np.bincount(after.ravel(), minlength=3000)
    assert 0.9 < reached.var() / 8 < 1.1
    np.testing.assert_allclose(world.probability.sum(-1), 1.0, rtol=1e-5)


def test_a_system_that_is_too_large_is_refused_before_it_is_made():
    world = jax.eval_shape(lambda key: tabular.garnet(key, 10_000, 2, 2), jax.random.key(0))
    policy = jax.ShapeDtypeStruct((10_000, 2), jnp.float32)
    refused = pytest.raises(UserError, match=r"^10,000 states are .* use value_iteration")
    with refused:
        jax.eval_shape(lambda mdp: planning.policy_iteration(mdp, 0.9), world)
    with refused:
        jax.eval_shape(lambda mdp, policy: planning.occupancy(mdp, policy, 0.9), world, policy)
    jax.eval_shape(lambda mdp: planning.value_iteration(mdp, 0.9), world)


@pytest.mark.parametrize(
    ("states", "points", "shared"), [(10, 101, True), (400, 11, False)], ids=["few", "many"]
)
def test_the_form_that_is_taken_is_the_smaller_one(states, points, shared):
    """Of an MDP whose rewards allow both: they agree, and the default makes what is less."""
    world = tabular.garnet(jax.random.key(0), states, 2, 3)
    grid = tabular.grid(-5.0, 5.0, points)
    utility = functionals.shortfall()

    def solve(form):
        return stock.plan_on(world, utility, grid, gamma=1.0, horizon=3, shared=form)

    sizes = {}
    for form in (None, True, False):
        program = jax.make_jaxpr(lambda form=form: solve(form))()
        sizes[form] = max(made(program.jaxpr))
    assert sizes[None] == sizes[shared] < sizes[not shared]
    a, b = (np.asarray(solve(form).values) for form in (None, not shared))
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
