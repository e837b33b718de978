"""Distances from samples: the exact ones where those are known, and what cannot be had."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs, tabular
from jaxrl_reward import rewards as rw
from jaxrl_reward.compare import comparison
from jaxrl_reward.compare import reward_samples as samples
from jaxrl_reward.tabular import dynamics
from jaxrl_reward.tabular.comparing import canonical
from jaxrl_reward.tabular.comparing import reward_distance as distances
from jaxrl_reward.types import UserError

S, GAMMA = 6, 0.9
MDP = tabular.garnet(jax.random.key(2), S, 2, 2, random_rewards=True)
BONUS = rw.env() + 5 * rw.state_bonus(lambda obs: obs[0] - obs[3])
SHAPED = 2.0 * rw.env() + rw.potential(lambda obs: 3 * obs[1] - obs[4], gamma=GAMMA)


@functools.cache
def block():
    """64 environments, so that all (s, a) are met often."""
    env = envs.from_mdp(MDP, max_steps=50)
    collect = functools.partial(samples.collect, env, steps=60, num_envs=64, successors=24)
    return jax.jit(collect)(jax.random.key(0))


def estimated(form, *rewards):
    """Between the first expression and each of the others."""
    with jax.enable_x64(True):
        wide = comparison._wide(block())
        basis = samples.features(jax.random.key(1), wide, 8)
        forms = [form(wide, samples.pay(each, wide), GAMMA, basis) for each in rewards]
        return [float(samples.distance(forms[0], each)) for each in forms[1:]]


@pytest.mark.slow
def test_successors_are_drawn_anew_and_the_episode_goes_on_with_the_first():
    drawn = block()
    assert drawn.env_reward.shape == (60, 64, 24) and drawn.obs.shape == (60, 64, 24, S)
    np.testing.assert_array_equal(drawn.obs[..., :1, :] + 0 * drawn.obs, drawn.obs)
    goes_on = ~np.asarray(drawn.last[:-1, :, 0])
    follows = (drawn.obs[1:, :, 0] == drawn.next_obs[:-1, :, 0]).all(-1)
    assert np.asarray(follows)[goes_on].all() and not goes_on.all()
    state, action = (np.asarray(x) for x in (drawn.obs.argmax(-1), drawn.action))
    after = np.asarray(drawn.next_obs.argmax(-1))
    share = (after == np.asarray(MDP.successor)[state, action][..., 0]).mean((0, 1))
    np.testing.assert_allclose(share, share.mean(), atol=0.03)  # each of the 24 alike


@pytest.mark.slow
@pytest.mark.parametrize("name", ["val", "minimal"])
def test_starc_from_samples_is_the_exact_one_of_what_is_visited(name):
    shaped, bonus, opposite = estimated(
        getattr(samples, name), rw.env(), SHAPED, BONUS, -1.0 * SHAPED
    )
    assert shaped < 0.02 and opposite > 0.98  # what noise of the successors leaves
    tables = [comparison.table(MDP, each) for each in (rw.env(), BONUS)]
    with jax.enable_x64(True):
        mdp, first, second = comparison._wide((MDP, *tables))
        here = dynamics.of(mdp, GAMMA)
        # Samples are of undiscounted visits: of a start at every step, so to say.
        visits = jnp.asarray(np.bincount(np.ravel(block().obs.argmax(-1)), minlength=S), float)
        weights = (visits / visits.sum() / 2)[:, None, None] * here.transition
        form = canonical.val
        if name == "minimal":
            form = functools.partial(canonical.minimal, weights=weights)
        exact = float(distances.starc(here, first, second, form, weights=weights))
    assert abs(bonus - exact) < 0.03 and exact > 0.1


@pytest.mark.slow
def test_epic_from_samples_and_where_it_cannot_be():
    drawn = block()
    one, two = rw.state_bonus(lambda obs: obs[0]), rw.state_bonus(lambda obs: obs[2] + obs[5])
    forms = [samples.epic(each, drawn, GAMMA, jax.random.key(4), draws=256) for each in (one, two)]
    found = float(samples.distance(*forms, centred=True))
    with jax.enable_x64(True):
        mdp = comparison._wide(MDP)
        visits = np.bincount(np.ravel(drawn.obs.argmax(-1)), minlength=S).astype(float)
        after = np.bincount(np.ravel(drawn.next_obs[:, :, 0].argmax(-1)), minlength=S).astype(float)
        here = dynamics.of(mdp, GAMMA)
        tables = [comparison.table(mdp, each) for each in (one, two)]
        weights = (visits / visits.sum())[:, None, None] * here.transition
        states = jnp.asarray(after / after.sum())
        exact = float(distances.epic(here, *tables, states=states, weights=weights))
    assert abs(found - exact) < 0.05 and exact > 0.2
    assert np.isnan(samples.epic(rw.env(), drawn, GAMMA, jax.random.key(4), draws=2)).all()


@pytest.mark.slow
def test_what_has_no_single_reward_is_refused():
    with pytest.raises(UserError, match=r"counts\(.*more than one step"):
        samples.pay(rw.env() + rw.counts(), block())
    with pytest.raises(UserError, match="2 rewards; end it with weighted_sum"):
        samples.pay(rw.stack(rw.env(), rw.env()), block())


@pytest.mark.slow
def test_a_table_asks_an_expression_about_every_transition():
    """What cannot happen is paid by the mean of the action, and shaped as all others."""
    ending = tabular.worlds.lotteries()
    table = np.asarray(comparison.table(ending, rw.env() + rw.potential("first", gamma=0.5)))
    phi = np.array([1.0, 0.0])  # one-hot: the first component
    np.testing.assert_allclose(table[0, 0, :2], [5 + 0.5 - 1, 5 - 1.0])  # 0 or 10 lead to state 1
    np.testing.assert_allclose(table[1, :, 0], np.array([4.0, 5.0]) + 0.5 * phi[0])
    np.testing.assert_allclose(table[1, :, 2], [4.0, 5.0])  # the end
    assert (table[2] == 0).all() and table.shape == (3, 2, 3)


@pytest.mark.slow
def test_exact_comparisons():
    found = comparison.exact(MDP, rw.env(), SHAPED, GAMMA)
    assert max(found.worst) < 1e-5 and found.distances["STARC, VAL"] < 1e-5
    assert found.horizon[0] == found.horizon[1] and (found.best[0] == found.best[1]).all()
    with pytest.raises(UserError, match="below 1, not 1"):
        comparison.exact(MDP, rw.env(), rw.env(), 1.0)


def test_what_only_rounding_is_left_of_is_nothing():
    """A constant reward, centred: no direction, and so half a unit from any other."""
    other = jnp.asarray(np.random.default_rng(0).normal(size=37), jnp.float32)
    for constant in (0.1, 1000 / 3):
        found = samples.distance(jnp.full(37, constant, jnp.float32), other, centred=True)
        np.testing.assert_allclose(found, 0.5, rtol=1e-5)


@pytest.mark.parametrize("unit", [1e-7, 1.0, 1e5])
def test_features_do_not_depend_on_the_unit_of_observations(unit):
    """Nor is a component lost that is small, or kept that does not vary."""
    collected = jax.tree.map(jnp.zeros_like, block())
    rng = np.random.default_rng(0)
    obs = rng.normal(size=collected.obs.shape).astype(np.float32)
    obs[..., 1], obs[..., 2] = 1 / 3, 1e-3 * obs[..., 2]
    found = samples.features(jax.random.key(0), collected.replace(obs=jnp.float32(unit) * obs))
    plain = obs.reshape(-1, obs.shape[-1]).std(0) * unit
    assert found.scale[1] == 0.0
    keep = np.delete(np.arange(obs.shape[-1]), 1)
    np.testing.assert_allclose(found.scale[keep], 1 / plain[keep], rtol=1e-4)
