"""Plain planning, against NumPy and against itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward import tabular
from jaxrl_reward.tabular import planning, worlds
from jaxrl_reward.types import UserError

GAMMA = 0.9


def garnet(seed=0):
    return tabular.garnet(jax.random.key(seed), 6, 3, 2)


def close(found, expected, tolerance=1e-4):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_garnets_are_mdps():
    mdp = tabular.garnet(jax.random.key(3), 6, 3, 4, random_rewards=True)
    close(mdp.probability.sum(-1), 1.0, 1e-6)
    assert all(len(set(row)) == 4 for row in np.asarray(mdp.successor).reshape(-1, 4).tolist())
    assert len(np.unique(mdp.reward)) == 6 * 3 * 4
    close(mdp.transition().sum(-1), 1.0, 1e-6)


def test_value_iteration_is_policy_iteration_is_numpy():
    mdps = jax.vmap(lambda key: tabular.garnet(key, 6, 3, 2))(
        jax.random.split(jax.random.key(0), 3)
    )
    iterated = jax.vmap(lambda m: planning.value_iteration(m, GAMMA))(mdps)
    improved = jax.vmap(lambda m: planning.policy_iteration(m, GAMMA))(mdps)
    close(iterated.values, improved.values)
    for i in range(3):
        mdp = jax.tree.map(lambda x, i=i: x[i], mdps)
        transition, reward = np.asarray(mdp.transition()), np.asarray(mdp.expected_reward())
        q = np.zeros((6, 3))
        for _ in range(300):
            q = reward + GAMMA * transition @ q.max(1)
        close(iterated.values[i], q.max(1))
        best = np.asarray(planning.optimal_actions(improved.q[i]))
        np.testing.assert_array_equal(best, q >= q.max(1, keepdims=True) - 1e-4)


def test_one_state_of_many_counts():
    """Of 1000 bandits one pays 3e-5 more for its second arm, which 1 / (1 - gamma) makes 3e-4."""
    stays = lambda s, more: [[(1.0, s, 1.0)], [(1.0, s, 1.0 + more)]]  # noqa: E731
    mdp = tabular.from_outcomes([stays(s, 3e-5 * (s == 999)) for s in range(1000)])
    values = np.asarray(planning.policy_iteration(mdp, GAMMA).values)
    np.testing.assert_allclose(values[999] - values[0], 3e-4, rtol=0.05)


def test_occupancy_earns_the_value():
    mdp = garnet()
    policy = jnp.asarray(np.random.default_rng(1).dirichlet(np.ones(3), 6), jnp.float32)
    visits = planning.occupancy(mdp, policy, GAMMA)
    close(visits.sum(), 1 / (1 - GAMMA))
    earned = (visits * mdp.expected_reward()).sum()
    close(earned, mdp.start @ planning.evaluate(mdp, policy, GAMMA))
    # The flow into a state is the flow out of it.
    inflow = mdp.start + GAMMA * jnp.einsum("sa,sat->t", visits, mdp.transition())
    close(visits.sum(1), inflow)


def test_without_a_discount_where_episodes_end():
    grid = worlds.risky_grid()
    straight = jnp.zeros((12, 4)).at[:, 1].set(1.0)  # to the right
    values = np.asarray(planning.evaluate(grid.replace(start=jnp.eye(12)[0]), straight.at[4:].set(
        jnp.eye(4)[0]), 1.0))  # fmt: skip
    close(values[:3], [-4.6, -2.8, -1.0])
    close(planning.finite_horizon(grid, 8).values[-1, 0], -4.6)
    least, most = planning.bounds(grid, 1.0, horizon=3)
    close((least, most), (-27.0, -1.0))


def test_bounds_hold_all_returns():
    mdp = garnet()
    least, most = planning.bounds(mdp, GAMMA)
    best = planning.value_iteration(
        mdp.replace(probability=(mdp.reward == mdp.reward) / 2.0), GAMMA
    ).values.max()
    assert least < best <= most + 1e-3
    close(planning.bounds(worlds.digits(), 0.5), (0.0, 2.0))
    close(planning.bounds(worlds.homeostasis(), 0.5), ((-2.0, -2.0), (4.0, 4.0)))


def test_tables_and_outcomes_agree():
    transition = np.array([[[0.5, 0.5]], [[0.0, 1.0]]])
    tables = tabular.from_tables(transition, np.array([[1.0], [2.0]]), ends=np.array([False, True]))
    listed = tabular.from_outcomes([[[(0.5, 0, 1.0), (0.5, None, 1.0)]], [[(1.0, None, 2.0)]]])
    plans = [planning.value_iteration(mdp, GAMMA).values for mdp in (tables, listed)]
    close(plans[0], plans[1])
    close(plans[0][0], 1 / (1 - GAMMA / 2))


def test_a_reward_expression_has_a_table():
    mdp = worlds.lotteries()
    observed = jnp.array([[3.0], [4.0]])
    table = rw.tabulate(rw.env() + rw.potential("first", gamma=0.5), mdp, observed).reward
    close(table[0, 0], [0.5 * 4 - 3 + 0, 0.5 * 4 - 3 + 10])
    close(table[1], [[4 - 4, -4], [-4, 10 - 4]])  # nothing follows an end; S has one outcome
    both = rw.tabulate(rw.stack(rw.env(), rw.env() | rw.scale(2.0)), mdp)
    assert both.reward.shape == (2, 2, 2, 2)
    for memory in (rw.env() + rw.counts(), rw.env() | rw.stock()):
        with pytest.raises(UserError, match="more than one step"):
            rw.tabulate(memory, mdp)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tabular.from_outcomes([[[(0.5, 0, 1.0)]]]), "probability 0.5"),
        (lambda: tabular.from_outcomes([[[(1.0, 7, 1.0)]]]), "leads to 7"),
        (lambda: tabular.from_tables(np.ones((2, 1)), np.ones((2, 1))), r"\[S, A, S'\]"),
        (lambda: tabular.from_tables(np.ones((2, 1, 2)), np.ones(3)), "reward must be"),
        (lambda: tabular.garnet(jax.random.key(0), 3, 2, 4), "branching"),
        (lambda: tabular.stack([worlds.digits(), worlds.lotteries()]), "one shape"),
        (lambda: tabular.grid(0.0, 1.0, 1), "2 points"),
        (lambda: tabular.lattice(worlds.digits(), 1.0, 1.0), "horizon"),
        (lambda: worlds.make("lottery"), "lotteries"),
    ],
)
def test_bad_input_is_one_line(make, message):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
