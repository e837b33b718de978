"""Losses, entropy control and budgets of group policy gradients, by loops and enumeration."""

import itertools
import math
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.sequence import budgets
from jaxrl_reward.agents.sequence import entropy_control as control
from jaxrl_reward.agents.sequence import group_losses as losses
from jaxrl_reward.types import Transition

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
ALIVE = np.arange(4)[None] < np.array([4, 2, 1])[:, None]
RNG = np.random.default_rng(0)


# ---- estimators, by enumeration --------------------------------------------------------------


def test_rloo_is_unbiased_and_centring_shrinks_by_the_share_of_oneself():
    """On two tokens of three letters, over all groups of two: the mean of the estimator.

    `rloo` gives the exact gradient; a baseline that counts the response itself shrinks
    it by 1 - 1 / G.
    """
    logits = jnp.array([[0.3, -0.2, 0.1], [0.5, 0.0, -1.0]])
    ways = np.array(list(itertools.product(range(3), repeat=2)))
    reward = jnp.array([1.0, 0.0, 0.3, 0.0, 2.0, 0.0, 0.5, 0.0, 1.0])
    groups = np.array(list(itertools.product(range(9), repeat=2)))
    terms = [rw.rloo(), rw.centred(), rw.reinforce()]

    def log_prob(logits):
        return jax.nn.log_softmax(logits)[jnp.arange(2)[None], ways].sum(1)

    def advantages(members):
        one, zero = jnp.ones((1, 2), bool), jnp.zeros((1, 2))
        paid = reward[members][None]
        block = Transition(zero, zero, zero, paid, zero, one, one, ~one)
        return jnp.stack([term.apply(rw.State((), ()), block).reward[0] for term in terms])

    @quick
    def estimates(logits):
        exact = jax.grad(lambda logits: (jnp.exp(log_prob(logits)) * reward).sum())(logits)
        scores = jax.jacobian(log_prob)(logits)[groups]  # [groups, 2, 2, 3]
        credit = jax.vmap(advantages)(groups)  # [groups, rules, 2]
        chance = jnp.exp(log_prob(logits))[groups].prod(1)
        return exact, jnp.einsum("g,grm,gmtv->rtv", chance, credit, scores) / 2

    exact, mean = estimates(logits)
    np.testing.assert_allclose(mean[0], exact, atol=1e-6)
    np.testing.assert_allclose(mean[1], exact / 2, atol=1e-6)
    np.testing.assert_allclose(mean[2], exact / 2, atol=1e-6)


# ---- losses ----------------------------------------------------------------------------------


def test_weights_of_tokens():
    kept = np.array([True, False, True])
    token = losses.token_weights("token", ALIVE, kept)
    np.testing.assert_allclose(token, 3 / 5 * (ALIVE & kept[:, None]))
    sequence = np.asarray(losses.token_weights("sequence", ALIVE, kept))
    np.testing.assert_allclose(sequence.sum(1), [1.5, 0, 1.5])
    np.testing.assert_allclose(sequence[0], 1.5 / 4)
    constant = losses.token_weights("constant", ALIVE, kept)
    np.testing.assert_allclose(constant, 1.5 / 4 * (ALIVE & kept[:, None]))
    for kind in ("token", "sequence", "constant"):
        assert not np.asarray(losses.token_weights(kind, ALIVE, np.zeros(3, bool))).any()


def test_ratios_of_tokens_and_of_sequences():
    new, old = RNG.normal(size=(2, 3, 4)).astype(np.float32)
    token = losses.ratios("token", new, old, ALIVE)
    np.testing.assert_allclose(token[ALIVE], np.exp(new - old)[ALIVE], rtol=1e-5)
    sequence = losses.ratios("sequence", new, old, ALIVE)
    for i, length in enumerate((4, 2, 1)):
        expected = np.exp((new - old)[i, :length].mean())
        np.testing.assert_allclose(sequence[i], expected, rtol=1e-5)


