"""Decoding by values and stopping by utility: two branches by hand, and every outcome counted."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.agents.decoding import introspection, steered
from jaxrl_reward.nn import language_models
from jaxrl_reward.tabular import tilted
from jaxrl_reward.types import UserError


def test_value_augmented_sampling_is_not_the_soft_optimum():
    """Branches worth (1, 0) and (.6, .6), a uniform reference, beta 2."""
    means = jnp.array([0.5, 0.6])
    chosen = jax.nn.softmax(steered.augment(jnp.zeros(2), means, 2.0))
    np.testing.assert_allclose(chosen[1], 0.549834, atol=1e-6)
    leaves = np.array([1.0, 0.0, 0.6, 0.6])
    best = tilted.tilt(np.full(4, 0.25), leaves, 2.0).law
    np.testing.assert_allclose(best[:2].sum(), 0.558180, atol=1e-6)
    # Valued by the soft values of the branches in place of means, the first step is the optimum's.
    soft = np.log(np.exp(2 * leaves).reshape(2, 2).mean(1)) / 2
    again = jax.nn.softmax(steered.augment(jnp.zeros(2), jnp.asarray(soft, jnp.float32), 2.0))
    np.testing.assert_allclose(again[0], 0.558180, atol=1e-6)


def test_only_the_likeliest_tokens_are_moved_and_rewards_add_up():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    values = jnp.array([[0.0, 1.0], [1.0, 0.0], [9.0, 9.0], [9.0, 9.0]])
    found = steered.augment(logits, values, jnp.array([2.0, 0.5]), top=2)
    # Worth .5 and 2, mean 1.25.
    np.testing.assert_allclose(found - logits, [-0.75, 0.75, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(steered.augment(logits, values, jnp.zeros(2)), logits, atol=1e-6)
    with pytest.raises(UserError, match="values must be"):
        steered.augment(logits, values, jnp.ones(3))
    with pytest.raises(UserError, match="top must be between 1 and 4"):
        steered.augment(logits, values, jnp.ones(2), top=5)


def test_drawn_tokens_follow_the_law_and_betas_need_no_training():
    """One token after an empty text, of which the values are known."""
    model = language_models.recurrent(3, 1, 8)
    params = model.init(jax.random.key(0))
    prompt = jnp.ones((4096, 1), jnp.int32)
    worth = jnp.array([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.0, 0.0]])  # the last is nothing

    def values(texts):
        return worth[texts[:, 1]]

    @jax.jit
    def write(betas):
        return steered.decode(
            model, params, prompt, 1, jax.random.key(1), values=values, betas=betas
        )

    base = jax.nn.softmax(model.read(params, prompt[:1])[1][0])
    for betas in ([0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [1.5, 1.0]):
        law = np.asarray(base * jnp.exp(worth[:3] @ jnp.array(betas)))
        share = np.bincount(np.asarray(write(jnp.array(betas)))[:, 0], minlength=3) / 4096
        np.testing.assert_allclose(share, law / law.sum(), atol=0.03)
    assert write._cache_size() == 1


def test_utility_is_every_outcome_counted():
    rng = np.random.default_rng(0)
    joint = rng.dirichlet(np.ones(6), 3).reshape(3, 2, 3)
    rewards, lengths = np.array([0.2, 1.0]), np.array([1.0, 4.0, 16.0])
    for on in ([True, True, True], [True, False, True], [False, True, False]):
        who = [i for i in range(3) if on[i]]
        total = np.zeros(3)
        for outcome in itertools.product(itertools.product(range(2), range(3)), repeat=len(who)):
            chance = np.prod([joint[i][o] for i, o in zip(who, outcome, strict=True)])
            length = [lengths[o[1]] for o in outcome]
            total += chance * np.array(
                [max(rewards[o[0]] for o in outcome), sum(length), max(length)]
            )
        given = (jnp.asarray(x, jnp.float32) for x in (joint, rewards, lengths))
        found = introspection.foresee(*given, jnp.array(on))
        np.testing.assert_allclose(found, total, rtol=1e-5)
        wanted = total[0] - 0.01 * (0.1 * total[1] + 0.9 * total[2])
        np.testing.assert_allclose(introspection.utility(found, 0.01, 0.1), wanted, rtol=1e-5)


def test_with_nothing_to_go_on_with_all_is_zero():
    joint = jnp.full((2, 2, 2), 0.25)
    found = introspection.foresee(
        joint, jnp.array([0.5, 1.0]), jnp.array([1.0, 2.0]), jnp.zeros(2, bool)
    )
    assert found == (0.0, 0.0, 0.0)
    with pytest.raises(UserError, match=r"joint must be \[N, R, L\]"):
        introspection.foresee(joint[0], jnp.ones(2), jnp.ones(2), jnp.ones(2, bool))
