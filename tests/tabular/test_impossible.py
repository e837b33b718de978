"""Input that makes no sense is refused in one line, and grids that are too narrow are told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import design, tabular
from jaxrl_reward.tabular import dynamics, objectives, planning, worlds
from jaxrl_reward.tabular.comparing import regret
from jaxrl_reward.tabular.returns import distributional, forward, functionals
from jaxrl_reward.types import UserError

P = np.array([[[0.5, 0.5]], [[1.0, 0.0]]])
R = np.array([[1.0], [2.0]])
LOTTERIES = worlds.lotteries()
STOCKS = tabular.grid(-21.0, 11.0, 33)
STEPS = {"gamma": 1.0, "horizon": 2}
NAN = np.array([[1.0], [np.nan]])


def outcome(*one):
    return lambda: tabular.from_outcomes([[[one]]])


REFUSED = {
    "rows of 0.9": (lambda: tabular.from_tables(0.9 * P, R), r"transition sums to 0.9 at \[0, 0\]"),
    "rows of 1.1": (lambda: tabular.from_tables(1.1 * P, R), "sums to 1.1"),
    "negative": (lambda: tabular.from_tables(P * [-1, 3], R), "transition is negative"),
    "NaN P": (lambda: tabular.from_tables(np.nan * P, R), "transition is not finite"),
    "NaN R": (lambda: tabular.from_tables(P, NAN), r"reward is not finite at \[1, 0"),
    "infinite R": (lambda: tabular.from_tables(P, R * np.inf), "reward is not finite"),
    "actions for a policy": (
        lambda: planning.evaluate(tabular.from_tables(P, R), jnp.ones(2), 0.9),
        r"policy must be \[2, 1\], not \[2\]|sums to 2",
    ),
    "a policy of more actions": (
        lambda: planning.evaluate(tabular.from_tables(P, R), jnp.full((2, 2), 0.5), 0.9),
        r"policy must be \[2, 1\], not \[2, 2\]",
    ),
    "several tau": (
        lambda: tabular.cvar(LOTTERIES, STOCKS, tau=[0.5, 0.2], **STEPS),
        "tau and weight must be one number each",
    ),
    "a grid of words": (lambda: tabular.grid("a", 1.0, 3), "low must be a number, not 'a'"),
    "start": (lambda: tabular.from_tables(P, R, start=np.ones(2)), "start sums to 2"),
    "start's shape": (lambda: tabular.from_tables(P, R, start=np.ones(3) / 3), r"start must be"),
    "ends' shape": (lambda: tabular.from_tables(P, R, ends=np.ones(3, bool)), "ends must be"),
    "outcome NaN": (outcome(1.0, 0, np.nan), "not finite"),
    "outcome p NaN": (outcome(np.nan, 0, 1.0), "probability nan"),
    "outcome p": (lambda: tabular.from_outcomes([[[(2.0, 0, 1.0), (-1.0, 0, 0.0)]]]), "-1"),
    "no outcomes": (lambda: tabular.from_outcomes([[[]]]), "each action an outcome"),
    "from_outcomes start": (lambda: tabular.from_outcomes([[[(1.0, 0, 1.0)]]], 5), "state 5"),
    "outcome beyond float32": (outcome(1.0, None, 1e300), "reward as float32 is not finite"),
    "outcome between states": (outcome(1.0, 0.5, 1.0), "leads to 0.5"),
    "clock": (lambda: tabular.with_clock(LOTTERIES, 2.5), "a positive integer"),
    "stack": (lambda: tabular.stack([]), "at least one"),
    "by hand": (
        lambda: planning.value_iteration(LOTTERIES.replace(probability=-LOTTERIES.probability), 1),
        "value_iteration: probability is negative",
    ),
    "gamma 1.5": (
        lambda: planning.value_iteration(LOTTERIES, 1.5),
        "gamma must be between",
    ),
    "gamma -1": (lambda: planning.policy_iteration(LOTTERIES, -1.0), "gamma must be"),
    "gamma NaN": (lambda: planning.finite_horizon(LOTTERIES, 2, np.nan), "gamma must be"),
    "gamma None": (lambda: planning.value_iteration(LOTTERIES, None), "gamma must be"),
    "gammas": (lambda: planning.value_iteration(LOTTERIES, np.ones(2)), "gamma must be one number"),
    "gamma word": (lambda: tabular.optimal_set(LOTTERIES, "much"), "gamma must be a number"),
    "horizon": (lambda: planning.finite_horizon(LOTTERIES, 0), "horizon must be a positive"),
    "policy": (lambda: planning.evaluate(LOTTERIES, np.ones((2, 2)), 1.0), "policy sums to 2"),
    "vector": (lambda: planning.value_iteration(worlds.mine(), 0.9), "one reward, not a vector"),
    "a batch": (
        lambda: planning.value_iteration(tabular.stack([LOTTERIES] * 2), 0.9),
        "use vmap",
    ),
    "no MDP": (lambda: planning.value_iteration(P, 0.9), "needs an MDP"),
    "limit": (lambda: tabular.effective_horizon(LOTTERIES, 1.0, limit=-1), "limit must be"),
    "heat": (lambda: objectives.soft_planning(LOTTERIES, 0.9, 0.0), "temperature must be above 0"),
    "visits": (lambda: objectives.best_visits(LOTTERIES, 1.0, jnp.sum), "gamma must be"),
    **{
        f"tau {tau}": (
            lambda tau=tau: tabular.cvar(LOTTERIES, STOCKS, tau=tau, **STEPS),
            "tau must be above 0 and at most 1",
        )
        for tau in (2.0, 0.0, -1.0, np.nan)
    },
    "upper tau": (lambda: tabular.upper_cvar(LOTTERIES, STOCKS, tau=0.0, **STEPS), "tau must be"),
    "tau of laws": (lambda: tabular.cvar_of(np.ones(2), np.ones(2) / 2, 1.5), "tau must be"),
    "weight": (
        lambda: tabular.mean_cvar(LOTTERIES, STOCKS, tau=0.5, weight=2.0, **STEPS),
        "weight must be",
    ),
    "cvar's gamma": (
        lambda: tabular.cvar(LOTTERIES, STOCKS, tau=0.5, gamma=0.0, horizon=2),
        "gamma must be above 0",
    ),
    "solve's horizon": (
        lambda: tabular.solve(LOTTERIES, functionals.mean(), STOCKS, gamma=1.0, horizon=-3),
        "horizon must be",
    ),
    "no grid": (
        lambda: tabular.solve(LOTTERIES, functionals.mean(), np.ones(3), **STEPS),
        "needs a Grid",
    ),
    "grid": (lambda: tabular.grid(1.0, 0.0, 5), "high - low must be above 0"),
    "grid NaN": (lambda: tabular.grid(np.nan, 0.0, 5), "low is not finite"),
    "infinite grid": (lambda: tabular.grid(0.0, np.inf, 5), "high is not finite"),
    "grid of 2.5": (lambda: tabular.grid(0.0, 1.0, 2.5), "size must be a whole number"),
    "endless returns": (lambda: tabular.covering(CHAIN, 1.0, 9), "returns have no bound"),
    "spacing": (lambda: tabular.lattice(LOTTERIES, 1.0, -1.0), "spacing must be above 0"),
    "covering": (lambda: tabular.covering(LOTTERIES, 1.0, 3), "size must be"),
    "laws": (
        lambda: distributional.value_iteration(
            LOTTERIES, functionals.mean(), STOCKS, tabular.Particles(4), gamma=2.0, iterations=1
        ),
        "gamma must be",
    ),
    "law": (
        lambda: forward.law(LOTTERIES, np.ones((2, 33, 2)), STOCKS, 0.0, horizon=2),
        "policy sums to 2",
    ),
    "ends": (lambda: dynamics.of(LOTTERIES, 0.9), "absorbing"),
    "endless gamma": (lambda: dynamics.of(worlds.digits(), 1.0), "below 1"),
    "starc of arrays": (lambda: tabular.starc(P, R, R), "needs Dynamics"),
    "regret of NaN": (
        lambda: regret.worst_case(
            dynamics.of(worlds.digits(), 0.5), np.ones((1, 2)), [[np.nan, 0]]
        ),
        "second is not finite",
    ),
    "design": (lambda: design.target(worlds.digits(), 0.5, tolerance=-1.0), "tolerance must be"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_sense_is_refused_in_a_line(name):
    call, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_tables_in_half_precision_are_solved_in_single(dtype):
    world = tabular.from_tables(jnp.asarray(P, dtype), jnp.asarray(R, dtype))
    # V0 = 1 + 0.45 (V0 + V1) and V1 = 2 + 0.9 V0.
    right = np.linalg.solve([[0.55, -0.45], [-0.9, 1.0]], [1.0, 2.0])
    np.testing.assert_allclose(planning.policy_iteration(world, 0.9).values, right, rtol=1e-5)


def test_tracers_pass():
    """Nothing is looked into under `jit` and `vmap`."""
    built = jax.make_jaxpr(lambda p, r, g: planning.q_values(tabular.from_tables(p, r), r[:, 0], g))
    assert built(P, R, 0.9)
    assert jax.make_jaxpr(lambda g: planning.value_iteration(LOTTERIES, g).q)(0.9)
    assert jax.make_jaxpr(lambda t: tabular.cvar(LOTTERIES, STOCKS, tau=t, **STEPS).value)(0.5)


# ---- grids ---------------------------------------------------------------------------------


CHAIN = tabular.from_outcomes([[[(1.0, 0, -1.0)]]])  # -1 a step for sure: every CVaR is -H


@pytest.mark.parametrize("kind", ["lattice", "covering"])
def test_grids_hold_the_stocks_of_fewer_steps(kind):
    for world, steps, right in ((CHAIN, 5, -5.0), (CHAIN.replace(reward=-CHAIN.reward), 3, 3.0)):
        if kind == "lattice":
            grid = tabular.lattice(world, 1.0, 1.0, horizon=steps)
        else:
            grid = tabular.covering(world, 1.0, 33, horizon=steps)
        found = tabular.cvar(world, grid, tau=0.25, gamma=1.0, horizon=steps)
        np.testing.assert_allclose(found.value, right, rtol=1e-5)


def test_a_covering_grid_of_one_return_has_points():
    world = tabular.from_outcomes([[[(1.0, None, 7.0)]]])
    grid = tabular.covering(world, 1.0, 9)
    assert len(np.unique(grid.points())) == 9
    found = tabular.cvar(world, grid, tau=0.25, gamma=1.0)
    np.testing.assert_allclose(found.value, 7.0, rtol=1e-5)
    nothing = tabular.from_outcomes([[[(1.0, None, 0.0)]]])
    assert len(np.unique(tabular.covering(nothing, 1.0, 9).points())) == 9


def test_a_narrow_grid_is_told():
    narrow = tabular.grid(-3.0, 3.0, 7)
    with pytest.warns(UserWarning, match=r"0 to 20.*-20 to 0 are needed.*best stock") as told:
        tabular.cvar(LOTTERIES, narrow, tau=0.75, **STEPS)
    assert len(told) == 1 and "\n" not in str(told[0].message)
    with pytest.warns(UserWarning, match="too narrow.*low end"):
        tabular.solve(LOTTERIES, functionals.shortfall(), narrow, **STEPS)
    with pytest.warns(UserWarning, match="too narrow.*low end"):
        tabular.solve(LOTTERIES, functionals.Reach(), narrow, **STEPS)
    # The stocks of few steps: at the end itself all seems well.
    with pytest.warns(UserWarning, match="-5 to 0.*from 0 to 5.*low end"):
        tabular.solve(
            CHAIN, functionals.shortfall(), tabular.grid(4.0, 6.0, 3), gamma=1.0, horizon=5
        )
    # What just holds all returns is not too narrow, and traced ones are silent.
    found = tabular.cvar(LOTTERIES, tabular.grid(-20.0, 0.0, 21), tau=0.75, **STEPS)
    np.testing.assert_allclose(found.value[0], 8.0, rtol=1e-5)
    jax.make_jaxpr(lambda grid: tabular.cvar(LOTTERIES, grid, tau=0.75, **STEPS).value)(narrow)


def test_probability_that_leaves_the_grid_is_lost():
    policy = np.zeros((2, 7, 2)) + 0.5
    law = forward.law(LOTTERIES, policy, tabular.grid(-3.0, 3.0, 7), 0.0, horizon=2)
    assert law.lost > 0.7
    wide = np.zeros((2, 24, 2)) + 0.5
    assert forward.law(LOTTERIES, wide, tabular.grid(-1.0, 22.0, 24), 0.0, horizon=2).lost == 0
