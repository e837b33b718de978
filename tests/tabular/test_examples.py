"""Worked examples of distributional dynamic programming with stocks, computed by hand.

They show what the stock buys, that the bound on its convergence is tight, and
how it fails where its conditions do not hold.
"""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular import planning, worlds
from jaxrl_reward.tabular.returns import distributional, functionals
from jaxrl_reward.types import UserError

SAFE, RISKY = 0, 1
MANY = tabular.Particles(16)


def integers(low, high):
    """The stocks `low, ..., high`, one apart."""
    return tabular.grid(low, high, high - low + 1)


def at(grid, *stocks):
    """The places of stocks in a grid."""
    found = [int(np.abs(np.asarray(grid.points()) - c).argmin()) for c in stocks]
    np.testing.assert_allclose(np.asarray(grid.points())[found], stocks, atol=1e-5)
    return np.array(found)


def law(laws, *place):
    """One law as `{value: probability}`."""
    values, weights = (np.asarray(x[place]) for x in (laws.values, laws.weights))
    return {
        round(float(v), 3): pytest.approx(float(w), abs=1e-5)
        for v, w in zip(values, weights, strict=True)
        if w > 1e-6
    }


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# ---- 1: two lotteries ------------------------------------------------------------------

LOTTERIES = worlds.lotteries()
STOCKS = integers(-21, 11)
BOTH = {
    "SS": {4: 0.5, 14: 0.5},
    "SR": {4: 0.5, 10: 0.25, 20: 0.25},
    "RS": {0: 0.25, 10: 0.25, 14: 0.5},
    "RR": {0: 0.25, 10: 0.5, 20: 0.25},
}
HALVED = {
    "SS": {2: 0.5, 12: 0.5},
    "SR": {2: 0.5, 10: 0.25, 15: 0.25},
    "RS": {0: 0.25, 5: 0.25, 12: 0.5},
    "RR": {0: 0.25, 5: 0.25, 10: 0.25, 15: 0.25},
}


def lottery_laws(policy, gamma):
    """The law of the return from stock 0: the stock tells what was drawn first."""
    stocks = integers(-1, 31)
    drawn = np.asarray(stocks.points()) >= 5
    second = np.where(drawn, "SR".index(policy[1]), "SR".index(policy[0]))
    actions = np.stack([np.zeros_like(second), second])
    laws = distributional.evaluate(
        LOTTERIES, jnp.eye(2)[actions], stocks, MANY, gamma=gamma, iterations=2
    )
    return laws, (0, at(stocks, 0)[0])


@pytest.mark.parametrize("policy", BOTH)
def test_lotteries_laws(policy):
    for gamma, table in ((1.0, BOTH), (0.5, HALVED)):
        laws, start = lottery_laws(policy, gamma)
        assert law(laws, *start) == table[policy]
        assert not laws.lost.any()


@pytest.mark.parametrize(
    ("policy", "mean", "lower", "upper", "target", "reach"),
    [
        ("SS", 9.0, (4, 4, 22 / 3), (14, 32 / 3), -5.0, 0.5),
        ("SR", 9.5, (4, 4, 6), (15, 34 / 3), -6.5, 0.5),
        ("RS", 9.5, (0, 5, 8), (14, 38 / 3), -4.5, 0.75),
        ("RR", 10.0, (0, 5, 20 / 3), (15, 40 / 3), -6.0, 0.75),
    ],
)
def test_lotteries_measures(policy, mean, lower, upper, target, reach):
    laws, start = lottery_laws(policy, 1.0)
    values, weights = laws.values[start], laws.weights[start]
    close(laws.mean()[start], mean)
    close([tabular.cvar_of(values, weights, tau) for tau in (0.25, 0.5, 0.75)], lower)
    # The best outcomes are the worst of minus the return.
    close([-tabular.cvar_of(-values, weights, tau) for tau in (0.5, 0.75)], upper)
    close(functionals.target()(values - 12, weights), target)
    close(functionals.Reach()(values - 10, weights), reach)


