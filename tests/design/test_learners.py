"""Small learners and EXPLORS, against NumPy loops and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import tabular
from jaxrl_reward.design import episodes, explors, learners
from jaxrl_reward.types import UserError

H, B, MANY, GAMMA = 12, 64, 8000, 0.9
WORLD = tabular.worlds.make("line_key", length=6)


@pytest.fixture(scope="module")
def many():
    """A policy, and many episodes that it played."""
    rng = np.random.default_rng(0)
    policy = jnp.asarray(rng.dirichlet(np.ones(3), WORLD.states), jnp.float32)
    run = jax.jit(lambda key: episodes.play(key, WORLD, policy, H, MANY))
    return policy, jax.tree.map(np.asarray, run(jax.random.key(0)))


@pytest.fixture(scope="module")
def played(many):
    policy, seen = many
    return policy, jax.tree.map(lambda x: x[:, :B], seen)


def test_episodes_follow_the_mdp(played):
    _, seen = played
    world = jax.tree.map(np.asarray, WORLD)
    assert (seen.state[0] == 3).all() and (seen.live[0] == 1).all()
    assert (world.probability[seen.state, seen.action, seen.outcome] > 0).all()
    np.testing.assert_array_equal(
        seen.successor, world.successor[seen.state, seen.action, seen.outcome]
    )
    going = (seen.live[:-1] == 1) & ~seen.ends[:-1]
    np.testing.assert_array_equal(seen.live[1:] == 1, going)
    np.testing.assert_array_equal(seen.state[1:][going], seen.successor[:-1][going])
    assert (seen.live.sum(0) < H).any()  # some end early


def test_the_expected_return_is_that_of_many_episodes(many):
    policy, seen = many
    totals = np.asarray(episodes.returns(seen.of(WORLD.reward), GAMMA))[0]
    exact = episodes.expected_return(WORLD, policy, GAMMA, H)
    assert abs(totals.mean() - exact) < 4 * totals.std() / np.sqrt(len(totals))
    # And of the steps left, as tabular planning has it for the best policy.
    plan = tabular.planning.finite_horizon(WORLD, H, GAMMA)
    assert exact < plan.values[-1] @ WORLD.start


def test_reinforce_is_the_score_times_the_return(played):
    policy, seen = played
    table = np.log(policy)
    settings = learners.Settings(horizon=H, episodes=B, rate=0.5, gamma=GAMMA)
    found = learners._reinforce(
        settings, jnp.asarray(table), policy, jax.tree.map(jnp.asarray, seen), seen.of(WORLD.reward)
    )
    expected = np.zeros_like(table)
    reward = np.asarray(seen.of(WORLD.reward))
    for b in range(B):
        for t in range(int(seen.live[:, b].sum())):
            gain = sum(GAMMA ** (u - t) * reward[u, b] for u in range(t, H))
            s, a = seen.state[t, b], seen.action[t, b]
            expected[s] += gain * (np.eye(3)[a] - np.asarray(policy)[s])
    np.testing.assert_allclose(found - table, 0.5 * expected / B, atol=1e-5)


def test_q_learning_goes_back_from_each_end(played):
    policy, seen = played
    settings = learners.Settings("q_learning", horizon=H, episodes=B, rate=0.5, gamma=GAMMA)
    reward = np.asarray(seen.of(WORLD.reward))
    found = learners._q_learning(
        settings, jnp.zeros((WORLD.states, 3)), policy, jax.tree.map(jnp.asarray, seen), reward
    )
    q = np.zeros((WORLD.states, 3))
    for b in reversed(range(B)):
        for t in reversed(range(int(seen.live[:, b].sum()))):
            s, a = seen.state[t, b], seen.action[t, b]
            later = 0.0 if seen.ends[t, b] else q[seen.successor[t, b]].max()
            q[s, a] += 0.5 * (reward[t, b] + GAMMA * later - q[s, a])
    np.testing.assert_allclose(found, q, atol=1e-5)
    assert q.max() > 0.1


def test_explors_is_the_rule_of_the_paper(played):
    policy, seen = played
    rng = np.random.default_rng(1)
    shaping = explors.Shaping(
        rng.normal(size=(WORLD.states, 3)), rng.normal(size=WORLD.states), np.arange(12.0)
    )
    settings = explors.Explors(scale=2.0, largest=0.5, rate=0.1, critic_rate=0.2)
    own = np.asarray(episodes.returns(seen.of(WORLD.reward), GAMMA))
    phi, values, counts = (np.array(x) for x in (shaping.phi, shaping.values, shaping.counts))
    missed, steps, pi = np.zeros(WORLD.states), 0, np.asarray(policy)
    extra = np.zeros((H, B))
    for b in range(B):
        for t in range(int(seen.live[:, b].sum())):
            s, a, after = seen.state[t, b], seen.action[t, b], seen.successor[t, b]
            curious = 2.0 / np.sqrt((2.0 / 0.5) ** 2 + shaping.counts[after])
            extra[t, b] = shaping.phi[s, a] + (0.0 if seen.ends[t, b] else curious)
            error = own[t, b] - shaping.values[s]
            phi[s, a] += 0.1 * pi[s, a] * error
            phi[s] -= 0.1 * pi[s] * pi[s, a] * error
            missed[s], counts[s], steps = missed[s] + error, counts[s] + 1, steps + 1
    arrays = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), shaping)
    seen = jax.tree.map(jnp.asarray, seen)
    np.testing.assert_allclose(explors.paid(settings, arrays, seen), extra, atol=1e-5)
    found = explors.update(settings, arrays, seen, policy, own)
    np.testing.assert_allclose(found.phi, phi, atol=1e-4)
    np.testing.assert_allclose(found.values, values + 0.2 * missed / steps, atol=1e-5)
    np.testing.assert_allclose(found.counts, counts)
    clipped = explors.update(settings.replace(clip=0.1), arrays, seen, policy, own)
    assert np.abs(clipped.phi).max() == pytest.approx(0.1)
    # Of nothing, nothing is paid: the task's reward stays as it is.
    none = explors.Explors(scale=0.0, rate=0.0)
    empty = explors.start(WORLD.states, 3)
    np.testing.assert_array_equal(explors.paid(none, empty, seen), 0.0)
    assert (explors.update(none, empty, seen, policy, own).phi == 0).all()


@pytest.mark.parametrize("kind", ["q_learning", pytest.param("reinforce", marks=pytest.mark.slow)])
def test_learners_learn_and_map_over_seeds(kind):
    """A bandit, in one program for two seeds; a seed alone learns the same."""
    bandit = tabular.from_outcomes([[[(1.0, None, r)] for r in (0.0, 1.0, 0.5)]])
    settings = learners.Settings(kind, horizon=2, episodes=4, rate=0.3, epsilon=0.2)
    keys = jax.random.split(jax.random.key(0), 2)

    def final(key):
        learner = learners.train(
            settings, learners.start(bandit), key, bandit, bandit.reward, updates=150
        )
        return learner.table, learners.value(settings, learner, bandit)

    table, value = jax.vmap(final)(keys)
    assert (np.asarray(table).argmax(-1) == 1).all() and (value > 0.8).all()
    np.testing.assert_allclose(final(keys[1])[0], table[1], rtol=1e-4, atol=1e-5)


def test_an_unknown_learner_is_refused():
    with pytest.raises(UserError, match="did you mean 'reinforce'"):
        learners.Settings("reinforced")
