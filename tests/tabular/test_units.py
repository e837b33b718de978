"""The unit of the rewards does not matter: random MDPs against every policy there is.

The reference is NumPy in double precision: the values of all 81 deterministic policies of
four states and three actions, by solving their linear systems.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import design, tabular
from jaxrl_reward.tabular import dynamics, horizons, planning, worlds
from jaxrl_reward.tabular.comparing import regret, reward_distance
from jaxrl_reward.tabular.returns import distributional, functionals
from jaxrl_reward.tabular.returns.stock import greedy

S, A = 4, 3
UNITS = (1e-6, 1.0, 1e6)
EXTREME = (1e-30, 1e30)
POLICIES = np.array(list(itertools.product(range(A), repeat=S)))


def tables(count, seed=0):
    """Random MDPs of many kinds: transitions, rewards `[B, S, A, S]`, ends `[B, S]`, gammas.

    Dense, sparse or deterministic; with or without terminal states; rewards that are normal,
    small integers (many ties), never positive, rarely anything, or all near a large one.
    """
    rng = np.random.default_rng(seed)
    dense = rng.dirichlet(np.ones(S), (count, S, A))
    sparse = rng.dirichlet(np.full(S, 0.2), (count, S, A)).round(2)
    sparse[..., 0] += 1 - sparse.sum(-1)
    sure = np.eye(S)[rng.integers(0, S, (count, S, A))]
    transition = np.stack([dense, np.abs(sparse), sure])[rng.integers(0, 3, count), range(count)]
    normal = rng.normal(size=(count, S, A, S))
    whole = rng.integers(-2, 3, (count, S, A, 1)) + np.zeros(S)
    rare = (rng.random((count, S, A, S)) < 0.1) * 1.0
    kinds = np.stack([normal, whole, -np.abs(normal), rare, 10 + normal])
    reward = kinds[rng.integers(0, 5, count), range(count)]
    ends = (rng.random((count, S)) < 0.25) & (rng.random((count, 1)) < 0.5)
    return transition, reward, ends, rng.choice([0.3, 0.9, 0.97], count)


def every_policy(transition, reward, ends, gamma):
    """Optimal values `[B, S]` and `Q[B, S, A]`, from the values of all policies."""
    going = gamma[:, None, None, None] * transition * ~ends[:, None, None, :]
    mean = (transition * reward).sum(-1)
    s = np.arange(S)
    step, paid = going[:, s, POLICIES], mean[:, s, POLICIES]  # [B, 81, S, S'], [B, 81, S]
    values = np.linalg.solve(np.eye(S) - step, paid[..., None])[..., 0].max(1)
    return values, mean + np.einsum("bsat,bt->bsa", going, values)


def batch(transition, reward, ends, unit):
    """In float32."""
    shape = transition.shape
    return tabular.MDP(
        probability=jnp.asarray(transition, jnp.float32),
        successor=jnp.broadcast_to(jnp.arange(S, dtype=jnp.int32), shape),
        reward=jnp.asarray(unit * reward, jnp.float32),
        ends=jnp.asarray(np.broadcast_to(ends[:, None, None, :], shape)),
        start=jnp.full(shape[:2], 1 / S),
    )


@jax.jit
def solved(mdps, gammas):
    def one(mdp, gamma):
        iterated, improved = (
            f(mdp, gamma) for f in (planning.value_iteration, planning.policy_iteration)
        )
        return {
            "iterated": iterated.values,
            "improved": improved.values,
            "rounds": improved.iterations,
            "set": tabular.optimal_set(mdp, gamma),
            "actions": planning.optimal_actions(iterated.q),
            "horizon": tabular.effective_horizon(mdp, gamma, limit=50),
            "depth": tabular.planning_depth(mdp, gamma, limit=50),
        }

    return jax.vmap(one)(mdps, gammas)


def check_many(count, units, seed=0):
    """Solves them in every unit; how many actions were not as the reference has them."""
    transition, reward, ends, gamma = tables(count, seed)
    values, q = every_policy(transition, reward, ends, gamma)
    lost = q.max(-1, keepdims=True) - q
    # Values may be small where large rewards cancel: rounding is that of the rewards.
    paid = (transition * np.abs(reward)).sum(-1).max((1, 2))
    size = np.maximum(np.abs(q).max((1, 2)), paid)[:, None, None]
    best = lost <= 1e-9 * size
    # What single precision cannot tell from a tie need not be told.
    near = lost <= 1.1e-4 * lost.max((1, 2), keepdims=True) + 1e-5 * size
    results = {
        unit: jax.device_get(
            solved(batch(transition, reward, ends, unit), jnp.asarray(gamma, jnp.float32))
        )
        for unit in units
    }
    first, differ, apart = results[1.0], 0, 0
    for unit, found in results.items():
        for name in ("iterated", "improved"):
            error = np.abs(found[name].astype(np.float64) / unit - values)
            assert (error <= 1e-4 * size[..., 0]).all(), (unit, name)
        assert found["rounds"].max() < 50
        for name in ("set", "actions"):
            assert (best <= found[name]).all(), (unit, name)
            assert (found[name] <= near).all(), (unit, name)
            apart += int((found[name] != first[name]).any((1, 2)).sum())
        differ += int((found["set"] != best).any((1, 2)).sum())
        for name in ("horizon", "depth"):
            apart += int((found[name] != first[name]).sum())
    return differ, apart


def test_random_mdps_in_every_unit():
    differ, apart = check_many(300, (*UNITS, *EXTREME))
    assert apart == 0 and differ <= 2


@pytest.mark.slow
def test_ten_thousand_random_mdps_in_every_unit():
    differ, apart = check_many(10_000, UNITS, seed=1)
    print(f"10,000 MDPs: {differ} sets are not the reference's, {apart} differ between units")
    assert apart <= 3 and differ <= 60
    assert check_many(1000, (*EXTREME, 1.0), seed=2)[1] == 0


# ---- with a stock ----------------------------------------------------------------------


def scaled(mdp, unit):
    return mdp.replace(reward=mdp.reward * unit)


@pytest.mark.parametrize("unit", [1e-30, 1e-6, 0.01, 1e6, 1e30])
def test_plans_on_a_stock(unit):
    """Lotteries by hand: 0 or 10, then 4 or again 0 or 10. CVaR 0.75 is 8, of the best half 15."""
    world = scaled(worlds.lotteries(), unit)
    stocks = tabular.grid(-21.0 * unit, 11.0 * unit, 33)
    settings = {"gamma": 1.0, "horizon": 2}
    near = {"rtol": 1e-5, "atol": 1e-5}
    risk = tabular.cvar(world, stocks, tau=0.75, **settings)
    np.testing.assert_allclose(risk.value[0] / unit, 8.0, **near)
    plain = tabular.cvar(worlds.lotteries(), tabular.grid(-21.0, 11.0, 33), tau=0.75, **settings)
    np.testing.assert_array_equal(risk.index, plain.index)
    for ties in ("first", "uniform"):
        found, expected = (greedy(each.plan.q, ties) for each in (risk, plain))
        np.testing.assert_array_equal(found, expected)
    # The best half of two coins: 20, and half of the time 10.
    upper = tabular.upper_cvar(world, stocks, tau=0.5, **settings)
    np.testing.assert_allclose(upper.value[0] / unit, 15.0, **near)
    reach = tabular.solve(world, functionals.Reach(), stocks, **settings)
    by_stock = np.asarray(reach.values[0])
    np.testing.assert_allclose(by_stock[[14, 11, 9, 1]], [0.75, 0.75, 0.5, 0.25], atol=1e-6)
    laws = distributional.value_iteration(
        world,
        functionals.shortfall(),
        stocks,
        tabular.Particles(8),
        gamma=1.0,
        iterations=2,
        finite=True,
        ties="uniform",
    )
    np.testing.assert_allclose(laws.values / unit, 0.75 * plain.plan.values, **near)
    np.testing.assert_array_equal(laws.policy, greedy(plain.plan.q, "uniform"))
    made = tabular.lattice(world, 1.0, unit, horizon=2)
    assert made.size == tabular.lattice(worlds.lotteries(), 1.0, 1.0, horizon=2).size
    cover = tabular.covering(world, 0.9, 33)
    found = tabular.cvar(world, cover, tau=0.5, gamma=0.9).value[0] / unit
    plain = tabular.cvar(worlds.lotteries(), tabular.covering(worlds.lotteries(), 0.9, 33),
                         tau=0.5, gamma=0.9).value[0]  # fmt: skip
    np.testing.assert_allclose(found, plain, **near)


def test_particles_merge_by_their_size():
    """0.1 + 0.2 and 0.3 are one value, 1e-6 and 2e-6 are two, in any unit."""
    for unit in (1e-30, 1e-6, 1.0, 1e30):
        values = unit * jnp.array([0.1, 0.2, 0.3]) + unit * jnp.array([0.2, 0.0, 0.0])
        law = tabular.Particles(3).project(values, jnp.array([0.25, 0.5, 0.25]))
        np.testing.assert_allclose(law.weights, [0.5, 0.5, 0.0])
        np.testing.assert_allclose(law.values[:2] / unit, [0.2, 0.3], rtol=1e-6)


def test_a_deviation_does_not_leave_the_range_of_float32():
    spread = functionals.MeanDeviation(weight=1.0, mean=0.0)
    for unit in (1e-30, 1.0, 1e30):
        found = spread(unit * jnp.array([0.0, 10.0]), jnp.array([0.5, 0.5]))
        np.testing.assert_allclose(found / unit, -5.0, rtol=1e-6)


# ---- what is compared, and designed --------------------------------------------------------


def world():
    transition, *_ = tables(1, seed=5)
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=(2, S, A, S))
    start = np.full(S, 1 / S)
    made = dynamics.Dynamics(*(jnp.asarray(x, jnp.float32) for x in (transition[0], start)), 0.9)
    return made, jnp.asarray(rewards, jnp.float32)


@pytest.mark.parametrize("units", [(1e-30, 1e30), (1e30, 1.0), (1e-6, 1e-6)])
def test_distances_and_regrets_have_no_unit(units):
    made, (first, second) = world()
    one, two = units[0] * first, units[1] * second
    for distance in (tabular.starc, tabular.epic, tabular.dard):
        np.testing.assert_allclose(
            distance(made, one, two), distance(made, first, second), rtol=1e-4
        )
        assert distance(made, first, units[0] * first) < 1e-4
    policies = reward_distance.random_policies(jax.random.key(0), made, 32)
    order = reward_distance.policy_order
    np.testing.assert_allclose(
        order(made, one, two, policies), order(made, first, second, policies), rtol=1e-4
    )
    assert order(made, first, units[1] * first, policies) == 0
    means = [made.level(x) for x in (first, second, one, two)]
    plain, other = (regret.worst_case(made, *means[i : i + 2]) for i in (0, 2))
    np.testing.assert_allclose(other.regret, plain.regret, rtol=1e-3)
    np.testing.assert_allclose(other.range / units[0], plain.range, rtol=1e-4)
    np.testing.assert_allclose(
        regret.of_optimum(made, *means[2:]), regret.of_optimum(made, *means[:2]), atol=1e-4
    )


@pytest.mark.parametrize("unit", [1e-30, 1e-6, 0.01, 1e6, 1e30])
def test_designs_have_no_unit(unit):
    plain = worlds.make("line_key", length=6)
    one, other = (design.target(scaled(plain, k), 0.95) for k in (1.0, unit))
    np.testing.assert_array_equal(other.optimal, one.optimal)
    assert 0 < one.optimal.sum() < one.optimal.size
    np.testing.assert_allclose(other.gap / unit, one.gap, rtol=1e-5, atol=1e-12)
    first, second = (
        design.exprd(to, 1, candidates=(6, 7, 8), horizons=(1, 4)) for to in (one, other)
    )
    assert first.states == second.states
    np.testing.assert_allclose(second.reward / unit, first.reward, atol=1e-6)
    settings = [design.explors.Explors(scale=0.5 * k, largest=2.0 * k) for k in (1.0, unit)]
    counts = jnp.array([0.0, 1.0, 100.0])
    np.testing.assert_allclose(
        design.explors.bonus(settings[1], counts) / unit,
        [2.0, 0.5 / 1.0625**0.5, 0.0499844],
        rtol=1e-4,
    )


def test_policies_that_hardly_reach_anything_tie():
    """Their returns are lost in a potential's rounding, which orders them anew."""
    with jax.enable_x64(True):
        line = tabular.absorbing(worlds.make("line_key", length=8))
        made, reward = dynamics.of(line, 0.9), tabular.reward_table(line)
        policies = reward_distance.random_policies(jax.random.key(0), made, 64)
        phi = 5 * np.random.default_rng(0).normal(size=made.states)
        shaped = 3 * (reward + 0.9 * phi[None, None, :] - phi[:, None, None])
        assert reward_distance.policy_order(made, reward, shaped, policies) < 1e-3
        # Those that differ are still ordered.
        assert reward_distance.policy_order(made, reward, -shaped, policies) > 0.99


def test_a_potential_changes_no_effective_horizon():
    """In single precision, though values are then of another size."""
    transition, reward, ends, _ = tables(40, seed=3)
    shift = np.random.default_rng(1).normal(size=(40, S)) * 5
    shaped = reward + 0.9 * (shift * ~ends)[:, None, None, :] - shift[:, :, None, None]
    count = jax.jit(jax.vmap(lambda m: horizons.effective_horizon(m, 0.9, limit=30)))
    plain, moved = (count(batch(transition, r, ends, 1.0)) for r in (reward, shaped))
    assert (np.asarray(plain) != np.asarray(moved)).sum() <= 1
