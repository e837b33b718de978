"""Corruption: worked numbers, and what holds whatever the data, the rate and the scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data import corruption
from jaxrl_reward.types import Transition

N = 400
LEAVES = {"obs": "obs", "action": "action", "dynamics": "next_obs", "reward": "reward"}
KINDS = ("random", "adversarial")


def value(obs, action):
    """Waves, so that the gradient's sign differs from row to row."""
    near = obs * jnp.array([[1.0, 0.1, 10.0, 1.0]])
    return jnp.sin(near).sum(-1) + (action * near[:, :2]).sum(-1) - (action**2).sum(-1)


def policy(obs):
    return jnp.tanh(obs[:, :2] + obs[:, 1:3])


ATTACKER = datasets.Attacker(value, policy)


@pytest.fixture(scope="module", autouse=True)
def quick_keys():
    """Keys of a kind that compiles in a fifth of the time."""
    with jax.default_prng_impl("unsafe_rbg"):
        yield


@pytest.fixture(scope="module")
def data() -> datasets.Dataset:
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
    return datasets.make(fields)


class Corrupted:
    """One compiled program of each kind and field."""

    def __init__(self, data):
        self.data, self.programs, self.traced = data, {}, []

    def __call__(self, kind, field, seed, rate, scale, span=30.0) -> Transition:
        def run(key, rate, scale, span):
            self.traced.append((kind, field))
            given = (kind, field, rate, scale, ATTACKER, span)
            return datasets.corrupt(self.data, key, *given, chunk=200).steps

        program = self.programs.setdefault((kind, field), jax.jit(run))
        return program(jax.random.key(seed), *(jnp.float32(x) for x in (rate, scale, span)))


@pytest.fixture(scope="module")
def corrupted(data) -> Corrupted:
    return Corrupted(data)


# ---- worked numbers ----------------------------------------------------------------


def test_the_random_attack_in_numbers():
    x = jnp.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [6.0, 1.0]])
    np.testing.assert_allclose(jax.jit(corruption.spread)(x), [2.236068, 0.0], atol=1e-5)
    noise = np.zeros((4, 2), np.float32)
    noise[2] = [0.5, -1.0]
    moved = np.asarray(jax.jit(corruption.move)(x, noise))
    np.testing.assert_allclose(moved[2], [5.118034, 1.0], atol=1e-5)
    np.testing.assert_array_equal(np.delete(moved, 2, 0), np.delete(x, 2, 0))


@pytest.mark.parametrize(("start", "end"), [([0.0, 0.0], [-1.0, 1.0]), ([0.9, -0.9], [-0.1, 0.1])])
def test_the_descent_in_numbers(start, end):
    weights = jnp.array([[2.0, -0.5]])
    value = lambda z: (z * weights).sum(-1)  # noqa: E731
    found = jax.jit(lambda z: corruption.descend(value, z, 1.0))(jnp.array([start]))
    np.testing.assert_allclose(found, [end], atol=1e-5)


@pytest.mark.slow
def test_a_linear_value_is_attacked_at_the_corner(data):
    weights = np.array([2.0, -0.5, 1.0, 3.0], np.float32)
    linear = datasets.Attacker(lambda obs, action: obs @ weights, policy)
    # From anywhere in the box 200 signed steps of 0.01 would do; 100 do from the near half.
    run = jax.jit(lambda key: datasets.corrupt(data, key, KINDS[1], "obs", 1.0, 0.5, linear).steps)
    steps = run(jax.random.key(0))
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


def test_a_range_of_rewards_of_ones_own(data, corrupted):
    span = float(datasets.relative_range(data.steps))
    assert span == pytest.approx(7 * np.abs(np.asarray(data.steps.reward)).mean())
    steps = corrupted("random", "reward", 0, 1.0, 1.0, span)
    assert 0.95 * span < np.abs(np.asarray(steps.reward)).max() <= span
    np.testing.assert_array_equal(steps.reward, steps.env_reward)


# ---- what always holds -------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("random", ("obs", "dynamics", "reward")),
        ("adversarial", ("dynamics", "reward")),
        # A program more for each field.
        pytest.param("random", ("action",), marks=pytest.mark.slow),
        pytest.param("adversarial", ("obs", "action"), marks=pytest.mark.slow),
    ],
)
@given(
    draw=st.data(),
    seed=st.integers(0, 2**31),
    rate=st.floats(0, 1),
    scale=st.floats(0.01, 3),
)
def test_what_always_holds(data, corrupted, kind, fields, draw, seed, rate, scale):
    field = draw.draw(st.sampled_from(fields))
    steps, leaf = corrupted(kind, field, seed, rate, scale), LEAVES[field]
    assert corrupted.traced.count((kind, field)) == 1  # other numbers do not compile again
    hit = np.asarray(corruption.chosen(jax.random.key(seed), rate, N))
    assert abs(hit.mean() - rate) <= 5 * np.sqrt(rate * (1 - rate) / N) + 4 / N
    for name in datasets.dataset.FIELDS:
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


