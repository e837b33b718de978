"""Corruption: worked numbers, and what holds whatever the data, the rate and the scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrl_reward import UserError, offline
from jaxrl_reward.offline import corruption
from jaxrl_reward.types import Transition

N = 400
LEAVES = {"obs": "obs", "action": "action", "dynamics": "next_obs", "reward": "reward"}
KINDS = ("random", "adversarial")


def value(obs, action):
    """Bowls, so that the gradient's sign differs from row to row."""
    return jnp.sin(obs).sum(-1) + (action * obs[:, :2]).sum(-1) - (action**2).sum(-1)


def policy(obs):
    return jnp.tanh(obs[:, :2] + obs[:, 1:3])


ATTACKER = offline.Attacker(value, policy)


@pytest.fixture(scope="module")
def data() -> offline.Dataset:
    """400 steps; the last dimension of what is observed never varies."""
    rng = np.random.default_rng(0)
    fields = {
        "obs": rng.normal(size=(N, 4)) * [1, 10, 0.1, 0] + [0, 5, 0, 0.3],
        "action": rng.uniform(-1, 1, (N, 2)),
        "reward": rng.normal(size=N),
        "next_obs": rng.normal(size=(N, 4)) * [2, 5, 0.1, 0] + [0, 5, 0, 0.3],
        "terminated": rng.random(N) < 0.02,
        "truncated": rng.random(N) < 0.02,
    }
    return offline.make(fields)


@pytest.fixture(scope="module")
def corrupted(data):
    """`corrupted(kind, field, seed, rate, scale)`: one compiled program of each kind and field."""
    programs = {}

    def run(kind, field, seed, rate, scale) -> Transition:
        if (kind, field) not in programs:
            programs[kind, field] = jax.jit(
                lambda key, rate, scale: (
                    offline.corrupt(data, key, kind, field, rate, scale, ATTACKER, chunk=200).steps
                )
            )
        return programs[kind, field](jax.random.key(seed), rate, scale)

    return run


# ---- worked numbers ----------------------------------------------------------------


def test_the_random_attack_in_numbers():
    x = jnp.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
    np.testing.assert_allclose(corruption.spread(x), [2.236068, 0.0], atol=1e-5)
    noise = jnp.zeros((4, 2)).at[2].set(jnp.array([0.5, -1.0]))
    moved = corruption.move(x, noise)
    np.testing.assert_allclose(moved[2], [5.118034, 1.0], atol=1e-5)
    np.testing.assert_array_equal(moved[np.array([0, 1, 3])], x[np.array([0, 1, 3])])


@pytest.mark.parametrize(("start", "end"), [([0.0, 0.0], [-1.0, 1.0]), ([0.9, -0.9], [-0.1, 0.1])])
def test_the_descent_in_numbers(start, end):
    weights = jnp.array([[2.0, -0.5]])
    found = corruption.descend(lambda z: (z * weights).sum(-1), jnp.array([start]), 1.0)
    np.testing.assert_allclose(found, [end], atol=1e-5)


def test_a_linear_value_is_attacked_at_the_corner(data):
    weights = np.array([2.0, -0.5, 1.0, 3.0], np.float32)
    linear = offline.Attacker(lambda obs, action: obs @ weights, policy)
    # From anywhere in the box 200 signed steps of 0.01 would do; 100 do from the near half.
    steps = offline.corrupt(data, jax.random.key(0), "adversarial", "obs", 1.0, 0.5, linear).steps
    z = np.asarray(steps.obs - data.steps.obs) / np.asarray(data.steps.obs).std(0).clip(1e-9)
    assert ((z[:, :3] * np.sign(weights[:3])) <= 1e-4).mean() > 0.99
    assert np.isclose(z[:, 0], -0.5, atol=1e-4).mean() == pytest.approx(0.5, abs=0.1)


