"""Redistribution: what a delayed return becomes, step by step."""

import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.shaping import credit as redistributed
from jaxrl_reward.types import UserError


def late(block_of, seed=0, steps=96):
    """Episodes of 4 steps of two kinds, whose return comes at the end: 2 a step of kind 1."""
    kind = np.random.default_rng(seed).integers(0, 2, steps)
    reward = np.zeros(steps)
    reward[3::4] = 2.0 * kind.reshape(-1, 4).sum(1)
    obs = np.eye(2)[np.append(0, kind)]
    return block_of(reward, ends=range(3, steps, 4), obs=obs), kind


def test_credit_goes_to_the_steps_that_earned_it(block_of, learnt):
    block, kind = late(block_of)
    term = rw.progress(width=16, updates=150, learning_rate=0.01)
    credit = np.asarray(learnt(term, block)[0][1, :, 0])
    assert abs(credit[kind == 1].mean() - 2.0) < 0.3 and abs(credit[kind == 0].mean()) < 0.3
    sums = credit.reshape(-1, 4).sum(1)
    returns = np.asarray(block.env_reward).reshape(-1, 4).sum(1)
    assert np.abs(sums - returns).mean() < 1.0  # of 4 on average


def test_rudder_pays_changes_of_a_prediction_and_keeps_the_return(block_of, learnt):
    block, kind = late(block_of)
    paid, _ = learnt(rw.rudder(width=16, updates=150, learning_rate=0.01), block)
    returns = np.asarray(block.env_reward).reshape(-1, 4).sum(1)
    for credit in np.asarray(paid[:, :, 0]):  # untrained and trained
        np.testing.assert_allclose(credit.reshape(-1, 4).sum(1), returns, atol=1e-4)
    early = np.asarray(paid[1, :, 0]).reshape(-1, 4)[:, 1:3].reshape(-1)
    seen = kind.reshape(-1, 4)[:, 1:3].reshape(-1)
    assert early[seen == 1].mean() - early[seen == 0].mean() > 0.5  # long before it is paid


@pytest.mark.slow
def test_so_it_does_from_some_of_their_steps(block_of, learnt):
    block, kind = late(block_of)
    term = rw.decomposed_return(width=16, updates=400, learning_rate=0.01, batch_size=32, samples=8)
    credit = np.asarray(learnt(term, block)[0][1, :, 0])
    # Eight draws of four steps: the variance that the loss also shrinks brings them nearer.
    assert credit[kind == 1].min() > credit[kind == 0].max()
    assert credit[kind == 1].mean() - credit[kind == 0].mean() > 1.0
    assert abs(credit.mean() - block.env_reward.sum() / credit.size) < 0.2


def test_only_whole_episodes_are_learnt_from(block_of):
    block = block_of([1.0, 2.0, 4.0, 8.0, 16.0], ends=[0, 2])
    open_start, open_end = block.first.at[0].set(False), block.terminated.at[-1].set(False)
    cut = block.replace(first=open_start, terminated=open_end)
    seen = redistributed.played(cut)  # what is not whole has no weight in a loss
    np.testing.assert_array_equal(seen.whole[:, 0], [False, True, True, False, False])
    np.testing.assert_array_equal(seen.start[:, 0], [0, 1, 1, 3, 3])
    np.testing.assert_allclose(seen.total[:, 0], [1, 6, 6, 24, 24])


def test_the_return_is_shared_out_or_gated(block_of, paid):
    block = block_of([0.0, 0.0, 6.0, 1.0, 3.0], ends=[2])
    np.testing.assert_allclose(paid(rw.spread_return(), block), [2, 2, 2, 2, 2])
    # Steps of 1 are farmed in both episodes, and count where the outcome reaches 5.
    farmed = rw.stack(rw.env(), rw.constant(1.0)) | rw.gated((5.0,))
    np.testing.assert_allclose(paid(farmed, block), [1, 1, 7, 1, 3])
    never = rw.stack(rw.env(), rw.constant(1.0), rw.constant(9.0)) | rw.gated((5.0, 3.5))
    np.testing.assert_allclose(paid(never, block), [1, 1, 7, 1, 3])
    judged = rw.stack(rw.constant(0.75), rw.env() | rw.scale(1 / 6)) | rw.renorm()
    rest = 0.75 + 4 / 6 - 1
    np.testing.assert_allclose(paid(judged, block), [0.75] * 3 + [rest] * 2, rtol=1e-5)


def test_replay_cannot_keep_episodes_together(block_of, paid):
    assert "whole episodes" in rw.replay_problem(rw.env() + rw.progress())
    with pytest.raises(UserError, match="process and outcome"):
        paid(rw.renorm(), block_of([1.0]))
