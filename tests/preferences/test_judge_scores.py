"""How good a judge is: metrics against closed forms, brute force and a benchmark's own numbers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, optimize, stats

from jaxrl_reward.cli import main
from jaxrl_reward.data import pairs as pair_data
from jaxrl_reward.preferences import judges, losses, scores
from jaxrl_reward.types import UserError

MANY = 400_000


def gaussian(k, d=1.0, seed=0, rows=MANY):
    """Scores of a right response, d deviations above k wrong ones."""
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(d + rng.normal(size=rows), jnp.float32),
        jnp.asarray(rng.normal(size=(rows, k)), jnp.float32),
    )


@pytest.mark.parametrize(("k", "expected"), [(1, 0.760250), (3, 0.552031), (9, 0.340936)])
def test_one_against_k_of_gaussian_scores(k, expected):
    """`int phi(x - d) Phi(x)^k dx`, by quadrature, and by the metric of draws."""
    exact, _ = integrate.quad(lambda x: stats.norm.pdf(x - 1) * stats.norm.cdf(x) ** k, -12, 12)
    assert exact == pytest.approx(expected, abs=1e-6)
    found = scores.one_against(*gaussian(k))
    assert found.right.mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(MANY))
    assert found.tied.sum() < 5
    chance = scores.one_against(*gaussian(k, 0.0)).right.mean()
    assert chance == pytest.approx(1 / (k + 1), abs=4 * 0.5 / np.sqrt(MANY))


def test_mean_reciprocal_rank_of_gaussian_scores():
    """A rank is 1 + a binomial, of which the mean of `1 / (1 + B)` is known in closed form."""
    k = 9

    def mean_inverse(x):
        p = stats.norm.sf(x)
        return (1 - (1 - p) ** (k + 1)) / ((k + 1) * p)

    exact, _ = integrate.quad(lambda x: stats.norm.pdf(x - 1) * mean_inverse(x), -8, 8)
    assert exact == pytest.approx(0.539111, abs=1e-6)
    found = scores.reciprocal_rank(*gaussian(k)).mean()
    assert found == pytest.approx(0.539111, abs=0.002)
    chance = scores.reciprocal_rank(*gaussian(k, 0.0)).mean()
    assert chance == pytest.approx((1 / np.arange(1, 11)).mean(), abs=0.002)  # .292897


def test_a_tie_is_a_tie_and_never_right():
    right, wrong = jnp.array([1.0, 1.0, 1.0, jnp.nan]), jnp.array([[0.0, 1.0, 2.0, 0.0]]).T
    for found in (scores.pairwise(right, wrong[:, 0]), scores.one_against(right, wrong)):
        np.testing.assert_array_equal(found.right, [1, 0, 0, 0])
        np.testing.assert_array_equal(found.tied, [0, 1, 0, 0])
        np.testing.assert_array_equal(found.wrong, [0, 0, 1, 1])
        np.testing.assert_array_equal(found.split, [1, 0.5, 0, 0])
    np.testing.assert_allclose(scores.reciprocal_rank(right, wrong), [1, 0.5, 0.5, 0.5])


def test_best_of_four_splits_ties_as_reward_bench_2_does():
    right = jnp.ones(6)
    wrong = jnp.array(
        [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 0, 0], [jnp.nan, 0, 0]], jnp.float32
    )
    np.testing.assert_allclose(
        scores.best_of(right, wrong), [1, 1 / 2, 1 / 3, 1 / 4, 0, 0], rtol=1e-6
    )


def test_a_judge_that_prefers_what_it_reads_first_is_right_half_the_time():
    always = jnp.ones(8)
    found, consistent = scores.both_orders(always, always)
    np.testing.assert_array_equal(found.right, 0.5)
    np.testing.assert_array_equal(consistent, 0)
    good, consistent = scores.both_orders(always, -always)
    assert good.right.min() == 1 and consistent.min() == 1
    none, consistent = scores.both_orders(jnp.zeros(8), jnp.zeros(8))
    assert none.tied.min() == 1 and none.right.max() == 0 and consistent.max() == 0


# ---- ties of several right answers --------------------------------------------------------


def ties_of(right, wrong=((0.0, -1.0),), reference=((3.0,), (0.0,))):
    one, others = (jnp.asarray(x) for x in reference)
    return scores.ties(one, others[:, None], jnp.asarray(right), jnp.asarray(wrong))


def test_the_ties_score_is_reward_bench_2s():
    """The numbers that its program 0.1.4 gives."""
    assert ties_of([[5.0, 5.002]], reference=((5.0,), (0.0,))).score == pytest.approx(1.01)
    assert ties_of([[5.0, 5.0]]).score == pytest.approx(1.0)  # no spread: not in the margin
    constant = ties_of([[1.0, 1.0]], ((1.0, 1.0),), ((1.0,), (1.0,)))
    assert constant.score == 0.0
    # The margin is the spread: strictly above is asked, and tanh(0) is 0.
    same = ties_of([[2.0, 4.0]], ((0.0, -1.0),), ((2.0,), (0.0,)))
    assert same.score == pytest.approx(0.6) and same.apart == 0
    wide = ties_of([[1.0, 5.0]], ((0.0, -1.0),), ((1.0,), (0.0,)))
    assert wide.score == pytest.approx(0.6 + 0.01 * np.tanh(0.25 - 1), abs=1e-6)  # .5936
    assert wide.score == pytest.approx(0.5936, abs=5e-5)
    assert jnp.isnan(ties_of([[5.0, 5.1]], ((jnp.nan, 0.0),)).score)


def test_answers_that_are_not_there_do_not_count():
    full = ties_of([[5.0, 5.1]], ((0.0, -1.0),))
    room = scores.ties(
        jnp.array([3.0]),
        jnp.array([[0.0]]),
        jnp.array([[5.0, 5.1, -9.0]]),
        jnp.array([[0.0, 99.0, -1.0]]),
        jnp.array([[True, True, False]]),
        jnp.array([[True, False, True]]),
    )
    np.testing.assert_allclose(full, room, rtol=1e-6)


# ---- contrasts and probes -----------------------------------------------------------------


def test_a_judge_that_is_blind_to_the_prompt_gets_one_half():
    score = jax.random.normal(jax.random.key(0), (50,))
    found = scores.instruction_contrast(score, score)
    assert found.right.max() == 0 and found.tied.min() == 1
    assert found.split.mean() == 0.5


def test_every_row_finds_another_prompt():
    prompt = np.array([[1], [1], [1], [2], [3], [3]] * 4)
    for seed in range(5):
        other = np.asarray(scores.other_prompts(jax.random.key(seed), prompt))
        assert (prompt[other] != prompt).all()
    with pytest.raises(UserError, match="all are the same"):
        scores.other_prompts(jax.random.key(0), np.ones((3, 1)))


def test_a_probe_is_the_regularised_maximum_of_likelihood():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3)) * [1, 5, 0.1] + [0, 3, 9]
    y = (x[:, 0] + 0.1 * x[:, 1] + rng.normal(size=200) > 0.3).astype(np.float64)
    standard = (x - x.mean(0)) / x.std(0)

    def loss(w):
        logits = standard @ w[:3] + w[3]
        return (np.logaddexp(0, logits) - y * logits).sum() + 0.5 * (w[:3] ** 2).sum()

    best = optimize.minimize(loss, np.zeros(4), tol=1e-10).x
    found = scores.probe(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    np.testing.assert_allclose(found.weights, best[:3], atol=2e-3)
    np.testing.assert_allclose(found.bias, best[3], atol=2e-3)
    sure = found.confidence(jnp.asarray(x, jnp.float32))
    expected = np.abs(standard @ best[:3] + best[3]) / np.linalg.norm(best[:3])
    np.testing.assert_allclose(sure, expected, atol=5e-3)


def test_a_probe_finds_what_features_tell_and_nothing_else():
    key = jax.random.key(0)
    x = jax.random.normal(key, (600, 4))
    known, unknown = x[:, 2] > 0.2, jax.random.bernoulli(jax.random.key(1), 0.5, (600,))
    assert scores.probe_accuracy(x, known, 400) > 0.95
    assert 0.35 < scores.probe_accuracy(x, unknown, 400) < 0.65


# ---- the card and the command -------------------------------------------------------------


V, P, T = 4, 1, 3


def some_pairs(count=60, seed=0):
    """Of responses of three letters: gold is how many of them are the prompt's."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(1, V, (count, P))
    both = rng.integers(1, V, (count, 2, T))
    gold = (both == prompt[:, None]).sum(2)
    order = np.argsort(-gold, 1, kind="stable")
    both = np.take_along_axis(both, order[..., None], 1)
    gold = np.take_along_axis(gold, order, 1)
    label = np.where(gold[:, 0] == gold[:, 1], 0.5, 1.0)
    return pair_data.make(prompt, both[:, 0], both[:, 1], reward=gold, label=label)