def test_rewards_in_numbers(data, corrupted):
    hit = np.asarray(corruption.chosen(jax.random.key(3), 0.5, N))
    old, new = data.steps.reward, corrupted("adversarial", "reward", 3, 0.5, 2.0).reward
    np.testing.assert_array_equal(new, np.where(hit, -2.0 * old, old))
    drawn = np.asarray(corrupted("random", "reward", 3, 1.0, 0.5).reward)
    assert np.abs(drawn).max() <= 15.0 and np.abs(drawn).max() > 14.0
    assert abs(drawn.mean()) < 3 * 15.0 / np.sqrt(3 * N)


def test_a_range_of_rewards_of_ones_own(data):
    span = offline.relative_range(data.steps)
    assert span == pytest.approx(7 * np.abs(np.asarray(data.steps.reward)).mean())
    steps = offline.corrupt(
        data, jax.random.key(0), field="reward", rate=1.0, scale=1.0, reward_range=span
    ).steps
    assert 0.95 * span < np.abs(np.asarray(steps.reward)).max() <= span
    np.testing.assert_array_equal(steps.reward, steps.env_reward)


# ---- what always holds -------------------------------------------------------------


@pytest.mark.parametrize("field", corruption.FIELDS)
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 2**31), rate=st.floats(0, 1), scale=st.floats(0.01, 3))
def test_what_always_holds(data, corrupted, kind, field, seed, rate, scale):
    steps, leaf = corrupted(kind, field, seed, rate, scale), LEAVES[field]
    hit = np.asarray(corruption.chosen(jax.random.key(seed), rate, N))
    assert abs(hit.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / N) + 1e-6
    for name in offline.dataset.FIELDS:
        if name != leaf:
            np.testing.assert_array_equal(getattr(steps, name), getattr(data.steps, name))
    np.testing.assert_array_equal(steps.reward, steps.env_reward)
    old, new = (np.asarray(getattr(x, leaf), np.float64) for x in (data.steps, steps))
    np.testing.assert_array_equal(new[~hit], old[~hit])
    if field == "reward":
        return
    std, moved = old.std(0), (new - old)[hit]
    assert (np.abs(moved) <= scale * std * (1 + 1e-5) + 1e-6 * np.abs(old).max()).all()
    if field != "action":
        assert (moved[:, -1] == 0).all()  # where nothing varies
    if hit.any():
        assert (np.abs(moved).max(1) > 0).mean() > 0.9


@pytest.mark.parametrize("field", ["obs", "action", "dynamics"])
def test_an_attack_lowers_the_value(data, corrupted, field):
    worth = {
        "obs": lambda steps: value(steps.obs, steps.action),
        "action": lambda steps: value(steps.obs, steps.action),
        "dynamics": lambda steps: value(steps.next_obs, policy(steps.next_obs)),
    }[field]
    before = worth(data.steps)
    after = {kind: worth(corrupted(kind, field, 0, 1.0, 1.0)) for kind in KINDS}
    assert (after["adversarial"] < before).mean() > 0.9
    assert after["adversarial"].mean() < after["random"].mean() - 0.3


def test_the_share_is_within_three_deviations():
    shares = [corruption.chosen(jax.random.key(i), 0.3, 20_000).mean() for i in range(5)]
    assert np.abs(np.array(shares) - 0.3).max() < 3 * np.sqrt(0.3 * 0.7 / 20_000)


def test_an_attack_computes_the_same_from_fewer_rows(data, corrupted):
    """A rate that is known leaves out what was not chosen; where it goes is the same."""
    key, field = jax.random.key(1), "action"
    known = offline.corrupt(data, key, "adversarial", field, 0.2, 0.3, ATTACKER, chunk=32).steps
    traced = corrupted("adversarial", field, 1, 0.2, 0.3)
    changed = [np.asarray((x.action != data.steps.action).any(1)) for x in (known, traced)]
    np.testing.assert_array_equal(changed[0], changed[1])
    np.testing.assert_array_equal(changed[0], corruption.chosen(key, 0.2, N))
    worth = [value(x.obs, x.action).mean() for x in (known, traced)]
    assert worth[0] == pytest.approx(worth[1], abs=0.02)


