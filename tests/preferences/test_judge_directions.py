"""Groups of raters, shifted policies, who wrote it, and whose judge it is."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _pairs import V, design, ones, pairs_of, responses

from jaxrl_reward.preferences import judges, losses, users
from jaxrl_reward.preferences.judges import directions
from jaxrl_reward.preferences.judges.directions import Step
from jaxrl_reward.rewards import min_norm_weights

GRADIENTS = jnp.array([[1.0, 0.0], [0.5, 2.0]])


def test_mores_weights_on_the_simplex():
    weights = min_norm_weights(GRADIENTS)
    assert weights[0] == pytest.approx(0.882353, abs=1e-5)
    some = np.linspace(0, 1, 100_001)
    first, second = np.asarray(GRADIENTS)
    lengths = np.linalg.norm(some[:, None] * first + (1 - some)[:, None] * second, axis=1)
    assert weights[0] == pytest.approx(some[lengths.argmin()], abs=1e-4)


def test_mores_direction_is_that_of_k_weighted_losses():
    groups = jnp.array([0, 1, 1])

    def total(vector, rows, weight):
        each = (GRADIENTS[groups[rows]] @ vector) * weight
        return each.sum() / weight.sum()

    at, vector = jnp.arange(3), jnp.array([1.0, 2.0])
    step = Step(total, lambda *_: jnp.zeros(1))
    value, slope = directions.more(groups, 2)(step, vector, at, jax.random.key(0))
    w = 0.882353
    np.testing.assert_allclose(slope, 2 * (w * GRADIENTS[0] + (1 - w) * GRADIENTS[1]), atol=1e-4)
    np.testing.assert_allclose(value, slope @ vector, atol=1e-4)


def test_metas_direction_is_the_slope_at_a_shifted_place():
    """Of a quadratic loss and linear scores, by hand."""
    text = jnp.array([[[1.0, 2.0], [0.0, -1.0]]])
    vector, rate = jnp.array([0.3, -0.4]), 0.7
    step = Step(lambda v, rows, weight: 0.5 * (v**2).sum(), lambda v, text: text @ v)
    direction = directions.meta(text, rate, batch_size=3)
    value, slope = direction(step, vector, jnp.arange(2), jax.random.key(0))
    apart = np.array([1.0, 3.0])
    gap = apart @ np.array([0.3, -0.4])
    s = 1 / (1 + np.exp(-abs(gap)))
    shifted = np.array([0.3, -0.4]) + rate * s * (1 - s) * np.sign(gap) * apart
    np.testing.assert_allclose(slope, shifted, rtol=1e-5)
    np.testing.assert_allclose(value, 0.5 * (shifted**2).sum(), rtol=1e-5)


def test_directions_train_judges():
    train = pairs_of(0, 128, ones)
    model = judges.init(jax.random.key(0), design())
    how = {"steps": 120, "batch_size": 32, "learning_rate": 1e-2}
    prompt, response = responses(50, 64)
    new = judges.texts(prompt, response).reshape(32, 2, -1)
    for direction in (directions.more(np.arange(128) % 2, 2), directions.meta(new, 0.1, 8)):
        fitted, _ = judges.fit(model, jax.random.key(1), train, direction=direction, **how)
        sides = (train.chosen, train.rejected)
        gap = [fitted.scores(judges.texts(train.prompt, x))[0] for x in sides]
        assert (gap[0] > gap[1])[np.asarray(train.label) == 1].mean() > 0.9


def zoo():
    """Three policies, each of which likes one letter: `[Z, N, D, T]` to `[N, P]`."""
    rng = np.random.default_rng(0)
    prompt = rng.integers(1, V, (10, 2))
    likes = [[0.8, 0.1, 0.05, 0.05], [0.05, 0.8, 0.1, 0.05], [0.05, 0.05, 0.1, 0.8]]
    drawn = [rng.choice(4, (10, 8, 4), p=p) + 1 for p in likes]
    return jnp.asarray(prompt), jnp.asarray(np.stack(drawn))


def test_pairs_of_a_zoo_are_of_the_policies_that_they_say():
    prompt, made = zoo()
    found = judges.zoo_pairs(jax.random.key(0), prompt, made, 200)
    made, prompt = np.asarray(made), np.asarray(prompt)
    for row in range(200):
        at = (prompt == np.asarray(found.pairs.prompt[row])).all(1)
        writers = [
            {int(z) for z, n, _ in np.argwhere((made == np.asarray(x)).all(-1)) if at[n]}
            for x in (found.other[row], found.pairs.chosen[row], found.pairs.rejected[row])
        ]
        assert writers[0] & writers[1] and len(writers[0] | writers[2]) > 1


def test_a_judge_learns_who_wrote_it():
    prompt, made = zoo()
    found = judges.zoo_pairs(jax.random.key(0), prompt, made, 512)
    model = judges.init(jax.random.key(1), design(relative=True, hidden=16))
    how = {"steps": 300, "batch_size": 32, "learning_rate": 1e-2}
    fitted, course = judges.fit(model, jax.random.key(2), found.pairs, other=found.other, **how)
    fresh = judges.zoo_pairs(jax.random.key(3), prompt, made, 256)
    said = [
        fitted.scores(judges.texts(fresh.pairs.prompt, x), other=fresh.other)[0]
        for x in (fresh.pairs.chosen, fresh.pairs.rejected)
    ]
    assert (said[0] > said[1]).mean() > 0.85 and course[-20:].mean() < 0.4


def two_groups(seed, people, count):
    """Users of whom every other one wants 1s, and the rest wants 2s."""
    rng = np.random.default_rng(seed)
    prompt = np.broadcast_to(rng.integers(1, V, (people, count, 1, 2)), (people, count, 2, 2))
    response = rng.integers(1, V, (people, count, 2, 4))
    worth = np.stack([(response == k).sum(-1) for k in (1, 2)])[
        np.arange(people) % 2, np.arange(people)
    ]
    label = np.where(worth[..., 0] == worth[..., 1], 0.5, worth[..., 0] > worth[..., 1])
    text = np.concatenate([prompt, response], -1)
    return jnp.asarray(text), jnp.asarray(label, jnp.float32)


def test_a_latent_user_is_told_by_a_few_labels_and_one_judge_of_all_is_not():
    text, label = two_groups(0, 40, 24)
    net = users.variational(latent=2, width=32)
    model = judges.personal.init(jax.random.key(0), design(), net)
    fit = jax.jit(
        partial(judges.personal.fit_users, context=8, steps=400, batch_size=8, learning_rate=1e-2)
    )
    fitted, _ = fit(model, jax.random.key(1), text, label)
    new, told = two_groups(1, 40, 24)
    z = fitted.latent(new[:, :8], told[:, :8])
    said = fitted.scores(new[:, 8:].reshape(40, -1, 6), z).reshape(40, 16, 2)
    decided = np.asarray(told[:, 8:] != 0.5)
    right = np.asarray((said[..., 0] > said[..., 1]) == (told[:, 8:] == 1))[decided].mean()
    nobody = fitted.scores(new[:, 8:].reshape(40, -1, 6), 0 * z).reshape(40, 16, 2)
    alike = np.asarray((nobody[..., 0] > nobody[..., 1]) == (told[:, 8:] == 1))[decided].mean()
    assert right > 0.9 and alike < right - 0.15


def test_a_mixture_routes_by_the_prompt():
    """MiCRo: the letter that is wanted depends on who asks, and the prompt tells who it is."""

    def worth(prompt, response):
        wanted = np.where(prompt[:, 1] > 2, 1, 2)
        return (response == wanted[:, None]).sum(1)

    train = pairs_of(0, 512, worth)
    model = judges.init(jax.random.key(1), design(outputs=2, width=12))
    how = {"steps": 500, "batch_size": 32, "learning_rate": 1e-2}
    fitted, _ = judges.fit(model, jax.random.key(2), train, loss=losses.hedged, **how)
    sides = (train.chosen, train.rejected)
    gap = [fitted.scores(judges.texts(train.prompt, x))[0] for x in sides]
    assert (gap[0] > gap[1])[np.asarray(train.label) == 1].mean() > 0.85
