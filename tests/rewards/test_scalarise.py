"""Scalarisers and weights that move, against their formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import rewards as rw
from jaxrl_reward.types import UserError

volume = jax.jit(rw.hypervolume)
VECTORS = np.array([[4.0, 1.0, 2.0], [-1.0, -8.0, 1.0], [0.0, 5.0, 3.0]], np.float32)


def combine(term, vectors=VECTORS):
    return np.asarray([term.combine(jnp.asarray(v)) for v in vectors])


def test_formulas():
    np.testing.assert_allclose(combine(rw.geometric_mean()), [2.0, -2.0, 0.0], atol=1e-5)
    harmonic = combine(rw.harmonic(weights=(0.5, 0.25, 0.25)), VECTORS[:1])
    np.testing.assert_allclose(harmonic, 1 / (0.5 / 4 + 0.25 / 1 + 0.25 / 2), rtol=1e-6)
    np.testing.assert_allclose(combine(rw.harmonic(weights=(1, 0, 0)), VECTORS[:1]), 4.0)
    far = combine(rw.chebyshev(weights=(1.0, 0.5, 2.0), ideal=(5.0, 5.0, 3.0)))
    np.testing.assert_allclose(far, [-2.0, -6.5, -5.0])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("mean", 7 / 3),
        ("median", 2.0),
        ("min", 1.0),
        ("variance", 7 / 3 - 0.5 * 7 / 3),  # of 4, 1, 2 the unbiased variance is 7 / 3
        ("std", 7 / 3 - 0.5 * np.sqrt(7 / 3)),
        ("discount", 7 / 3 * np.exp(-7 / 6) - 7 / 6),  # of a mean above 0 alone
        ("spread", np.sqrt(7 / 3)),
    ],
)
def test_pools(how, expected):
    np.testing.assert_allclose(combine(rw.pool(how, 0.5), VECTORS[:1]), expected, rtol=1e-5)


def test_one_judge_is_not_uncertain():
    for how in ("variance", "std", "discount"):
        np.testing.assert_allclose(combine(rw.pool(how, 0.5), [[3.0]]), 3.0)


@pytest.mark.parametrize("score", [1 / 3, 1000 / 3, -16.2736, 1e-7])
def test_judges_who_agree_are_not_uncertain(score):
    """Whatever the size of the scores, and also where they differ by one rounding."""
    one = np.float32(score)
    for scores in ([one] * 7, [one, np.nextafter(one, np.float32(0)), one]):
        assert combine(rw.pool("spread"), [scores]) == 0.0
        for how in ("variance", "std", "discount"):
            np.testing.assert_allclose(combine(rw.pool(how, 1.0), [scores]), one, rtol=3e-7)
    close = [[2e-7, 4e-7, 9e-7]]  # of small scores the deviation is as small, of large the same
    np.testing.assert_allclose(combine(rw.pool("spread"), close), np.std(close, ddof=1), rtol=1e-4)
    far = np.add(close, 0.0) * 1e7 + 100_000.0
    np.testing.assert_allclose(combine(rw.pool("spread"), far), np.std(far, ddof=1), rtol=1e-4)


@pytest.mark.parametrize("how", ["variance", "std", "discount", "min"])
@pytest.mark.parametrize("mean", [-100.0, -5.0, -1.0, -0.2, 0.0, 0.3, 2.0, 50.0])
def test_disagreement_never_pays(how, mean):
    """Judges at mean - d and mean + d: the farther apart, the less.

    Of (-7, -3) `discount` is -5 - 0.1 * 8, where the paper's loss would give -4.1.
    """
    np.testing.assert_allclose(combine(rw.pool("discount", 0.1), [[-7.0, -3.0]]), -5.8, rtol=1e-6)
    apart = np.concatenate([[0.0], np.geomspace(1e-3, 30, 40)])
    pays = combine(rw.pool(how, 0.5), [[mean - d, mean + d] for d in apart])
    assert pays[0] == np.float32(mean) and (np.diff(pays) <= 1e-6 * abs(mean)).all()
    assert pays[-1] < mean


def test_the_chebyshev_return_reaches_a_concave_front(block_of, paid):
    """An episode's pay is u(G) - u(0); a weighted sum prefers an end, u the middle."""
    term = rw.stack(rw.env(), rw.constant(-1.0)) | rw.chebyshev_return((0.1, 1.0), (10.0, 0.0))
    utility = lambda treasure, steps: -max(0.1 * abs(10 - treasure), steps)  # noqa: E731
    total = paid(term, block_of([0.0, 4.0])).sum()
    np.testing.assert_allclose(total, utility(4, 2) - utility(0, 0), rtol=1e-6)
    fronts = {1: 1.0, 8: 4.0, 20: 10.0}  # steps: treasure, concave
    best = rw.stack(rw.env(), rw.constant(-1.0)) | rw.chebyshev_return((1.0, 0.5), (10.0, 0.0))
    pays = {n: paid(best, block_of([0.0] * (n - 1) + [t])).sum() for n, t in fronts.items()}
    assert max(pays, key=pays.get) == 8
    for weight in np.linspace(0, 1, 21):
        sums = {n: weight * t - (1 - weight) * n for n, t in fronts.items()}
        assert max(sums, key=sums.get) != 8 or np.isclose(sums[8], max(sums[1], sums[20]))


