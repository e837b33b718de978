"""SQIRL: what one look ahead solves, against all policies written out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl_reward import tabular
from jaxrl_reward.tabular import sqirl

S, A, H, EPISODES = 3, 2, 2, 4096


def by_hand(mdp):
    """The best of all policies, and those greedy in the random policy's Q, with the margin."""
    probability, reward, successor = (
        np.asarray(x) for x in (mdp.probability, mdp.reward, mdp.successor)
    )

    def backed(values):
        return (probability * (reward + values[successor])).sum(-1)

    def value(policy):
        values = np.zeros(S)
        for actions in policy[::-1]:
            values = backed(values)[np.arange(S), actions]
        return values.mean()

    last = backed(np.zeros(S))
    first = backed(last.mean(-1))
    margin = min(abs(q[:, 0] - q[:, 1]).min() for q in (first, last))
    acts = [np.array(a) for a in itertools.product(range(A), repeat=S)]
    best = max(value(pair) for pair in itertools.product(acts, repeat=H))
    return best, value([first.argmax(-1), last.argmax(-1)]), margin


def test_depth_one_solves_what_is_greedily_solvable_and_depth_two_the_rest():
    solved = {True: 0, False: 0}
    for seed in range(40):
        mdp = tabular.garnet(jax.random.key(seed), S, A, 2)
        best, greedy, margin = by_hand(mdp)
        if margin < 0.2:  # nearer than the episodes tell
            continue
        one = sqirl.sqirl(jax.random.key(99), mdp, horizon=H, depth=1, episodes=EPISODES)
        np.testing.assert_allclose(one.value, greedy, atol=1e-5)
        two = sqirl.sqirl(jax.random.key(98), mdp, horizon=H, depth=2, episodes=EPISODES)
        np.testing.assert_allclose(two.value, best, atol=0.05)
        solved[bool(greedy > best - 1e-5)] += 1
        assert one.samples == H * H * EPISODES  # all episodes last, and each step has its own
    assert solved[True] >= 5 and solved[False] >= 1


def test_what_a_policy_is_worth_by_hand():
    """1 for going on and 5 behind it; leaving pays 2."""
    ahead = [[(1.0, 1, 1.0)], [(1.0, None, 2.0)]]
    behind = [[(1.0, None, 5.0)], [(1.0, None, 0.0)]]
    mdp = tabular.from_outcomes([ahead, behind])
    for policy, value in (
        ([[0, 0], [0, 0]], 6.0),
        ([[1, 0], [0, 0]], 2.0),
        ([[0, 0], [1, 1]], 1.0),
    ):
        np.testing.assert_allclose(sqirl.worth(mdp, jnp.array(policy)), value)