def knowing(pairs, steps=400, **how):
    design = judges.Design(V, P, T, width=16, hidden=16, **how)
    model = judges.init(jax.random.key(0), design)
    settings = {"steps": steps, "batch_size": 32, "learning_rate": 1e-2}
    if how.get("relative"):
        settings["loss"] = losses.both_orders
    return judges.fit(model, jax.random.key(1), pairs, **settings)[0]


def test_a_card_counts_what_brute_force_counts():
    pairs = some_pairs()
    model = judges.init(jax.random.key(3), judges.Design(V, P, T, width=4))
    found = scores.card(model, pairs)
    decided = np.asarray(pairs.label) == 1
    gap = [model.scores(judges.texts(pairs.prompt, x))[0] for x in (pairs.chosen, pairs.rejected)]
    right = np.asarray(gap[0] > gap[1])[decided]
    line = found.named("pairwise accuracy")
    assert line.value == pytest.approx(right.mean()) and line.count == decided.sum() == found.pairs
    assert line.low < line.value < line.high
    width = 1.96 * np.sqrt(line.value * (1 - line.value) / line.count)
    assert line.high - line.low == pytest.approx(2 * width, rel=0.2)
    # With the labels turned the judge is right where it was wrong.
    turned = scores.card(model, pairs.replace(label=1 - pairs.label))
    other = turned.named("pairwise accuracy").value
    assert other == pytest.approx(1 - line.value - found.named("ties").value)


