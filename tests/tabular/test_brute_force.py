"""The solvers against every policy there is, on MDPs small enough to list them.

A policy may act on all that has happened. In three steps with two actions and
two outcomes that is 128 policies from each state.
"""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxrl_reward import tabular
from jaxrl_reward.tabular.returns import distributional, functionals

S, A, K, HORIZON = 2, 2, 2, 3
RANGE = 2 * HORIZON
STOCKS = tabular.grid(-RANGE - 1, RANGE + 1, 2 * RANGE + 3)


@cache
def worlds(count=6):
    """A batch of random MDPs whose rewards are -2, ..., 2, some of which end."""
    rng = np.random.default_rng(0)
    shape = (count, S, A, K)
    with jax.ensure_compile_time_eval():
        return tabular.MDP(
            probability=jnp.asarray(rng.dirichlet(np.ones(K), shape[:-1]), jnp.float32),
            successor=jnp.asarray(rng.integers(0, S, shape), jnp.int32),
            reward=jnp.asarray(rng.integers(-2, 3, shape), jnp.float32),
            ends=jnp.asarray(rng.random(shape) < 0.2),
            start=jnp.full((count, S), 1 / S),
        )


def laws_of_all_policies(mdp, state, steps, gamma):
    """The law of the return of every policy, each `(values, probabilities)`."""
    if steps == 0:
        return [(np.zeros(1), np.ones(1))]
    found = []
    for a in range(A):
        parts = []
        for k in range(K):
            p, r = float(mdp.probability[state, a, k]), float(mdp.reward[state, a, k])
            after = [(np.zeros(1), np.ones(1))]
            if not mdp.ends[state, a, k]:
                after = laws_of_all_policies(mdp, int(mdp.successor[state, a, k]), steps - 1, gamma)
            parts.append([(r + gamma * x, p * w) for x, w in after])
        for choice in product(*parts):
            found.append(tuple(np.concatenate(leaf) for leaf in zip(*choice, strict=True)))
    return found


@cache
def every_law(index, gamma):
    mdp = jax.tree.map(lambda x: np.asarray(x[index]), worlds())
    return [laws_of_all_policies(mdp, s, HORIZON, gamma) for s in range(S)]


def best(functional, index, gamma, shift=0.0, state=0):
    return max(functional(x + shift, w) for x, w in every_law(index, gamma)[state])


UTILITIES = {
    "shortfall": (functionals.shortfall(), lambda x, w: np.minimum(x, 0) @ w),
    "excess": (functionals.excess(), lambda x, w: np.maximum(x, 0) @ w),
    "target": (functionals.target(), lambda x, w: -np.abs(x) @ w),
    "reach": (functionals.Reach(), lambda x, w: (x >= -1e-4) @ w),
}


def cvar(tau):
    def measure(values, weights):
        order = np.argsort(values)
        before = np.cumsum(weights[order]) - weights[order]
        return values[order] @ np.clip(tau - before, 0, weights[order]) / tau

    return measure


@jax.jit
def solved(utility, gamma):
    solve = lambda mdp: tabular.solve(mdp, utility, STOCKS, gamma=gamma, horizon=HORIZON)  # noqa: E731
    return jax.vmap(solve)(worlds()).values


@pytest.mark.parametrize("name", UTILITIES)
@pytest.mark.parametrize("gamma", [1.0, 0.5])
def test_solve_is_the_best_of_all_policies(name, gamma):
    """For every stock: on integers exactly, with gamma = 1/2 as well."""
    utility, measure = UTILITIES[name]
    values = solved(utility, gamma)
    for index in range(3):
        for s in range(S):
            expected = [best(measure, index, gamma, c, s) for c in np.asarray(STOCKS.points())]
            np.testing.assert_allclose(values[index, s], expected, atol=1e-4)


def test_shared_rewards_and_batches_are_the_same_thing():
    """Mixing first, listing, `vmap` and `lax.map` agree where rewards are of actions."""
    mdps = worlds()
    mdps = mdps.replace(reward=jnp.broadcast_to(mdps.reward[..., :1], mdps.reward.shape))

    def solve(mdp, shared):
        utility = functionals.shortfall()
        return tabular.solve(mdp, utility, STOCKS, gamma=0.7, horizon=4, shared=shared).values

    listed = jax.vmap(lambda mdp: solve(mdp, False))(mdps)
    mixed = jax.lax.map(lambda mdp: solve(mdp, True), mdps)
    np.testing.assert_allclose(listed, mixed, atol=1e-5)