def test_the_surrogate_by_a_loop():
    ratio, advantage = np.exp(RNG.normal(size=200)), RNG.normal(size=200)
    surrogate = quick(losses.surrogate)
    for low, high, dual in ((0.2, 0.2, 0.0), (0.2, 0.28, 0.0), (0.1, 0.3, 2.0)):
        out = np.asarray(surrogate(ratio, advantage, low, high, dual))
        for rho, a, value in zip(ratio, advantage, out, strict=True):
            expected = min(rho * a, min(max(rho, 1 - low), 1 + high) * a)
            if dual and a < 0:
                expected = max(expected, dual * a)
            np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_only_bounds_that_bind_count_as_clipped():
    """A ratio counts where the surrogate's slope in it, by automatic differentiation, is 0."""
    ratio = jnp.asarray(np.exp(RNG.normal(size=300)), jnp.float32)
    advantage = jnp.asarray(RNG.normal(size=300), jnp.float32)
    for bounds in ((0.2, 0.2, 0.0), (0.2, 0.28, 0.0), (0.1, 0.3, 2.0)):
        bounds = tuple(map(jnp.float32, bounds))
        slope = jax.vmap(jax.grad(lambda r, a, b=bounds: losses.surrogate(r, a, *b)))
        flat = np.asarray(slope(ratio, advantage)) == 0
        np.testing.assert_array_equal(losses.clipped(ratio, advantage, *bounds), flat)
        assert 0.1 < flat.mean() < 0.9
    assert not losses.clipped(jnp.float32(0.5), jnp.float32(1.0), 0.2, 0.2, 0.0)  # comes back
    assert not losses.clipped(jnp.float32(1.5), jnp.float32(-1.0), 0.2, 0.2, 0.0)
    assert not losses.clipped(jnp.float32(9.0), jnp.float32(0.0), 0.2, 0.2, 0.0)


@pytest.mark.parametrize("old", [None, (0.3, 0.3, 0.4)], ids=["on policy", "off policy"])
@pytest.mark.parametrize("kind", ["loss", "unbiased_loss"])
def test_which_divergence_a_kl_in_the_loss_climbs(kind, old):
    """All three tokens, weighed by the chance to draw them, against the exact divergences."""
    logits, reference = jnp.log(jnp.array([0.7, 0.2, 0.1])), jnp.log(jnp.array([0.2, 0.3, 0.5]))
    drawn = jax.nn.softmax(logits) if old is None else jnp.array(old)
    batch = losses.Batch(
        text=jnp.zeros((3, 1), jnp.int32),
        tokens=jnp.arange(3)[:, None],
        alive=jnp.ones((3, 1), bool),
        old=jnp.log(drawn)[:, None],
        reference=reference[:, None],
        credit=jnp.zeros((3, 1)),
        weight=3.0 * drawn[:, None],
        gain=jnp.ones((3, 1)),
        penalty=jnp.zeros((3, 1)),
        **{"centred": jnp.zeros(3), "old_all": (), "answered": (), "taught": ()},
    )

    def value(logits, **changes):
        log_probs = lambda params, text: jnp.tile(jax.nn.log_softmax(params), (3, 1, 1))  # noqa: E731
        return losses.loss(with_(kl=kind, **changes), log_probs, jnp.zeros(2), logits, batch)

    def divergence(p, q):
        p, q = jax.nn.log_softmax(p), jax.nn.log_softmax(q)
        return (jnp.exp(p) * (p - q)).sum()

    (loss, logged), gradient = jax.value_and_grad(value, has_aux=True)(logits, kl_coef=1.0)
    backward = jax.grad(lambda x: divergence(x, reference))(logits)
    forward = jax.grad(lambda x: divergence(reference, x))(logits)
    if old is None:
        np.testing.assert_allclose(loss, 0.634897, rtol=1e-5)  # KL(pi, ref), both ways
        np.testing.assert_allclose(logged["kl"], loss, rtol=1e-6)
        np.testing.assert_allclose(
            gradient, forward if kind == "loss" else backward, rtol=1e-4, atol=1e-6
        )
        assert np.abs(forward - backward).max() > 0.05
    elif kind == "unbiased_loss":  # the ratio weighs draws of another policy too
        np.testing.assert_allclose(gradient, backward, rtol=1e-4, atol=1e-6)