def test_lotteries_optimal_values():
    """The best value of each utility, from each stock."""
    shortfalls = {-20: -10, -14: -4.5, -12: -3.5, -10: -2.5, -8: -2, -5: -0.5, -4: 0}
    tables = [
        (functionals.shortfall(), shortfalls),
        (functionals.target(), {-4: -5, -10: -4.5, -12: -4.5, -14: -4.5, -20: -10}),
        (functionals.Reach(), {-7: 0.75, -10: 0.75, -12: 0.5, -20: 0.25}),
    ]
    for utility, table in tables:
        plan = tabular.solve(LOTTERIES, utility, STOCKS, gamma=1.0, horizon=2)
        close(plan.values[0, at(STOCKS, *table)], list(table.values()))
        if isinstance(utility, functionals.PiecewiseLinear):
            solved = distributional.value_iteration(
                LOTTERIES, utility, STOCKS, MANY, gamma=1.0, iterations=2
            )
            close(solved.values, plan.values)


def test_lotteries_optimal_policies():
    """From -14 the shortfall is least by R after 0 and S after 10; the target from -4 by SS."""

    def choices(utility, stock):
        plan = tabular.solve(LOTTERIES, utility, STOCKS, gamma=1.0, horizon=2)
        return [int(plan.q[1, at(STOCKS, c)[0]].argmax()) for c in (stock, stock + 10)]

    assert choices(functionals.shortfall(), -14) == [RISKY, SAFE]
    assert choices(functionals.target(), -4) == [SAFE, SAFE]
    assert choices(functionals.target(), -12) == [RISKY, SAFE]
    assert choices(functionals.target(), -20) == [RISKY, RISKY]


def test_lotteries_where_both_actions_are_as_good():
    """From -10 the shortfall is 0 after 10 whatever is done; from -14 it is not."""
    plan = tabular.solve(LOTTERIES, functionals.shortfall(), STOCKS, gamma=1.0, horizon=2)
    close(plan.q[1, at(STOCKS, 0)[0]], [0.0, 0.0])
    assert plan.q[1, at(STOCKS, -4)[0], SAFE] > plan.q[1, at(STOCKS, -4)[0], RISKY]


def test_lotteries_search_over_the_stock():
    for tau, value, stock in ((0.75, 8.0, -14), (0.5, 5.0, -10), (0.25, 4.0, -4)):
        found = tabular.cvar(LOTTERIES, STOCKS, tau=tau, gamma=1.0, horizon=2)
        close((found.value[0], found.stock[0]), (value, stock))
    for tau, value in ((0.25, 20.0), (0.5, 15.0), (0.75, 40 / 3)):
        found = tabular.upper_cvar(LOTTERIES, STOCKS, tau=tau, gamma=1.0, horizon=2)
        close(found.value[0], value)
    # Halfway to the mean: over all policies, 0.5 * mean + 0.5 * CVaR of the table above.
    found = tabular.mean_cvar(LOTTERIES, STOCKS, tau=0.75, weight=0.5, gamma=1.0, horizon=2)
    close(found.value[0], max((9 + 22 / 3) / 2, 7.75, (9.5 + 8) / 2, (10 + 20 / 3) / 2))


def test_lotteries_discounted():
    """gamma = 1/2 checks the division by gamma: from -12, after 10, exactly 4 is missing."""
    found = tabular.cvar(LOTTERIES, STOCKS, tau=0.75, gamma=0.5, horizon=2)
    close((found.value[0], found.stock[0]), (17 / 3, -12))
    start = at(STOCKS, -12)[0]
    close(0.75 * found.plan.values[0, start], -4.75)
    target = tabular.solve(LOTTERIES, functionals.target(), STOCKS, gamma=0.5, horizon=2)
    close(target.values[0, start], -4.75)
    for policy, cvar, distance in (
        ("SS", 16 / 3, -5), ("SR", 14 / 3, -6.25), ("RS", 17 / 3, -4.75), ("RR", 5, -6)
    ):  # fmt: skip
        laws, place = lottery_laws(policy, 0.5)
        close(tabular.cvar_of(laws.values[place], laws.weights[place], 0.75), cvar)
        close(functionals.target()(laws.values[place] - 12, laws.weights[place]), distance)


