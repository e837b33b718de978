"""TQ, SACo and kurtosis against counts by hand."""

import math

import jax
import numpy as np
import pytest

from jaxrl_reward import UserError
from jaxrl_reward import data as datasets
from jaxrl_reward.data import measures


def made(obs, action, reward=None, ends=()):
    rows = len(obs)
    fields = {"obs": obs, "action": action, "next_obs": obs}
    fields["reward"] = np.zeros(rows) if reward is None else reward
    fields |= {"terminated": np.isin(np.arange(rows), ends), "truncated": np.zeros(rows, bool)}
    return datasets.make(fields)


def test_quality_is_where_the_mean_return_lies(dataset):
    # Whole episodes return 6 and 22, 14 on average.
    assert datasets.trajectory_quality(dataset, 4.0, 24.0) == pytest.approx(0.5)
    assert datasets.trajectory_quality(dataset, 14.0, 24.0) == 0.0
    with pytest.raises(UserError, match="differ"):
        datasets.trajectory_quality(dataset, 1.0, 1.0)
    with pytest.raises(UserError, match="needs a whole episode"):
        datasets.trajectory_quality(made(np.zeros((2, 1)), np.zeros(2, int)), 0.0, 1.0)


def test_discrete_pairs_are_counted_as_they_are():
    rng = np.random.default_rng(0)
    state, action = rng.integers(0, 6, 300), rng.integers(0, 12, 300)
    known = made(np.eye(6)[state], action)
    part = made(np.eye(6)[state % 2], action)
    there = len(set(zip(state, action, strict=True)))
    here = len(set(zip(state % 2, action, strict=True)))
    found = datasets.coverage(part, known)
    assert found == (here, there, here / there, math.log(here) / math.log(there))
    assert datasets.coverage(known, known).saco == 1.0


def test_real_numbers_are_counted_by_cell():
    obs = np.array([[0.0], [0.1], [1.1], [2.1], [3.0]])
    known = made(obs, np.array([0, 0, 0, 0, 1]))
    # The mean is 1.26, the deviation 1.157, and a cell half of that: the first two share one.
    assert datasets.coverage(known, known).unique == 4
    finer = datasets.coverage(known, known, width=0.01)
    assert (finer.unique, finer.saco) == (5, 1.0)


def test_actions_stay_apart_beside_real_observations():
    action = np.arange(40) % 20
    known = made(np.random.default_rng(0).normal(size=(40, 1)) * 1e-9, action)
    wide = datasets.coverage(made(np.full((40, 1), 0.5), action), known, width=1e6)
    assert wide.unique == 20


def test_many_dimensions_are_projected():
    rng = np.random.default_rng(0)
    wide = made(rng.normal(size=(500, 20)), rng.normal(size=(500, 3)))
    again = np.repeat(np.arange(50), 10)
    narrow = made(np.asarray(wide.steps.obs)[again], np.asarray(wide.steps.action)[again])
    found = datasets.coverage(narrow, wide)
    assert found.unique <= 50 < found.reference <= 500


def test_the_reference_is_thinned_to_the_same_size():
    obs = np.arange(1000)[:, None]
    known = made(obs, np.zeros(1000, int))
    assert len(measures.thinned(known, 100)) == 100
    np.testing.assert_array_equal(measures.thinned(known, 4).steps.obs[:, 0], [0, 250, 500, 750])
    assert datasets.coverage(made(obs[:100], np.zeros(100, int)), known).saco == 1.0


def test_coverage_is_of_one_space(dataset):
    with pytest.raises(UserError, match="data of one space"):
        datasets.coverage(dataset, made(np.zeros((4, 1)), np.zeros(4, int)))


def test_kurtosis_is_the_fourth_moment():
    x = np.array([0.0] * 9 + [10.0])
    kurtosis = jax.jit(datasets.kurtosis)
    assert float(kurtosis(x)) == pytest.approx(8.111111, abs=1e-5)
    normal = np.random.default_rng(0).normal(size=100_000)
    assert float(kurtosis(normal)) == pytest.approx(3.0, abs=0.1)
    for unit, mean in ((1e-6, 0.0), (1.0, 1e5)):  # of any unit, and far from zero
        assert float(kurtosis(unit * x + mean)) == pytest.approx(8.111111, rel=1e-4)
    for constant in (0.1, 1000 / 3):  # whose mean in float32 may be another number
        assert np.isnan(kurtosis(np.full(37, constant, np.float32)))
