"""Preferences: losses and labels by hand, what can be identified, users, and a bilevel gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from jaxrl_reward import preferences, tabular
from jaxrl_reward.preferences import labels, losses, segments, users
from jaxrl_reward.types import Transition, UserError


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


# ---- losses and labels --------------------------------------------------------------------


def test_losses_by_hand():
    d, y = jnp.array([2.0, -1.0, 0.5]), jnp.array([1.0, 1.0, 0.0])
    nll = -np.log(sigmoid([2.0, -1.0, -0.5]))
    other = -np.log(sigmoid([-2.0, 1.0, 0.5]))
    np.testing.assert_allclose(losses.bradley_terry(d, y), nll, rtol=1e-5)
    np.testing.assert_allclose(losses.bradley_terry(d, 0.5), (nll + other) / 2, rtol=1e-5)
    np.testing.assert_allclose(losses.smoothed(d, y, 0.2), 0.8 * nll + 0.2 * other, rtol=1e-5)
    strength = jnp.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(losses.scaled(d, y, strength), strength * nll, rtol=1e-5)
    margins = -np.log(sigmoid([1.0, -3.0, -3.5]))
    np.testing.assert_allclose(losses.margin(d, y, strength), margins, rtol=1e-5)
    centred = losses.centred(jnp.array(3.0), jnp.array(1.0), 1.0, 0.01)
    np.testing.assert_allclose(centred, -np.log(sigmoid(2.0)) + 0.16, rtol=1e-5)


def test_a_mixture_of_one_head_is_bradley_terry():
    d, y = jnp.array([[2.0], [-1.0]]), jnp.array([1.0, 0.0])
    np.testing.assert_allclose(
        losses.hedged(d, y, jnp.ones((2, 1))), losses.bradley_terry(d[:, 0], y), rtol=1e-5
    )
    two = losses.hedged(jnp.array([2.0, -1.0]), 1.0, jnp.array([0.25, 0.75]))
    np.testing.assert_allclose(two, -np.log(0.25 * sigmoid(2.0) + 0.75 * sigmoid(-1.0)), rtol=1e-5)
    np.testing.assert_allclose(losses.balance(jnp.full((4,), 0.25)), -np.log(4), rtol=1e-5)
    told = losses.rerouted(jnp.array([0.25, 0.75]), jnp.log(jnp.array([[1.0, 2.0], [3.0, 2.0]])))
    np.testing.assert_allclose(told, [0.5, 0.5], rtol=1e-5)  # 0.25 / 2 and 0.75 / 6


@pytest.mark.parametrize("d", [(-5.0, -4.0), (-30.0, -40.0), (-100.0, -90.0), (-400.0, -1000.0)])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_mixture_that_is_badly_wrong_has_the_loss_and_slope_of_logsumexp(d, label):
    """In float64 by scipy: `-log sum_k w_k sigmoid(d_k)`, and -p_k sigmoid(-d_k)."""
    weights, right = np.array([0.3, 0.7]), np.array(d)
    logs = np.log(weights) + scipy.special.log_expit(right)
    expected = -scipy.special.logsumexp(logs)
    slope = -np.exp(logs + expected) * scipy.special.expit(-right)
    sign = 2 * label - 1  # the label decides which side is wrong
    found, slopes = jax.value_and_grad(losses.hedged)(
        jnp.array(sign * right, jnp.float32), label, jnp.array(weights, jnp.float32)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(slopes, sign * slope, rtol=1e-4, atol=1e-30)


def test_a_mixture_tells_its_router_which_head_was_nearer():
    """The slope in the router's logits is w_k - p_k: far out one head has all of p."""
    of = lambda z, d: losses.hedged(d, 1.0, jax.nn.softmax(z))  # noqa: E731
    slope = jax.grad(of)(jnp.log(jnp.array([0.3, 0.7])), jnp.array([-60.0, -90.0]))
    np.testing.assert_allclose(slope, [0.3 - 1.0, 0.7], rtol=1e-5)


