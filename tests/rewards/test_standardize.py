"""Rewards on a scale that follows the data, against NumPy."""

import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.types import UserError

PAST = [1.0, 4.0, -2.0, 5.0]
NOW = [3.0, -10.0, 4.0, 1.0]  # as many as before, for the same programs


def test_what_is_known_is_from_before_the_block(block_of, paid, after):
    mean, std = np.mean(PAST), np.std(PAST)
    expected = {
        rw.standardize(): (np.asarray(NOW) - mean) / std,
        rw.clip_spread(width=1.0): np.clip(NOW, mean - std, mean + std),
        rw.min_max(): [5 / 7, 0.0, 6 / 7, 3 / 7],
        rw.rank(size=4): [0.5, 0.0, 0.625, 0.375],  # 4 is above two, and ties with one
    }
    for term, values in expected.items():
        state = after(term, block_of(PAST))
        np.testing.assert_allclose(paid(term, block_of(NOW), state), values, atol=1e-5)


def test_before_any_reward(block_of, paid):
    block = block_of(NOW)
    for term in (rw.standardize(), rw.clip_spread(), rw.popart(), rw.percentile_scale()):
        np.testing.assert_allclose(paid(term, block), NOW)
    for term in (rw.min_max(), rw.rank(size=4)):
        np.testing.assert_allclose(paid(term, block), [0.5, 0.5, 0.5, 0.5])


def test_rank_forgets_and_does_not_care_for_scale(block_of, paid, after):
    state = after(rw.rank(size=2), block_of(PAST))
    np.testing.assert_allclose(paid(rw.rank(size=2), block_of([0.0] * 4), state), [0.5] * 4)
    cubed = after(rw.rank(size=4), block_of(np.power(PAST, 3)))
    plain = after(rw.rank(size=4), block_of(PAST))
    np.testing.assert_allclose(
        paid(rw.rank(size=4), block_of(np.power(NOW, 3)), cubed),
        paid(rw.rank(size=4), block_of(NOW), plain),
    )


def test_popart_follows_moving_averages_of_the_return(block_of, paid, after):
    term, mu, nu, total = rw.popart(gamma=0.5, rate=0.2), 0.0, 1.0, 0.0
    for reward in PAST:
        total = 0.5 * total + reward
        mu, nu = 0.8 * mu + 0.2 * total, 0.8 * nu + 0.2 * total**2
    state = after(term, block_of(PAST))
    np.testing.assert_allclose(
        paid(term, block_of(NOW), state), np.asarray(NOW) / np.sqrt(nu - mu**2), rtol=1e-5
    )


def test_popart_knows_a_small_spread_of_large_returns(block_of, paid, after):
    """In float64, where the difference of the moments is still there to be taken."""
    term = rw.popart(gamma=0.0, rate=0.2)
    past = 3000.0 + np.array([1.0, -1.0] * 100)
    state, (mu, nu) = after(term, block_of(past)), (0.0, 1.0)
    for reward in past:
        mu, nu = 0.8 * mu + 0.2 * reward, 0.8 * nu + 0.2 * reward**2
    expected = 3000.0 / np.sqrt(nu - mu**2)
    np.testing.assert_allclose(paid(term, block_of([3000.0]), state), [expected], rtol=1e-3)


def test_percentile_scale_never_enlarges(block_of, paid, after):
    term = rw.percentile_scale(low=25.0, high=75.0, rate=0.5, gamma=0.0)
    spread = 0.5 * (np.percentile(PAST, 75) - np.percentile(PAST, 25))
    state = after(term, block_of(PAST))
    np.testing.assert_allclose(
        paid(term, block_of(NOW), state), np.asarray(NOW) / spread, rtol=1e-5
    )
    small = after(term, block_of(np.asarray(PAST) / 100))
    np.testing.assert_allclose(paid(term, block_of(NOW), small), NOW)


def test_standardize_batch_is_over_the_environments_of_a_step(block_of, paid):
    reward = np.array([[1.0, 3.0, 5.0], [2.0, 2.0, 2.0]])
    spread = np.sqrt(8 / 3)
    expected = [[-2 / spread, 0.0, 2 / spread], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(paid(rw.standardize_batch(), block_of(reward)), expected, atol=1e-5)
    with pytest.raises(UserError, match="two environments"):
        paid(rw.standardize_batch(), block_of([1.0]))
    assert "standardize_batch" in rw.replay_problem(rw.rnd() | rw.standardize_batch())


def test_win_rate_is_the_share_of_past_episodes_beaten(block_of, paid, after):
    term = rw.win_rate(size=3)
    np.testing.assert_allclose(paid(term, block_of([0.0, 0.0, 0.0, 1.0, 2.0])), [0, 0, 0, 0, 0.5])
    past = block_of([9.0, 1.0, 1.0, 3.0, 2.0], ends=[0, 2, 3])  # returns 9, 2, 3, 2
    state = after(term, past)  # of which 9 is forgotten
    now = block_of([1.0, 1.0, 4.0, -4.0, 4.0], ends=[1, 3])
    np.testing.assert_allclose(paid(term, now, state), [0.0, 1 / 3, 0.0, 0.0, 1.0], atol=1e-6)