@pytest.mark.parametrize(
    "field", ["dynamics", *(pytest.param(x, marks=pytest.mark.slow) for x in ("obs", "action"))]
)
def test_an_attack_lowers_the_value(data, corrupted, field):
    worth = {
        "obs": lambda steps: value(steps.obs, steps.action),
        "action": lambda steps: value(steps.obs, steps.action),
        "dynamics": lambda steps: value(steps.next_obs, policy(steps.next_obs)),
    }[field]
    worth = jax.jit(worth)
    before = np.asarray(worth(data.steps))
    after = {kind: np.asarray(worth(corrupted(kind, field, 0, 1.0, 1.0))) for kind in KINDS}
    assert (after["adversarial"] < before).mean() > 0.9
    assert after["adversarial"].mean() < after["random"].mean() - 0.3


def test_the_share_is_within_three_deviations():
    share = jax.jit(lambda key: corruption.chosen(key, 0.3, 20_000).mean())
    shares = np.array([share(jax.random.key(i)) for i in range(5)])
    assert np.abs(shares - 0.3).max() < 3 * np.sqrt(0.3 * 0.7 / 20_000)


@pytest.mark.slow
def test_an_attack_computes_the_same_from_fewer_rows(data, corrupted):
    """A rate that is known leaves out what was not chosen; where it goes is the same."""
    key, field = jax.random.key(1), "action"
    known = jax.jit(
        lambda key: datasets.corrupt(data, key, KINDS[1], field, 0.2, 0.3, ATTACKER, chunk=32).steps
    )(key)
    traced = corrupted("adversarial", field, 1, 0.2, 0.3)
    changed = [np.asarray((x.action != data.steps.action).any(1)) for x in (known, traced)]
    np.testing.assert_array_equal(changed[0], changed[1])
    np.testing.assert_array_equal(changed[0], corruption.chosen(key, 0.2, N))
    worth = [float(value(x.obs, x.action).mean()) for x in (known, traced)]
    assert worth[0] == pytest.approx(worth[1], abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_all_four_at_once_are_one_after_the_other(data, kind, monkeypatch):
    """Each sees what the one before has left, and has a key of its own."""
    seen = []

    def one(steps, key, field, rate, scale, *_):
        seen.append((field, steps, jax.random.key_data(key).tolist(), rate, scale))
        return steps.replace(policy={"after": len(seen)})

    monkeypatch.setattr(corruption, {"random": "randomize", "adversarial": "attack"}[kind], one)
    mixed = datasets.corrupt(data, jax.random.key(5), kind, "mixed", 0.2, 0.5, ATTACKER)
    fields, given, keys, *numbers = zip(*seen, strict=True)
    assert fields == corruption.FIELDS and numbers == [(0.2,) * 4, (0.5,) * 4]
    assert [steps.policy for steps in given] == [{}, *({"after": i} for i in (1, 2, 3))]
    assert mixed.steps.policy == {"after": 4} and len(set(map(tuple, keys))) == 4
    assert mixed.provenance.corruption == f"{kind} mixed"


# ---- compiled, mapped --------------------------------------------------------------


def test_it_maps_over_seeds_rates_and_scales(data):
    keys = jax.random.split(jax.random.key(0), 3)
    rates, scales = np.float32([0.0, 0.3, 1.0]), np.float32([1.0, 0.5, 2.0])

    def one(key, rate, scale):
        return datasets.corrupt(data, key, "random", "obs", rate, scale).steps.obs

    old = np.asarray(data.steps.obs)
    moved = np.asarray(jax.jit(jax.vmap(one))(keys, rates, scales)) - old
    np.testing.assert_allclose((moved != 0).any(2).mean(1), rates, atol=0.1)
    furthest = np.abs(moved).max(1) / scales[:, None]  # in units that are one's own
    np.testing.assert_allclose(furthest[1:, :3] / old.std(0)[:3], 1.0, atol=0.1)


def test_what_was_done_is_written_down(data, monkeypatch):
    monkeypatch.setattr(corruption, "randomize", lambda steps, *_: steps)
    monkeypatch.setattr(corruption, "attack", lambda steps, *_: steps)
    key = jax.random.key(0)
    once = datasets.corrupt(data, key)
    twice = datasets.corrupt(once, key, "adversarial", "reward")
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
        datasets.corrupt(data, jax.random.key(0), **options)
    assert message in str(caught.value)


def test_discrete_actions_have_no_neighbours(data):
    steps = data.steps.replace(action=jnp.zeros(N, jnp.int32))
    with pytest.raises(UserError, match="corruption of action needs action of real numbers"):
        datasets.corrupt(data.replace(steps=steps), jax.random.key(0), field="action")
