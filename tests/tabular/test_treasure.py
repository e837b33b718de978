"""Deep sea treasure: its front is the published one, by exhaustive dynamic programming."""

import jax
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward.tabular import worlds

STEPS = (1, 3, 5, 7, 8, 9, 13, 14, 17, 19)


def front(mdp, horizon=25):
    """The returns that no other beats in both rewards, from the start, by backward induction."""
    successor, ends, reward = (
        np.asarray(x)[:, :, 0] for x in (mdp.successor, mdp.ends, mdp.reward)
    )
    reachable = [set() for _ in range(mdp.states)]  # with the steps left
    for _ in range(horizon):
        reachable = [
            best(
                (round(float(reward[s, a, 0]) + x, 4), float(reward[s, a, 1]) + y)
                for a in range(mdp.actions)
                for x, y in ([(0.0, 0.0)] if ends[s, a] else reachable[successor[s, a]])
            )
            for s in range(mdp.states)
        ]
    return sorted(reachable[int(np.asarray(mdp.start).argmax())])


def best(points):
    points = set(points)
    beaten = lambda p: any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)  # noqa: E731
    return {p for p in points if not beaten(p)}


@pytest.mark.parametrize("convex", [False, True])
def test_the_front_is_the_published_one(convex):
    values = worlds.CONVEX_TREASURES if convex else worlds.TREASURES
    expected = [(value, -float(n)) for value, n in zip(values, STEPS, strict=True)]
    np.testing.assert_allclose(front(worlds.deep_sea_treasure(convex)), expected, atol=1e-3)


def test_weighted_sums_reach_the_ends_of_the_concave_front_alone():
    points = np.array(list(zip(worlds.TREASURES, np.negative(STEPS), strict=True)))
    convex = np.array(list(zip(worlds.CONVEX_TREASURES, np.negative(STEPS), strict=True)))
    weights = np.linspace(0, 1, 2001)
    sums = lambda p: weights[:, None] * p[:, 0] + (1 - weights[:, None]) * p[:, 1]  # noqa: E731
    assert set(sums(points).argmax(1)) == {0, 9}
    assert len(set(sums(convex).argmax(1))) > 5


def test_it_is_an_environment_with_two_rewards():
    env = envs.make("tabular:deep_sea_treasure")
    _, state = env.reset(jax.random.key(0))
    *_, reward, terminated, _, info = env.step(jax.random.key(0), state, 2)  # dive
    assert terminated and reward == 0.0
    np.testing.assert_array_equal(info["rewards"], [1.0, -1.0])
    other = envs.make("tabular:deep_sea_treasure,convex=true").environment.mdp
    np.testing.assert_allclose(other.reward.max(), 23.7, rtol=1e-6)