def test_without_the_stock_less_is_reached():
    """What the same policy after either draw gets: SS, RR and their mixtures."""
    stock_free = [lottery_laws(policy, 1.0) for policy in ("SS", "RR")]
    best = max(tabular.cvar_of(w.values[i], w.weights[i], 0.75) for w, i in stock_free)
    close(best, 22 / 3)
    found = tabular.cvar(LOTTERIES, STOCKS, tau=0.75, gamma=1.0, horizon=2)
    close(found.value[0] - best, 2 / 3)


# ---- 2: binary digits ------------------------------------------------------------------

DIGITS = worlds.digits()
FINE = tabular.grid(-2.5, 0.5, 73)  # 1/24 apart: a lattice under c -> 2 (c + r)


def test_digits_the_bound_is_tight():
    """sup_c (U* - U_n) = L gamma^n w(eta_0, eta*) = 2^(1 - n), and U* = -dist(-c, [0, 2])."""
    points = np.asarray(FINE.points())
    best = -np.maximum(np.maximum(points, -2 - points), 0)
    third = at(FINE, -4 / 3)[0]
    values = {}
    for n in (1, 2, 3, 4, 8):
        plan = tabular.solve(DIGITS, functionals.target(), FINE, gamma=0.5, horizon=n)
        close((best - plan.values[0]).max(), 2.0 ** (1 - n))
        values[n] = plan.values[0, third]
    close([values[n] for n in (1, 2, 3, 4)], [-1 / 3, -1 / 6, -1 / 12, -1 / 24])
    start = functionals.target().utility(points)
    close(((best - start).max(), start[third]), (2.0, -4 / 3))


def test_digits_the_optimal_actions_alternate():
    plan = tabular.solve(DIGITS, functionals.target(), FINE, gamma=0.5, horizon=30)
    stock, stocks, actions = -4 / 3, [], []
    for _ in range(4):
        actions.append(int(plan.q[0, at(FINE, stock)[0]].argmax()))
        stock = 2 * (stock + actions[-1])
        stocks.append(stock)
    assert actions == [1, 0, 1, 0]
    close(stocks, [-2 / 3, -4 / 3, -2 / 3, -4 / 3])


def test_digits_policy_iteration():
    """From "always 0": 0, then 1.5 from -4/3, then the target itself."""
    solved = distributional.policy_iteration(
        DIGITS, functionals.target(), FINE, tabular.Particles(4), gamma=0.5, rounds=3, iterations=24
    )
    points = np.asarray(FINE.points())
    best = -np.maximum(np.maximum(points, -2 - points), 0)
    third = at(FINE, -4 / 3)[0]
    close(solved.values[:, 0, third], [-4 / 3, -1 / 6, 0.0], 1e-4)
    close((best[None] - solved.values[:, 0]).max(-1), [2.0, 0.458333, 0.0], 1e-4)


# ---- 3: gamma, and 4: mixtures ---------------------------------------------------------


def test_where_gamma_matters_it_is_refused_and_suboptimal():
    utility, world = functionals.Exponential(0.3), worlds.postponed()
    stocks = tabular.grid(-4.0, 6.4, 14)  # 0.8 apart: 0, -2 and 3.2 are points or interpolated
    settings = {"gamma": 0.5, "iterations": 2, "finite": True}
    with pytest.raises(UserError, match="indifferent to gamma"):
        distributional.value_iteration(world, utility, stocks, MANY, **settings)
    solved = distributional.value_iteration(
        world, utility, stocks, MANY, **settings, unsound=True, keep=True
    )
    start = at(stocks, 0.0)[0]
    close(solved.values[1, 0, start], -1.0)  # safe
    close(solved.values[0, 1, start], -1.0)
    risky = np.array([-2.0, 3.2])
    close(functionals.Exponential(0.3)(risky, np.full(2, 0.5)), -1.10251)
    # With the time in the state any utility will do; a grid on which 0, -1 and 1.6 are.
    exact = tabular.grid(-2.0, 2.0, 21)
    plan = tabular.solve_with_clock(world, utility, exact, gamma=0.5, horizon=2)
    close(plan.values[0, at(exact, 0.0)[0]], -0.98432)
    assert plan.q[1, 1, at(exact, 0.0)[0]].argmax() == RISKY


