"""Distances between rewards: against NumPy, against their invariances, and as pseudometrics."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrl_reward import tabular
from jaxrl_reward.tabular import dynamics
from jaxrl_reward.tabular.comparing import canonical
from jaxrl_reward.tabular.comparing import reward_distance as distances
from jaxrl_reward.types import UserError

S, A, GAMMA, WORLDS = 5, 3, 0.9, 16

STARC = {
    "VAL": distances.starc,
    "minimal": functools.partial(distances.starc, canonical=canonical.minimal),
    "VAL l1": functools.partial(distances.starc, norm="l1"),
    "VAL linf": functools.partial(distances.starc, norm="linf"),
    "VAL angle": functools.partial(distances.starc, metric="angle"),
}
OTHERS = {
    "EPIC": distances.epic,
    "DARD": distances.dard,
    "VALPotential": functools.partial(distances.starc, canonical=canonical.val_potential),
    "smallest potential": functools.partial(distances.starc, canonical=canonical.minimal_potential),
}
EVERY = STARC | OTHERS
QUICK = ("VAL", "minimal", "EPIC", "DARD")


def marked(names):
    """The others compile for long."""
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def world(key):
    """A world in which some transitions cannot happen."""
    mdp = tabular.garnet(key, S, A, 3)
    return dynamics.of(mdp, GAMMA)


def reward(key):
    return jax.random.normal(key, (S, A, S))


FORMS = {
    "epic": canonical.epic,
    "dard": canonical.dard,
    "val": canonical.val,
    "minimal": canonical.minimal,
}
WEIGHED = {"weighted": canonical.minimal, "potential": canonical.minimal_potential}


def one_world(key, names):
    """Distances of pairs by metric; canonical forms; and orders of returns."""
    keys = jax.random.split(key, 9)
    here, first, second, third = world(keys[0]), *map(reward, keys[1:4])
    phi, change = jax.random.normal(keys[4], (S,)), reward(keys[5])
    shaped = canonical.shaped(here, first, 10 * phi)
    moved = canonical.redistributed(here, first, 3 * change)
    trivial = canonical.shaped(here, jnp.zeros_like(first), 10 * phi)
    pairs = {
        "same": (first, first),
        "scaled": (first, 7.0 * first),
        "shaped": (first, shaped),
        "moved": (first, moved),
        "opposite": (first, -3.0 * shaped),
        "all": (2.0 * canonical.redistributed(here, shaped, change), first),
        "12": (first, second),
        "21": (second, first),
        "23": (second, third),
        "13": (first, third),
        "trivial": (first, trivial),
        "trivial both": (trivial, 3.0 * trivial),
    }
    left, right = (jnp.stack(each) for each in zip(*pairs.values(), strict=True))
    apart = {name: jax.vmap(functools.partial(EVERY[name], here))(left, right) for name in names}
    result = {
        "apart": {name: dict(zip(pairs, each, strict=True)) for name, each in apart.items()},
        "transition": here.transition,
        "rewards": (first, second),
        "forms": {name: form(here, first) for name, form in FORMS.items()},
    }
    if names != QUICK:
        added = more(keys[6:], here, first, second, shaped)
        result |= added | {"forms": result["forms"] | added["forms"]}
    return result


def more(keys, here, first, second, shaped):
    """Other forms, and orders of returns."""
    weights = jax.random.uniform(keys[0], first.shape, minval=0.1)
    policies = distances.random_policies(keys[1], here, 20)
    rolled = distances.random_rollouts(keys[2], here, 30, 12)
    made = {name: form(here, first, weights) for name, form in WEIGHED.items()}
    return {
        "weights": weights,
        "forms": made | {"val_potential": canonical.val_potential(here, first)},
        "visits": jax.vmap(functools.partial(dynamics.occupancy, here))(policies),
        "policy order": distances.policy_order(here, first, second, policies),
        "shaped order": distances.policy_order(here, first, 2 * shaped, policies),
        "rollouts": rolled,
        "rollout order": distances.rollout_order(first, second, rolled, GAMMA, ranks=False),
        "tied": distances.order_distance(jnp.array([1.0, 1, 2, 3]), jnp.array([2.0, 1, 1, 5])),
    }


@functools.cache
def every(names):
    """All of it in one program, for all tests."""
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(0), WORLDS)
        one = functools.partial(one_world, names=names)
        return jax.device_get(jax.jit(jax.vmap(one))(keys))


def found(name):
    """The distances of one metric."""
    return every(QUICK if name in QUICK else tuple(EVERY))["apart"][name]


def case(names=QUICK):
    """Of the first world: all that was made."""
    return jax.tree.map(lambda x: x[0], every(names))


@pytest.mark.parametrize("name", marked(EVERY))
def test_what_all_of_them_ignore(name):
    each = found(name)
    for same in ("same", "scaled", "shaped"):
        assert each[same].max() < 1e-5, same
    np.testing.assert_allclose(each["opposite"], 1.0, atol=1e-5)


@pytest.mark.parametrize("name", marked(STARC))
def test_starc_ignores_redistribution(name):
    each = found(name)
    assert max(each["moved"].max(), each["all"].max()) < 1e-5


@pytest.mark.parametrize("name", marked(OTHERS))
def test_the_others_do_not(name):
    assert found(name)["moved"].min() > 0.05


@pytest.mark.parametrize("name", marked(EVERY))
def test_they_are_pseudometrics(name):
    each = found(name)
    np.testing.assert_allclose(each["12"], each["21"], atol=1e-9)
    assert (each["13"] <= each["12"] + each["23"] + 1e-9).all()
    for pair in ("12", "13", "23"):
        assert each[pair].min() > 0 and each[pair].max() <= 1 + 1e-9


@pytest.mark.parametrize("name", marked(EVERY))
def test_a_reward_that_values_all_policies_alike(name):
    """Nothing is left of a potential alone: half way between any task and its opposite."""
    np.testing.assert_allclose(found(name)["trivial"], 0.5, atol=1e-5)
    assert found(name)["trivial both"].max() < 1e-5


# ---- the canonical forms against their definitions --------------------------------


def test_epic_and_dard_are_their_sums():
    one = case()
    tau, r, made = one["transition"], one["rewards"][0], one["forms"]
    epic, dard = np.zeros_like(r), np.zeros_like(r)
    mean = r.mean((1, 2))
    for s, a, t in np.ndindex(r.shape):
        epic[s, a, t] = r[s, a, t] + GAMMA * mean[t] - mean[s] - GAMMA * mean.mean()
        total = 0.0
        for b in range(A):
            total -= (tau[s, b] * r[s, b]).sum() / A
            total += GAMMA * (tau[t, b] * r[t, b]).sum() / A
            both = tau[s, b][:, None] * tau[t, b][None, :]  # S', S''
            total -= GAMMA * (both * r[:, b]).sum() / A
        dard[s, a, t] = r[s, a, t] + total
    np.testing.assert_allclose(made["epic"], epic, atol=1e-12)
    np.testing.assert_allclose(made["dard"], dard, atol=1e-12)


def advantage(tau, r):
    """Of the random policy, and its values."""
    mean = (tau * r).sum(-1)
    v = np.linalg.solve(np.eye(S) - GAMMA * tau.mean(1), mean.mean(1))
    return mean + GAMMA * tau @ v - v[:, None], v


def test_val_is_the_random_policys_advantage():
    one = case()
    expected, _ = advantage(one["transition"], one["rewards"][0])
    np.testing.assert_allclose(one["forms"]["val"][..., 0], expected, atol=1e-12)
    np.testing.assert_allclose(one["forms"]["val"].mean(1), 0.0, atol=1e-12)


@pytest.mark.slow
def test_val_potential_adds_its_values():
    one = case(tuple(EVERY))
    r = one["rewards"][0]
    _, v = advantage(one["transition"], r)
    potential = r + GAMMA * v[None, None] - v[:, None, None]
    np.testing.assert_allclose(one["forms"]["val_potential"], potential, atol=1e-12)


def smallest(tau, r, weights, redistribute):
    """Least squares over everything that may be added: potentials, and redistributions."""
    root = np.sqrt(weights)
    added = [
        GAMMA * np.broadcast_to(e[None, None], r.shape) - np.broadcast_to(e[:, None, None], r.shape)
        for e in np.eye(S)
    ]
    for s, a in np.ndindex(S, A) if redistribute else ():
        for change in np.linalg.svd(tau[s, a][None])[2][1:]:  # those of mean 0
            table = np.zeros_like(r)
            table[s, a] = change
            added.append(table)
    basis = np.stack([(root * each).ravel() for each in added], 1)
    by = np.linalg.lstsq(basis, -(root * r).ravel(), rcond=None)[0]
    return r + sum(x * each for x, each in zip(by, added, strict=True))


def test_the_minimal_form_is_the_smallest():
    one = case()
    tau, r = one["transition"], one["rewards"][0]
    expected = smallest(tau, r, np.ones_like(r), True)
    np.testing.assert_allclose(one["forms"]["minimal"], expected, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHED)
def test_so_it_is_with_weights(name):
    one = case(tuple(EVERY))
    tau, r = one["transition"], one["rewards"][0]
    expected = smallest(tau, r, one["weights"], name == "weighted")
    np.testing.assert_allclose(one["forms"][name], expected, atol=1e-9)


# ---- the rest ---------------------------------------------------------------------


def test_the_distance_is_that_of_advantages():
    one = case()
    forms = [np.ravel(advantage(one["transition"], r)[0]) for r in one["rewards"]]
    cosine = forms[0] @ forms[1] / np.linalg.norm(forms[0]) / np.linalg.norm(forms[1])
    np.testing.assert_allclose(one["apart"]["VAL"]["12"], np.sqrt((1 - cosine) / 2))


@pytest.mark.slow
def test_the_angle_is_between_them():
    one = case(tuple(EVERY))
    forms = [np.ravel(advantage(one["transition"], r)[0]) for r in one["rewards"]]
    cosine = forms[0] @ forms[1] / np.linalg.norm(forms[0]) / np.linalg.norm(forms[1])
    np.testing.assert_allclose(one["apart"]["VAL angle"]["12"], np.arccos(cosine) / np.pi)


@pytest.mark.slow
def test_orders_of_returns_are_rank_correlations():
    one = case(tuple(EVERY))
    tau, rewards = one["transition"], one["rewards"]
    returns = [np.einsum("psa,sa->p", one["visits"], (tau * r).sum(-1)) for r in rewards]
    rho = stats.spearmanr(*returns)[0]
    np.testing.assert_allclose(one["policy order"], np.sqrt((1 - rho) / 2))
    assert every(tuple(EVERY))["shaped order"].max() < 1e-6

    s, a, t = np.moveaxis(one["rollouts"], -1, 0)
    assert (tau[s, a, t] > 0).all() and (s[:, 1:] == t[:, :-1]).all()
    totals = [(r[s, a, t] * GAMMA ** np.arange(12)).sum(1) for r in rewards]
    rho = stats.pearsonr(*totals)[0]
    np.testing.assert_allclose(one["rollout order"], np.sqrt((1 - rho) / 2))
    rho = stats.spearmanr([1, 1, 2, 3], [2, 1, 1, 5])[0]
    np.testing.assert_allclose(one["tied"], np.sqrt((1 - rho) / 2))


def test_an_end_is_a_state_that_pays_nothing():
    """Returns stay, so that tasks with an end can be compared."""
    mdp = tabular.worlds.risky_grid()

    @jax.jit
    def closed(mdp):
        known = tabular.absorbing(mdp)
        return known.transition(), tabular.reward_table(known)

    tau, table = jax.device_get(closed(mdp))
    np.testing.assert_allclose(tau.sum(-1), 1.0, atol=1e-6)
    after, ends = np.asarray(mdp.successor), np.asarray(mdp.ends)
    values, plain = np.zeros(13), np.zeros(12)
    for _ in range(20):  # no shortest way is longer
        values = ((tau * table).sum(-1) + GAMMA * tau @ values).max(1)
        follows = np.where(ends, 0.0, plain[after])
        plain = (mdp.probability * (mdp.reward + GAMMA * follows)).sum(-1).max(1)
        np.testing.assert_allclose(values[:-1], plain, atol=1e-5)
    assert values[-1] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l3"}, "unknown norm 'l3'"),
        ({"metric": "angel"}, "did you mean 'angle'"),
        ({"norm": "l1", "metric": "angle"}, "not l1"),
    ],
)
def test_bad_input_is_one_line(options, message):
    r = np.zeros((S, A, S))
    with pytest.raises(UserError, match=message):
        distances.starc(dynamics.Dynamics(r, r[0, 0], GAMMA), r, r, **options)
