"""Corruption: how often, how much, and that replay repeats it."""

import jax
import numpy as np
import pytest

from jaxrl_reward import rewards as rw

T, N = 200, 50


def corrupted(term, block_of, **block):
    """What 10,000 rewards of 0.75 become, `[T, N]`."""
    block = block_of(np.full((T, N), 0.75), **block)
    return np.asarray(term.apply(term.init(jax.random.key(1), block), block).reward)


def test_noise_has_its_moments(block_of):
    noise = corrupted(rw.gaussian_noise(std=2.0), block_of) - 0.75
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 2.0) < 0.1
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.05  # over time
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.05
    noise = corrupted(rw.uniform_noise(-1.0, 3.0), block_of) - 0.75
    assert noise.min() >= -1 and noise.max() < 3 and abs(noise.mean() - 1.0) < 0.1


@pytest.mark.parametrize(
    ("term", "hit"),
    [(rw.flip_sign(0.2), -0.75), (rw.flip_binary(0.2), 0.25), (rw.replaced(0.2, low=0, high=0), 0)],
)
def test_hits_have_their_probability(term, hit, block_of):
    out = corrupted(term, block_of)
    assert set(np.unique(out)) == {np.float32(hit), np.float32(0.75)}
    assert abs((out == np.float32(hit)).mean() - 0.2) < 0.02


def test_by_the_transition_the_same_step_is_corrupted_alike(block_of):
    seen = np.arange(T + 1)[:, None] % 5  # five kinds of steps, in every environment
    out = corrupted(rw.gaussian_noise(std=1.0, per="transition"), block_of, obs=seen)
    assert len(np.unique(out)) == 5
    np.testing.assert_array_equal(out[:5], out[5:10])
    anew = corrupted(rw.gaussian_noise(std=1.0), block_of, obs=seen)
    assert len(np.unique(anew)) > 0.99 * T * N


def test_blocks_do_not_repeat_each_other(block_of):
    term, block = rw.gaussian_noise(std=1.0), block_of(np.zeros((4, 3)))
    out = term.apply(term.init(jax.random.key(0), block), block)
    assert not np.isin(term.apply(out.state, block).reward, out.reward).any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flip_sign(probability=1.5)", "between 0 and 1"),
        ("gaussian_noise(per='stpe')", "did you mean 'step'"),
    ],
)
def test_bad_input_is_one_line(text, message):
    with pytest.raises(rw.RewardSyntaxError, match=message):
        rw.parse(text)
