"""Implicit process rewards and likelihood rewards on numbers that can be checked by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.groups import implicit, likelihoods
from jaxrl_reward.types import Transition, UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
T, N = 4, 6
LENGTH = np.array([2, 4, 1, 3, 2, 2])
GROUP = np.array([0, 0, 0, 1, 1, 2])
R = np.array([1, 0, 1, 1, 0, 1], np.float32)
ALIVE = np.arange(T)[:, None] < LENGTH
RNG = np.random.default_rng(0)
PROCESS = RNG.normal(size=(T, N)).astype(np.float32)
SCRATCH = np.array([1, 2, 0, 3, 0, 1], np.float32)
# Of the right answer's tokens behind each response's scratch; 1 is no token.
KNOWN = np.array([[0.5, 0.5], [0.1, 1], [1, 1], [0.2, 0.4], [0.9, 0.9], [0.3, 1]])
KNOWN = np.log(KNOWN).astype(np.float32)
KNOWN[[1, 5], 1] = 1.0


def block_of(actions, outcome=R, lengths=LENGTH, groups=GROUP, obs=None, **signals):
    alive = np.arange(len(actions))[:, None] < lengths
    last = np.arange(len(actions))[:, None] == lengths - 1
    reward = np.where(last, outcome, 0).astype(np.float32)
    first = np.concatenate([np.ones_like(alive[:1]), ~alive[1:]])
    told = {"group": groups.astype(np.int32), "scratch": SCRATCH, "known": KNOWN, **signals}
    info = {
        k: np.broadcast_to(v[None], (len(actions), *v.shape)) if k != "process" else v
        for k, v in told.items()
        if k == "process" or len(v) == len(lengths)
    }
    obs = np.zeros((*alive.shape, 1), np.float32) if obs is None else obs
    ends = (last | ~alive, np.zeros_like(last))
    return Transition(obs, actions, reward, reward, obs, first, *ends, info=info)


TEXTS = (
    "stack(env, signal('process', when='step')) | prime()",
    "stack(env | rloo(), signal('scratch')) | on_scratch()",
    *(f"signal('known') | likelihood(form='{form}')" for form in likelihoods.FORMS),
    "signal('known') | jepo()",
)


@pytest.fixture(scope="module")
def paid():
    block, terms = block_of(np.zeros((T, N), np.int32), process=PROCESS), map(rw.parse, TEXTS)

    @quick
    def run(block):
        return [t.apply(t.init(jax.random.key(0), block), block).reward for t in terms]

    return dict(zip(TEXTS, map(np.asarray, run(block)), strict=True))


def others(values, i):
    here = (GROUP[i] == GROUP) & (np.arange(N) != i)
    return values[here].mean() if here.any() else None


def test_prime_by_a_loop(paid):
    """RLOO of the outcome, and of the process from each step on, a group of one apart."""
    means = np.where(ALIVE, PROCESS, 0).sum(0) / LENGTH
    for i in range(N):
        for t in range(T):
            expected = 0.0
            if ALIVE[t, i] and others(R, i) is not None:
                steps = PROCESS[t : LENGTH[i], i] - others(means, i)
                expected = R[i] - others(R, i) + steps.sum()
            np.testing.assert_allclose(paid[TEXTS[0]][t, i], expected, rtol=1e-4, atol=1e-5)


def test_only_scratch_is_judged(paid):
    advantage = np.array([0.5, -1.0, 0.5, 1.0, -1.0, 0.0])  # R less the mean of the others
    expected = np.where((np.arange(T)[:, None] < SCRATCH) & ALIVE, advantage, 0.0)
    np.testing.assert_allclose(paid[TEXTS[1]], expected, atol=1e-6)


def test_likelihoods_on_literal_numbers(paid):
    expected = {
        "probability": [0.25, 0.1, 1, 0.08, 0.81, 0.3],
        "mean_probability": [0.5, 0.1, 1, 0.3, 0.9, 0.3],
        "log": np.log([0.25, 0.1, 1, 0.08, 0.81, 0.3]),
        "mean_log": np.log([0.5, 0.1, 1, 0.08**0.5, 0.9, 0.3]),
    }
    for form, values in expected.items():
        found = paid[f"signal('known') | likelihood(form='{form}')"]
        np.testing.assert_allclose(found[LENGTH - 1, np.arange(N)], values, rtol=1e-5, atol=1e-6)
        assert not found[np.arange(T)[:, None] != LENGTH - 1].any()


def test_jepo_is_the_groups_bound_less_that_of_the_others(paid):
    chance = np.array([0.25, 0.1, 1, 0.08, 0.81, 0.3])
    found = paid["signal('known') | jepo()"].sum(0)
    for i in range(N - 1):
        mean = chance[GROUP[i] == GROUP].mean()
        np.testing.assert_allclose(found[i], np.log(mean / others(chance, i)), rtol=1e-4)
    assert found[N - 1] == 0.0  # a group of one


def test_jepo_of_answers_far_apart_is_that_of_logsumexp():
    """In float64 by scipy, also where the others are e^-90 of the best."""
    total = np.array([-0.5, -90.0, -95.0, -3.0, -60.0, -1.0])
    block = block_of(np.zeros((T, N), np.int32), known=total[:, None].astype(np.float32))
    term = rw.parse("signal('known') | jepo()")
    found = np.asarray(term.apply(term.init(jax.random.key(0), block), block).reward).sum(0)
    mean = lambda x: scipy.special.logsumexp(x) - np.log(len(x))  # noqa: E731
    for i in range(N - 1):
        here = GROUP[i] == GROUP
        rest = mean(total[here & (np.arange(N) != i)])
        np.testing.assert_allclose(found[i], mean(total[here]) - rest, rtol=1e-5)
    assert found[0] > 88 and found[N - 1] == 0.0


@pytest.mark.parametrize("form", ["probability", "group"])
def test_scratch_and_taught_answer_together_are_the_exact_gradient(form):
    """Of the expected score, by enumeration: one token of scratch, an answer of two."""
    theta = jnp.asarray(RNG.normal(size=(3, 1 + 2)), jnp.float32)  # of scratch; of each token

    def parts(theta):
        return jax.nn.log_softmax(theta[:, 0]), jax.nn.log_sigmoid(theta[:, 1:])

    def expected(theta):
        scratch, known = parts(theta)
        if form == "group":  # of the two scratches 0 and 2, which were drawn
            return jnp.log(jnp.exp(known.sum(1))[jnp.array([0, 2])].mean())
        return jnp.exp(scratch) @ likelihoods.score(form, known)

    known = parts(theta)[1]
    if form == "group":
        rows = jnp.array([0, 2])
        groups = rw.Groups(jnp.zeros(2, jnp.int32), jnp.ones((1, 2), bool))
        weights = likelihoods.shares(form, known[rows], groups) / 2
        estimate = jax.grad(lambda x: (weights * parts(x)[1][rows]).sum())
    else:
        groups = rw.Groups(jnp.arange(3), jnp.ones((1, 3), bool))
        weights, score = likelihoods.shares(form, known, groups), likelihoods.score(form, known)
        chance = jnp.exp(parts(theta)[0])

        def surrogate(theta):
            scratch, known = parts(theta)
            return chance @ (score * scratch + (weights * known).sum(1))

        estimate = jax.grad(surrogate)
    found, wanted = quick(lambda x: (estimate(x), jax.grad(expected)(x)))(theta)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


# ---- implicit process rewards ------------------------------------------------------------


def test_the_sums_of_the_best_ratios_are_soft_values():
    """Two tokens of two kinds: pi = pi_ref exp(r / beta) / Z, of literal numbers."""
    beta, first = 0.5, np.array([0.7, 0.3])
    second = np.array([[0.6, 0.4], [0.1, 0.9]])
    outcome = np.array([[1.0, 0.0], [0.0, 0.5]])
    soft = np.exp(outcome / beta)
    after = (second * soft).sum(1)  # E_ref[exp(r / beta) | first token]
    whole = first @ after
    pi_first, pi_second = first * after / whole, second * soft / after[:, None]

    def paid(pi, reference, action):
        scores = jnp.log(jnp.asarray(pi / reference, jnp.float32))
        return beta * implicit.log_ratio(scores, jnp.log(jnp.float32(reference)), action)

    for i in range(2):
        one = float(paid(pi_first, first, jnp.int32(i)))
        np.testing.assert_allclose(one, beta * np.log(after[i] / whole), rtol=1e-4)
        for j in range(2):
            total = one + float(paid(pi_second[i], second[i], jnp.int32(j)))
            np.testing.assert_allclose(total, outcome[i, j] - beta * np.log(whole), atol=1e-5)
    # A constant in the scores changes nothing: they are logits.
    shifted = implicit.log_ratio(jnp.full(2, 3.0), jnp.log(jnp.float32(first)), jnp.int32(1))
    np.testing.assert_allclose(shifted, 0.0, atol=1e-6)


def test_it_finds_the_step_that_decides_from_outcomes_alone():
    """Right is what began with token 1: of the second token, and behind it, nothing is learnt."""
    rng = np.random.default_rng(1)
    actions = rng.integers(0, 2, (3, 64)).astype(np.int32)
    obs = np.full((3, 64, 2), 2, np.float32)
    obs[1, :, 0], obs[2, :, :] = actions[0], actions[:2].T
    lengths = np.full(64, 2)  # the third row is no part of the response
    block = block_of(actions, actions[0], lengths, np.arange(64) // 4, obs)
    term = rw.implicit_process(
        actions=2, tokens=3, width=8, beta=1.0, learning_rate=0.03, updates=100, batch_size=64
    )

    @quick
    def learnt(block):
        state = term.init(jax.random.key(0), block)
        before = term.apply(state, block).reward
        state, _ = term.learn(state, jax.random.key(1), block)
        return before, term.apply(state, block).reward, term.loss(state.shared.params, key, block)

    key = jax.random.key(2)
    before, after, loss = jax.tree.map(np.asarray, learnt(block))
    assert not before.any()  # at first it is the reference
    right, wrong = after[0][actions[0] == 1], after[0][actions[0] == 0]
    assert right.min() > 0.5 and wrong.max() < -1.0
    assert np.ptp(after[1]) < 0.2 * np.ptp(after[0])
    # A ratio to a uniform reference is 2 at most, so right is never quite certain.
    np.testing.assert_allclose(loss, (actions[0] == 1).mean() * np.log(1.5), rtol=0.05)


def test_what_is_refused():
    with pytest.raises(UserError, match="form cannot be 'probably', did you mean 'probability'"):
        rw.parse("likelihood(form='probably')")
    with pytest.raises(UserError, match="width must be a positive integer"):
        rw.implicit_process(actions=2, width=0)
    block = block_of(np.zeros((T, N), np.int32))
    with pytest.raises(UserError, match="needs the number of actions"):
        rw.implicit_process().init(jax.random.key(0), block)
    block = block.replace(policy={"reference": np.zeros((T, N, 3), np.float32)})
    with pytest.raises(UserError, match="the reference has 3 actions, not 2"):
        rw.implicit_process(actions=2).init(jax.random.key(0), block)
    assert rw.replay_problem(rw.parse("implicit_process(actions=2)")) is not None
