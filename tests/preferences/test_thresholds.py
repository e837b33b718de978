"""Thresholds are found where the evaluation is highest, in few evaluations."""

import math

import numpy as np
import pytest

from jaxrl_reward import preferences
from jaxrl_reward.types import UserError


def peak(at):
    return 3.0 - (at[0] - 1.0) ** 2 - 2 * (at[1] + 0.5) ** 2


def test_the_peak_of_a_hill_is_found():
    found = preferences.search_thresholds(peak, (0.0, 0.0), 0.5, iterations=60, tolerance=1e-4)
    np.testing.assert_allclose(found.values, (1.0, -0.5), atol=0.01)
    assert found.worth == max(found.worths) == pytest.approx(3.0, abs=1e-3)
    np.testing.assert_allclose(found.worths, [peak(at) for at in found.tried])


def test_ten_iterations_are_few_evaluations_and_no_worse_than_the_start():
    found = preferences.search_thresholds(peak, (0.0, 0.0), (0.5, -0.5))
    assert len(found.tried) <= 3 + 2 * 10 + 2 and found.worth >= peak((0.0, 0.0))
    np.testing.assert_allclose(found.tried[:3], [(0, 0), (0.5, 0), (0, -0.5)])


def test_what_is_not_finite_is_never_chosen():
    broken = lambda at: math.nan if at[0] > 0.4 else peak(at)  # noqa: E731
    found = preferences.search_thresholds(broken, (0.0, 0.0), 0.5, iterations=40)
    assert found.values[0] <= 0.4 and math.isfinite(found.worth) and -math.inf in found.worths


@pytest.mark.parametrize(("start", "width"), [((), 0.5), ((0.0,), 0.0), ((0.0, 1.0), (0.5, 0.0))])
def test_a_search_needs_room(start, width):
    with pytest.raises(UserError, match="widths that are not 0"):
        preferences.search_thresholds(peak, start, width)
