"""Designed rewards: invariant by exact planning, the best there is by brute force."""

import itertools

import jax
import numpy as np
import pytest

from jaxrl_reward import design, tabular
from jaxrl_reward.design import adaptive, informative
from jaxrl_reward.types import UserError

GAMMA = 0.9


@pytest.fixture(scope="module")
def line():
    world = tabular.worlds.make("line_key", length=6)
    return world, design.target(world, GAMMA)


def optimal_actions(world, reward, tolerance):
    """By value iteration in NumPy, in double precision."""
    going, values = np.asarray(world.transition(), np.float64), np.zeros(world.states)
    for _ in range(400):
        q = reward + GAMMA * going @ values
        values = q.max(1)
    return q >= values[:, None] - tolerance


def q_of_horizon(to, reward, horizon):
    """`[S, A]`, by simulating the definition: an action, then `horizon` steps of the target."""
    q = reward
    for _ in range(horizon):
        after = q[np.arange(len(q)), to.policy]
        q = reward + to.gamma * to.transition @ after
    return q


def test_losses_are_differences_of_q(line):
    _, to = line
    reward = np.random.default_rng(0).normal(size=to.size)
    for horizon in (0, 1, 5):
        q = q_of_horizon(to, reward, horizon)
        lost = q[np.arange(len(q)), to.policy][:, None] - q
        found = design.losses(to, horizon) @ reward.reshape(-1)
        np.testing.assert_allclose(found, lost.reshape(-1), atol=1e-12)
    q = q_of_horizon(to, reward, 2000)
    ever = (design.losses(to) @ reward.reshape(-1)).reshape(to.size)
    np.testing.assert_allclose(ever, q[np.arange(len(q)), to.policy][:, None] - q, atol=1e-9)


def test_the_target_is_what_planning_finds(line):
    world, to = line
    reward = np.asarray(world.expected_reward(), np.float64)
    np.testing.assert_array_equal(to.optimal, optimal_actions(world, reward, 1e-5))
    assert (to.advantage <= 1e-9).all() and to.bound == pytest.approx(0.95, abs=0.03)
    worse = np.where(to.optimal, np.inf, -to.advantage).min(1)
    np.testing.assert_allclose(to.gap, np.where(np.isfinite(worse), worse, 0.0))


def test_informativeness_is_its_definition(line):
    _, to = line
    reward, horizons, missing = np.random.default_rng(1).normal(size=to.size), (1, 3), []
    for horizon, s in itertools.product(horizons, range(to.size[0])):
        q = q_of_horizon(to, reward, horizon)[s]
        lost = [q[to.policy[s]] - q[a] for a in range(3) if not to.optimal[s, a]]
        missing.append(max(0.0, to.gap[s] - min(lost)) if lost else 0.0)
    assert design.informativeness(to, reward, horizons) == pytest.approx(-np.mean(missing))


def test_a_designed_reward_keeps_the_optimal_policies_and_says_more(line):
    world, to = line
    found = design.exprd(to, 2, candidates=[0, 1, 2, 7, 8, 9])
    own = design.informativeness(to, to.reward)
    assert own < found.informativeness[0] + 1e-9 < found.informativeness[1] + 1e-9
    assert found.informativeness[2] >= found.informativeness[1] - 1e-9
    assert set(np.flatnonzero(np.abs(found.reward).max(1) > 0)) <= set(found.states)
    assert len(found.states) == 2 + (np.abs(to.reward).max(1) > 0).sum()
    assert np.abs(found.reward).max() <= to.bound + 1e-9
    # What is optimal for it is optimal for the task.
    best = optimal_actions(world, found.reward, 1e-9)
    assert (best <= to.optimal).all() and best.any(1).all()


def test_greedy_takes_the_best_state_of_all(line):
    _, to = line
    paying = list(np.flatnonzero(np.abs(to.reward).max(1) > 0))
    found = design.exprd(to, 1, horizons=(1, 4))
    each = [
        design.most_informative(to, design.on([*paying, s], to), (1, 4))[1]
        for s in range(to.size[0])
        if s not in paying
    ]
    assert found.informativeness[1] == pytest.approx(max(each), abs=1e-9)