def test_probes_of_a_card_tell_what_the_judge_reads():
    pairs = some_pairs(200)
    text = np.stack([pairs.chosen, pairs.rejected], 1)
    luck = np.random.default_rng(5).random((200, 2)) > 0.5
    factors = {"last is 1": text[..., -1] == 1, "of luck": luck}
    model = judges.init(jax.random.key(3), judges.Design(V, P, T, width=8), members=2)
    found = scores.card(model, pairs, factors=factors)
    known, luck = found.named("probe: last is 1"), found.named("probe: of luck")
    assert known.low > known.chance and known.value > 0.95
    assert luck.low < luck.chance < 0.65
    with pytest.raises(KeyError):  # all are as long
        found.named("probe: longer than the median")


def test_a_constant_judge_has_ties_only():
    pairs = some_pairs()
    model = judges.init(jax.random.key(3), judges.Design(V, P, T, width=4))
    model = model.replace(params=jax.tree.map(jnp.zeros_like, model.params))
    found = scores.card(model, pairs)
    for name in ("pairwise accuracy", "1 against 3", "prompt contrast C_ins"):
        assert found.named(name).value == 0
    for name in ("ties", "1 against 3, ties", "prompt contrast, ties"):
        assert found.named(name).value == 1
    assert found.named("best of 4, ties split").value == pytest.approx(0.25)
    assert found.named("mean reciprocal rank of 4").value == pytest.approx(0.25)
    assert found.named("Brier score").value == pytest.approx(0.25)
    assert found.named("calibration error").value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("relative", [False, True])
