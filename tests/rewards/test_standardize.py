"""Rewards on a scale that follows the data, against NumPy."""

import jax
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


@pytest.mark.parametrize("waited", [1, 1280])
@pytest.mark.parametrize("before", [0.0, 0.1, -7.0])
@pytest.mark.parametrize("text", ["normalize(gamma=0)", "standardize()", "clip_spread()"])
def test_what_differs_for_the_first_time_is_taken_as_it_is(
    block_of, paid, after, text, before, waited
):
    """However long all was alike: there is no scale to take from what was alike."""
    term = rw.parse(text)
    state = after(term, block_of(np.full((64, 4), before)))
    for _ in range(waited // 64):
        state = term.apply(state, block_of(np.full((64, 4), before))).state
    now = np.full(4, before)
    now[2] += 1.0
    first = paid(term, block_of(now[:, None] * np.ones((1, 4))), state)[:, 0]
    np.testing.assert_allclose(first, now - before * (text == "standardize()"), atol=1e-5)


def test_a_spread_that_is_small_is_one(block_of, paid, after):
    """What differs by a thousandth is brought to scale, not taken for nothing."""
    small = 5.0 + 1e-3 * np.asarray(PAST)
    state = after(rw.standardize(epsilon=0.0), block_of(small))
    now = 5.0 + 1e-3 * np.asarray(NOW)
    expected = (np.asarray(NOW) - np.mean(PAST)) / np.std(PAST)
    np.testing.assert_allclose(
        paid(rw.standardize(epsilon=0.0), block_of(now), state), expected, rtol=2e-3
    )


def test_popart_stays_at_one_until_something_is_earned(block_of, paid, after):
    """The 1 that its square starts at fades; what it stands for does not."""
    term = rw.popart(rate=0.1)
    state = after(term, *[block_of(np.zeros(300))] * 3)
    np.testing.assert_allclose(paid(term, block_of(NOW), state), NOW, rtol=1e-6)
    state = after(term, *[block_of(np.zeros(300))] * 3, block_of(np.append(np.zeros(299), 1.0)))
    # One return of 1 among zeros, the last: nu = rate, mu = rate.
    sigma = np.sqrt(0.1 - 0.1**2)
    np.testing.assert_allclose(paid(term, block_of(NOW), state), np.asarray(NOW) / sigma, rtol=1e-4)


def filtered(rewards, first, gamma):
    """The deviation of the running discounted return of one environment, in float64."""
    running, returns = 0.0, []
    for reward, begins in zip(rewards, first, strict=True):
        running = (0.0 if begins else running) * gamma + reward
        returns.append(running)
    return np.std(returns)


@pytest.mark.parametrize("length", [10, 50, 200])
def test_a_return_that_runs_on_does_not_know_of_episodes(block_of, after, length):
    """Equal bonuses have one deviation, 8.8, for episodes of 10, 50 and 200 steps."""
    ends = range(length - 1, 6000, length)
    block = block_of(np.ones(6000), ends=ends)
    never = np.zeros(6000, bool)
    runs_on = float(after(rw.normalize(episodic=False), block).shared.std)
    np.testing.assert_allclose(runs_on, filtered(np.ones(6000), never, 0.99), rtol=1e-4)
    np.testing.assert_allclose(runs_on, 8.8, atol=0.2)
    first = np.asarray(block.first)[:, 0]
    again = float(after(rw.normalize(), block).shared.std)
    np.testing.assert_allclose(again, filtered(np.ones(6000), first, 0.99), rtol=1e-4)
    assert str(rw.parse("normalize(episodic=False)")) == "normalize(episodic=False)"


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


@pytest.mark.parametrize("earned", [1.0, 0.1, -16.2736, 1000 / 3, 1e-12, 3e30])
@pytest.mark.parametrize("envs", [2, 7, 16, 100])
def test_standardize_batch_pays_nothing_where_all_earn_the_same(earned, envs, block_of, paid):
    """Also where they differ by one rounding."""
    alike = np.full((2, envs), earned, np.float32)
    alike[1, ::2] = np.nextafter(alike[1, ::2], np.float32(0))
    block, term = block_of(alike), rw.standardize_batch()
    np.testing.assert_array_equal(paid(term, block), 0.0)


@pytest.mark.parametrize("mean", [0.0, 300.0, -1e5, 1e6])
def test_standardize_batch_far_from_zero(mean, block_of, started, applied):
    """In float64; of whole numbers, which float32 holds exactly up to 2^24. Replay agrees."""
    rng = np.random.default_rng(0)
    reward = (rng.integers(-3, 4, (5, 12)) + mean).astype(np.float32)
    exact = reward.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    block, term = block_of(reward), rw.standardize_batch()
    out = applied(term, started(term, jax.random.key(0), block), block)
    np.testing.assert_allclose(out.reward, exact, rtol=1e-5, atol=1e-6)
    again = term.relabel((), block, out.features)
    np.testing.assert_allclose(again, out.reward, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mean", [0.0, 1e4, -3e5])
def test_popart_knows_a_spread_far_below_its_mean(mean, block_of, paid, after):
    """By its definition in float64, nu - mu^2, once mu has come to the mean."""
    rng, rate = np.random.default_rng(0), 0.02
    block = block_of(rng.integers(-5, 6, (400, 3)) + mean, ends=range(400))
    mu, nu = 0.0, 1.0
    for returns in np.asarray(block.reward, np.float64):
        mu += rate * (returns.mean() - mu)
        nu += rate * ((returns**2).mean() - nu)
    term = rw.popart(gamma=0.9, rate=rate)
    one = paid(term, block_of([1.0]), after(term, block))
    np.testing.assert_allclose(one, (nu - mu**2) ** -0.5, rtol=1e-2 if mean else 1e-4)


def test_ranges_and_ranks_take_rounding_for_equality(block_of, paid, after):
    """0.1 seven times in float32 is not 0.7."""
    sums = [0.7, np.float32(0.1) * 7, np.cumsum(np.full(7, 0.1, np.float32))[-1], 0.7]
    assert len(set(map(np.float32, sums))) > 1
    block = block_of(sums)
    for term in (rw.min_max(), rw.rank(size=4)):
        np.testing.assert_array_equal(paid(term, block, after(term, block)), 0.5)