def test_the_estimate_of_the_kl_is_unbiased_and_not_negative():
    p, q = np.asarray(jax.nn.softmax(jnp.asarray(RNG.normal(size=(2, 6)))))
    estimate = np.asarray(losses.kl_estimate(np.log(p), np.log(q)))
    np.testing.assert_allclose(p @ estimate, p @ np.log(p / q), rtol=1e-5)
    assert (estimate >= 0).all()


@pytest.mark.parametrize("change", [1e-5, -1e-4, 1e-3, 0.1, -3.0])
def test_the_estimate_of_a_small_kl_is_not_lost_in_rounding(change):
    """`d^2 / 2 + d^3 / 6 + ...`, in float64."""
    expected = sum(change**n / math.factorial(n) for n in range(2, 40))
    found = losses.kl_estimate(jnp.zeros(()), jnp.float32(change))
    np.testing.assert_allclose(found, expected, rtol=3e-2 if abs(change) < 1e-4 else 5e-3)


def test_what_is_paid_from_a_token_on():
    reward = np.array([[0.0, 1.0, 0.0, 2.0], [3.0, 0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(losses.to_go(reward), [[3, 3, 2, 2], [3, 0, 0, 0]])


def test_rover_on_a_tree_has_the_uniform_policys_values_as_its_solution():
    """Where Q meets its target at every token, it is the mean return of the leaves below.

    On all four leaves of two letters, with `log pi = Q` of a policy that was uniform.
    """
    reward = np.array([[1.0, 0.0], [0.5, 0.25]])  # by first and second letter
    centred = reward - reward.mean()
    first, second = centred.mean(1), centred
    ways = list(itertools.product(range(2), repeat=2))
    log_probs = np.stack([[first, second[a]] for a, _ in ways])  # [4 ways, 2 tokens, 2 letters]
    target = losses.rover_target(
        jnp.asarray(log_probs),
        jnp.zeros((4, 2, 2)),
        jnp.zeros(4),
        jnp.ones((4, 2), bool),
    )
    # Without the return, the target of the first token is the mean over the next two.
    np.testing.assert_allclose(target[:, 0], [second[a].mean() for a, _ in ways], rtol=1e-6)
    np.testing.assert_allclose(target[:, 0], [first[a] for a, _ in ways], rtol=1e-6)
    paid = jnp.asarray([centred[a, b] for a, b in ways])
    last = losses.rover_target(
        jnp.asarray(log_probs), jnp.zeros((4, 2, 2)), paid, jnp.ones((4, 2), bool)
    )[:, 1]
    np.testing.assert_allclose(last, [second[a, b] for a, b in ways], rtol=1e-6)


# ---- the whole loss, of a table of logits ---------------------------------------------------

V = 5
CONFIG = SimpleNamespace(
    ratio="token",
    objective="surrogate",
    control="none",
    kl="none",
    **dict.fromkeys(("control_strength", "control_low", "control_high"), 0.0),
    **{"clip_low": 0.2, "clip_high": 0.2, "dual_clip": jnp.float32(0.0)},
    **{"entropy_coef": 0.0, "kl_coef": 0.0, "teach": "none"},
)


def table(params, text):
    """Log-probabilities that depend on the place and on the response."""
    return jax.nn.log_softmax(params[text[:, 0]])


def batch_of(params, reference=None):
    rng = np.random.default_rng(1)
    tokens = np.where(ALIVE, rng.integers(0, V, (3, 4)), V).astype(np.int32)
    text = np.arange(3, dtype=np.int32)[:, None]
    chosen = lambda params: np.where(  # noqa: E731
        ALIVE,
        np.take_along_axis(table(params, text), np.minimum(tokens, V - 1)[..., None], 2)[..., 0],
        0.0,
    )
    return losses.Batch(
        text=text,
        tokens=tokens,
        alive=ALIVE,
        old=chosen(params),
        reference=chosen(params if reference is None else reference),
        credit=rng.normal(size=(3, 4)).astype(np.float32),
        weight=losses.token_weights("sequence", ALIVE, np.ones(3, bool)),
        gain=jnp.ones((3, 4)),
        penalty=jnp.zeros((3, 4)),
        centred=rng.normal(size=3).astype(np.float32),
        old_all=table(params, text),
    )


def with_(**changes):
    return SimpleNamespace(**{**vars(CONFIG), **changes})


@pytest.mark.slow
def test_the_first_gradient_is_that_of_reinforce_and_of_what_is_added():
    """GRPO's weights: the mean over tokens of a response, then over responses."""
    params, reference = RNG.normal(size=(2, 3, 4, V)).astype(np.float32)
    batch = batch_of(params, reference)
    at = np.minimum(batch.tokens, V - 1)[..., None]

    def loss(params, history=(0.0, 0.0), **changes):
        return losses.loss(with_(**changes), table, jnp.stack(history), params, batch)[0]

    def reinforce(params):
        chosen = jnp.take_along_axis(table(params, batch.text), at, 2)[..., 0]
        return -(batch.weight * batch.credit * chosen).sum() / 3

    def entropy(params):
        log_probs = table(params, batch.text)
        return -(batch.weight[..., None] * jnp.exp(log_probs) * log_probs).sum() / 3

    def peak(params):
        return control.mean_peak(table(params, batch.text), ALIVE).mean()

    @quick
    def gradients(params):
        now = jax.lax.stop_gradient(peak(params))
        siren = {"control": "siren", "control_strength": 2.0, "history": (jnp.float32(0.1), now)}
        found = [jax.grad(partial(loss, **x))(params) for x in ({}, {"entropy_coef": 0.5}, siren)]
        squared = lambda params: 2.0 * (peak(params) - 0.1) ** 2  # noqa: E731
        return found, [jax.grad(f)(params) for f in (reinforce, entropy, squared)]

    (plain, bonus, siren), (expected, of_entropy, of_squared) = gradients(params)
    np.testing.assert_allclose(plain, expected, atol=1e-6)
    np.testing.assert_allclose(bonus - plain, -0.5 * of_entropy, atol=1e-6)
    # SIREN's is that of the squared distance of the mean peak from its anchor.
    np.testing.assert_allclose(siren - plain, of_squared, atol=1e-5)
    assert np.abs(of_squared).max() > 1e-3


@pytest.mark.slow
def test_rover_and_kl_cov_on_a_table():
    params, old = RNG.normal(size=(2, 3, 4, V)).astype(np.float32)
    batch = batch_of(old)
    batch = batch._replace(penalty=2.0 * (batch.credit > 0.5))

    @quick
    def both(params):
        configs = (with_(objective="rover"), with_(control="kl_cov"))
        return [losses.loss(c, table, jnp.zeros(2), params, batch)[0] for c in configs]

    rover, kl_cov = both(params)
    change = np.asarray(table(params, batch.text) - batch.old_all)
    expected = 0.0
    for i, length in enumerate((4, 2, 1)):
        for t in range(length):
            after = change[i, t + 1].mean() if t + 1 < length else 0.0
            error = change[i, t, batch.tokens[i, t]] - batch.centred[i] - after
            expected += error**2 / length / 3
    np.testing.assert_allclose(rover, expected, rtol=1e-5)
    new = np.take_along_axis(change, np.minimum(batch.tokens, V - 1)[..., None], 2)[..., 0]
    terms = -np.exp(new) * batch.credit + batch.penalty * np.abs(new)
    whole = (batch.weight * np.where(ALIVE, terms, 0)).sum() / 3
    np.testing.assert_allclose(kl_cov, whole, rtol=1e-5)


# ---- entropy ---------------------------------------------------------------------------------


def test_the_entropy_changes_by_the_covariance_to_first_order():
    logits = jnp.array([1.0, 0.2, -0.5, 0.0])
    advantage = jnp.array([0.3, -1.0, 2.0, 0.1])

    def entropy_of(logits):
        log_prob = jax.nn.log_softmax(logits)
        return -(jnp.exp(log_prob) * log_prob).sum()

    with jax.enable_x64(True):
        logits, advantage = (jnp.asarray(np.asarray(x), jnp.float64) for x in (logits, advantage))
        gradient = quick(jax.grad(lambda z: (jax.nn.softmax(z) * advantage).sum()))(logits)
        rate, entropy = 1e-5, quick(entropy_of)
        change = (entropy(logits + rate * gradient) - entropy(logits)) / rate
        predicted = quick(control.entropy_change)(jax.nn.log_softmax(logits), advantage)
        np.testing.assert_allclose(change, predicted, rtol=1e-3)
        # Of two actions, lifting the likelier one costs entropy.
        two = jax.nn.log_softmax(jnp.array([1.0, 0.0]))
        assert control.entropy_change(two, jnp.array([1.0, 0.0])) < 0
        assert control.entropy_change(two, jnp.array([0.0, 1.0])) > 0


@pytest.mark.slow
def test_covariances_and_the_tokens_they_choose():
    log_prob, advantage = RNG.normal(size=(2, 30, 4)).astype(np.float32)
    alive = np.arange(4)[None] < RNG.integers(1, 5, 30)[:, None]
    cov = np.asarray(control.covariance(log_prob, advantage, alive))
    centred = [x - x[alive].mean() for x in (log_prob, advantage)]
    np.testing.assert_allclose(cov[alive], (centred[0] * centred[1])[alive], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        cov.sum() / alive.sum(), np.cov(log_prob[alive], advantage[alive], ddof=0)[0, 1], rtol=1e-4
    )
    top = np.asarray(control.highest(cov, alive, 0.2))
    count = int(0.2 * alive.sum())
    assert top.sum() == count and cov[top].min() >= np.sort(cov[alive])[-count]
    assert np.asarray(control.highest(cov, alive, 0.0)).sum() == 1
    held = [
        np.asarray(control.clip_cov(jax.random.key(i), cov, alive, 0.2, 2.0, 0.1)) for i in (0, 1)
    ]
    for chosen in held:
        assert chosen.sum() == int(0.1 * alive.sum())
        assert (alive[chosen]).all() and (cov[chosen] > 0.2).all() and (cov[chosen] < 2.0).all()
    assert (held[0] != held[1]).any()
    assert not np.asarray(control.clip_cov(jax.random.key(0), cov, alive, 50.0, 60.0, 0.1)).any()


@pytest.mark.slow
def test_steer_holds_back_what_changes_the_entropy_most():
    log_prob = -RNG.random((3, 4)).astype(np.float32) * 3
    entropy, advantage = RNG.random((2, 3, 4)).astype(np.float32)
    weight = np.asarray(control.steer(log_prob, entropy, advantage, ALIVE, jnp.float32(0.8)))
    change = np.abs(advantage * (1 - np.exp(log_prob)) * (log_prob + entropy)) * ALIVE
    rate = -np.log(0.8) / max(change.max(), 0.02)
    np.testing.assert_allclose(weight, np.exp(-rate * change), rtol=1e-5)
    np.testing.assert_allclose(weight[ALIVE].min(), 0.8, rtol=1e-5)
    assert (np.asarray(control.steer(log_prob, entropy, 0 * advantage, ALIVE, 0.8)) == 1).all()


@pytest.mark.slow
def test_nucleus_entropy_by_a_loop():
    prob = np.array([[0.5, 0.25, 0.15, 0.1], [0.9, 0.05, 0.03, 0.02], [0.25, 0.25, 0.25, 0.25]])
    kept = ([0.5, 0.25, 0.15], [0.9], [0.25] * 4)  # the first few that reach 0.8
    shuffled = jnp.log(np.random.default_rng(1).permuted(prob, axis=1).astype(np.float32))
    found, slope = quick(jax.vmap(jax.value_and_grad(control.nucleus_entropy)))(shuffled)
    assert np.isfinite(slope).all()
    for entropy, values in zip(found, kept, strict=True):
        scaled = np.array(values) / np.sum(values)
        np.testing.assert_allclose(entropy, -(scaled * np.log(scaled)).sum(), atol=1e-5)


@pytest.mark.slow
def test_peaks_are_the_upper_fifth_of_each_response():
    entropy = RNG.random((3, 10)).astype(np.float32)
    alive = np.arange(10)[None] < np.array([10, 6, 1])[:, None]
    chosen = np.asarray(control.peaks(entropy, alive))
    for row, there, peak in zip(entropy, alive, chosen, strict=True):
        bound = np.quantile(row[there], 0.8)
        np.testing.assert_array_equal(peak, there & (row >= bound - 1e-6))


@pytest.mark.slow
def test_the_corridor_has_a_slope_outside_only():
    outside = partial(control.corridor, history=1.0, low=0.8, high=1.2)
    slope = quick(jax.vmap(jax.grad(outside)))(jnp.array([0.5, 1.0, 1.5]))
    np.testing.assert_array_equal(slope, [-1, 0, 1])
    np.testing.assert_allclose(outside(jnp.array([0.5, 1.0, 1.5])), [0.3, 0, 0.3], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["siren", "corridor"])
def test_what_entropy_is_compared_with(kind):
    log_probs = jnp.log(jax.nn.softmax(jnp.asarray(RNG.normal(size=(2, 3, 4, 5)))))
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
    follow = quick(
        lambda history, iteration, *seen: control.follow(
            kind, SimpleNamespace(history=history, iteration=iteration), *seen, ALIVE
        )
    )
    first = follow(jnp.zeros(2), 0, entropy[0], log_probs[0])
    second = follow(first, 1, entropy[1], log_probs[1])
    if kind == "siren":
        peaks = quick(jax.vmap(lambda x: control.mean_peak(x, ALIVE).mean()))(log_probs)
        np.testing.assert_allclose(first, [peaks[0], peaks[0]], rtol=1e-5)
        np.testing.assert_allclose(second, [peaks[0], peaks[1]], rtol=1e-5)
    else:
        means = [np.asarray(x)[ALIVE].mean() for x in entropy]
        np.testing.assert_allclose(second, [np.mean(means), 2], rtol=1e-5)


# ---- budgets ---------------------------------------------------------------------------------


def test_the_knapsack_is_the_best_of_all_allocations():
    rates = np.array([0.1, 0.5, 0.9, 0.3], np.float32)
    knapsack = quick(budgets.knapsack, static_argnums=(1, 2, 3))
    sizes = np.asarray(knapsack(rates, 20, 2, 9))
    allowed = [n for n in itertools.product(range(2, 10), repeat=4) if sum(n) == 20]
    values = np.asarray(quick(budgets.group_value)(np.array(allowed, np.float32), rates[None]))
    here = allowed.index(tuple(sizes))
    np.testing.assert_allclose(values.sum(1)[here], values.sum(1).max(), rtol=1e-5)
    known = np.asarray(knapsack(np.array([0.0, 1.0, 0.5, 0.5], np.float32), 28, 2, 9))
    np.testing.assert_array_equal(known, [8, 2, 9, 9])  # never solved before always solved
    np.testing.assert_array_equal(
        budgets.groups_of_sizes(jnp.array([2, 1, 3]), 6), [0, 0, 1, 2, 2, 2]
    )


@pytest.mark.slow
def test_prompts_are_drawn_by_how_much_their_outcomes_vary():
    rates = jnp.array([0.0, 0.5, 1.0, 0.9])
    drawn = budgets.draw(jax.random.key(0), budgets.spread_weights(rates), 4000)
    shares = np.bincount(np.asarray(drawn), minlength=4) / 4000
    np.testing.assert_allclose(shares, np.array([0, 0.25, 0, 0.09]) / 0.34, atol=0.03)