def test_a_judge_that_knows_is_right_everywhere(relative):
    pairs = some_pairs(150)
    found = scores.card(knowing(pairs, relative=relative), pairs)
    assert found.named("pairwise accuracy").value > 0.95
    assert found.named("1 against 3").value > 0.9
    assert found.named("best of 4, ties split").value >= found.named("1 against 3").value
    if relative:
        assert found.named("same verdict in both orders").value > 0.9
        assert abs(found.named("prefers the one it reads first").value - 0.5) < 0.1
    else:
        assert found.named("prompt contrast C_ins").low > 0.5  # many answer both prompts alike


def test_the_command_tells_files_apart_and_draws(tmp_path, capsys):
    pairs = some_pairs()
    judges.init(jax.random.key(3), judges.Design(V, P, T, width=4)).save(tmp_path / "judge.npz")
    files = [str(pair_data.save(some_pairs(seed=s), tmp_path / f"pairs{s}.npz")) for s in (0, 1)]
    model, figure = str(tmp_path / "judge.npz"), tmp_path / "figure.png"
    assert main(["judge", model, "--pairs", *files, "--out", str(figure)]) == 0
    out, err = capsys.readouterr()
    assert out.count("pairwise accuracy") == 2 and "intervals over pairs" in out
    assert figure.stat().st_size > 10_000 and str(figure) in err
    assert main(["judge", model, "--pairs", files[0], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)[files[0]]
    by_name = {line["name"]: line for line in told["lines"]}
    expected = scores.card(judges.load(model), pairs).named("pairwise accuracy")
    assert by_name["pairwise accuracy"]["value"] == pytest.approx(expected.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.npz", "--pairs", "pairs.npz"], "there is no judge in 'none.npz'"),
        (["judge.npz"], "missing argument: --pairs"),
        (["judge.npz", "--pairs", "none.npz"], "none.npz"),
        (["judge.npz", "--pairs", "pairs.jsonl"], "or --env say whose symbols"),
        (["judge.npz", "--pairs", "other.npz"], "where the judge reads 1 and 3"),
        (["judge.npz", "--pairs", "far.npz"], "token number 9, and the judge knows 4"),
        (["judge.npz", "--pairs", "even.npz"], "no pair here has both responses and a label"),
        (["pairs.npz", "--pairs", "pairs.npz"], "is no judge that ResponseModel.save wrote"),
        (["told.npz", "--pairs", "pairs.npz"], "told 2 numbers beside a text"),
        (["judge.npz", "--pairs", "pairs.npz", "--env", "gymnax:CartPole-v1"], "is none"),
        (["judge.npz", "--pairs", "pairs.npz", "--out", "x.txt"], "must end in .png"),
    ],
)
def test_bad_input_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pairs = some_pairs(12)
    judges.init(jax.random.key(3), judges.Design(V, P, T, width=4)).save("judge.npz")
    judges.init(jax.random.key(3), judges.Design(V, P, T, width=4, given=2)).save("told.npz")
    pair_data.save(pairs, "pairs.npz")
    longer = np.full((2, 1), V)
    pair_data.save(pair_data.make(longer, np.zeros((2, 4)), np.ones((2, 4))), "other.npz")
    pair_data.save(
        pair_data.make(longer, np.full((2, 3), 9), np.ones((2, 3)), label=[1, 1]), "far.npz"
    )
    pair_data.save(
        pair_data.make(pairs.prompt, pairs.chosen, pairs.rejected, label=[0.5] * 12), "even.npz"
    )
    assert main(["judge", *words]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1
