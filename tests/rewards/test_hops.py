"""Progress in hops: literal numbers, what fusion does when a model is wrong, telescoping."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.shaping import hops
from jaxrl_reward.types import UserError


def test_hops_and_back():
    before, after = np.array([0.0, 0.2, 0.5, 0.8, 1.0]), np.array([0.5, 0.6, 0.1, 0.8, 0.25])
    hop = np.asarray(hops.hop(jnp.array(before), jnp.array(after)))
    np.testing.assert_allclose(hop, [0.5, 0.4 / 0.8, -0.4 / 0.5, 0.0, -0.75], atol=1e-6)
    change = hops.moved(jnp.array(before), jnp.array(hop))
    np.testing.assert_allclose(change, after - before, atol=1e-6)
    assert float(hops.hop(jnp.float32(1.0), jnp.float32(1.0))) == 0.0


@pytest.mark.parametrize("fusion", hops.FUSIONS)
def test_an_exact_model_is_its_own_potential(block_of, paid, fusion):
    """All estimates agree with `mean`, and so does the gate's, which follows half as fast."""
    way = np.array([0.0, 0.25, 0.75, 0.5, 1.0])
    block = block_of([0.0] * 4, truncated=True, obs=2 * way[:, None] - 1)
    term = rw.hop_potential("first", low=-1.0, gamma=0.5, fusion=fusion)
    known = [0.0]
    for progress in way[1:]:
        change = float(hops.moved(known[-1], hops.hop(way[len(known) - 1], progress)))
        mean = (2 * progress + known[-1] + change) / 3
        gate = known[-1] + (progress - known[-1] + change) / 2
        known.append(mean if fusion == "mean" else gate)
    known = np.array(known)
    if fusion == "mean":
        np.testing.assert_allclose(known, way, atol=1e-6)
    np.testing.assert_allclose(paid(term, block), 0.5 * known[1:] - known[:-1], atol=1e-6)


def test_success_is_paid_near_the_goal_and_the_end_takes_progress_back(block_of, paid):
    block = block_of([0.0, 0.0], obs=[[0.0], [0.96], [0.96]])
    term = rw.hop_potential("first", gamma=1.0, success=10.0)
    np.testing.assert_allclose(paid(term, block), [10.96, 10.0 - 0.96], atol=1e-5)


def test_the_gate_does_not_follow_a_model_that_contradicts_itself(block_of, paid):
    """From the start it says 0.9, from the goal 0.1."""
    goal = jnp.array([1.0, 1.0])

    def wrong(p, q):
        return jnp.where((p == goal).all(), -0.9, jnp.where((p == 0).all(), 0.9, 0.0))

    block = block_of([0.0, 0.0], truncated=True, obs=[[0, 0], [0.3, 0.2], [0.4, 0.2]])
    model = rw.Hops(wrong, goal)
    gated = rw.hop_potential(model, gamma=1.0, fusion="gate", alpha=2.0)
    trust = np.exp(-2.0 * (0.8 / 0.5) ** 2)
    first = trust / 2 * (0.5 + 0.9)
    np.testing.assert_allclose(paid(gated, block)[0], first, atol=1e-6)
    np.testing.assert_allclose(
        paid(rw.hop_potential(model, gamma=1.0), block)[0], (0.9 + 0.9 + 0.1) / 3, atol=1e-6
    )


@pytest.mark.parametrize("fusion", hops.FUSIONS)
def test_it_telescopes_whatever_the_model_says(block_of, fusion):
    """10,000 episodes that end: the discounted sum of what is paid is 0."""
    steps, many, gamma = 5, 10_000, 0.8
    rng = np.random.default_rng(0)
    block = block_of(np.zeros((steps, many)))
    seen = jnp.asarray(rng.normal(size=(steps + 1, many, 1)), jnp.float32)
    block = block.replace(obs=seen[:-1], next_obs=seen[1:])
    model = rw.Hops(lambda p, q: jnp.sin(3 * p[0] + 5 * q[0]), jnp.array([1.0]))
    term = rw.hop_potential(model, gamma=gamma, fusion=fusion)
    out = jax.jit(lambda block: term.apply(term.init(jax.random.key(0), block), block))(block)
    weights = gamma ** np.arange(steps)
    np.testing.assert_allclose(weights @ np.asarray(out.reward), 0.0, atol=1e-5)
    assert np.abs(out.reward).mean() > 0.1


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="low < high"):
        rw.hop_potential("first", low=1.0)
    with pytest.raises(UserError, match="fusion"):
        rw.hop_potential("first", fusion="product")
    assert str(rw.parse("env + hop_potential('norm', low=-2)")) == (
        "env + hop_potential(function='norm', low=-2)"
    )
