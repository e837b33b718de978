"""Shaping: it telescopes, and leaves the optimal policies of small MDPs as they are.

Ng, Harada and Russell 1999, theorem 1 and corollary 2: Q' = Q - Phi.
"""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrl_reward import rewards as rw
from jaxrl_reward import tabular
from jaxrl_reward.types import Transition

S, A, GAMMA = 5, 3, 0.9
seeds = st.integers(0, 2**31 - 1)


def value(reward, block):
    return np.asarray(reward.apply(reward.init(jax.random.key(0), block), block).reward)


def mdp(seed):
    """An MDP some of whose states end the episode, and a potential `[S]`."""
    rng = np.random.default_rng(seed)
    rewards, transition = rng.normal(size=(S, A)), rng.dirichlet(np.ones(S), (S, A))
    ends, table = rng.random(S) < 0.3, rng.normal(size=S)
    rewards, transition, table = (x.astype(np.float32) for x in (rewards, transition, table))
    return tabular.from_tables(transition, rewards, ends), table


@jax.jit
def optimal(world):
    return tabular.planning.value_iteration(world, GAMMA, tolerance=0.0, max_iterations=300).q


def solve(reward, seed):
    """Optimal q where `reward` is paid; state s is observed as s^2."""
    observed = np.arange(S, dtype=np.float32)[:, None] ** 2
    return np.asarray(optimal(rw.tabulate(reward, mdp(seed)[0], jax.numpy.asarray(observed))))


def phi_of(seed):
    table = mdp(seed)[1]
    return lambda obs: jax.numpy.asarray(table)[jax.numpy.sqrt(obs[0]).astype(int)]


@given(seed=seeds)
def test_a_potential_leaves_every_optimal_policy(seed):
    phi = phi_of(seed)
    plain = solve(rw.env(), seed)
    shaped = solve(rw.env() + rw.potential(phi, gamma=GAMMA), seed)
    table = mdp(seed)[1]
    np.testing.assert_allclose(shaped, plain - table[:, None], atol=1e-4)
    gap = np.sort(plain, 1)[:, -1] - np.sort(plain, 1)[:, -2]
    clear = gap > 1e-3
    np.testing.assert_array_equal(shaped.argmax(1)[clear], plain.argmax(1)[clear])


def test_a_state_bonus_does_not():
    """The law above can fail: paying the potential itself changes what is optimal."""
    changed = 0
    for seed in range(10):
        bonus = rw.env() + rw.state_bonus(phi_of(seed))
        changed += (solve(bonus, seed).argmax(1) != solve(rw.env(), seed).argmax(1)).any()
    assert changed > 0


@pytest.mark.parametrize("terminated", [False, True])
@given(seed=seeds)
def test_a_potential_telescopes(terminated, seed):
    """Discounted, an episode's shaping is gamma^T Phi(end) - Phi(start); Phi is 0 after an end."""
    rng, steps = np.random.default_rng(seed), 6
    path = rng.normal(size=(steps + 1, 1, 2)).astype(np.float32)
    no, zero = np.zeros((steps, 1), bool), np.zeros((steps, 1), np.float32)
    last = no.copy()
    last[-1] = True
    block = Transition(
        obs=path[:-1],
        action=zero.astype(int),
        env_reward=zero,
        reward=zero,
        next_obs=path[1:],
        first=last[::-1],
        terminated=last if terminated else no,
        truncated=no if terminated else last,
    )
    paid = value(rw.potential("first", gamma=GAMMA), block)[:, 0]
    total = (GAMMA ** np.arange(steps) * paid).sum()
    end = 0.0 if terminated else GAMMA**steps * path[-1, 0, 0]
    np.testing.assert_allclose(total, end - path[0, 0, 0], atol=1e-5)