def test_routers_know_weights_far_below_the_others():
    weights = jnp.array([1e-20, 1.0, 0.0])
    told = losses.rerouted(weights, jnp.array([[0.0], [60.0], [0.0]]))
    odds = 1e-20 / np.exp(-60.0)  # 1.14e6 to 1 for the first
    np.testing.assert_allclose(told, [odds / (1 + odds), 1 / (1 + odds), 0.0], rtol=1e-4)
    np.testing.assert_allclose(losses.balance(weights), -20 * np.log(10) * 1e-20, rtol=1e-5)
    slopes = [
        jax.grad(losses.balance)(weights),
        jax.grad(lambda w: losses.rerouted(w, jnp.ones((3, 1)))[0])(weights),
    ]
    np.testing.assert_allclose(slopes[0][:2], np.log([1e-20, 1.0]) + 1, rtol=1e-5)
    assert np.isfinite(slopes).all()


def test_the_first_clear_factor_decides():
    first = jnp.array([[1.0, 0.0], [1.0, 5.0], [1.2, 0.0], [1.0, 0.1]])
    second = jnp.array([[0.0, 9.0], [1.0, 2.0], [1.0, 3.0], [1.0, 0.0]])
    out = labels.hierarchical(first, second, jnp.array([0.5, 1.0]))
    np.testing.assert_array_equal(out.decided, [True, True, True, False])
    np.testing.assert_array_equal(out.first[:3], [1.0, 1.0, 0.0])
    scale = jnp.array([100.0, 0.01])  # of the factors and their margins
    again = labels.hierarchical(
        first * scale[None], second * scale[None], scale * jnp.array([0.5, 1.0])
    )
    np.testing.assert_array_equal(again.first, out.first)


