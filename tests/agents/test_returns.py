"""Returns and advantages: by hand, against plain loops, and by identities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.agents.common.returns import discounted_returns, explained, gae

GAMMA, LAM = 0.9, 0.8


def block(seed=0, shape=(40, 6), ends=0.2):
    """reward, value, next_value, terminated, truncated; both flags at times."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(size=shape).astype(np.float32) for _ in range(3)]
    flags = [rng.random(shape) < ends for _ in range(2)]
    return [jnp.asarray(x) for x in values + flags]


def column(*numbers):
    return jnp.asarray(numbers, jnp.float32)[:, None]


def flags(*numbers):
    return jnp.asarray(numbers, bool)[:, None]


def loop_gae(reward, value, next_value, terminated, truncated, gamma, lam):
    """The definition as a sum, each advantage on its own: no recursion."""
    advantage = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        for t in range(len(reward)):
            weight = 1.0
            for k in range(t, len(reward)):
                bootstrap = 0.0 if terminated[k, n] else gamma * next_value[k, n]
                advantage[t, n] += weight * (reward[k, n] + bootstrap - value[k, n])
                if terminated[k, n] or truncated[k, n]:
                    break
                weight *= gamma * lam
    return advantage


def loop_returns(reward, next_value, terminated, truncated, gamma):
    returns = np.zeros(reward.shape)
    for n in range(reward.shape[1]):
        for t in range(len(reward)):
            weight = 1.0
            for k in range(t, len(reward)):
                returns[t, n] += weight * reward[k, n]
                weight *= gamma
                if terminated[k, n]:
                    break
                if truncated[k, n] or k == len(reward) - 1:
                    returns[t, n] += weight * next_value[k, n]
                    break
    return returns


# By hand ----------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e6])
def test_explained_variance_in_any_unit(unit):
    """Of 0, 2, 4, 6 (variance 5) the errors 1, -1, 1, -1 (variance 1) leave a fifth."""
    target, error = jnp.array([0.0, 2.0, 4.0, 6.0]), jnp.array([1.0, -1.0, 1.0, -1.0])
    np.testing.assert_allclose(explained(unit * target, unit * (target - error)), 0.8, rtol=1e-5)
    # The negative of what is right leaves four times the variance.
    np.testing.assert_allclose(explained(unit * target, -unit * target), -3.0, rtol=1e-5)
    np.testing.assert_allclose(explained(unit * target, jnp.zeros(4)), 0.0, atol=1e-6)
    # scikit-learn's example.
    target, guess = jnp.array([3.0, -0.5, 2.0, 7.0]), jnp.array([2.5, 0.0, 2.0, 8.0])
    np.testing.assert_allclose(explained(unit * target, unit * guess), 0.957173, rtol=1e-5)
    assert explained(unit * jnp.full(7, 1 / 3), unit * jnp.arange(7.0)) == 0.0


def test_of_nothing_nothing_is_explained():
    assert explained(jnp.full(4, 3.0), jnp.arange(4.0)) == 0.0


def test_gae_by_hand():
    # Two steps and a termination; then a truncation; then the block ends.
    reward, value = column(1, 2, 3, 4), column(0.5, 1.0, 1.5, 2.0)
    next_value = column(1.0, 100.0, 10.0, 3.0)
    terminated, truncated = flags(0, 1, 0, 0), flags(0, 0, 1, 0)
    # delta: 1 + .9*1 - .5 = 1.4 | 2 - 1 = 1 | 3 + .9*10 - 1.5 = 10.5 | 4 + .9*3 - 2 = 4.7
    # advantage[0] = 1.4 + .72 * 1 = 2.12; the others have no successor to add.
    advantage, target = gae(reward, value, next_value, terminated, truncated, GAMMA, LAM)
    np.testing.assert_allclose(advantage[:, 0], [2.12, 1.0, 10.5, 4.7], rtol=1e-6)
    np.testing.assert_allclose(target[:, 0], [2.62, 2.0, 12.0, 6.7], rtol=1e-6)


