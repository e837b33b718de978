"""How far ahead one must look: by hand, and what potentials change.

All MDPs have 4 states, 3 actions and one outcome of each, and share one program.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward import tabular
from jaxrl_reward.tabular import horizons, planning

S, A, GAMMA, MANY = 4, 3, 0.9, 40


def chain():
    """Go on, leave with 0.9, or fall with 0; only who goes on to the end earns 1.

    After a step, acting at random earns at most (1 + 0.9 + 0) / 3 < 0.9, so Q of the
    random policy leaves everywhere but in the last state. Each backup corrects it one
    state earlier: the last but one after the second, where 1 > 0.9.
    """
    leave, fall = [(1.0, None, 0.9)], [(1.0, None, 0.0)]
    states = [[[(1.0, i + 1, 0.0)], leave, fall] for i in range(3)]
    return tabular.from_outcomes([*states, [[(1.0, None, 1.0)], leave, fall]])


def tie():
    """Nothing now, or nothing now and 1, -1 or 0 later: at random both are worth 0."""
    end = [[(1.0, None, r)] for r in (1.0, -1.0, 0.0)]
    nothing = [(1.0, None, 0.0)]
    return tabular.from_outcomes([[[(1.0, 1, 0.0)], nothing, nothing], end, end, end])


def clocked(gain):
    """Two steps: stay for 0.2, or go where 1, -1 or 0 are paid; `gain` is for going."""
    stay = [[(1.0, 0, 0.2)], [(1.0, 0, 0.0)]]
    there = [[(1.0, 1, r)] for r in (1.0, -1.0, 0.0)]
    return tabular.with_clock(tabular.from_outcomes([[[(1.0, 1, gain)], *stay], there]), 2)


def random_mdp(key):
    """Deterministic; some outcomes end the episode."""
    key_mdp, key_ends, key_phi = jax.random.split(key, 3)
    mdp = tabular.garnet(key_mdp, S, A, 1)
    mdp = mdp.replace(ends=jax.random.bernoulli(key_ends, 0.2, mdp.ends.shape))
    best = planning.policy_iteration(mdp, GAMMA, tolerance=1e-9).values
    return mdp, (0 * best, jax.random.normal(key_phi, (S,)), best)


def shaped(mdp, table):
    phi = rw.potential(lambda obs: (obs * table).sum(), gamma=GAMMA)
    return rw.tabulate(rw.env() + phi, mdp)


@jax.jit
def solved(mdps, gammas, limits):
    """Effective horizons and planning depths, `[B, 2]`."""

    def one(mdp, gamma, limit):
        each = [horizons.effective_horizon, horizons.planning_depth]
        return jnp.stack([f(mdp, gamma, limit=limit) for f in each])

    return jax.vmap(one)(mdps, gammas, limits)


@jax.jit
def randoms(keys):
    """Each MDP as it is, with a random potential, and with its optimum as a potential."""
    mdps, tables = jax.vmap(random_mdp)(keys)
    return jax.tree.map(
        lambda *x: jnp.concatenate(x), *[jax.vmap(shaped)(mdps, each) for each in tables]
    )


@functools.cache
def by_hand():
    """Of MDPs by name."""
    first = chain()
    made = {f"chain {4 - i}": first.replace(start=jnp.eye(4)[i]) for i in range(4)}
    made |= {"limited": first, "tie": tie(), "clock": clocked(0.0), "way": clocked(2.0)}
    limits = jnp.full(len(made), 200).at[list(made).index("limited")].set(2)
    mdps = jax.tree.map(lambda *x: jnp.stack(x), *made.values())
    found = solved(mdps, jnp.ones(len(made)), limits)
    return dict(zip(made, np.asarray(found).tolist(), strict=True))


def test_a_chain_by_hand():
    for length in (1, 2, 3, 4):
        assert by_hand()[f"chain {length}"] == [length, length]
    assert by_hand()["limited"] == [3, 3]  # one more than it may look


def test_a_tie_is_not_solved():
    """Every greedy policy must be optimal."""
    assert by_hand()["tie"] == [2, 2]


@pytest.mark.slow
def test_a_potential_leaves_the_effective_horizon_and_shortens_planning():
    with jax.enable_x64(True):
        mdps = randoms(jax.random.split(jax.random.key(0), MANY))
        found = solved(mdps, jnp.full(3 * MANY, GAMMA), jnp.full(3 * MANY, 200))
    plain, moved, best = np.asarray(found).reshape(3, MANY, 2)
    assert 1 < plain[:, 0].max() <= 200 and plain[:, 1].max() > 2
    np.testing.assert_array_equal(moved[:, 0], plain[:, 0])
    np.testing.assert_array_equal(best[:, 0], plain[:, 0])
    np.testing.assert_array_equal(best[:, 1], 1)


def test_where_a_clock_ends_episodes_a_good_potential_shortens_it():
    """The last potential is kept then, so that it is not invariant, and tells the way.

    At random, going is worth 0 and staying 0.2 + 0.2 / 3. Paid 2 for going (a potential
    of 2 there), it is worth 2 and staying 0.2 + 2.2 / 3; going is best either way.
    """
    assert by_hand()["clock"][0] == 2
    assert by_hand()["way"][0] == 1


def test_what_policies_come_to():
    first = chain()
    from_second = first.replace(start=jnp.eye(4)[1])
    reached = jax.jit(horizons.reached)
    assert reached(from_second, jnp.ones((4, 3), bool)).tolist() == [False, True, True, True]
    leaving = jnp.zeros((4, 3), bool).at[:, 1].set(True)
    assert reached(first, leaving).tolist() == [True, False, False, False]