def test_strength_finds_flipped_labels():
    d = jnp.array([[3.0, 1.0, -2.0, 0.1], [1.0, 1.0, -4.0, -0.1]])
    strength = labels.strength(d, jnp.array([1.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(strength.mean, [2.0, -1.0, 3.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(strength.std, [1.0, 0.0, 1.0, 0.1], atol=1e-6)
    mended = labels.repair(jnp.array([1.0, 0.0, 0.0, 1.0]), strength.mean, 0.3)
    np.testing.assert_array_equal(mended, [1.0, 1.0, 0.0, 1.0])


def test_drawn_labels_have_their_probability():
    draw = jax.jit(lambda key: labels.bradley_terry(key, jnp.full(4000, 2.0), temperature=2.0))
    drawn = draw(jax.random.key(0))
    np.testing.assert_allclose(drawn.mean(), sigmoid(1.0), atol=0.03)
    flipped = jax.jit(labels.flip)(jax.random.key(1), drawn, 0.25)
    np.testing.assert_allclose((flipped != drawn).mean(), 0.25, atol=0.03)


# ---- what pairs can tell --------------------------------------------------------------------


def world(stay, leave):
    """One state: stay for a reward, or leave for one and end."""
    return tabular.from_outcomes([[[(1.0, 0, stay)], [(1.0, None, leave)]]])


def regrets(mdp, gamma=0.9):
    """Of staying once and of leaving, and the rewards of both."""
    plan = tabular.planning.value_iteration(mdp, gamma)
    states, actions = jnp.zeros((2, 1), jnp.int32), jnp.arange(2)[:, None]
    return np.asarray(segments.regret(plan.values, plan.q, states, actions)), mdp.reward[0, :, 0]


def test_partial_returns_do_not_identify_what_is_optimal_and_regrets_do():
    """Rewards that differ by 2 everywhere: leaving is best in one world, staying in the other."""
    (low, r_low), (high, r_high) = regrets(world(-1.0, -1.0)), regrets(world(1.0, 1.0))
    paid = [segments.partial_return(jnp.asarray(r)[:, None]) for r in (r_low, r_high)]
    assert paid[0][0] - paid[0][1] == paid[1][0] - paid[1][1] == 0.0  # no label tells them apart
    np.testing.assert_allclose(low, [0.9, 0.0], atol=1e-4)
    np.testing.assert_allclose(high, [0.0, 9.0], atol=1e-3)


def test_without_chance_both_definitions_of_regret_agree():
    mdp = world(-1.0, -3.0)
    plan = tabular.planning.value_iteration(mdp, 1.0)
    states, actions = jnp.zeros((1, 3), jnp.int32), jnp.array([[0, 0, 1]])
    general = segments.regret(plan.values, plan.q, states, actions)
    rewards, path = jnp.array([[-1.0, -1.0, -3.0]]), jnp.zeros((1, 4), jnp.int32)
    known = segments.deterministic_regret(plan.values, rewards, path, jnp.array([True]))
    np.testing.assert_allclose(known, general, atol=1e-5)
    np.testing.assert_allclose(general, [2.0], atol=1e-5)  # two steps of -1 too many
    masked = segments.partial_return(rewards, jnp.array([[True, False, True]]))
    np.testing.assert_allclose(masked, [-4.0])


def test_a_reward_is_learnt_from_regret_through_soft_values():
    """Labels of a rater who knows that leaving is best: so it is under the learnt reward."""
    truth = world(-1.0, -1.0)
    preferred = sigmoid(regrets(truth)[0][1] - regrets(truth)[0][0])  # that staying is

    def loss(table):
        mdp = truth.replace(reward=table.reshape(1, 2, 1))
        values, q = segments.soft_values(mdp, 0.9, temperature=0.1, iterations=40)
        difference = (values[0] - q[0, 1]) - (values[0] - q[0, 0])
        return losses.bradley_terry(difference, preferred)

    table = jnp.array([0.5, 0.0])  # staying is best at first
    step = jax.jit(lambda table: table - 0.2 * jax.grad(loss)(table))
    for _ in range(60):
        table = step(table)
    plan = tabular.planning.value_iteration(truth.replace(reward=table.reshape(1, 2, 1)), 0.9)
    assert plan.q[0].argmax() == 1


# ---- models -----------------------------------------------------------------------------------


def pieces(rng, count, steps=3):
    obs = rng.normal(size=(count, steps, 2)).astype(np.float32)
    zeros, no = np.zeros((count, steps), np.float32), np.zeros((count, steps), bool)
    return Transition(obs, zeros, zeros, zeros, obs, no, no, no)


@pytest.mark.slow
def test_a_model_is_fitted_to_preferences():
    rng = np.random.default_rng(0)
    first, second, new = pieces(rng, 256), pieces(rng, 256), pieces(rng, 256)
    worth = lambda x: x.obs[..., 0].sum(1)  # noqa: E731
    label = jnp.asarray(worth(first) > worth(second), jnp.float32)
    one = jax.tree.map(lambda x: x[0, 0], first)
    model = jax.eval_shape(lambda k: preferences.init(k, one, 2, 8), jax.random.key(0))
    draw = lambda x: rng.normal(size=x.shape) / np.sqrt(x.shape[-2])  # noqa: E731
    model = jax.tree.map(lambda x: jnp.asarray(draw(x), jnp.float32), model)
    run = jax.jit(lambda *data: preferences.fit(model, jax.random.key(1), *data, steps=120))
    fitted, loss = run(first, second, label)
    assert loss[-10:].mean() < 0.5 * loss[:10].mean()
    scores = np.asarray(preferences.returns(fitted, new))
    assert scores.shape == (2, 256) and not np.allclose(scores[0], scores[1])
    assert np.corrcoef(scores[0], worth(new))[0, 1] > 0.9


@pytest.mark.slow
def test_users_who_want_opposite_things():
    """One half prefers more, the other less: their own eight labels tell which."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 64, 16, 1)).astype(np.float32)
    more = (x > y)[..., 0]
    label = np.where(np.arange(64)[:, None] % 2 == 0, more, ~more).astype(np.float32)
    cut = lambda part: users.Pairs(x[:, part], y[:, part], label[:, part])  # noqa: E731
    context, asked = cut(slice(0, 8)), cut(slice(8, 16))
    net = users.variational(latent=2, width=16)
    optimiser = optax.adam(0.01)

    @jax.jit
    def train(params):
        def step(carry, key):
            params, state = carry
            loss = lambda p: users.loss(net, p, key, context, asked, 0.1)  # noqa: E731
            value, grads = jax.value_and_grad(loss)(params)
            change, state = optimiser.update(grads, state)
            return (optax.apply_updates(params, change), state), value

        keys = jax.random.split(jax.random.key(1), 150)
        return jax.lax.scan(step, (params, optimiser.init(params)), keys)[0][0]

    params = train(users.init(net, jax.random.key(0), 1))
    z, _ = users.encode(net, params, context)
    gap = users.score(net, params, asked.first, z) - users.score(net, params, asked.second, z)
    assert ((gap > 0) == (asked.label > 0.5)).mean() > 0.9


def test_the_divergence_and_the_share_of_wins():
    np.testing.assert_allclose(
        users.divergence(jnp.array([1.0, 0.0]), jnp.array([0.0, np.log(4.0)])),
        0.5 * (1 + 4 - 1 - np.log(4.0)),
        rtol=1e-5,
    )
    near = users.divergence(jnp.zeros(1), jnp.array([1e-4]))  # x^2 / 4 to first order
    np.testing.assert_allclose(near, 1e-8 / 4, rtol=2e-3)
    share = users.win_share(jnp.array([1.0]), jnp.array([0.0, 2.0]))
    np.testing.assert_allclose(share, [0.5], rtol=1e-6)


# ---- through the policy -------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["exact", "cg", "neumann"])
def test_the_bilevel_gradient_of_quadratics(solver):
    """V = -(i - A o)' H (i - A o) / 2 is largest at A o; the whole gradient is A' (A o - t) + o."""
    a, h = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[2.0, 0.5], [0.5, 1.0]])
    target, outer = jnp.array([1.0, -1.0]), jnp.array([0.3, 0.7])
    lower = lambda o, i: -0.5 * (i - a @ o) @ h @ (i - a @ o)  # noqa: E731
    upper = lambda o, i: 0.5 * ((i - target) ** 2).sum() + 0.5 * (o**2).sum()  # noqa: E731
    run = partial(preferences.hypergradient, upper, lower, iterations=60, step=0.4, solver=solver)
    found = jax.jit(run)(outer, a @ outer)
    np.testing.assert_allclose(found, a.T @ (a @ outer - target) + outer, atol=1e-3)


def test_the_gradient_through_a_softmax_policy_is_the_true_one():
    """Of an entropy-regularised bandit, whose policy is softmax(r / tau), asked about itself."""
    tau, wanted = 0.5, np.array([0.1, 0.7, 0.2], np.float32)
    labels = jnp.asarray(sigmoid(wanted[:, None] - wanted[None]))

    def policy(inner):
        return jax.nn.softmax(jnp.append(inner, 0.0))

    def lower(reward, inner):
        p = policy(inner)
        return p @ reward - tau * (p * jnp.log(p)).sum()

    def upper(reward, inner):  # how badly r explains labels of pairs that the policy draws
        p = policy(inner)
        gaps = reward[:, None] - reward[None]
        return (p[:, None] * p[None] * losses.bradley_terry(gaps, labels)).sum()

    best = lambda reward: (reward[:2] - reward[2]) / tau  # noqa: E731
    reward = jnp.array([0.5, -0.2, 0.1])

    @jax.jit
    def gradients(reward):
        found = preferences.hypergradient(upper, lower, reward, best(reward))
        true = jax.grad(lambda r: upper(r, best(r)))(reward)
        return found, true, jax.grad(upper)(reward, best(reward))

    found, true, dropped = gradients(reward)  # the last as if the data did not move
    np.testing.assert_allclose(found, true, atol=1e-4)
    assert np.abs(found - dropped).max() > 0.01
    with pytest.raises(UserError, match="did you mean 'exact'"):
        preferences.hypergradient(upper, lower, reward, best(reward), solver="exakt")
