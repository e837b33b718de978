"""The stock: its updates, what is paid for its utility, and what a policy sees of it."""

import jax
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.types import Transition, UserError

T = 5


def block(reward):
    """One episode of given rewards, `[T]`, whose observation is 0."""
    reward = np.asarray(reward, np.float32)[:, None]
    no = np.zeros(reward.shape, bool)
    first, last = no.copy(), no.copy()
    first[0], last[-1] = True, True
    obs = np.zeros((*reward.shape, 1), np.float32)
    action = np.zeros(reward.shape, np.int32)
    return Transition(obs, action, reward, reward, obs, first, last, no)


def run(term, reward):
    return apply(term, block(reward))


@jax.jit
def apply(term, played):
    return term.apply(term.init(jax.random.key(0), played), played)


def test_the_stock_tells_the_return_at_all_times():
    reward, gamma = [1.0, -2.0, 0.5, 4.0, -1.0], 0.5
    for t in (1, T):
        out = run(rw.stock(c0=-3.0, gamma=gamma), reward[:t])
        stock = np.asarray(rw.stock().observe(out.state.local))[0, 0]
        # gamma^t (c_t + G_t) = c_0 + G_0
        rest = sum(gamma**k * r for k, r in enumerate(reward[t:]))
        whole = sum(gamma**k * r for k, r in enumerate(reward))
        np.testing.assert_allclose(gamma**t * (stock + rest), -3 + whole, atol=1e-5)
        np.testing.assert_array_equal(out.reward[:, 0], np.float32(reward[:t]))
        seen = rw.stock(observed="discounted", scale=2.0).observe(out.state.local)
        np.testing.assert_allclose(seen[0], [gamma**t * stock / 2, gamma**t], atol=1e-5)


@pytest.mark.parametrize("slopes", [(1.0, -1.0), (1.0, 0.0), (0.0, 1.0), (2.5, 0.5)])
@pytest.mark.parametrize("gamma", [1.0, 0.6])
def test_the_utility_of_the_return_is_what_is_paid(slopes, gamma):
    """sum_t gamma^t r~_t = f(c_0 + G) - f(c_0), from either side of 0."""
    left, right = slopes
    f = lambda x: left * min(x, 0) + right * max(x, 0)  # noqa: E731
    reward = np.random.default_rng(0).normal(size=T)
    total = float((gamma ** np.arange(T) * reward).sum())
    for c0 in (-2.0, 0.0, 1.5):
        term = rw.stock_utility(c0=c0, gamma=gamma, left=left, right=right)
        paid = np.asarray(run(term, reward).reward[:, 0])
        earned = (gamma ** np.arange(T) * paid).sum()
        np.testing.assert_allclose(earned, f(c0 + total) - f(c0), atol=1e-5)


def test_a_stock_that_overflows_still_pays_what_it_should():
    """Far from 0 the utility is linear: what is paid is the slope times the reward."""
    reward = np.ones(300)
    paid = run(rw.stock_utility(c0=5.0, gamma=0.5, left=1.0, right=-2.0), reward)
    np.testing.assert_allclose(paid.reward, -2.0)
    assert np.isfinite(rw.stock().observe(paid.state.local)).all()


def test_vectors_of_rewards_have_vectors_of_stocks():
    both = rw.stack(rw.env(), rw.env() | rw.scale(-2.0))
    kept = run(both | rw.stock(c0=(1.0, 2.0), gamma=1.0), [3.0, 1.0])
    assert kept.reward.shape == (2, 1, 2)
    _, (held, _) = kept.state.local
    np.testing.assert_allclose(held[0], [1 + 4, 2 - 8])
    term = both | rw.stock_utility(c0=(1.0, 2.0), gamma=1.0, left=1.0, right=-1.0)
    paid = run(term, [3.0, 1.0])
    np.testing.assert_allclose(paid.reward.sum(), -(5 + 6) + (1 + 2))
    batch, features = jax.tree.map(lambda x: x[:, 0], (block([3.0, 1.0]), paid.features))
    again = term.relabel(paid.state.shared, batch, features)
    np.testing.assert_allclose(again, paid.reward[:, 0])


def test_replay_knows_what_makes_it_stale():
    assert rw.replay_problem(rw.env() | rw.stock()) is None
    assert "stock" in rw.replay_problem(rw.rnd() | rw.stock())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stock(observed='stok')", "did you mean 'stock'"),
        ("stock(gamma=1.5)", "at most 1"),
        ("stock_utility(gamma='x')", "must be a number"),
        ("stock(c0='x')", "c0 must be a number"),
    ],
)
def test_bad_input_is_one_line(text, message):
    with pytest.raises(rw.RewardSyntaxError, match=message):
        rw.parse(text)


def test_a_stock_for_each_reward():
    with pytest.raises(UserError, match="2 numbers c0 for one"):
        run(rw.stock(c0=(1.0, 2.0)), [1.0])