def test_objectives_are_the_environments_rewards(block_of, paid):
    rewards = np.array([[[1.0, -1.0]], [[0.0, -1.0]]], np.float32)
    block = block_of([0.0, -1.0], rewards=rewards)
    np.testing.assert_allclose(paid(rw.parse("objective(2) + 10*objective(1)"), block), [9.0, -1.0])
    with pytest.raises(UserError, match="has 2 rewards"):
        paid(rw.objective(3), block)


# ---- hypervolume ------------------------------------------------------------------------


def test_hypervolume_by_hand_and_by_counting():
    points = jnp.array([[3.0, 1.0], [1.0, 2.0], [-1.0, 9.0]])
    assert volume(points, jnp.zeros(2)) == 3 * 1 + 1 * 1  # the third is outside
    cubes = np.random.default_rng(0).integers(0, 5, (4, 3))
    cells = itertools.product(range(5), repeat=3)
    counted = sum(any((np.array(c) < p).all() for p in cubes) for c in cells)
    found = volume(jnp.asarray(cubes, jnp.float32), jnp.zeros(3))
    np.testing.assert_allclose(found, counted, rtol=1e-6)


def test_the_hypervolume_weight_grows_with_what_is_new(block_of, paid, after):
    term = rw.stack(rw.env(), rw.constant(1.0)) | rw.hypervolume_weight((1.0, 2.0), capacity=2)
    first, same = block_of([1.0, 3.0]), block_of([2.0, 2.0])
    np.testing.assert_allclose(paid(term, first), [3.0, 5.0])  # the factor is 1 at first
    state = after(term, first)  # the mean point (2, 1) adds an area of 2
    factor = 1.946041  # 1/2 and 3/2 of the tanh of 2, which is 0.964028
    np.testing.assert_allclose(paid(term, same, state), factor * 4, rtol=1e-6)
    state = after(term, first, same)  # nothing new
    np.testing.assert_allclose(paid(term, same, state), 0.5 * 4)


def test_a_full_front_gives_up_what_adds_least(block_of, after):
    means = [(2.0, 1.0), (1.0, 2.0), (3.0, 3.0)]
    term = rw.hypervolume_weight((1.0, 1.0), capacity=2)
    blocks = [block_of([0.0]) for _ in means]
    blocks = [
        b.replace(reward=np.float32(m)[None, None]) for b, m in zip(blocks, means, strict=True)
    ]
    points = after(term, *blocks).shared.points
    assert volume(points, jnp.zeros(2)) == 9.0


# ---- constraints ------------------------------------------------------------------------


def test_multipliers_rise_while_the_threshold_is_not_reached(block_of, paid, after):
    term = rw.stack(rw.env(), rw.constant(1.0)) | rw.lagrangian((3.0,), rate=0.5)
    block = block_of([1.0, 2.0, 5.0, 5.0], ends=[1])
    np.testing.assert_allclose(paid(term, block), [1.0, 2.0, 5.0, 5.0])
    state = after(term, block)  # two episodes, each with 2 of the bounded reward
    np.testing.assert_allclose(paid(term, block, state), [1.5, 2.5, 5.5, 5.5])
    enough = rw.stack(rw.env(), rw.constant(4.0)) | rw.lagrangian((3.0,), rate=0.5)
    assert after(enough, block).shared[1].dual == 0.0  # and never below 0
    unfinished = block.replace(terminated=np.zeros_like(block.terminated))
    assert after(term, unfinished).shared[1].dual == 0.0  # no episode has ended yet


def test_squashed_multipliers_follow_the_papers_gradient(block_of, paid, after):
    """z -= rate * w'(z) (J - threshold), clipped; the main reward weighs N - w."""
    block = block_of([1.0, 2.0])
    term = rw.stack(rw.env(), rw.constant(1.0)) | rw.lagrangian((3.0,), 0.5, "sigmoid")
    np.testing.assert_allclose(paid(term, block), [0.5 + 0.5, 1.0 + 0.5])
    z = 0.5 * 0.25 * 1.0
    np.testing.assert_allclose(after(term, block).shared[1].dual, z, rtol=1e-6)
    equal = rw.stack(rw.env(), rw.constant(1.0)) | rw.lagrangian((1.0,), 0.5, "tanh")
    z = -0.5 * 0.5  # J is 1 above the threshold, and the gradient is clipped to 0.5
    np.testing.assert_allclose(after(equal, block).shared[1].dual, z, rtol=1e-6)
    np.testing.assert_allclose(
        after(equal, block, block).shared[1].dual,
        z - 0.5 * (0.1 * 0.5 + min(0.5, 1 - np.tanh(z) ** 2)),
        rtol=1e-6,
    )


