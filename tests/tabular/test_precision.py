"""All of `tabular` in single and double precision; in double, right to 1e-10."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.tabular import dynamics, objectives, planning
from jaxrl_reward.tabular.comparing import canonical, regret, reward_distance
from jaxrl_reward.tabular.returns import distributional, forward, functionals

TRANSITION = np.array([[[0.5, 0.5], [0.1, 0.9]], [[0.0, 1.0], [1.0, 0.0]]])
REWARD = np.array([[1.0, 0.0], [2.0, -1.0]])
TENTHS = np.array([[0.1, 0.0], [0.2, -0.1]])
MODES = {  # x64, and the type of the tables
    "single": (False, np.float32),
    "single tables, x64": (True, np.float32),
    "double": (True, np.float64),
    "whole numbers, x64": (True, np.int64),
    "double tables, no x64": (False, np.float64),
}


def world(dtype):
    transition = TRANSITION.astype(dtype) if dtype != np.int64 else TRANSITION
    return tabular.from_tables(transition, REWARD.astype(dtype))


def grid():
    return tabular.grid(-6.0, 6.0, 13)


def lattice(made):
    with jax.ensure_compile_time_eval():
        return tabular.lattice(made, 1.0, 1.0, horizon=3)


def policy(shape=()):
    return np.full((2, *shape, 2), 0.5)


def rewards(made):
    table = tabular.reward_table(made)
    return dynamics.of(made, 0.9), table, table + 1.0 * np.arange(2)[:, None, None]


def means(made):
    world, *two = rewards(made)
    return world, *(world.level(each) for each in two)


STEPS = {"gamma": 1.0, "horizon": 3}
PLAY = {"gamma": 1.0, "iterations": 3}
KINDS = {
    "categorical": lambda: tabular.Categorical(-6.0, 6.0, 13),
    "particles": lambda: tabular.Particles(16),
    "quantiles": lambda: tabular.Quantiles(11),
}
CALLS = {
    "value_iteration": lambda m: planning.value_iteration(m, np.float64(0.9)),
    "policy_iteration": lambda m: planning.policy_iteration(m, np.float64(0.9)),
    "finite_horizon": lambda m: planning.finite_horizon(m, 3, np.float64(0.9)),
    "evaluate": lambda m: planning.evaluate(m, policy(), 0.9),
    "occupancy": lambda m: planning.occupancy(m, policy(), 0.9),
    "optimal_set": lambda m: tabular.optimal_set(m, 0.9),
    "bounds": lambda m: planning.bounds(m, 0.9),
    "clock": lambda m: planning.value_iteration(tabular.with_clock(m, 3), 1.0),
    "effective_horizon": lambda m: tabular.effective_horizon(m, 0.9),
    "planning_depth": lambda m: tabular.planning_depth(m, np.float64(0.9)),
    "soft_planning": lambda m: objectives.soft_planning(m, 0.9, 0.1, iterations=20),
    "best_visits": lambda m: objectives.best_visits(m, 0.9, square, iterations=5),
    **{
        f"cvar on {name}": lambda m, make=make: tabular.cvar(m, make(m), tau=0.5, **STEPS)
        for name, make in {
            "grid": lambda m: grid(),
            "covering": lambda m: tabular.covering(m, 1.0, 16, horizon=3),
            "lattice": lattice,
        }.items()
    },
    "cvar for ever": lambda m: tabular.cvar(m, tabular.covering(m, 0.9, 16), tau=0.5, gamma=0.9),
    "upper_cvar": lambda m: tabular.upper_cvar(m, grid(), tau=0.5, **STEPS),
    **{
        f"solve {type(each).__name__}": lambda m, each=each: tabular.solve(m, each, grid(), **STEPS)
        for each in (
            functionals.target(),
            functionals.Reach(),
            functionals.Power(),
            functionals.Exponential(0.3),
        )
    },
    "solve_with_clock": lambda m: tabular.solve_with_clock(
        m, functionals.Exponential(0.3), grid(), gamma=0.9, horizon=3
    ),
    **{
        f"laws, {name}": lambda m, make=make: distributional.value_iteration(
            m, functionals.shortfall(), grid(), make(), finite=True, ties="mean", **PLAY
        )
        for name, make in KINDS.items()
    },
    "laws of a policy": lambda m: distributional.evaluate(
        m, policy((13,)), grid(), tabular.Particles(8), **PLAY
    ),
    "policy iteration of laws": lambda m: distributional.policy_iteration(
        m, functionals.shortfall(), grid(), tabular.Particles(8), rounds=2, **PLAY
    ),
    "forward": lambda m: forward.law(m, policy((13,)), grid(), 0.0, horizon=3),
    "absorbing": lambda m: planning.value_iteration(tabular.absorbing(m), 0.9),
    "starc": lambda m: tabular.starc(*rewards(m)),
    "starc, minimal": lambda m: tabular.starc(*rewards(m), canonical.minimal),
    "epic": lambda m: tabular.epic(*rewards(m)),
    "dard": lambda m: tabular.dard(*rewards(m)),
    "policy_order": lambda m: reward_distance.policy_order(*rewards(m), policy()[None]),
    "worst_case": lambda m: regret.worst_case(*means(m)),
    "of_optimum": lambda m: regret.of_optimum(*means(m)),
}


def square(visits):
    return -(visits**2).sum()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CALLS)
def test_every_tool_in_every_precision(name, mode):
    """Traced alone: types that do not fit show then."""
    wide, dtype = MODES[mode]
    with jax.enable_x64(True) if wide else contextlib.nullcontext():
        made = world(dtype)
        found = jax.tree.leaves(jax.eval_shape(lambda: CALLS[name](made)))
        types = {x.dtype for x in found if jnp.issubdtype(x.dtype, jnp.inexact)}
        if not wide:
            assert types <= {jnp.dtype(jnp.float32)}
        if dtype == np.float64 and wide:
            assert types <= {jnp.dtype(jnp.float64)}, "something was cast on the way"


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_double_precision_finds_what_single_does(name):
    both = [CALLS[name](world(np.float32))]
    with jax.enable_x64(True):
        both.append(CALLS[name](world(np.float64)))
        if isinstance(both[0], planning.Plan):
            both = [each.q for each in both]
        for x, y in zip(*map(jax.tree.leaves, both), strict=True):
            if jnp.issubdtype(x.dtype, jnp.inexact) and x.ndim < 3:
                np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3)


# ---- the numbers ------------------------------------------------------------------------


def plain(gamma=0.9, steps=None, temperature=None):
    """Q by backups in NumPy, of `TENTHS`."""
    q = np.zeros((2, 2))
    for _ in range(steps or 3000):
        v = q.max(1)
        if temperature:
            v = temperature * np.log(np.exp(q / temperature).sum(1)) if q.any() else 0 * v
        q = TENTHS + gamma * TRANSITION @ v
    return q


def laws_by_hand(steps, state=0):
    """Of the uniform policy without a discount: `{return: probability}`."""
    if steps == 0:
        return {0.0: 1.0}
    total = {}
    for a in range(2):
        for after in range(2):
            for g, p in laws_by_hand(steps - 1, after).items():
                key = round(TENTHS[state, a] + g, 9)
                total[key] = total.get(key, 0.0) + 0.5 * TRANSITION[state, a, after] * p
    return {g: p for g, p in total.items() if p > 0}


def shortfalls(steps, stocks):
    """`max E min(c + G, 0)` by recursion over real numbers, at each stock."""

    def value(state, c, left):
        if left == 0:
            return min(c, 0.0)
        return max(
            sum(
                TRANSITION[state, a, t] * value(t, c + TENTHS[state, a], left - 1)
                for t in range(2)
                if TRANSITION[state, a, t] > 0
            )
            for a in range(2)
        )

    return np.array([[value(s, c, steps) for c in stocks] for s in range(2)])


def test_double_precision_is_double():
    exact = {"rtol": 1e-10, "atol": 1e-10}
    with jax.enable_x64(True):
        made = tabular.from_tables(TRANSITION, TENTHS, start=np.array([1.0, 0.0]))
        q = plain()
        for plan in (
            planning.value_iteration(made, 0.9, tolerance=1e-13),
            planning.policy_iteration(made, 0.9),
        ):
            np.testing.assert_allclose(plan.q, q, **exact)
        found = planning.finite_horizon(made, 5, 0.9)
        np.testing.assert_allclose(found.q[-1], plain(steps=5), **exact)
        step = TRANSITION.mean(1)
        values = np.linalg.solve(np.eye(2) - 0.9 * step, TENTHS.mean(1))
        np.testing.assert_allclose(planning.evaluate(made, policy(), 0.9), values, **exact)
        stocks = tabular.grid(-0.6, 0.6, 13)
        points = np.linspace(-0.6, 0.6, 13)
        solved = tabular.solve(made, functionals.shortfall(), stocks, gamma=1.0, horizon=3)
        np.testing.assert_allclose(solved.values, shortfalls(3, points), **exact)
        # CVaR from the definition, by the best of all initial stocks.
        lattice = tabular.lattice(made, 1.0, 0.1, horizon=3)
        risk = tabular.cvar(made, lattice, tau=0.3, gamma=1.0, horizon=3)
        fine = np.arange(-6, 7) / 10
        best = (shortfalls(3, fine) / 0.3 - fine[None]).max(1)
        np.testing.assert_allclose(risk.value, best, **exact)
        for law in (
            forward.law(made, policy((13,)), stocks, 0.0, horizon=3),
            jax.tree.map(
                lambda x: x[0, 6],
                distributional.evaluate(
                    made, policy((13,)), stocks, tabular.Particles(16), gamma=1.0, iterations=3
                ),
            ),
        ):
            pairs = zip(np.asarray(law.values), np.asarray(law.weights), strict=True)
            got = {round(float(g), 9) + 0.0: float(p) for g, p in pairs if p > 1e-14}
            expected = laws_by_hand(3)
            assert got.keys() == expected.keys()
            for g, p in expected.items():
                assert abs(got[g] - p) < 1e-12
