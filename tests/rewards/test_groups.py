"""Rules for groups on numbers that can be checked by hand, and their special cases."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.groups import self_agreement
from jaxrl_reward.rewards.groups.ranks import CYCLE
from jaxrl_reward.types import Transition, UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

# Three prompts of four responses: half right, one right, all right.
R = np.array([1, 0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1], np.float32)
LENGTH = np.array([2, 3, 1, 4, 1, 2, 3, 4, 2, 2, 2, 2])
GROUP = np.repeat(np.arange(3), 4)
ANSWER = np.array([7, 3, 3, 7, 2, 2, 5, 9, 4, 4, 4, 4], np.float32)
T, N = 5, 12


def block_of(returns=R, lengths=LENGTH, groups=GROUP, seed=0, **signals):
    """Responses of these lengths, paid at their end; behind it each row is an episode."""
    step = np.arange(T)[:, None]
    alive, last = step < lengths[None], step == lengths[None] - 1
    reward = np.where(last, np.asarray(returns, np.float32)[None], 0.0).astype(np.float32)
    info = {"group": np.broadcast_to(groups[None], (T, len(lengths))).astype(np.int32)}
    for name, value in signals.items():
        value = np.asarray(value, np.float32)
        whole = value.ndim == 1 or value.shape[0] != T
        info[name] = np.broadcast_to(value[None], (T, *value.shape)) if whole else value
    rng = np.random.default_rng(seed)
    policy = {
        "entropy": rng.random((T, len(lengths))).astype(np.float32),
        "log_prob": -rng.random((T, len(lengths))).astype(np.float32),
    }
    obs = np.zeros((T, len(lengths), 1), np.float32)
    ends = (last | ~alive, np.zeros_like(last))
    action = np.zeros((T, len(lengths)), np.int32)
    first = (step == 0) | ~alive
    return Transition(obs, action, reward, reward, obs, first, *ends, info=info, policy=policy)


@quick
def run_again(terms, states, block):
    return [term.apply(state, block) for term, state in zip(terms, states, strict=True)]


def run(terms, block):
    key = jax.random.key(0)
    states = jax.tree.map(jnp.asarray, [term.init(key, block) for term in terms])
    return run_again(terms, states, block)


def alive_of(lengths=LENGTH):
    return np.arange(T)[:, None] < lengths[None]


# Few programs serve many tests: these are always computed together.
ADVANTAGES = (
    *("reinforce()", "centred()", "rloo()", "grpo(epsilon=0)", "whitened(epsilon=0)"),
    *("bnpo()", "bnpo(alpha=1, beta=1)", "bnpo(alpha=1.5, beta=1.5)", "riskpo(bundle=1)"),
    *("env - 0.1 | centred()", "group_win_rate()", "within(length=2)"),
    *("within_by_success(length=3, easy_length=2, success=0.5)", "by_length()"),
    "hbpo(budgets=(1, 3), limit=3, beta=4, alpha=0.1)",
    "stack(env, signal('log_prob', when='step')) | drpo(temperature=2, sharpness=0.5, limit=5)",
    "preferred(table=((0.5, 1, 0), (0, 0.5, 1), (1, 0, 0.5)))",
)
JUDGED = (
    "stack(env, signal('answer')) | copo(gamma=2, rho=0.5)",
    "stack(env, signal('concise')) | crf(steps=4, alpha=0.3)",
    "stack(env, signal('scratch'), signal('entropy', when='step')) | pear(alpha=0.5, wrong=0.1)",
    "stack(env, signal('sure')) | rlcr()",
    "stack(env, signal('sure')) | rlcr(score='log')",
    "stack(env, signal('thinking')) | trust(steps=2, alpha=0.5)",
    "signal('rewards') | verpo(alpha=2, beta=0.5, width=0.1, delta=0.01)",
    "stack(env | centred(), signal('entropy', when='step')) | empg(k=2, clarity=0.1)",
    "stack(env | centred(), signal('value', when='step')) | pav(alpha=3, best_of=4, start=0.25)",
    "stack(env, signal('value', when='step')) | gated(thresholds=(1,))",
    "stack(signal('value', when='step'), env) | renorm()",
    "signal('answer') | majority()",
    "signal('answer') | agreement()",
    "signal('answer') | agreement(alpha=0.5)",
    "signal('answer') | agreement(alpha=0.5) | centred()",
    "signal('answer') | agreement() | centred()",
    "signal('answer') | co_reward()",
    "signal('answer')",
    "signal('answer', when='step')",
    "signal('rewards') | weighted_sum(weights=(1, 10, 100, 1000))",
)
RNG = np.random.default_rng(3)
SIGNALS = {
    "answer": ANSWER,
    "concise": np.linspace(0.05, 1, N),
    "scratch": np.array([1, 2, 0, 3] * 3),
    "sure": np.repeat([0.0, 0.3, 1.0], 4),
    "thinking": R * 0.6 + 0.2,
    "rewards": np.where(np.arange(N)[:, None] == 0, 1, RNG.random((N, 4)) < [0.9, 0.9, 0.5, 0.2]),
    "value": RNG.random((T, N)),
}
SIGNALS = {name: value.astype(np.float32) for name, value in SIGNALS.items()}


class Paid:
    """What expressions pay for a block: to each step, `[T, N]`, and to each response, `[N]`."""

    def __init__(self, texts, block, states=None):
        terms = [rw.parse(text) for text in texts]
        out = run(terms, block) if states is None else run_again(terms, states, block)
        self.steps = {k: np.asarray(x.reward) for k, x in zip(texts, out, strict=True)}
        self.states = [x.state for x in out]
        alive = np.cumsum(block.first & (np.arange(T)[:, None] > 0), 0) == 0
        assert all(np.isfinite(x).all() for x in self.steps.values())
        self.sums = {k: np.where(alive, x, 0.0).sum(0) for k, x in self.steps.items()}

    def __getitem__(self, start):
        """The sums of an expression, or of the only one that begins like this."""
        if start not in self.sums:
            (start,) = [text for text in self.sums if text.startswith(start)]
        return self.sums[start]


def advantages(returns=R, lengths=LENGTH, groups=GROUP):
    return Paid(ADVANTAGES, block_of(returns, lengths, groups))


@pytest.fixture(scope="module")
def standard():
    return advantages()


@pytest.fixture(scope="module")
def judged():
    return Paid(JUDGED, block_of(**SIGNALS))


# ---- advantages ----------------------------------------------------------------------------

MIDDLE = np.array([0.5, -0.5, -0.5, 0.5, -0.25, -0.25, -0.25, 0.75, 0, 0, 0, 0])


def test_advantages_on_literal_numbers(standard):
    np.testing.assert_allclose(standard["reinforce()"], R - 7 / 12, rtol=1e-5)
    np.testing.assert_allclose(standard["centred()"], MIDDLE, rtol=1e-5)
    np.testing.assert_allclose(standard["rloo()"], MIDDLE * 4 / 3, rtol=1e-5)
    third = 1 / np.sqrt(3)
    expected = [1, -1, -1, 1, -third, -third, -third, 3 * third, 0, 0, 0, 0]
    np.testing.assert_allclose(standard["grpo"], expected, rtol=1e-5)
    tokens = np.repeat(MIDDLE, LENGTH)
    whitened = (MIDDLE - tokens.mean()) / tokens.std()
    np.testing.assert_allclose(standard["whitened"], whitened, rtol=1e-5)


def test_a_rule_pays_at_the_end_and_nothing_behind(standard):
    steps, columns = np.nonzero(standard.steps["rloo()"])
    np.testing.assert_array_equal(np.sort(columns), np.arange(8))
    np.testing.assert_array_equal(steps, LENGTH[columns] - 1)


def test_bnpo_and_its_special_cases(standard):
    centred, fitted = standard["centred()"], standard["bnpo()"]
    np.testing.assert_allclose(standard["bnpo(alpha=1, beta=1)"], centred, rtol=1e-5)
    halves = np.pi / 8 * standard["grpo"]
    np.testing.assert_allclose(standard["bnpo(alpha=1.5, beta=1.5)"], halves, rtol=1e-5)
    rates = np.array([0.5, 0.25, 1.0])
    size = rates.mean() * (1 - rates.mean()) / rates.var() - 1
    alpha = max(1, 1 + size * rates.mean() / 3)
    beta = max(1, 1 + size * (1 - rates.mean()) / 3)
    assert alpha > 1.2 and beta > 1.2  # the fit is not that of a special case
    density = scipy.stats.beta.pdf(rates[:2], alpha, beta)
    np.testing.assert_allclose(fitted[:8], centred[:8] / np.repeat(density, 4), rtol=1e-4)
    assert (fitted[8:] == 0).all()  # where p = 1, 0 times an infinite weight


@pytest.mark.parametrize("rate", [0.0, 1.0, 0.1])
def test_all_equal_groups_give_zero_not_nan(rate):
    """Also where the mean of equal numbers is another number by a rounding.

    And at p in {0, 1}, where a Beta's density is 0: no 0 times infinity.
    """
    alike = advantages(np.full(N, rate, np.float32))
    for name in ("centred()", "rloo()", "grpo", "whitened", "riskpo", "stack(env, signal('log"):
        np.testing.assert_allclose(alike[name], 0.0, atol=1e-6)
    for name in ("bnpo()", "bnpo(alpha=1.5, beta=1.5)", "grpo"):
        assert (alike[name] == 0).all()


# Returns that are equal but for rounding: 0.7 at once, and 0.1 seven times in three orders.
SEVENTHS = np.float32(0.1) + np.zeros(7, np.float32)
SAME = np.array([0.7, np.cumsum(SEVENTHS)[-1], np.float32(0.1) * 7, 0.7], np.float32)
EVERY = (*ADVANTAGES[1:5], "bnpo()", "riskpo(bundle=1)", "group_win_rate()")


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e4])
def test_returns_that_differ_by_rounding_are_equal(unit):
    """0.1 seven times is not 0.7 in float32, and no rule pays for that, in any unit."""
    assert SAME[0] != SAME[1]
    alike = Paid(EVERY, block_of(np.tile(np.float32(unit) * SAME, 3)))
    for name in EVERY:
        pay = alike[name] - 0.5 if name == "group_win_rate()" else alike[name]
        np.testing.assert_allclose(pay, 0.0, atol=1e-6 * unit, err_msg=name)


def test_a_long_scan_is_as_equal_and_what_truly_differs_is_not():
    """0.1 a thousand times in a scan is 99.99905; 100.02 is more than that."""
    steps, scan = 1000, np.cumsum(np.full(1000, 0.1, np.float32))[-1]
    assert abs(scan - 100) > 5e-4
    groups = rw.Groups(jnp.zeros(2, jnp.int32), jnp.ones((steps, 2), bool))
    late = np.zeros((steps, 2), np.float32)
    for pays, differ in (((scan, 100.0), False), ((100.02, 100.0), True)):
        late[-1] = pays
        assert groups.differ(late[-1], groups.rounding(late)).all() == differ
    # Plus and minus one two thousand times: their sums are whole, and 1 is a difference.
    coins = np.random.default_rng(0).choice([-1.0, 1.0], (2000, 2)).astype(np.float32)
    coins[-1] = coins[-1, 0], coins[-1, 0] + 1 + coins[:-1, 0].sum() - coins[:-1, 1].sum()
    groups = rw.Groups(jnp.zeros(2, jnp.int32), jnp.ones((2000, 2), bool))
    assert groups.differ(groups.total(coins), groups.rounding(coins)).all()


def test_what_cancels_on_the_way_is_rounding():
    """0.1 + 0.2 - 0.3 is 3e-8 or so in float32; the return is 0."""
    reward = np.array([[0.1, 0.2, -0.3], [-0.3, 0.1, 0.2], [0.0, 0.0, 0.0]], np.float32).T
    groups = rw.Groups(jnp.zeros(3, jnp.int32), jnp.ones((3, 3), bool))
    assert np.ptp(np.cumsum(reward, 0)[-1]) > 0
    assert not groups.differ(groups.total(reward), groups.rounding(reward)).any()


@pytest.mark.parametrize("mean", [1e4, -3e5, 1e6])
def test_a_large_mean_costs_no_digits(mean, standard):
    """Returns of 0 and 1 on top of it: all that float32 holds exactly is kept."""
    far = Paid(ADVANTAGES[1:5], block_of(R + mean))
    for name in ("centred()", "rloo()", "grpo(epsilon=0)"):
        np.testing.assert_allclose(far[name], standard[name], rtol=1e-5, atol=1e-6)
    tokens = np.repeat(MIDDLE, LENGTH)
    whitened = (MIDDLE - tokens.mean()) / tokens.std()
    np.testing.assert_allclose(far["whitened"], whitened, rtol=1e-5)


def test_grpo_by_the_deviation_of_a_sample():
    """TRL's: of one right in four, 0.75 over `np.std(ddof=1)` = 0.5; the population's is 0.433."""
    both = Paid(("grpo(epsilon=0)", "grpo(epsilon=0, ddof=1)"), block_of())
    sample, population = both["grpo(epsilon=0, ddof=1)"], both["grpo(epsilon=0)"]
    np.testing.assert_allclose(sample[4:8], [-0.5, -0.5, -0.5, 1.5], rtol=1e-5)
    np.testing.assert_allclose(population[:8] / sample[:8], 1.1547005, rtol=1e-5)
    alone = Paid(("grpo(ddof=1)",), block_of(groups=np.arange(N)))
    np.testing.assert_array_equal(alone["grpo(ddof=1)"], 0.0)


def test_bnpo_of_prompts_of_one_difficulty_is_centred():
    alike = advantages(np.tile([1, 0, 0, 1], 3))
    np.testing.assert_allclose(alike["bnpo()"], alike["centred()"], rtol=1e-5)


def test_a_constant_cancels_in_a_group_but_not_in_a_batch(standard):
    """The same for all of a group is no signal; per step it is a price on length."""
    shift = np.array([3.0, -2.0, 5.0])[GROUP]
    moved = advantages(R + shift)
    for rule in ("centred()", "rloo()", "grpo"):
        np.testing.assert_allclose(standard[rule], moved[rule], atol=2e-5)
    mean = (R + shift).mean()
    np.testing.assert_allclose(moved["reinforce()"], R + shift - mean, rtol=1e-5)
    priced = R - 0.1 * LENGTH
    expected = priced - np.repeat(priced.reshape(3, 4).mean(1), 4)
    np.testing.assert_allclose(standard["env - 0.1"], expected, atol=1e-6)


def test_a_factor_of_a_whole_group_cancels_in_grpo_only(standard):
    factor = np.array([4.0, 0.5, 9.0])[GROUP]
    scaled = advantages(R * factor)
    np.testing.assert_allclose(scaled["grpo"], standard["grpo"], rtol=1e-4)
    np.testing.assert_allclose(scaled["centred()"], factor * MIDDLE, rtol=1e-4)


def test_copo_mixes_within_and_between_by_the_entropy_of_answers(judged, standard):
    rates = np.array([0.5, 0.25, 1.0])
    between = (rates - rates.mean()) / rates.std()
    shares = ([0.5, 0.5], [0.5, 0.25, 0.25], [1.0])
    entropy = np.array([-(np.array(p) * np.log(p)).sum() for p in shares])
    weight = 1 / (1 + np.exp(-2 * (entropy - 0.5)))
    mixed = np.repeat(weight, 4) * standard["grpo"] + np.repeat((1 - weight) * between, 4)
    np.testing.assert_allclose(judged["stack(env, signal('answer')"], mixed, rtol=1e-4)
    assert abs(mixed[8]) > 0.1  # a group that is all right still learns


@pytest.mark.slow
def test_riskpo_by_a_loop():
    """Two groups in a bundle, then one alone; quantiles are of the first block, then tracked."""
    rng = np.random.default_rng(0)
    returns = rng.random(N).astype(np.float32)
    term = rw.riskpo(bundle=2, low=0.2, high=0.8, weight=1.5)
    first = run([term], block_of(returns))[0]
    np.testing.assert_allclose(*riskpo_loop(first, returns, None), rtol=1e-3, atol=1e-4)
    later = rng.random(N).astype(np.float32)
    second = run_again([term], [first.state], block_of(later))[0]
    known = np.asarray(first.state.shared.values)
    np.testing.assert_allclose(*riskpo_loop(second, later, known), rtol=1e-3, atol=1e-4)


def riskpo_loop(out, returns, known):
    """What was paid and what should have been; checks what is tracked."""
    one, two, three = returns.reshape(3, 4)
    scores = np.concatenate([np.tile(one + two, 2), three])
    low, high = np.quantile(scores, [0.2, 0.8]) if known is None else known
    expected = np.zeros(N)
    for i in range(N):
        tail = -max(low - scores[i], 0) / 0.2
        middle = (max(scores[i] - low, 0) - max(scores[i] - high, 0)) / 0.6
        bundle = scores[:8] if i < 8 else scores[8:]
        members = [i % 4, 4 + i % 4] if i < 8 else [i]
        share = {j: returns[j] - returns[4 * (j // 4) :][:4].mean() for j in members}
        part = share[i] / sum(share.values())
        expected[i] = (1.5 * tail + middle) / 2.5 / bundle.std() * part
    below = (scores[:, None] < np.array([low, high])[None]).mean(0)
    tracked = np.array([low, high]) + 0.1 * (np.array([0.2, 0.8]) - below)
    np.testing.assert_allclose(out.state.shared.values, tracked, rtol=1e-4)
    return np.asarray(out.reward).sum(0), expected


# ---- comparisons -----------------------------------------------------------------------------


def test_win_rates_count_ties_by_half(standard):
    expected = np.array([2.5, 0.5, 0.5, 2.5, 1, 1, 1, 3, 1.5, 1.5, 1.5, 1.5]) / 3
    np.testing.assert_allclose(standard["group_win_rate()"], expected, rtol=1e-6)
    other = np.random.default_rng(0).normal(size=N)
    other[3] = other[0]
    rates = advantages(other)["group_win_rate()"]
    for i in range(N):
        rivals = [j for j in range(N) if GROUP[j] == GROUP[i] and j != i]
        wins = sum((other[i] > other[j]) + 0.5 * (other[i] == other[j]) for j in rivals)
        np.testing.assert_allclose(rates[i], wins / 3, rtol=1e-6)


@pytest.mark.slow
def test_preferences_need_no_order_and_self_play_finds_the_minimax_winner():
    """On a cycle the average policy of multiplicative weights is a third of each."""
    did = np.array([0, 1, 2, 0, 1, 1, 2, 2, 0, 0, 0, 0])
    won = advantages(did)["preferred"]
    expected = [1.5, 1.0, 2.0, 1.5, 2.5, 2.5, 0.5, 0.5, 1.5, 1.5, 1.5, 1.5]
    np.testing.assert_allclose(won, np.array(expected) / 3, rtol=1e-6)

    envs, term = 300, rw.preferred(table=CYCLE)
    one, zero = jnp.ones((1, envs), bool), jnp.zeros((1, envs))

    @quick
    def play(key):
        def update(logits, key):
            did = jax.random.categorical(key, logits, shape=(1, envs))
            block = Transition(zero, did, zero, did * 1.0, zero, one, one, ~one)
            won = term.apply(term.init(key, block), block).reward[0]
            mean = jax.ops.segment_sum(won, did[0], 3)
            mean /= jnp.maximum(jax.ops.segment_sum(jnp.ones(envs), did[0], 3), 1.0)
            return logits + 0.1 * mean, jax.nn.softmax(logits)

        keys = jax.random.split(key, 1000)
        return jax.lax.scan(update, jnp.array([2.0, 0.0, 0.0]), keys)[1]

    policies = np.asarray(play(jax.random.key(0)))
    assert policies[0].max() > 0.7
    np.testing.assert_allclose(policies.mean(0), 1 / 3, atol=0.05)


@pytest.mark.slow
def test_a_tournament_without_noise_ranks_by_score():
    """Seeds are scores, the two best meet last, and losers of a round go by their scores."""
    scores = np.random.default_rng(0).permutation(N)
    reward = run([rw.tournament(size=4, noise=0.0)], block_of(scores))[0].reward
    ranks = np.argsort(np.argsort(scores.reshape(3, 4), 1), 1)
    np.testing.assert_allclose(np.asarray(reward).sum(0), ranks.reshape(-1) / 3, rtol=1e-6)
    scores = jnp.array([3.0, 1, 5, 2, 4, 0])
    places = quick(rw.tournament(size=6)._places)(jax.random.key(0), scores)
    np.testing.assert_array_equal(places, [2, 4, 0, 3, 1, 5])  # with byes for two
    with pytest.raises(UserError, match="12 environments are no multiple of 5"):
        rw.tournament(size=5).init(jax.random.key(0), block_of())


@pytest.mark.slow
def test_noise_in_comparisons_changes_places_but_not_their_number():
    term, block = rw.tournament(size=4, noise=3.0), block_of()
    first, again = run([term], block)[0], run([term], block)[0]
    np.testing.assert_array_equal(first.reward, again.reward)  # the same key
    later = run_again([term], [first.state], block)[0].reward
    assert (np.asarray(first.reward) != np.asarray(later)).any()
    for reward in (first.reward, later):
        places = np.sort(np.asarray(reward).sum(0).reshape(3, 4), 1)
        np.testing.assert_allclose(places, np.tile([0, 1 / 3, 2 / 3, 1], (3, 1)), atol=1e-6)


# ---- agreement and wrong rewards ----------------------------------------------------------


def test_agreement_within_a_group_and_between_paired_groups():
    answer = np.array([7, 3, 3, -1, 3, 2, 2, 9, 4, 4, -1, -1], np.float32)
    paid = Paid(JUDGED, block_of(**SIGNALS | {"answer": answer}))
    said = "signal('answer') | "
    np.testing.assert_array_equal(paid[f"{said}majority"], [0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0, 0])
    soft = np.array([1, 2, 2, 0, 1, 2, 2, 1, 2, 2, 0, 0]) / 4
    np.testing.assert_allclose(paid[f"{said}agreement()"], soft)
    nats = [1.5 * np.log(2), 1.5 * np.log(2), np.log(2)]
    less = soft - 0.5 * np.repeat(nats, 4)
    np.testing.assert_allclose(paid[f"{said}agreement(alpha=0.5)"], less, rtol=1e-5)
    # Group 0 mostly says 3 and group 1 mostly 2; group 2 has no pair.
    np.testing.assert_array_equal(paid[f"{said}co_reward"], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    # What all of a group have in common cancels: the trap of TTRV.
    plain, cancelled = (paid[f"{said}agreement({a}) | centred()"] for a in ("", "alpha=0.5"))
    np.testing.assert_allclose(cancelled, plain, atol=1e-6)


@pytest.mark.slow
def test_a_flipped_group_is_flipped_as_a_whole_and_a_coin_knows_nothing():
    terms, block = [rw.flip_group(probability=0.5), rw.coin(probability=0.25)], block_of()
    states, flipped, heads = [out.state for out in run(terms, block)], [], []
    for _ in range(100):
        out = run_again(terms, states, block)
        states = [x.state for x in out]
        changed = (np.asarray(out[0].reward).sum(0) != R).reshape(3, 4)
        assert (changed.all(1) | ~changed.any(1)).all()
        flipped.append(changed.all(1))
        heads.append(np.asarray(out[1].reward).sum(0))
    assert 0.4 < np.mean(flipped) < 0.6 and set(np.ravel(heads)) == {0.0, 1.0}
    for right in (0, 1):
        assert 0.2 < np.mean(np.array(heads)[:, right == R]) < 0.3


def test_votes_break_ties_by_the_smallest_answer():
    groups = rw.Groups(jnp.zeros(4, jnp.int32), jnp.ones((1, 4), bool))
    most_common = quick(self_agreement.most_common)
    commonest = most_common(jnp.array([5.0, 2.0, 2.0, 5.0]), groups)
    np.testing.assert_array_equal(commonest, 2.0)
    nobody = most_common(jnp.full(4, -1.0), groups)
    assert np.isinf(nobody).all()


def test_a_signal_is_paid_at_the_end_or_at_every_step(judged):
    step = judged.steps["signal('answer', when='step')"]
    np.testing.assert_array_equal(step, np.broadcast_to(ANSWER[None], (T, N)))
    last = np.arange(T)[:, None] >= LENGTH[None] - 1  # and each row behind is an episode
    end = judged.steps["signal('answer')"]
    np.testing.assert_array_equal(end, np.where(last, ANSWER[None], 0.0))
    digits = SIGNALS["rewards"] @ np.array([1, 10, 100, 1000])
    np.testing.assert_allclose(judged["signal('rewards') | weighted"], digits)
    with pytest.raises(UserError, match="there is no such signal here, did you mean 'answer'"):
        jax.eval_shape(lambda block: run([rw.signal("answers")], block), block_of(answer=ANSWER))


def test_without_groups_a_block_is_one():
    block = block_of()
    whole = run([rw.centred()], block.replace(info={}))[0].reward
    np.testing.assert_allclose(np.asarray(whole).sum(0), R - 7 / 12, rtol=1e-5)


# ---- lengths ---------------------------------------------------------------------------------


def test_what_is_too_long_earns_nothing(standard):
    np.testing.assert_array_equal(standard["within(length=2)"], R * (LENGTH <= 2))
    limit = np.repeat([2, 3, 2], 4)  # half, a quarter and all of the groups are right
    np.testing.assert_array_equal(standard["within_by_success"], R * (limit >= LENGTH))
    np.testing.assert_allclose(standard["by_length()"], R * T / LENGTH, rtol=1e-6)


def test_hbpo_by_a_loop(standard):
    advantage, budgets, limit, beta, alpha = standard["hbpo"], (1.0, 3.0), 3.0, 4.0, 0.1
    wave = lambda n: beta * np.cos(np.pi * n / (2 * limit))  # noqa: E731
    reward, mine = np.zeros(N), np.array([budgets[i % 2] for i in range(N)])
    for i in range(N):
        n, b = LENGTH[i], mine[i]
        if R[i] and n <= limit:
            reward[i] = wave(b) if n <= b else wave(n) - alpha * abs(n - b)
    for i in range(N):
        here = GROUP[i] == GROUP
        within = reward[here & (mine == mine[i])].mean() - wave(mine[i])
        spread = reward[here].std()
        between = (reward[i] - reward[here].mean()) / spread if spread > 1e-6 else 0.0
        np.testing.assert_allclose(advantage[i], within + between, rtol=1e-4, atol=1e-5)


def test_crf_pays_right_answers_and_its_bonus_fades(judged):
    concise, rates = SIGNALS["concise"], np.repeat([0.5, 0.25, 1.0], 4)
    later = Paid(JUDGED, block_of(**SIGNALS), judged.states)
    for paid, done in ((judged, 0), (later, 1)):
        factor = 1 - done / 4 + rates
        expected = R * (1 + 0.3 * np.clip(concise, 0.1, 1) * factor)
        np.testing.assert_allclose(paid["stack(env, signal('concise')"], expected, rtol=1e-5)


def test_pear_by_phases(judged):
    """Entropies before the mark and behind it; without a mark there is no thinking."""
    entropy, reward = block_of().policy["entropy"], judged["stack(env, signal('scratch')"]
    for i in range(N):
        mark = int(SIGNALS["scratch"][i])
        think, answer = entropy[: max(mark - 1, 0), i], entropy[mark : LENGTH[i], i]
        price = (think.mean() if think.size else 0) - 0.5 * (answer.mean() if answer.size else 0)
        expected = min(1.0, 1.0 - max(0.0, price)) if R[i] else 0.1
        np.testing.assert_allclose(reward[i], expected, rtol=1e-5)
    assert len(set(np.round(reward, 4))) > 2


@pytest.mark.parametrize("thought", ["**", "-*-*", ""])
def test_pear_on_think_counts_all_that_was_thought(thought):
    """No mark ends it: of entropies 0.3 and 0.1 before the answer, of 0, the mean is 0.2."""
    from jaxrl_reward import envs

    task = envs.make("sequence:think,levels=2,max_tokens=6").environment.task
    tokens = [task.symbols.index(x) for x in thought] + [3, 0]  # the letter a, and the end
    tokens = np.pad(tokens, (0, 6 - len(tokens)), constant_values=len(task.symbols))
    verify = quick(lambda tokens: task.verify(task.ask(jnp.int32(0)), tokens, jnp.float32(0.0)))
    facts = verify(jnp.asarray(tokens)).facts
    steps = len(thought) + 2
    entropy = np.zeros((T + 1, 1))
    entropy[: len(thought), 0] = np.linspace(0.3, 0.1, len(thought))
    told = {name: np.repeat(np.asarray(x)[None], 1) for name, x in facts.items()}
    block = block_of([1.0], np.array([min(steps, T)]), np.zeros(1, np.int64), **told)
    block = block.replace(info={**block.info, "entropy": entropy[:T].astype(np.float32)})
    term = rw.parse("stack(env, signal('scratch'), signal('entropy', when='step')) | pear(alpha=0)")
    reward = run([term], block)[0].reward
    np.testing.assert_allclose(reward.sum(), 0.8 if thought else 1.0, rtol=1e-6)


def test_drpo_never_pushes_a_right_answer_and_is_the_gradient_of_its_objective(standard):
    weights = standard["stack(env, signal('log_prob'"]
    log_prob = np.where(alive_of(), block_of().policy["log_prob"], 0)
    score = log_prob.sum(0) / LENGTH

    def objective(score):
        total = 0.0
        for g in (0, 1):  # the third has no wrong answer
            right = np.flatnonzero((g == GROUP) & (R == 1))
            wrong = np.flatnonzero((g == GROUP) & (R == 0))
            omega = scipy.special.softmax((1 - LENGTH[right] / 5) / 0.5)
            total += (omega * score[right]).sum()
            total -= 2 * scipy.special.logsumexp(score[wrong] / 2)
        return total

    small = 1e-6 * np.eye(N)
    slope = [(objective(score + e) - objective(score - e)) / 2e-6 for e in small]
    np.testing.assert_allclose(weights, slope, atol=1e-5)
    assert (weights[R == 1] >= 0).all() and (weights[8:] == 0).all()


# ---- outcomes and what else is judged -------------------------------------------------------


def test_rlcr_is_proper(judged):
    """The expected reward is largest at the true chance; only the Brier score is bounded."""
    sure, paid = SIGNALS["sure"], "stack(env, signal('sure')) | rlcr"
    np.testing.assert_allclose(judged[f"{paid}()"], R - (sure - R) ** 2, rtol=1e-5)
    given = np.maximum(np.where(R == 1, sure, 1 - sure), 1e-3)
    np.testing.assert_allclose(judged[f"{paid}(score"], R + np.log(given), rtol=1e-5)
    said = np.linspace(0.01, 0.99, 99).astype(np.float32)
    term = rw.rlcr()
    pay = [
        np.asarray(jax.vmap(lambda q, r=r: term.combine(jnp.stack([r, q])))(said))
        for r in (1.0, 0.0)
    ]
    for chance in (0.1, 0.5, 0.8):
        expected = chance * pay[0] + (1 - chance) * pay[1]
        assert abs(said[expected.argmax()] - chance) < 0.006


@pytest.mark.parametrize("kind", ["follows", "misleads"])
def test_trust_follows_a_judge_of_thinking_only_if_it_prefers_right_answers(kind, judged):
    thinking = SIGNALS["thinking"] if kind == "follows" else 1.0 - SIGNALS["thinking"]
    gamma = 1.0 if kind == "follows" else np.exp(-0.6)
    now = Paid(JUDGED, block_of(**SIGNALS | {"thinking": thinking}))
    later = Paid(JUDGED, block_of(**SIGNALS | {"thinking": thinking}), now.states)
    gammas = np.repeat([gamma, gamma, 1.0], 4)  # the last has no wrong answer
    for paid, done in ((now, 0), (later, 1)):
        expected = R + 0.5 * gammas * np.exp(-done / 2) * thinking
        np.testing.assert_allclose(paid["stack(env, signal('thinking')"], expected, rtol=1e-5)


def test_verpo_by_a_loop(judged):
    advantage, passed = judged["signal('rewards') | verpo"], SIGNALS["rewards"]
    for i in range(N):
        here = passed[GROUP[i] == GROUP]
        rate = here.mean(0)
        density = np.exp(-((rate[:, None] - rate[None]) ** 2) / (2 * 0.01)).sum(1)
        weight = np.exp(-2 * rate) / (density + 0.01)
        every, dense = here.all(1), here @ weight
        mine = passed[i].all() - every.mean() + 0.5 * (passed[i] @ weight - dense.mean())
        np.testing.assert_allclose(advantage[i], mine, rtol=1e-4, atol=1e-5)


# ---- what papers give, worked out by hand ----------------------------------------------------

# Rule, outcomes, lengths, groups, signals, and what each response is paid in all.
BY_HAND = {
    # 1 + 0.3 c (s + d), c at least 0.1, s = 1 at first, d the half that is right.
    "stack(env, signal('concise')) | crf(alpha=0.3)": (
        *([1, 0, 1, 0], [1, 2, 1, 2], [0, 0, 0, 0]),
        {"concise": [0.5, 1, 0.05, 0.1]},
        [1.225, 0, 1.045, 0],
    ),
    # Thinking of right responses 0.3 on average, of wrong ones 0.7: gamma = exp(-0.4) = 0.670320.
    "stack(env, signal('thinking')) | trust(alpha=0.3)": (
        *([1, 0, 1, 0], [1, 2, 1, 2], [0, 0, 0, 0]),
        {"thinking": [0.2, 0.8, 0.4, 0.6]},
        [1.040219, 0.160877, 1.080438, 0.120658],
    ),
    # Entropies log 2 and log 4: w = 0.595390 and 0.854778; between groups +1 and -1.
    "stack(env, signal('answer')) | copo(gamma=2, rho=0.5)": (
        *([1, 0, 1, 0, 0, 0, 0, 0], [1] * 8, [0] * 4 + [1] * 4),
        {"answer": [7, 3, 7, 3, 1, 2, 3, 4]},
        [1.0, -0.190780, 1.0, -0.190780, *[-0.145222] * 4],
    ),
    # rho = (1, 1/2), whose distance makes a density of 1 + exp(-12.5): w = 0.133994, 0.364236.
    "signal('rewards') | verpo(alpha=2, beta=0.5, width=0.1, delta=0.01)": (
        *([1, 0], [2, 2], [0, 0]),
        {"rewards": [[1, 1], [1, 0]]},
        [0.591059, -0.591059],
    ),
    # Waves 4 cos(pi n / 6) = 3.464102, 2, 0 at 1, 2, 3: rewards 3.464102, 0, 1.9, 0, of budgets
    # 1, 3, 1, 3. Mean 1.341025, deviation 1.450569; subgroups' means less 3.464102 and 0.
    "hbpo(budgets=(1, 3), limit=3, beta=4, alpha=0.1)": (
        *([1, 1, 1, 1], [1, 2, 2, 3], [0, 0, 0, 0]),
        {},
        [0.681565, -0.924482, -0.396703, -0.924482],
    ),
    # Q of the best of four: 0.683594 at the start, 0.9375 and 1 after: 3 (1 - 0.683594).
    "stack(env | centred(), signal('value', when='step')) | pav(alpha=3, best_of=4, start=0.25)": (
        *([1.0], [2], [0]),
        {"value": [[0.5], [1.0], [0.0], [0.0], [0.0]]},
        [0.949219],
    ),
    # exp(-H log 2) = 1, 1/2 and twice 0.707107, of mean 0.728553; A = 1/2 and -1/2.
    "stack(env | centred(), signal('entropy', when='step')) | empg(k=0.6931472, clarity=0.1)": (
        *([1, 0], [2, 2], [0, 0]),
        {"entropy": [[0, 0.5], [1, 0.5], [0, 0], [0, 0], [0, 0]]},
        [0.989645, -0.989645],
    ),
}


@pytest.mark.parametrize("text", BY_HAND, ids=lambda text: text.split("| ")[-1].split("(")[0])
def test_rules_by_hand(text):
    outcomes, lengths, groups, signals, expected = BY_HAND[text]
    signals = {name: np.array(value, np.float32) for name, value in signals.items()}
    paid = Paid((text,), block_of(outcomes, np.array(lengths), np.array(groups), **signals))
    np.testing.assert_allclose(paid[text], expected, rtol=2e-5, atol=2e-6)


# ---- a credit for each step ----------------------------------------------------------------


def test_empg_by_a_loop_and_its_ground(judged):
    """`E ||grad log pi||^2 = 1 - sum pi^2` of a softmax: surer steps have smaller gradients."""
    (text,) = [text for text in JUDGED if "empg" in text]
    alive = alive_of()
    entropy = np.where(alive, block_of().policy["entropy"], np.nan)
    scaled = (entropy - np.nanmin(entropy)) / (np.nanmax(entropy) - np.nanmin(entropy))
    sure = np.exp(-2 * scaled)
    behind = np.concatenate([np.nan_to_num(sure[1:]), np.zeros((1, N))])
    expected = MIDDLE * sure / np.nanmean(sure) + 0.1 * behind
    expected -= np.nanmean(expected)
    np.testing.assert_allclose(judged.steps[text], np.where(alive, expected, 0), atol=1e-5)
    assert rw.gives_own_steps(rw.parse(text)) and not rw.gives_own_steps(rw.parse("env | grpo()"))

    prob = np.asarray(jax.nn.softmax(jnp.array([1.0, 0.0, -2.0, 0.5])))
    gradients = np.eye(4) - prob[None]  # of log pi(a) by the logits
    np.testing.assert_allclose(prob @ (gradients**2).sum(1), 1 - (prob**2).sum(), atol=1e-6)


def test_pav_adds_the_progress_of_the_prover(judged):
    (text,) = [text for text in JUDGED if "pav" in text]
    best = 1 - (1 - np.concatenate([np.full((1, N), 0.25), SIGNALS["value"]])) ** 4
    expected = MIDDLE + 3 * np.diff(best, axis=0)
    np.testing.assert_allclose(judged.steps[text], np.where(alive_of(), expected, 0), atol=1e-4)


def test_gated_and_renormalised_rewards_take_responses_too(judged):
    """The episodic terms for outcomes and processes, on responses of unequal lengths."""
    steps = np.where(alive_of(), SIGNALS["value"], 0).sum(0)
    gated, normed = (judged[text] for text in JUDGED if "gated" in text or "renorm" in text)
    np.testing.assert_allclose(gated, R + R * steps, rtol=1e-5)
    np.testing.assert_allclose(normed, steps + LENGTH * (R - 1), rtol=1e-5, atol=1e-6)


def test_a_stack_of_another_size_is_refused():
    with pytest.raises(UserError, match=r"trust\(.*\) is for a stack of 2 rewards, not 1"):
        jax.eval_shape(lambda block: run([rw.trust()], block), block_of())
    with pytest.raises(UserError, match="square table"):
        rw.preferred(table=((0.5, 0.9), (0.5, 0.5)))