def test_the_linear_program_finds_no_worse_than_random_invariant_rewards(line):
    _, to = line
    basis = design.on(range(to.size[0]), to)
    reward, value = design.most_informative(to, basis, (1, 4))
    matrix, vector = informative.invariant(to, basis)
    rng, seen = np.random.default_rng(2), 0
    for _ in range(300):  # on the way from the task's reward to a random one
        other = to.reward + 0.02 * rng.normal(size=to.size) + 0.9 * (reward - to.reward)
        other = np.clip(other, -to.bound, to.bound)
        if (matrix @ other.reshape(-1) <= vector).all():
            seen += 1
            assert design.informativeness(to, other, (1, 4)) <= value + 1e-9
    assert seen > 5


def test_tied_rewards_can_be_designed_too(line):
    """A basis of one number for each action, the same in all states but those that pay."""
    _, to = line
    states, actions = to.size
    every = np.tile(np.eye(actions), (states, 1))
    own = to.reward.reshape(-1, 1)
    reward, value = design.most_informative(to, np.hstack([every, own]))
    assert value >= design.informativeness(to, to.reward) - 1e-9
    elsewhere = np.abs(to.reward).max(1) == 0
    np.testing.assert_allclose(reward[elsewhere], reward[elsewhere][:1].repeat(elsewhere.sum(), 0))


def test_the_adaptive_gradient_is_that_of_its_criterion(line):
    """And the criterion is what a step of a policy gradient on the reward gains."""
    _, to = line
    rng = np.random.default_rng(3)
    learner = rng.dirichlet(np.ones(3), to.size[0])
    reward = rng.normal(size=to.size)
    mu = design.visits(to, np.eye(3)[to.policy]) * design.visits(to, learner)
    centred = lambda x: x - (learner * x).sum(1, keepdims=True)  # noqa: E731
    value = (mu[:, None] * learner**2 * centred(to.advantage) * centred(reward)).sum()
    found = adaptive.gradient(to, learner)
    assert (found * reward).sum() == pytest.approx(value, rel=1e-9)
    # d/d step of sum_s mu_T(s) E_{a ~ softmax(z + step g)} A(s, a), g = mu_L pi (R - R(s, L))
    logits, push = np.log(learner), design.visits(to, learner)[:, None] * learner * centred(reward)
    expert = design.visits(to, np.eye(3)[to.policy])

    def gained(step):
        moved = np.exp(logits + step * push)
        moved /= moved.sum(1, keepdims=True)
        return (expert[:, None] * moved * to.advantage).sum()

    slope = (gained(1e-5) - gained(-1e-5)) / 2e-5
    assert slope == pytest.approx(value, rel=1e-5)


def test_adapted_rewards_are_invariant_and_follow_the_learner(line):
    world, to = line
    uniform = np.full(to.size, 1 / 3)
    first = design.adapted(to, uniform)
    assert (optimal_actions(world, first, 1e-9) <= to.optimal).all()
    expertish = 0.8 * np.eye(3)[to.policy] + 0.2 * uniform
    later = design.adapted(to, expertish)
    assert np.abs(first - later).max() > 0.1
    gain = adaptive.gradient(to, uniform)
    assert (gain * first).sum() > (gain * later).sum() > (gain * to.reward).sum()
    few = design.adapted(to, uniform, basis=design.on([1, 2, 10, 11], to))
    assert set(np.flatnonzero(np.abs(few).max(1) > 0)) <= {1, 2, 10, 11}


def test_what_cannot_be_designed_is_told(line):
    world, to = line
    with pytest.raises(UserError, match="discount above 0 and below 1"):
        design.target(world, 1.0)
    with pytest.raises(UserError, match="one reward"):
        design.target(tabular.worlds.make("mine"), 0.9)
    with pytest.raises(UserError, match="no reward on this basis"):
        design.most_informative(to, design.on([0], to))
    with pytest.raises(UserError, match="must not be negative"):
        design.exprd(to, -1)


def test_the_designed_table_is_paid(line):
    world, to = line
    reward = np.random.default_rng(4).normal(size=to.size)
    shown = design.paying(world, reward)
    np.testing.assert_allclose(shown.expected_reward(), reward, atol=1e-6)
    assert jax.tree.structure(shown) == jax.tree.structure(world)