def test_terminated_wins_over_truncated():
    one = column(1.0)
    advantage, _ = gae(one, 0 * one, 50 * one, flags(1), flags(1), GAMMA, LAM)
    np.testing.assert_allclose(advantage, [[1.0]])
    np.testing.assert_allclose(
        discounted_returns(one, 50 * one, flags(1), flags(1), GAMMA), [[1.0]]
    )


def test_discounted_returns_by_hand():
    reward, next_value = column(1, 2, 3, 4, 5), column(70, 80, 10, 90, 20)
    terminated, truncated = flags(0, 1, 0, 0, 0), flags(0, 0, 1, 0, 0)
    # 5 + .9*20 = 23 | 4 + .9*23 = 24.7 | 3 + .9*10 = 12 | 2 | 1 + .9*2 = 2.8
    returns = discounted_returns(reward, next_value, terminated, truncated, GAMMA)
    np.testing.assert_allclose(returns[:, 0], [2.8, 2.0, 12.0, 24.7, 23.0], rtol=1e-6)


# Against loops ----------------------------------------------------------------


@pytest.mark.parametrize("ends", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("gamma,lam", [(0.9, 0.8), (1.0, 1.0), (0.99, 0.0), (0.0, 0.5)])
def test_against_loops(ends, gamma, lam):
    data = block(ends=ends)
    reward, value, next_value, terminated, truncated = (np.asarray(x, np.float64) for x in data)
    expected = loop_gae(reward, value, next_value, terminated, truncated, gamma, lam)
    advantage, target = jax.jit(gae)(*data, gamma, lam)
    np.testing.assert_allclose(advantage, expected, atol=2e-5)
    np.testing.assert_allclose(target, expected + value, atol=2e-5)
    expected = loop_returns(reward, next_value, terminated, truncated, gamma)
    returns = jax.jit(discounted_returns)(*(data[i] for i in (0, 2, 3, 4)), gamma)
    np.testing.assert_allclose(returns, expected, atol=2e-5)


# Identities -------------------------------------------------------------------


def consistent(seed=0):
    """A block whose `next_value` is the next row's value, inside an episode."""
    reward, value, next_value, terminated, truncated = block(seed)
    inside = ~(terminated | truncated)[:-1]
    within = jnp.where(inside, value[1:], next_value[:-1])
    next_value = jnp.concatenate([within, next_value[-1:]])
    return reward, value, next_value, terminated, truncated


def test_lam_one_is_monte_carlo_with_bootstrap():
    reward, value, next_value, terminated, truncated = consistent()
    _, target = gae(reward, value, next_value, terminated, truncated, GAMMA, 1.0)
    returns = discounted_returns(reward, next_value, terminated, truncated, GAMMA)
    np.testing.assert_allclose(target, returns, atol=1e-5)


def test_lam_zero_is_the_td_error():
    reward, value, next_value, terminated, truncated = block()
    advantage, _ = gae(reward, value, next_value, terminated, truncated, GAMMA, 0.0)
    expected = reward + GAMMA * jnp.where(terminated, 0.0, next_value) - value
    np.testing.assert_allclose(advantage, expected, atol=1e-6)


def test_a_perfect_value_has_no_advantage():
    """V = 1 / (1 - gamma) for reward 1 for ever, cut by a clock only."""
    ones = jnp.ones((20, 3))
    value = ones / (1 - GAMMA)
    truncated = jnp.arange(20)[:, None] % 7 == jnp.arange(3)[None]
    advantage, target = gae(ones, value, value, truncated & False, truncated, GAMMA, LAM)
    np.testing.assert_allclose(advantage, 0.0, atol=1e-5)
    np.testing.assert_allclose(target, value, rtol=1e-6)


@pytest.mark.parametrize("kind", ["terminated", "truncated"])
def test_nothing_leaks_back_across_a_boundary(kind):
    reward, value, next_value, *_ = block(1, ends=0.0)
    ends = jnp.zeros((40, 6), bool).at[17].set(True)
    none = jnp.zeros((40, 6), bool)
    boundary = (ends, none) if kind == "terminated" else (none, ends)
    other = [x.at[18:].add(jnp.nan) for x in (reward, value, next_value)]
    for function, arrays in (
        (lambda r, v, nv: gae(r, v, nv, *boundary, GAMMA, LAM)[0], (reward, value, next_value)),
        (lambda r, v, nv: discounted_returns(r, nv, *boundary, GAMMA), (reward, value, next_value)),
    ):
        np.testing.assert_array_equal(function(*arrays)[:18], function(*other)[:18])


def test_the_value_after_termination_is_not_read():
    """Not even multiplied by zero: it may be anything, infinite included."""
    reward, value, next_value, *_ = block(2, shape=(5, 2))
    terminated = jnp.zeros((5, 2), bool).at[2].set(True)
    wild = next_value.at[2].set(jnp.inf)
    truncated = terminated & False
    tame = gae(reward, value, next_value, terminated, truncated, GAMMA, LAM)
    np.testing.assert_array_equal(
        gae(reward, value, wild, terminated, truncated, GAMMA, LAM)[0], tame[0]
    )
    assert jnp.isfinite(discounted_returns(reward, wild, terminated, truncated, GAMMA)).all()


def test_the_end_of_a_block_bootstraps():
    """A block cut in two, with the value of the cut, gives the same TD(0) rows."""
    data = consistent(3)
    whole, _ = gae(*data, GAMMA, 0.0)
    halves = [gae(*(x[part] for x in data), GAMMA, 0.0)[0] for part in (slice(20), slice(20, 40))]
    np.testing.assert_allclose(whole, jnp.concatenate(halves), atol=1e-6)


# Use --------------------------------------------------------------------------


def test_vmap_over_hyper_parameters_equals_a_loop():
    data, gammas = block(4), jnp.array([0.5, 0.9, 1.0])
    batched, _ = jax.jit(jax.vmap(lambda g: gae(*data, g, LAM)))(gammas)
    for i, gamma in enumerate(gammas):
        np.testing.assert_allclose(batched[i], gae(*data, gamma, LAM)[0], atol=1e-5)


def test_one_trace_for_two_discounts():
    traces = []

    @jax.jit
    def traced(data, gamma):
        traces.append(gamma)
        return gae(*data, gamma, LAM)

    traced(block(), 0.9)
    traced(block(), 0.99)
    assert len(traces) == 1


def test_wrong_shapes_and_dtypes_are_refused():
    reward, value, next_value, terminated, truncated = block()
    with pytest.raises(AssertionError):
        gae(reward, value[1:], next_value, terminated, truncated, GAMMA, LAM)
    with pytest.raises(AssertionError):
        gae(reward, value, next_value, terminated.astype(jnp.float32), truncated, GAMMA, LAM)
    with pytest.raises(AssertionError):
        gae(*(x[:, 0] for x in block()), GAMMA, LAM)
    with pytest.raises(AssertionError):
        discounted_returns(reward, next_value, terminated, truncated, jnp.ones(6))


def test_against_rlax():
    rlax = pytest.importorskip("rlax")
    reward, value, next_value, terminated, truncated = consistent(5)
    # rlax knows only one boundary: a discount of zero.
    terminated = terminated | truncated
    discount = jnp.where(terminated, 0.0, GAMMA)
    ours, _ = gae(reward, value, next_value, terminated, truncated & False, GAMMA, LAM)
    values = jnp.concatenate([value, next_value[-1:]])
    theirs = jax.vmap(rlax.truncated_generalized_advantage_estimation, (1, 1, None, 1), 1)(
        reward, discount, LAM, values
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