OFFSETS = 8  # of the grid, within a spacing


@jax.jit
def tails(tau):
    """The best mean of the worst and of the best outcomes."""
    settings = {"tau": tau, "gamma": 1.0, "horizon": HORIZON}

    def both(mdp):
        lower = tabular.cvar(mdp, STOCKS, **settings).value[0]
        at = lambda low: tabular.upper_cvar(mdp, STOCKS.replace(low=low), **settings)  # noqa: E731
        shifts = jnp.arange(OFFSETS) / OFFSETS
        return lower, jax.vmap(at)(STOCKS.low + shifts).value[:, 0].min()

    return jax.vmap(both)(worlds())


@pytest.mark.parametrize("tau", [0.2, 0.6])
def test_cvar_is_the_best_of_all_policies(tau):
    expected = [best(cvar(tau), index, 1.0) for index in range(6)]
    np.testing.assert_allclose(tails(tau)[0], expected, atol=1e-4)


@pytest.mark.parametrize("tau", [0.2, 0.6])
def test_upper_cvar_is_that_of_the_best_mixture_of_policies(tau):
    """A linear program over policies drawn by chance; one of them alone may get less."""
    for index, found in enumerate(np.asarray(tails(tau)[1])):
        policies = every_law(index, 1.0)[0]
        assert found >= max(-cvar(tau)(-x, w) for x, w in policies) - 1e-4
        # max_mixture min_c c + E(G - c)+ / tau, where the best c is a possible return.
        stocks = np.arange(-RANGE, RANGE + 1)
        gain = np.array([[c + np.maximum(x - c, 0) @ w / tau for x, w in policies] for c in stocks])
        count = len(policies)
        program = linprog(
            np.append(np.zeros(count), -1.0),
            A_ub=np.hstack([-gain, np.ones((len(stocks), 1))]),
            b_ub=np.zeros(len(stocks)),
            A_eq=np.append(np.ones(count), 0.0)[None],
            b_eq=[1.0],
            bounds=[(0, None)] * count + [(None, None)],
        )
        # The best stock lies between two of the grid, where the slope is below 1 / tau.
        assert -1e-4 <= found + program.fun <= 0.5 / OFFSETS * max(1, 1 / tau - 1)


def test_the_clock_makes_any_utility_optimal():
    utility = functionals.Exponential(0.4)
    grid = tabular.grid(-4.0, 4.0, 33)  # returns are multiples of 1/4 within -3.5 and 3.5

    def solve(mdp):
        return tabular.solve_with_clock(mdp, utility, grid, gamma=0.5, horizon=HORIZON).values

    values = np.asarray(jax.vmap(solve)(worlds()))[:, 0, 16]
    expected = [best(lambda x, w: -np.exp(-0.4 * x) @ w, i, 0.5) for i in range(6)]
    np.testing.assert_allclose(values, expected, atol=1e-4)


@pytest.mark.parametrize(
    "representation",
    [tabular.Particles(32), tabular.Categorical(-8.0, 8.0, 17)],
    ids=lambda r: type(r).__name__,
)
def test_laws_are_those_of_the_best_policy(representation):
    """The greedy laws reach the best value, and are the law of one of the policies."""
    mdp = jax.tree.map(lambda x: x[1], worlds())
    utility, measure = UTILITIES["target"]
    solved = distributional.value_iteration(
        mdp, utility, STOCKS, representation, gamma=1.0, iterations=HORIZON, finite=True
    )
    assert not solved.laws.lost.any()
    np.testing.assert_allclose(solved.laws.weights.sum(-1), 1.0, atol=1e-5)
    for i, c in enumerate(np.asarray(STOCKS.points())):
        x, w = (np.asarray(leaf[0, i]) for leaf in (solved.laws.values, solved.laws.weights))
        np.testing.assert_allclose(measure(x + c, w), best(measure, 1, 1.0, c), atol=1e-4)
        distances = [wasserstein((x, w), law) for law in every_law(1, 1.0)[0]]
        assert min(distances) < 1e-3


def wasserstein(p, q):
    points = np.sort(np.concatenate([p[0], q[0]]))
    cdfs = [((x[None] <= points[:-1, None] + 1e-6) * w[None]).sum(1) for x, w in (p, q)]
    return (np.abs(cdfs[0] - cdfs[1]) * np.diff(points)).sum()
