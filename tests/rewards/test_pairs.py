"""Losses of pairs against exact optima: closed forms of bandits with three responses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.errors import UserError
from jaxrl_reward.rewards import pairs as ways
from jaxrl_reward.testing.terms import check_term, random_pairs

REFERENCE = np.array([0.5, 0.3, 0.2])
REWARD = np.array([0.0, 1.0, 2.0])
CYCLE = np.array([[0.5, 0.9, 0.2], [0.1, 0.5, 0.8], [0.8, 0.2, 0.5]])
FIRST, SECOND = (each.reshape(-1) for each in np.mgrid[:3, :3])


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum()


def all_pairs(logits, reference=REFERENCE, old=None, labels=None, rewards=None):
    """Each ordered pair of three responses of one token, and how often it is drawn."""
    old = reference if old is None else old
    log_pi, alive = jax.nn.log_softmax(logits), jnp.ones((9, 1), bool)

    def side(which):
        at = lambda x: jnp.asarray(x, jnp.float32)[which][:, None]  # noqa: E731
        worth = jnp.zeros(9) if rewards is None else jnp.asarray(rewards, jnp.float32)[which]
        old_log = at(jnp.log(old))
        return ways.side(at(log_pi), at(np.log(reference)), alive, old=old_log, reward=worth)

    label = jnp.full(9, 0.5) if labels is None else jnp.asarray(labels, jnp.float32).reshape(-1)
    return ways.pairs(side(FIRST), side(SECOND), label=label)


def expected(text, logits, weights, **known):
    """The mean loss over pairs that are drawn with these weights."""
    return (jnp.asarray(weights) * ways.losses(rw.parse(text), all_pairs(logits, **known))).sum()


def minimised(text, weights, start, steps=4000, rate=0.5, **known):
    """The policy that gradient descent with momentum on the logits ends at."""

    def loss(logits):
        return expected(text, logits, weights, **known)

    @jax.jit
    def descend(logits):
        def step(carry, _):
            logits, speed = carry
            speed = 0.9 * speed - rate * jax.grad(loss)(logits)
            return (logits + speed, speed), ()

        return jax.lax.scan(step, (logits, jnp.zeros(3)), length=steps)[0][0]

    return softmax(np.asarray(descend(jnp.asarray(start, jnp.float32)), np.float64))


def both(law, other=None):
    """The probability of each ordered pair where both are drawn alike."""
    return np.outer(law, law if other is None else other).reshape(-1)


LABELS = 1.0 / (1.0 + np.exp(REWARD[None] - REWARD[:, None]))  # Bradley-Terry
OPTIMUM = softmax(np.log(REFERENCE) + REWARD / 0.5)


def test_dpo_on_the_population_is_the_optimum_of_the_reward_less_the_kl():
    np.testing.assert_allclose(OPTIMUM, [0.0366667, 0.1625594, 0.8007739], atol=1e-7)
    kl = (OPTIMUM * np.log(OPTIMUM / REFERENCE)).sum()
    assert kl == pytest.approx(0.9154755, abs=1e-7)
    assert pytest.approx(1.7641071, abs=1e-7) == OPTIMUM @ REWARD
    found = minimised("dpo(beta=0.5)", both(REFERENCE), np.log(REFERENCE), labels=LABELS)
    np.testing.assert_allclose(found, OPTIMUM, atol=2e-5)


def test_ipo_is_its_closed_form():
    wins = LABELS @ REFERENCE
    wanted = softmax(np.log(REFERENCE) + wins / 0.5)
    found = minimised("ipo(beta=0.5)", both(REFERENCE), np.log(REFERENCE), labels=LABELS, rate=0.05)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    np.testing.assert_allclose(found, [0.354423, 0.326770, 0.318807], atol=2e-5)
    assert np.abs(found - OPTIMUM).max() > 0.1


def test_ipo_of_a_cycle_is_its_closed_form():
    found = minimised("ipo(beta=0.5)", both(REFERENCE), np.log(REFERENCE), labels=CYCLE, rate=0.05)
    wanted = softmax(np.log(REFERENCE) + CYCLE @ REFERENCE / 0.5)
    np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_a_step_of_inpo_is_its_closed_form():
    old = np.array([0.6, 0.3, 0.1])
    found = minimised(
        "inpo(eta=0.5, tau=0.1)", both(old), np.log(old), labels=CYCLE, old=old, rate=0.05
    )
    np.testing.assert_allclose(found, [0.674238, 0.191886, 0.133876], atol=2e-5)


def exploitability(law):
    return (CYCLE @ law).max() - 0.5


def test_rounds_of_inpo_end_where_the_regularised_game_does():
    law = np.array([0.6, 0.3, 0.1])
    for _ in range(400):
        law = softmax(0.2 * np.log(REFERENCE) + 0.8 * np.log(law) + CYCLE @ law / 0.5)
    np.testing.assert_allclose(law, [0.400889, 0.211822, 0.387289], atol=1e-6)
    assert exploitability(law) == pytest.approx(0.056720, abs=1e-6)
    # The loss is stationary there: the policy that it starts from is the one it ends at.
    slope = jax.grad(
        lambda logits: expected("inpo(eta=0.5, tau=0.1)", logits, both(law), labels=CYCLE, old=law)
    )(jnp.log(jnp.asarray(law, jnp.float32)))
    np.testing.assert_allclose(slope, 0.0, atol=2e-6)


def test_two_steps_of_dno_are_its_closed_form():
    law = np.array([0.6, 0.3, 0.1])
    for wanted in ([0.650586, 0.240983, 0.108431], [0.687981, 0.190384, 0.121634]):
        found = minimised("dno()", both(law), np.log(law), old=law, rewards=CYCLE @ law, rate=1.0)
        np.testing.assert_allclose(found, wanted, atol=5e-5)
        law = np.array(wanted)


def test_the_difference_of_rewards_is_predicted_at_the_optimum_alone():
    at = lambda law: np.asarray(  # noqa: E731
        ways.losses(rw.prdp(beta=0.5), all_pairs(jnp.log(jnp.asarray(law)), rewards=REWARD))
    )
    np.testing.assert_allclose(at(OPTIMUM), 0.0, atol=1e-10)
    assert at(REFERENCE).max() == pytest.approx(4.0)


def test_a_clip_of_prdp_takes_the_larger_of_both_losses():
    objective = rw.prdp(beta=1.0, clip=0.1)
    one = lambda x: jnp.full((1, 1), x, jnp.float32)  # noqa: E731
    alive = jnp.ones((1, 1), bool)
    chosen = ways.side(one(-0.5), one(-1.0), alive, old=one(-1.0), reward=jnp.array([0.3]))
    rejected = ways.side(one(-1.0), one(-1.0), alive, old=one(-1.0))
    # Unclipped 0.5 - 0.3, clipped 0.1 - 0.3: both are 0.04; from -0.3 it is the unclipped.
    found = ways.losses(objective, ways.pairs(chosen, rejected))
    assert float(found[0]) == pytest.approx(0.04)
    chosen = chosen.replace(reward=jnp.array([-0.3]))
    found = ways.losses(objective, ways.pairs(chosen, rejected))
    assert float(found[0]) == pytest.approx(0.64)


# ---- partial coverage: the third response is in no pair --------------------------------

THREE, SEEN = np.array([0.4, 0.4, 0.2]), np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
WINS = np.array([[0.5, 0.7, 0.5], [0.3, 0.5, 0.5], [0.5, 0.5, 0.5]])


def covered(text, start, steps, rate=1.0):
    """Plain gradient descent, whose way matters where the loss has many minima."""

    def loss(logits):
        pairs = all_pairs(logits, THREE, labels=WINS)
        # A calibration response: the mean over the reference, in place of a draw.
        ratio = (jnp.asarray(THREE) * (jax.nn.log_softmax(logits) - np.log(THREE))).sum()
        rows = jnp.broadcast_to(ratio, (9, 1))
        pairs = pairs.replace(calibration=ways.side(rows, jnp.zeros((9, 1)), rows == rows))
        return (jnp.asarray(SEEN.reshape(-1)) * ways.losses(rw.parse(text), pairs)).sum()

    slope = jax.jit(jax.grad(loss))
    run = jax.jit(
        lambda x: jax.lax.fori_loop(0, steps, lambda _, x: x - rate * slope(x), x),
    )
    return softmax(np.asarray(run(jnp.asarray(start, jnp.float32)), np.float64))


def test_dpo_leaves_what_it_never_saw_to_the_start():
    assert covered("dpo(beta=0.5)", np.zeros(3), 20_000)[2] == pytest.approx(0.265823, abs=1e-4)
    at_reference = covered("dpo(beta=0.5)", np.log(THREE), 20_000)
    assert at_reference[2] == pytest.approx(0.153280, abs=1e-4)


@pytest.mark.parametrize("start", [np.zeros(3), np.log(THREE)])
def test_vpo_offline_keeps_it_at_the_reference(start):
    found = covered("dpo(beta=0.5) - 0.05*calibration()", start, 40_000)
    np.testing.assert_allclose(found, [0.6495, 0.1505, 0.2], atol=2e-4)


def test_rpo_lets_it_fall():
    text = "dpo(beta=0.5) + 0.005*sft()"
    laws = [covered(text, np.log(THREE), steps) for steps in (1_000, 5_000, 20_000)]
    falls = [law[2] for law in laws]
    assert falls[0] > falls[1] > falls[2] and falls[2] < 0.01
    assert laws[-1][0] / laws[-1][:2].sum() == pytest.approx(0.843, abs=2e-3)


# ---- what equals what ------------------------------------------------------------------


def drawn(**changes):
    return random_pairs(3).replace(**changes)


def test_zero_weights_are_dpo_to_the_bit():
    pairs = drawn(agreement=np.ones(3, np.float32))
    plain = ways.losses(rw.dpo(beta=0.3), drawn())
    sure = drawn(label=np.ones(3, np.float32), agreement=np.ones(3, np.float32))
    for text, given in (
        ("mm_dpo(beta=0.3, weight=0)", pairs),
        ("tgdpo(beta=0.3, alpha=0)", pairs),
        ("dpo(beta=0.3) + 0*treg(beta=0.3)", pairs),
        ("dpo(beta=0.3) + 0*sft()", pairs),
        ("dpo(beta=0.3) - 0*calibration()", pairs),
        ("dpo(beta=0.3, beyond=1, flips=0)", pairs),
    ):
        np.testing.assert_array_equal(ways.losses(rw.parse(text), given), plain, text)
    certain = ways.losses(rw.dpo(beta=0.3), sure)
    np.testing.assert_array_equal(ways.losses(rw.cream(beta=0.3), sure), certain)


def test_mirrored_pairs_with_mirrored_labels_cost_the_same():
    pairs = drawn()
    swapped = pairs.replace(
        chosen=pairs.rejected,
        rejected=pairs.chosen,
        label=1.0 - pairs.label,
        shifted=pairs.shifted[::-1],
    )
    for text in (
        *("dpo()", "dpo(flips=0.2)", "ipo()", "slic()", "robust_dpo()", "exo(flips=0.1)"),
        *("discopop()", "cpo(margin=0)", "odds_ratio()", "inpo()", "dno()", "p3o()"),
        *('p3o(form="joint")', "prdp()", "prdp(clip=0.1)"),
    ):
        objective = rw.parse(text)
        np.testing.assert_allclose(
            ways.losses(objective, swapped), ways.losses(objective, pairs), rtol=2e-5, err_msg=text
        )


@pytest.mark.parametrize("text", ["dpo()", "ipo()", "slic()", "robust_dpo()", "discopop()"])
def test_a_tie_of_equal_responses_pulls_nowhere(text):
    pairs = drawn(label=np.full(3, 0.5, np.float32))
    pairs = pairs.replace(rejected=pairs.chosen)

    def loss(rows):
        moved = pairs.replace(
            chosen=pairs.chosen.replace(log_prob=rows[0]),
            rejected=pairs.rejected.replace(log_prob=rows[1]),
        )
        return ways.losses(rw.parse(text), moved).mean()

    slope = jax.grad(loss)(jnp.stack([pairs.chosen.log_prob] * 2))
    np.testing.assert_allclose(slope, 0.0, atol=1e-7)


def test_p3o_over_all_pairs_of_a_group_is_rloo():
    rng = np.random.default_rng(0)
    size, count = 5, 4
    log_prob = jnp.asarray(-rng.random((size, count)), jnp.float32)
    rewards = rng.normal(size=size).astype(np.float32)
    first, second = np.triu_indices(size, 1)
    alive = jnp.ones((len(first), count), bool)

    def loss(log_prob):
        fixed = jax.lax.stop_gradient(log_prob)
        sides = [
            ways.side(log_prob[i], fixed[i], alive, old=fixed[i], reward=jnp.asarray(rewards[i]))
            for i in (first, second)
        ]
        return ways.losses(rw.p3o(), ways.pairs(*sides)).mean()

    found = -np.asarray(jax.grad(loss)(log_prob))[:, 0]
    rloo = rewards - (rewards.sum() - rewards) / (size - 1)
    np.testing.assert_allclose(found, rloo / size, atol=1e-7)


def test_p3o_does_not_see_what_is_added_to_both_rewards():
    pairs = drawn()
    moved = pairs.replace(
        chosen=pairs.chosen.replace(reward=pairs.chosen.reward + 8),
        rejected=pairs.rejected.replace(reward=pairs.rejected.reward + 8),
    )
    for form in ("separate", "joint"):
        objective = rw.p3o(form=form)
        np.testing.assert_allclose(
            ways.losses(objective, moved), ways.losses(objective, pairs), atol=1e-5
        )


def test_the_consistent_margin_of_cream():
    # Stationary where sigmoid(beta D) is the agreement C.
    agreed = 0.8
    margin = np.log(agreed / (1 - agreed)) / 0.5
    one = lambda x: jnp.full((1, 1), x, jnp.float32)  # noqa: E731
    alive = jnp.ones((1, 1), bool)

    def loss(ahead):
        pairs = ways.pairs(
            ways.side(one(0.0) + ahead, one(0.0), alive), ways.side(one(0.0), one(0.0), alive)
        )
        return ways.losses(rw.cream(beta=0.5), pairs.replace(agreement=jnp.array([agreed])))[0]

    assert float(jax.grad(loss)(jnp.float32(margin))) == pytest.approx(0.0, abs=1e-6)
    assert abs(float(jax.grad(loss)(jnp.float32(margin + 1)))) > 0.01


def test_mm_dpo_and_its_other_form_have_different_slopes():
    pairs = drawn(label=np.ones(3, np.float32))

    def slope(text):
        def loss(rows):
            moved = pairs.replace(chosen=pairs.chosen.replace(log_prob=rows))
            return ways.losses(rw.parse(text), moved).sum()

        return np.asarray(jax.grad(loss)(pairs.chosen.log_prob))

    inside, outside = slope("mm_dpo(weight=2, rate=3)"), slope("dpo()*by_margin(weight=2, rate=3)")
    assert np.abs(inside - outside).max() > 1e-4
    ahead = np.asarray(pairs.chosen.reward - pairs.rejected.reward)
    factor = 1 + 2 * (1 - np.exp(-3 * np.maximum(ahead, 0)))
    np.testing.assert_allclose(outside, slope("dpo()") * factor[:, None], rtol=1e-5)


# ---- responses that are not there ------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["nca()", "bco()", 'bco(origin="none")', "sppo()", "apo_zero()", "kto()", "sft()"]
)
def test_a_response_that_is_not_there_costs_nothing(text):
    pairs = random_pairs(5)
    there = np.array([True, False, True]), np.array([False, True, True])

    def given(noise):
        sides = []
        for side, known in zip((pairs.chosen, pairs.rejected), there, strict=True):
            rows = np.where(known[:, None], side.log_prob, noise)
            sides.append(side.replace(there=known, log_prob=rows.astype(np.float32)))
        others = tuple(
            s.replace(log_prob=np.where(k[:, None], s.log_prob, noise).astype(np.float32))
            for s, k in zip(pairs.shifted, there, strict=True)
        )
        return pairs.replace(chosen=sides[0], rejected=sides[1], shifted=others)

    objective = rw.parse(text)
    assert all(term.alone for term in rw.terms(objective))
    calm, loud = (np.asarray(ways.losses(objective, given(x))) for x in (-1.0, -7.0))
    np.testing.assert_array_equal(calm, loud)


def test_kto_of_good_responses_alone():
    pairs = random_pairs(6)
    alone = pairs.replace(rejected=pairs.rejected.replace(there=np.zeros(3, bool)))
    ratio = lambda s: np.asarray((s.log_prob - s.reference).sum(1), np.float64)  # noqa: E731
    baseline = max(ratio(pairs.shifted[0]).mean(), 0.0)
    wanted = 1 - 1 / (1 + np.exp(-0.1 * (ratio(pairs.chosen) - baseline)))
    np.testing.assert_allclose(ways.losses(rw.kto(), alone), wanted, rtol=1e-5)


# ---- the contract ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dpo(beta=0)", "dpo's beta must be"),
        ("dpo(flips=0.5)", "dpo's flips must be"),
        ('dpo(divergence="reverse")', "did you mean 'reverse_kl'"),
        ('dpo(divergence="alpha", alpha=1)', "cannot be 1"),
        ("exo(flips=0)", "exo's flips must be"),
        ("robust_dpo(flips=0.7)", "robust_dpo's flips must be"),
        ("inpo(eta=0.1, tau=0.2)", "tau <= eta"),
    ],
)
def test_arguments_that_cannot_be_are_refused(text, words):
    with pytest.raises(UserError, match=words):
        rw.parse(text)


def test_one_program_serves_many_betas():
    pairs, count = random_pairs(0), 0

    @jax.jit
    def loss(objective):
        nonlocal count
        count += 1
        return ways.losses(objective, pairs).mean()

    betas = jnp.linspace(0.05, 2.0, 64)
    one = rw.dpo(flips=0.1)
    many = one.replace(beta=betas)
    axes = jax.tree.map(lambda x: 0 if np.ndim(x) else None, many)
    found = jax.jit(jax.vmap(loss, in_axes=(axes,)))(many)
    each = [loss(one.replace(beta=float(b))) for b in (betas[0], betas[63])]
    np.testing.assert_allclose(found[jnp.array([0, 63])], each, rtol=1e-6)
    assert count == 2  # once for all of them, once for one


def test_a_rule_of_ones_own_is_a_term():
    @rw.paired
    def hinge_of_a_test(pairs, beta=0.1):
        "The hinge, as a test writes it."
        return jax.nn.relu(1.0 - beta * pairs.difference())

    check_term(hinge_of_a_test(), seeds=1)
    pairs = drawn(label=np.ones(3, np.float32))
    np.testing.assert_array_equal(
        ways.losses(hinge_of_a_test(beta=0.4), pairs), ways.losses(rw.slic(beta=0.4), pairs)
    )
    assert dataclasses.fields(hinge_of_a_test)[0].name == "beta"