@pytest.mark.parametrize(
    ("functional", "world", "stepwise", "best"),
    [
        (functionals.Quantile(0.5), "lotteries", 4.0, 10.0),
        (functionals.minus_variance(), "spread", -25.0, -0.5),
    ],
)
def test_where_mixtures_matter_it_is_refused_and_suboptimal(functional, world, stepwise, best):
    mdp = worlds.make(world)
    settings = {"gamma": 1.0, "iterations": 2, "finite": True}
    with pytest.raises(UserError, match="indifferent to mixtures"):
        distributional.value_iteration(mdp, functional, STOCKS, MANY, **settings)
    solved = distributional.value_iteration(
        mdp, functional, STOCKS, MANY, **settings, unsound=True, keep=True
    )
    start = at(STOCKS, -10)[0]
    offset = 10.0 if world == "lotteries" else 0.0
    close(solved.values[1, 0, start] + offset, stepwise)
    assert solved.policy[0, 1].argmax(-1).max() == SAFE
    reached = []
    for after_0 in (SAFE, RISKY):
        for after_10 in (SAFE, RISKY):
            actions = np.zeros((2, STOCKS.size), int)
            actions[1, at(STOCKS, -10)], actions[1, at(STOCKS, 0)] = after_0, after_10
            laws = distributional.evaluate(
                mdp, jnp.eye(2)[actions], STOCKS, MANY, gamma=1.0, iterations=2
            )
            reached.append(functional(laws.values[0, start], laws.weights[0, start]))
    close(max(reached), best)


# ---- 5: homeostasis --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gamma", "values"), [(1.0, (0.0, -1.0, 0.0)), (0.5, (-1.25, -0.25, -0.75))]
)
def test_homeostasis(gamma, values):
    """Three meals, from three deviations."""
    world, utility = worlds.homeostasis(), functionals.target(vector=True)
    low, high = (-9, -9), (9, 9)
    stocks = tabular.grid(low, high, (19, 19))
    starts = [(-3, 0), (-3, 1), (2, -4)]
    places = [(x - low[0]) * 19 + y - low[1] for x, y in starts]
    plan = tabular.solve(world, utility, stocks, gamma=gamma, horizon=3)
    close(plan.values[0, np.array(places)], values)
    solved = distributional.value_iteration(
        world, utility, stocks, tabular.Particles(2), gamma=gamma, iterations=3
    )
    close(solved.values[0, np.array(places)], values)
    close(solved.laws.weights[0, :, 0], 1.0)  # nothing here is random


def test_homeostasis_policies():
    """Discounted, (-3, 1) is best served by eat, eat, drink and by nothing else."""
    world, utility = worlds.homeostasis(), functionals.target(vector=True)
    stocks = tabular.grid((-9, -9), (9, 9), (19, 19))
    stock, eaten = np.array([-3, 1]), []
    for left in (3, 2, 1):
        plan = tabular.solve(world, utility, stocks, gamma=0.5, horizon=left)
        best = planning.optimal_actions(plan.q[0, (stock[0] + 9) * 19 + stock[1] + 9])
        assert best.sum() == 1
        eaten.append(int(best.argmax()))
        stock = np.clip(2 * (stock + np.array([(2, -1), (-1, 2), (0, 0)])[eaten[-1]]), -9, 9)
    assert eaten == [0, 0, 1]


@pytest.mark.parametrize(
    ("gamma", "start", "best", "orders"),
    [
        (1.0, (-3, 0), 0.0, {(0, 0, 1), (0, 1, 0), (1, 0, 0)}),
        (1.0, (2, -4), 0.0, {(1, 1, 2), (1, 2, 1), (2, 1, 1)}),
        (0.5, (-3, 1), -0.25, {(0, 0, 1)}),
        (0.5, (2, -4), -0.75, {(1, 1, 1)}),
    ],
)
def test_homeostasis_every_order(gamma, start, best, orders):
    """Of all 27 sequences of eat, drink, rest these are the best, and no other."""
    meals = np.asarray(worlds.homeostasis().reward)[0, :, 0]
    values = {
        order: -np.abs(start + sum(gamma**t * meals[a] for t, a in enumerate(order))).sum()
        for order in product(range(3), repeat=3)
    }
    found = {order for order, value in values.items() if value == max(values.values())}
    assert found == orders and max(values.values()) == best