# ---- directions and gradients -------------------------------------------------------------


def test_every_episode_has_a_direction_that_the_policy_may_see(block_of, started, applied):
    term = rw.stack(rw.env(), rw.constant(1.0)) | rw.direction(low=-45.0, high=45.0)
    block = block_of(np.ones((6, 2)), ends=[2])
    state = started(term, jax.random.key(0), block)

    @jax.jit
    def see(state, obs, first):
        return term.observe(term.begin(state, obs, first).local)

    def seen(state, row):
        return np.asarray(see(state, block.obs[row], block.first[row]))

    first = seen(state, 0)
    np.testing.assert_allclose((first**2).sum(-1), 1.0, rtol=1e-5)
    assert (first[:, 0] >= 0.7071).all() and not np.allclose(first[0], first[1])
    out = applied(term, state, block)
    np.testing.assert_allclose(out.reward[:3], np.repeat(first.sum(-1)[None], 3, 0), rtol=1e-6)
    second = np.asarray(out.state.local[1].direction)
    np.testing.assert_allclose(out.reward[3:], np.repeat(second.sum(-1)[None], 3, 0), rtol=1e-6)
    assert not np.allclose(first, second)


def test_gradient_weights_prefer_what_all_agree_on():
    gradients = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    log_weights, weights = rw.gradient_weights(jnp.log(jnp.full(3, 1 / 3)), gradients, 0.5)
    # Each gradient's product with their sum, (2, 2), is 2, 2 and 4.
    expected = [0.211942, 0.211942, 0.576117]  # exp(1), exp(1) and exp(2), over their sum
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    np.testing.assert_allclose(np.exp(log_weights), expected, rtol=1e-5)


def test_min_norm_weights_give_the_shortest_combination():
    # On the segment from (2, 0) to (0, 1), (0.4, 0.8) is nearest to the origin.
    np.testing.assert_allclose(
        rw.min_norm_weights(jnp.array([[2.0, 0.0], [0.0, 1.0]])), [0.2, 0.8], atol=1e-4
    )
    one = rw.min_norm_weights(jnp.array([[1.0, 0.0], [3.0, 0.0]]))  # they agree: the shorter one
    np.testing.assert_allclose(one, [1.0, 0.0], atol=1e-4)


def test_bad_input_is_one_line(block_of, paid):
    with pytest.raises(rw.RewardSyntaxError, match="did you mean 'median'"):
        rw.parse("stack(env, env) | pool(how='medan')")
    for text in ("lagrangian(5)", "gated(5)", "chebyshev_return(5)", "hypervolume_weight(5)"):
        with pytest.raises(rw.RewardSyntaxError, match=r"several numbers, as in \(5,\)"):
            rw.parse(text)
    with pytest.raises(rw.RewardSyntaxError, match="lower capacity"):
        rw.parse("hypervolume_weight(weights=(1, 1, 1), capacity=100)")
    two, block = rw.stack(rw.env(), rw.env()), block_of([1.0])
    for term in (
        rw.chebyshev((1.0, 1.0, 1.0)),
        rw.chebyshev_return((1.0,)),
        rw.hypervolume_weight((1.0,)),
        rw.lagrangian((1.0, 2.0)),
        rw.direction(3),
        rw.gated((1.0, 2.0)),
    ):
        with pytest.raises(UserError, match=r"\d rewards"):
            paid(two | term, block)


def test_each_source_has_its_own_reward(block_of):
    """By a number in `info`, also where it is out of range."""
    rng = np.random.default_rng(0)
    paid, source = rng.normal(size=(6, 4)).astype(np.float32), rng.integers(-1, 4, (6, 4))
    block = block_of(paid, ends=(2,), level=source)
    term = rw.parse("stack(env, 2*env, 5 - env) | by_source('level')")
    assert str(rw.parse(str(term))) == str(term)
    found = term.apply(term.init(jax.random.key(0), block), block).reward
    at = np.clip(source, 0, 2)
    assert len(set(at.reshape(-1))) == 3
    expected = np.select([at == 0, at == 1], [paid, 2 * paid], 5 - paid)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    wrong = rw.parse("stack(env, 2*env) | by_source('levle')")
    with pytest.raises(UserError, match="there is no such signal here"):
        wrong.apply(wrong.init(jax.random.key(0), block), block)
