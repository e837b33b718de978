"""Curiosity against its formulas, and each bonus on noise that cannot be predicted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import counting
from jaxrl_reward import rewards as rw
from jaxrl_reward.rewards.curiosity import prediction as curious
from jaxrl_reward.types import UserError

TINY = {"width": 8, "batch_size": 32, "updates": 150, "learning_rate": 0.01, "whiten": False}


@pytest.fixture
def steps(block_of):
    """256 steps of random actions 0 and 1: one component is the action, one is pure noise."""
    rng = np.random.default_rng(0)
    action = rng.integers(0, 2, 256)
    noise = rng.normal(size=257)
    obs = np.stack([np.append(0, action), noise], -1)
    return block_of(np.zeros(256), obs=obs, action=action)


# ---- counts -----------------------------------------------------------------------------


def test_pseudo_counts_are_counts_of_a_single_component(block_of, paid, after):
    """Of one component: rho = (n + 1/2) / (N + bins / 2), n = rho (1 - rho2) / (rho2 - rho)."""
    term = rw.pseudo_counts(resolution=1.0, bins=4)
    past = after(term, block_of(np.zeros(5), obs=[[0], [2], [2], [2], [1], [2]]))
    rho, again = 4.5 / 7.0, 5.5 / 8.0
    count = rho * (1 - again) / (again - rho)
    now = paid(term, block_of([0.0], obs=[[0], [2]]), past)
    np.testing.assert_allclose(now, 1 / np.sqrt(count + 0.01), rtol=1e-4)
    new = paid(term, block_of([0.0], obs=[[0], [3]]), past)
    assert new > 2 * now


@pytest.mark.parametrize("share", [1e-3, 0.1, 0.5])
@pytest.mark.parametrize("seen", [1e3, 1e5, 1e7])
def test_pseudo_counts_of_much_that_was_seen(share, seen, block_of, paid, after):
    """Of two components, by the paper's formula in float64."""
    visits = round(share * seen)
    count, total = visits + 0.5, seen + 1.0  # with half a count in every bin before
    rho, again = (count / total) ** 2, ((count + 1) / (total + 1)) ** 2
    expected = 1 / np.sqrt(rho * (1 - again) / (again - rho) + 0.01)
    term, block = rw.pseudo_counts(resolution=1.0, bins=2), block_of([0.0], obs=[[0, 0]] * 2)
    table = counting.of(np.array([[visits, int(seen) - visits]] * 2))
    state = after(term, block).replace(shared=table)
    np.testing.assert_allclose(paid(term, block, state), expected, rtol=1e-4)


def test_the_model_of_components_generalises(block_of, paid, after):
    """Cells (0, 1) and (1, 0) were never seen, but their components were."""
    term = rw.pseudo_counts(resolution=1.0, bins=4)
    diagonal = [[0, 0]] + [[0, 0], [1, 1]] * 10
    past = after(term, block_of(np.zeros(20), obs=diagonal))
    mixed, new = (paid(term, block_of([0.0], obs=[[0, 0], x]), past) for x in ([0, 1], [2, 3]))
    assert mixed < new / 3


@pytest.mark.parametrize("n", [1, 4, 16])
def test_rdd_falls_as_one_over_n_where_its_fit_is_exact(n, block_of, parameters):
    """After n visits the best fit is the mean of n draws, whose squared error is sigma^2 / n.

    The loss is quadratic in the last layer's bias: a Newton step is the least-squares fit.
    """
    sigma, size = 0.5, 2000
    block = block_of(np.zeros(n), obs=np.ones((n + 1, 1)))
    term = rw.rdd(width=4, features=size, sigma=sigma)
    state = parameters(term, block)
    batch = jax.tree.map(lambda x: x[:, 0], block)

    @jax.jit
    def fitted(state):
        slope = jax.grad(term.loss)(state.shared.params, jax.random.key(0), batch)
        layers = [k for k, x in flat(slope["f"]) if x.shape == (size,)]
        assert len(layers) == 1
        step = lambda path, x, g: x - size / 2 * g * (str(path) == layers[0])  # noqa: E731
        params = state.shared.params
        moved = jax.tree_util.tree_map_with_path(step, params["f"], slope["f"])
        shared = state.shared.replace(params={**params, "f": moved})
        return term.apply(state.replace(shared=shared), block).reward

    flat = lambda tree: [(str(k), x) for k, x in jax.tree_util.tree_leaves_with_path(tree)]  # noqa: E731
    np.testing.assert_allclose(fitted(state) * n / sigma**2, 1.0, rtol=0.15)


def test_rdd_is_the_distance_to_the_mean_of_what_it_learns_from(steps, parameters):
    raw = {"width": 4, "features": 3, "whiten": False}
    term, rnd = rw.rdd(**raw, sigma=2.0), rw.rnd(**raw)
    state = parameters(term, steps)

    @jax.jit
    def run(key):
        batch = jax.tree.map(lambda x: x[:, 0], steps)
        losses = [one.loss(state.shared.params, key, batch) for one in (term, rnd)]
        return [one.apply(state, steps).reward for one in (term, rnd)], losses

    rewards, (noisy, exact) = run(jax.random.key(0))
    np.testing.assert_allclose(*rewards)
    assert abs(noisy - exact - 4.0) < 0.8  # the draws add sigma^2, over 768 of them


# ---- what the networks see ---------------------------------------------------------------

WHITENED = [
    *(rw.rnd(width=4, features=3), rw.rdd(width=4, features=3)),
    rw.icm(width=4, features=3, actions=2),
    rw.byol(width=4, features=3, actions=2),
    rw.hindsight(width=4, features=3, hidden=2, actions=2, negatives=2),
    rw.disagreement(width=4, members=2, actions=2),
]