def test_all_four_at_once_are_one_after_the_other(data):
    key = jax.random.key(5)
    mixed = offline.corrupt(data, key, "random", "mixed", 0.3, 1.0)
    steps, hits = data.steps, []
    for field, own in zip(corruption.FIELDS, jax.random.split(key, 4), strict=True):
        steps = corruption.randomize(steps, own, field, 0.3, 1.0)
        hits.append(np.asarray(corruption.chosen(own, 0.3, N)))
    jax.tree.map(np.testing.assert_array_equal, mixed.steps, steps)
    assert mixed.provenance.corruption == "random mixed"
    # Each has its own steps.
    together = np.corrcoef(np.stack(hits).astype(float))
    assert np.abs(together - np.eye(4)).max() < 5 / np.sqrt(N)


def test_later_attacks_see_earlier_corruption(data):
    seen = []

    def spy(obs, action):
        seen.append(obs.shape)
        return value(obs, action)

    attacker = offline.Attacker(spy, policy)
    key = jax.random.key(0)
    mixed = offline.corrupt(data, key, "adversarial", "mixed", 0.5, 1.0, attacker).steps
    keys = jax.random.split(key, 4)
    moved = corruption.attack(data.steps, keys[0], "obs", 0.5, 1.0, ATTACKER)
    other = corruption.attack(moved, keys[1], "action", 0.5, 1.0, ATTACKER)
    np.testing.assert_array_equal(mixed.action, other.action)
    alone = corruption.attack(data.steps, keys[1], "action", 0.5, 1.0, ATTACKER)
    assert seen and (mixed.action != alone.action).any()


# ---- compiled, mapped --------------------------------------------------------------


def test_it_maps_over_seeds_rates_and_scales(data):
    keys = jax.random.split(jax.random.key(0), 3)
    rates, scales = jnp.array([0.0, 0.3, 1.0]), jnp.array([1.0, 0.5, 2.0])

    def one(key, rate, scale):
        return offline.corrupt(data, key, "random", "obs", rate, scale).steps.obs

    mapped = jax.jit(jax.vmap(one))(keys, rates, scales)
    for i in range(3):
        np.testing.assert_allclose(mapped[i], one(keys[i], rates[i], scales[i]), rtol=1e-6)
    np.testing.assert_array_equal(mapped[0], data.steps.obs)


def test_other_numbers_do_not_compile_again(data):
    traced = []

    @jax.jit
    def run(key, rate, scale):
        traced.append(None)
        return offline.corrupt(data, key, rate=rate, scale=scale).steps.next_obs

    for i, (rate, scale) in enumerate([(0.1, 1.0), (0.5, 2.0)]):
        run(jax.random.key(i), rate, scale)
    assert len(traced) == 1


def test_what_was_done_is_written_down(data):
    key = jax.random.key(0)
    once = offline.corrupt(data, key)
    twice = offline.corrupt(once, key, "adversarial", "reward")
    assert once.provenance.corruption == "random dynamics"
    assert twice.provenance.corruption == "random dynamics, adversarial reward"
    assert data.provenance.checksum and not once.provenance.checksum


# ---- refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "ranom"}, "no kind 'ranom', did you mean 'random'?"),
        ({"field": "observation"}, "no field 'observation'"),
        ({"rate": 1.5}, "rate must be between 0 and 1"),
        ({"scale": -1.0}, "scale must be at least 0"),
        ({"reward_range": -1.0}, "reward_range must be at least 0"),
        ({"chunk": 0}, "chunk must be a positive integer"),
        ({"kind": "adversarial"}, "an adversarial corruption of dynamics needs an attacker"),
    ],
)
def test_bad_input_is_refused(data, options, message):
    with pytest.raises(UserError) as caught:
        offline.corrupt(data, jax.random.key(0), **options)
    assert message in str(caught.value)


def test_discrete_actions_have_no_neighbours(data):
    steps = data.steps.replace(action=jnp.zeros(N, jnp.int32))
    with pytest.raises(UserError, match="corruption of action needs action of real numbers"):
        offline.corrupt(data.replace(steps=steps), jax.random.key(0), field="action")
