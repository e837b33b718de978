"""Regret: the worst case against a linear program, and against STARC's bound."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from jaxrl_reward import tabular
from jaxrl_reward.tabular import dynamics
from jaxrl_reward.tabular.comparing import canonical, regret
from jaxrl_reward.tabular.comparing import reward_distance as distances

S, A, GAMMA, WORLDS = 4, 3, 0.9, 20
OTHERS = ("l1", "linf", "visited")


@functools.cache
def found(bounded=("l2",)):
    """Pairs from nearly the same to nearly opposite, shaped; one program."""

    def one(key, share):
        keys = jax.random.split(key, 4)
        here = dynamics.of(tabular.garnet(keys[0], S, A, 2), GAMMA)
        first, other = (jax.random.normal(each, (S, A, S)) for each in keys[1:3])
        turned = share * canonical.shaped(here, -first, jax.random.normal(keys[3], (S,)))
        second = (1 - share) * first + turned + 0.2 * other
        means = here.level(first), here.level(second)
        mean, other = means
        by = jnp.stack([mean, mean, mean, mean, 0 * mean])
        chosen = jnp.stack([other, -2 * mean, 3 * mean, 0 * mean, mean])
        worst = jax.vmap(functools.partial(regret.worst_case, here))(by, chosen)
        own, weights = canonical.val(here, first), distances.coverage(here)
        bounds = {}
        for name in bounded:
            options = {"weights": weights} if name == "visited" else {"norm": name}
            apart = distances.starc(here, first, second, **options)
            bounds[name] = apart * regret.bound(here, own, worst.range[0], **options)
        return {
            "here": here,
            "means": means,
            "worst": jax.tree.map(lambda x: x[0], worst),
            "ends": worst.regret[1:],
            "optimum": regret.of_optimum(here, *means),
            "bounds": bounds,
        }

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1), WORLDS)
        return jax.device_get(jax.jit(jax.vmap(one))(keys, jnp.linspace(0, 0.6, WORLDS)))


def flow(tau, start):
    """Of occupancies `[S A]`: what flows out less what flows in is what starts."""
    out = np.repeat(np.eye(S), A, 1)
    return out - GAMMA * tau.reshape(S * A, S).T, start


@pytest.mark.parametrize("i", range(0, WORLDS, 4))
def test_the_worst_case_is_that_of_the_linear_program(i):
    each = found()
    tau, start = each["here"].transition[i], each["here"].start[i]
    first, second = (np.ravel(mean[i]) for mean in each["means"])
    matrix, right = flow(tau, start)
    two = np.kron(np.eye(2), matrix)
    objective, limit = np.concatenate([first, -first]), np.concatenate([second, -second])
    program = {"A_eq": two, "b_eq": np.tile(right, 2)}
    total = -linprog(-objective, **program).fun
    worst = -linprog(-objective, A_ub=limit[None], b_ub=[0.0], **program).fun
    np.testing.assert_allclose(each["worst"].range[i], total, rtol=1e-7)
    np.testing.assert_allclose(each["worst"].regret[i], worst / total, atol=1e-7)


def test_it_is_exact_and_knows_it():
    each = found()
    assert np.abs(each["worst"].gap).max() < 1e-9 and each["worst"].rounds.max() < 30
    assert len(np.unique(each["worst"].regret.round(3))) > WORLDS / 2  # not all 0 or 1


def test_the_ends_of_the_scale():
    each = found()
    opposite, same, trivial, careless = each["ends"].T
    np.testing.assert_allclose(opposite, 1.0, atol=1e-9)
    np.testing.assert_allclose(same, 0.0, atol=1e-9)
    np.testing.assert_allclose(trivial, 1.0, atol=1e-9)  # it prefers any policy
    np.testing.assert_allclose(careless, 0.0, atol=1e-9)  # nothing to lose
    assert (each["optimum"] <= each["worst"].regret + 1e-9).all()


def test_the_optimum_of_the_other_loses_what_it_loses():
    each = found()
    for i in range(0, WORLDS, 5):
        tau, start = each["here"].transition[i], each["here"].start[i]
        first, second = (mean[i] for mean in each["means"])
        v = np.zeros(S)
        for _ in range(400):
            q = second + GAMMA * tau @ v
            v = q.max(1)
        greedy = q.argmax(1)
        chosen = np.linalg.solve(np.eye(S) - GAMMA * tau[range(S), greedy], first[range(S), greedy])
        w = np.zeros(S)
        for _ in range(400):
            w = (first + GAMMA * tau @ w).max(1)
        lost = start @ (w - chosen) / each["worst"].range[i]
        np.testing.assert_allclose(each["optimum"][i], lost, atol=1e-7)


def test_starc_bounds_it():
    each = found()
    assert (each["worst"].regret <= each["bounds"]["l2"] + 1e-9).all()


@pytest.mark.slow
@pytest.mark.parametrize("norm", OTHERS)
def test_so_it_does_in_other_norms(norm):
    each = found(OTHERS)
    assert (each["worst"].regret <= each["bounds"][norm] + 1e-9).all()