@pytest.mark.parametrize("term", WHITENED, ids=lambda term: term.name)
def test_units_of_the_observation_do_not_matter(term, steps, parameters, applied):
    """Metres or millimetres of one coordinate, any origin: the same bonus, once it is known."""
    units, origin = jnp.array([[[1000.0, 0.01]]]), jnp.array([[[-70.0, 3.0]]])
    other = steps.replace(obs=steps.obs * units + origin, next_obs=steps.next_obs * units + origin)
    start = parameters(term, steps)
    rewards = []
    for block in (steps, other):
        state = applied(term, start, block).state
        rewards.append(np.asarray(applied(term, state, block).reward))
    np.testing.assert_allclose(rewards[0], rewards[1], rtol=2e-3, atol=1e-5)
    assert rewards[0].std() > 1e-4
    # What is small in the raw observation counts: no novelty is only in the large one.
    raw = term.replace(whiten=False)
    plain = [np.asarray(applied(raw, parameters(raw, steps), b).reward) for b in (steps, other)]
    assert not np.allclose(*plain, rtol=0.1)


def test_what_is_seen_is_white_and_clipped(steps, parameters, applied):
    term = rw.rnd(width=4, features=3)
    start = parameters(term, steps)
    shared = applied(term, start, steps).state.shared
    seen = np.asarray(term.seen(shared, steps).next_obs)
    np.testing.assert_allclose(seen.mean((0, 1)), 0.0, atol=1e-5)
    np.testing.assert_allclose(seen.std((0, 1)), 1.0, rtol=1e-3)
    far = steps.replace(next_obs=steps.next_obs * 1e6)
    assert np.abs(term.seen(shared, far).next_obs).max() == 5.0
    # The block is judged by what was known before it: at first it is only clipped.
    np.testing.assert_array_equal(
        term.seen(start.shared, far).next_obs, np.clip(far.next_obs, -5.0, 5.0)
    )
    order = jnp.arange(256)
    flat = jax.tree.map(lambda x: x[:, 0], steps)
    paid = applied(term, start.replace(shared=shared), steps).reward[:, 0]
    np.testing.assert_allclose(term.relabel(shared, flat, ())[order], paid, rtol=1e-5)


# ---- predictions --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_prediction_error_never_tires_of_noise_and_hindsight_does(steps, learnt):
    long = {**TINY, "updates": 600}
    plain = learnt(rw.byol(**long, features=4, actions=2), steps)[0]
    knowing = rw.hindsight(**long, features=4, hidden=4, actions=2, negatives=4)
    knowing = learnt(knowing, steps)[0]
    assert plain[1].mean() > 0.1  # directions of noise stay as surprising as they are
    assert knowing[1].mean() < 0.5 * plain[1].mean()


@pytest.mark.slow
def test_icm_tells_the_action(steps, learnt):
    """Its features keep what the action changes: the inverse model is nearly sure."""
    term = rw.icm(**TINY, features=4, actions=2, beta=0.1)
    _, state = learnt(term, steps)
    batch = jax.tree.map(lambda x: x[:, 0], steps)
    errors = jax.jit(jax.vmap(lambda t: term._errors(state.shared.params, t)))
    forward, inverse = errors(batch)
    assert inverse.mean() < 0.3 * np.log(2)
    np.testing.assert_allclose(jax.jit(term.apply)(state, steps).reward[:, 0], forward, rtol=1e-4)


@pytest.mark.slow
def test_an_ensemble_comes_to_agree_on_noise(steps, learnt):
    paid, _ = learnt(rw.disagreement(**TINY, members=3, actions=2), steps)
    assert paid[1].mean() < 0.3 * paid[0].mean()


@pytest.mark.slow
def test_empowerment_is_the_information_on_the_action(steps, learnt):
    """Two equally likely actions that can be told: log 2; none where the effect is hidden."""
    term = rw.empowerment(**TINY, actions=2)
    np.testing.assert_allclose(learnt(term, steps)[0][1].mean(), np.log(2), atol=0.15)
    hidden = steps.replace(next_obs=steps.next_obs * jnp.array([[[0.0, 1.0]]]))
    assert abs(learnt(term, hidden)[0][1].mean()) < 0.15


def test_the_target_follows_slowly():
    term = rw.byol(follow=0.25)
    params = term.settle({"phi": jnp.array([4.0]), "target": jnp.array([0.0])})
    np.testing.assert_allclose(params["target"], [1.0])
    np.testing.assert_allclose(params["phi"], [4.0])


def test_unit_vectors_have_length_one():
    np.testing.assert_allclose(curious.unit(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)


def test_discrete_actions_must_be_counted(steps, block_of, paid, parameters):
    with pytest.raises(UserError, match=r"icm\(actions=4\)"):
        rw.icm().init(jax.random.key(0), steps)
    continuous = block_of(np.zeros(5), action=np.zeros((5, 3), np.float32))
    term = rw.icm(width=4, features=2)
    assert paid(term, continuous, parameters(term, continuous)).shape == (5,)


def test_of_several_whole_numbers_each_is_guessed_by_itself(block_of):
    out = np.array([0.1, 0.5, -1.0, 2.0, 0.0, 1.0])
    block = block_of(np.zeros(1), action=np.array([[1, 2]], np.int32))
    one = jax.tree.map(lambda x: x[0, 0], block)
    each = out.reshape(2, 3) - np.log(np.exp(out).reshape(2, 3).sum(1, keepdims=True))
    found = rw.icm(actions=3).log_prob(jnp.array(out, jnp.float32), one)
    np.testing.assert_allclose(found, each[0, 1] + each[1, 2], rtol=1e-5)
