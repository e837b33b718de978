"""Between the points of a grid: how large errors are, and that the bounds on them hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular import worlds
from jaxrl_reward.tabular.returns import distributional, functionals
from jaxrl_reward.tabular.returns.stock import greedy
from jaxrl_reward.types import UserError

GAMMA = 0.8


def small():
    return tabular.garnet(jax.random.key(2), 4, 2, 2)


def shortfalls(size, rounding):
    """Optimal values on stocks from -10 to 10, which is more than returns can be."""
    grid = tabular.grid(-10.0, 10.0, size)
    plan = tabular.solve(
        small(), functionals.shortfall(), grid, gamma=GAMMA, horizon=40, rounding=rounding
    )
    return np.asarray(plan.values)


@pytest.mark.slow
def test_rounding_down_and_up_enclose_the_optimum():
    """A grid sixteen times as fine lies between, and within the bound."""
    fine = shortfalls(641, "linear")[:, ::16]
    linear, down, up = (shortfalls(41, rounding) for rounding in ("linear", "down", "up"))
    assert np.abs(linear - fine).max() <= GAMMA * 0.5 / (2 * (1 - GAMMA))
    assert (down <= fine + 1e-3).all() and (fine <= up + 1e-3).all()


def test_a_covering_grid_is_exact_beyond_its_ends():
    """Far out the shortfall is 0 above, and the mean below."""
    mdp = small()
    grid = tabular.covering(mdp, GAMMA, 32)
    plan = tabular.solve(mdp, functionals.shortfall(), grid, gamma=GAMMA)
    mean = tabular.planning.value_iteration(mdp, GAMMA).values
    np.testing.assert_allclose(plan.values[:, -1], 0.0, atol=1e-3)
    np.testing.assert_allclose(plan.values[:, 0], mean + grid.low, atol=2e-3)
    # From inside they agree with a grid four times as wide.
    wide = tabular.Grid(grid.low - 32 * grid.spacing, grid.spacing, (96,))
    more = tabular.solve(mdp, functionals.shortfall(), wide, gamma=GAMMA)
    np.testing.assert_allclose(more.values[:, 32:64], plan.values, atol=2e-3)


def test_the_mean_needs_no_stock():
    mdp = small()
    grid = tabular.covering(mdp, GAMMA, 32)
    plan = tabular.solve(mdp, functionals.mean(), grid, gamma=GAMMA)
    plain = tabular.planning.value_iteration(mdp, GAMMA)
    means = plan.values - grid.points()[None]
    np.testing.assert_allclose(means, np.repeat(plain.values[:, None], 32, 1), atol=2e-3)
    clear = np.asarray(plain.q.max(1) - plain.q.min(1)) > 0.01
    same = np.asarray(greedy(plan.q).argmax(-1) == plain.q.argmax(1)[:, None])
    assert same[clear].all()


def test_what_has_no_known_tail_is_nan_beyond():
    grid = tabular.grid(-1.0, 1.0, 3)
    plan = tabular.solve(worlds.lotteries(), functionals.Power(), grid, gamma=1.0, horizon=2)
    assert np.isnan(plan.values[0]).all() and not np.isnan(plan.values[1]).any()


@pytest.mark.parametrize("count", [16, 64])
def test_quantiles_of_a_coin(count):
    """Heads and tails for ever at gamma = 1/2 sum to a uniform return on [0, 2]."""
    coin = tabular.from_outcomes([[[(0.5, 0, 0.0), (0.5, 0, 1.0)]]])
    stocks = tabular.grid(0.0, 1.0, 2)
    laws = distributional.evaluate(
        coin, jnp.ones((1, 2, 1)), stocks, tabular.Quantiles(count), gamma=0.5, iterations=16
    )
    expected = 2 * (np.arange(count) + 0.5) / count
    np.testing.assert_allclose(laws.values[0, 0], expected, atol=2.1 / count)


def test_categorical_laws_keep_their_mean():
    values = jnp.array([-0.3, 0.2, 1.9])
    weights = jnp.array([0.2, 0.5, 0.3])
    law = jax.jit(tabular.Categorical(-1.0, 2.0, 7).project)(values, weights)
    np.testing.assert_allclose(law.mean(), (values * weights).sum(), atol=1e-6)
    np.testing.assert_allclose(law.weights.sum(), 1.0, atol=1e-6)


def test_particles_that_find_no_room_are_told():
    project = jax.jit(tabular.Particles(2).project)
    law = project(jnp.array([3.0, 1.0, 2.0, 1.0]), jnp.full(4, 0.25))
    np.testing.assert_allclose(law.values, [1.0, 2.5])
    np.testing.assert_allclose(law.weights, [0.5, 0.5])
    np.testing.assert_allclose(law.lost, 0.5)


def test_ties_are_broken_as_asked():
    """Shortfall from far above 0 is 0 whatever is done."""
    world, grid = worlds.lotteries(), tabular.grid(30.0, 32.0, 3)
    chosen = {}
    settings = {"gamma": 1.0, "iterations": 1}
    for ties in ("mean", "uniform"):
        solved = distributional.value_iteration(
            world, functionals.shortfall(), grid, tabular.Particles(4), ties=ties, **settings
        )
        chosen[ties] = np.asarray(solved.policy[1, 0]).tolist()
    assert chosen == {"mean": [0, 1], "uniform": [0.5, 0.5]}


def test_theory_is_asked_first():
    quantile, exponential = functionals.Quantile(), functionals.Exponential()
    assert functionals.problems(functionals.shortfall(), 0.9) == ()
    assert functionals.problems(functionals.Reach(), 0.9, horizon=3) == ()
    assert functionals.problems(exponential, 1.0, horizon=3) == ()
    assert len(functionals.problems(exponential, 0.9)) == 2
    assert len(functionals.problems(quantile, 1.0, horizon=3)) == 1
    grid, mdp = tabular.grid(0.0, 1.0, 2), worlds.lotteries()
    with pytest.raises(UserError, match="not Lipschitz"):
        tabular.solve(mdp, functionals.Reach(), grid, gamma=0.9)
    with pytest.raises(UserError, match="rounding"):
        tabular.solve(mdp, functionals.mean(), grid, gamma=0.9, rounding="dwon")
    settings = {"gamma": 0.9, "iterations": 1, "ties": "frist"}
    with pytest.raises(UserError, match="ties"):
        distributional.value_iteration(
            mdp, functionals.mean(), grid, tabular.Particles(4), **settings
        )


@pytest.mark.parametrize(
    "utility",
    [
        functionals.shortfall(),
        functionals.target(),
        functionals.mean_cvar(0.25, 0.5),
        functionals.Reach(),
        functionals.Power(3.0),
        functionals.Power(0.5),
        functionals.Logarithm(),
    ],
    ids=repr,
)
def test_scaling_is_as_declared(utility):
    """f(gamma x) = a f(x) + b."""
    x = jnp.array([0.5, 1.5, 3.0] if isinstance(utility, functionals.Logarithm) else [-2.0, 0.5, 3])
    a, b = utility.scaling(0.7)
    np.testing.assert_allclose(utility.utility(0.7 * x), a * utility.utility(x) + b, atol=1e-5)


def test_constraints_are_kept_where_their_price_is_high():
    """Each of two steps may earn 2 at a cost of 1; a slack of 1 pays for one of them."""
    world = tabular.from_outcomes([[[(1.0, 0, (0.0, 0.0))], [(1.0, 0, (2.0, -1.0))]]])
    grid = tabular.grid((-4.0, -4.0), (4.0, 4.0), (9, 9))
    for price, values in ((10.0, (0.0, 2.0, 4.0)), (1.0, (2.0, 3.0, 4.0))):
        utility = functionals.Constrained((price,))
        plan = tabular.solve(world, utility, grid, gamma=1.0, horizon=2)
        slack = np.array([4 * 9 + 4 + c for c in (0, 1, 2)])
        np.testing.assert_allclose(plan.values[0, slack], values, atol=1e-5)