# ---- 6: a grid -------------------------------------------------------------------------

GRID = worlds.risky_grid()
GRID_STOCKS = integers(-2, 30)
STRAIGHT = {-3: 0.81, -11: 0.18, -19: 0.01}


def grid_plan(utility):
    return tabular.solve(GRID, utility, GRID_STOCKS, gamma=1.0, horizon=8)


def test_grid_means():
    plan = planning.finite_horizon(GRID, 8)
    close(plan.values[-1, 0], -4.6)
    close(sum(value * p for value, p in STRAIGHT.items()), -4.6)


@pytest.mark.parametrize(
    ("tau", "value"), [(0.1, -5), (0.5, -5), (0.8, -5), (0.9, -43 / 9), (1.0, -4.6)]
)
def test_grid_cvar(tau, value):
    found = tabular.cvar(GRID, GRID_STOCKS, tau=tau, gamma=1.0, horizon=8)
    close(found.value[0], value)


STAGES = "straight", "detour"


def walk(stages):
    """The law of a walk: right along the top row, or around it, whatever happens."""
    rows, columns = 3, 4
    actions = np.zeros((rows * columns, GRID_STOCKS.size), int)
    actions[:3] = 1 if stages == "straight" else 2  # right, or down
    actions[4:7], actions[7] = 1, 0  # right, and up to the goal
    laws = distributional.evaluate(
        GRID, jnp.eye(4)[actions], GRID_STOCKS, MANY, gamma=1.0, iterations=8
    )
    return laws, (0, at(GRID_STOCKS, 0)[0])


def test_grid_two_walks():
    """The detour is -5 for certain; their CVaRs are equal at 0.8, and only there."""
    laws = {stages: walk(stages) for stages in STAGES}
    assert law(laws["straight"][0], *laws["straight"][1]) == STRAIGHT
    assert law(laws["detour"][0], *laws["detour"][1]) == {-5: 1.0}
    found, place = laws["straight"]
    for tau, value in ((0.5, -6.2), (0.8, -5.0), (0.9, -43 / 9), (1.0, -4.6)):
        close(tabular.cvar_of(found.values[place], found.weights[place], tau), value)


def test_grid_probabilities_of_reaching():
    plan = grid_plan(functionals.Reach())
    close(plan.values[0, at(GRID_STOCKS, 3, 5, 13)], [0.81, 1.0, 1.0])


def test_grid_a_policy_that_reacts_to_luck():
    """At least -13 for certain, with the best mean: straight on, away from danger once hit."""
    settings = {"gamma": 1.0, "iterations": 8, "finite": True, "ties": "mean"}
    solved = distributional.value_iteration(
        GRID, functionals.Reach(), GRID_STOCKS, MANY, **settings
    )
    found = {stock: law(solved.laws, 0, at(GRID_STOCKS, stock)[0]) for stock in (3, 5, 13)}
    assert found[3] == STRAIGHT
    assert found[5] == {-5: 1.0}
    assert found[13] == {-3: 0.81, -11: 0.09, -13: 0.10}
    # Its mean is -4.72. Without the stock only the detour never ends below -13, at -5.
    close(sum(value * p.expected for value, p in found[13].items()), -4.72, 1e-4)
    straight, place = walk("straight")
    close((straight.values[place] >= -13) @ straight.weights[place], 0.99)


def test_grid_targets():
    plan = grid_plan(functionals.target())
    goals = {3: -1.6, 4: -1, 5: 0, 7: 0, 8: 0, 11: -2.2751, 13: -2.70377, 19: -6.35344}
    close(plan.values[0, at(GRID_STOCKS, *goals)], list(goals.values()))
