"""Invariant shaping leaves the optimal actions of 10,000 random small MDPs as they are.

`SHAPINGS` holds, by name, what makes another reward `[S, A, S']` of an MDP and a key:
a new shaping is proved invariant by a line in it, and `BROKEN` is what must be caught.
States are observed one-hot. Half of the MDPs have a random successor, half are
deterministic with rewards -1, 0 and 1, so that many actions tie exactly; in both some
states end the episode. Expressions round to single precision, so MDPs in which an action
is best but for 0.0002 are drawn again: a few in a thousand.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward import tabular
from jaxrl_reward.tabular import planning

S, A, GAMMA = 5, 3, 0.9
COUNTS = [400, pytest.param(10_000, marks=pytest.mark.slow)]
CLOSE, CLEAR = 2e-5, 2e-4  # equally good; certainly not


def paid(reward, mdp):
    """What an expression pays, `[S, A, S']`."""
    return rw.tabulate(reward, mdp, jnp.eye(S, dtype=mdp.reward.dtype)).reward


def potential(mdp, key):
    phi = 3 * jax.random.normal(key, (S,))
    return paid(rw.env() + rw.potential(lambda obs: (obs * phi).sum(), gamma=GAMMA), mdp)


def potential_of_the_optimum(mdp, key):
    """After which every action pays how much worse than the best one it is."""
    del key
    phi = planning.policy_iteration(mdp, GAMMA, tolerance=1e-9).values
    return paid(rw.env() + rw.potential(lambda obs: (obs * phi).sum(), gamma=GAMMA), mdp)


def scale(mdp, key):
    return paid(rw.env() | rw.scale(jnp.exp(jax.random.normal(key))), mdp)


def redistribution(mdp, key):
    """Another reward for each successor, with the same mean for the action."""
    change = jax.random.normal(key, mdp.reward.shape)
    return mdp.reward + change - (mdp.probability * change).sum(-1, keepdims=True)


def state_bonus(mdp, key):
    phi = jax.random.normal(key, (S,))
    return paid(rw.env() + rw.state_bonus(lambda obs: (obs * phi).sum()), mdp)


def undiscounted(mdp, key):
    """A potential whose difference forgets the discount."""
    phi = jax.random.normal(key, (S,))
    return paid(rw.env() + rw.potential(lambda obs: (obs * phi).sum(), gamma=1.0), mdp)


SHAPINGS = {
    "potential": potential,
    "potential of the optimum": potential_of_the_optimum,
    "scale": scale,
    "redistribution": redistribution,
}
BROKEN = {"state bonus": state_bonus, "undiscounted potential": undiscounted}


def random_mdps(count):
    """By NumPy, of which nothing must be compiled."""
    rng, shape = np.random.default_rng(0), (count, S, A, S)
    tied = (np.arange(count) % 2 == 0)[:, None, None, None]
    soft = np.exp(2 * rng.normal(size=shape))
    sure = np.eye(S)[rng.integers(S, size=shape[:3])]
    return tabular.MDP(
        probability=np.where(tied, sure, soft / soft.sum(-1, keepdims=True)),
        successor=np.broadcast_to(np.arange(S, dtype=np.int32), shape),
        reward=np.where(tied, rng.integers(-1, 2, size=shape), rng.normal(size=shape)),
        ends=np.broadcast_to((rng.random((count, S)) < 0.2)[:, None, None], shape),
        start=np.full((count, S), 1 / S),
    )


@jax.jit
def solve(mdps, tolerance=CLOSE):
    """The optimal actions."""
    return jax.vmap(lambda mdp: planning.optimal_set(mdp, GAMMA, tolerance=tolerance))(mdps)


@functools.cache
def before(count):
    """The MDPs and their optimal actions: once for all shapings."""
    mdps = random_mdps(count + count // 50)
    least, most = (np.asarray(solve(mdps, each)) for each in (CLOSE / 100, CLEAR))
    clear = (least == most).all((1, 2))
    assert clear.sum() >= count and clear.mean() > 0.99
    mdps = jax.tree.map(lambda x: x[clear][:count], mdps)
    return mdps, np.asarray(solve(mdps))


def changed(shaping, count):
    """In which MDPs a shaping changes what is optimal, `[count]` bool."""
    mdps, best = before(count)
    keys = jax.random.split(jax.random.key(1), count)
    shaped = jax.jit(jax.vmap(shaping))(mdps, keys)
    after = solve(mdps.replace(reward=shaped.astype(mdps.reward.dtype)))
    return (np.asarray(after) != best).any((1, 2))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", SHAPINGS)
def test_the_optimal_actions_stay(name, count):
    assert not changed(SHAPINGS[name], count).any()


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_invariant_is_caught(name):
    assert changed(BROKEN[name], 400).mean() > 0.1


def test_many_actions_tie():
    """So that a set of optimal actions is more than one of them."""
    ties = (before(400)[1].sum(-1) > 1).any(-1)
    assert 0.25 < ties.mean() < 0.5  # in most of the half that is deterministic
