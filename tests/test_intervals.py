"""Intervals: which numbers are in them, and what they are called."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward.intervals import Interval

ALL, SHARE = Interval(), Interval(0, 1)
OPEN = Interval(0, 1, above=True, below=True)
COUNT = Interval(1, whole=True)


@pytest.mark.parametrize(
    ("interval", "values", "inside"),
    [
        (ALL, [-math.inf, 0.0, math.inf, math.nan], [1, 1, 1, 0]),
        (SHARE, [-0.1, 0.0, 0.5, 1.0, 1.1, math.nan], [0, 1, 1, 1, 0, 0]),
        (OPEN, [0.0, 0.5, 1.0], [0, 1, 0]),
        (Interval(0, below=True), [0.0, 1e300, math.inf], [1, 1, 0]),
        (Interval(high=2, below=True), [-math.inf, 1.0, 2.0], [1, 1, 0]),
        (COUNT, [0, 1, 2**40], [0, 1, 1]),
        (COUNT, [1.0, 2.0], [0, 0]),
    ],
)
def test_what_is_in_an_interval(interval, values, inside):
    assert interval.holds(np.array(values)).tolist() == [bool(x) for x in inside]
    assert [bool(interval.holds(x)) for x in values] == [bool(x) for x in inside]


def test_a_number_is_compared_at_its_own_precision():
    assert Interval(0.1).holds(np.float32(0.1)) and not Interval(0.1).holds(np.float32(0.0999))
    assert Interval(0, 1).holds(jnp.bfloat16(0.5)) and not Interval(0, 1).holds(jnp.bfloat16(2))


@pytest.mark.parametrize("value", [None, "high", "1", True, 1j, {}, b"1", 2**70])
def test_what_is_no_number_is_in_none(value):
    assert not COUNT.holds(value)
    assert value in ("1", b"1", 2**70) or not ALL.holds(value)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        (ALL, "a number"),
        (Interval(above=True, below=True), "a finite number"),
        (Interval(0), "at least 0"),
        (Interval(0, below=True), "at least 0"),
        (Interval(0.5, above=True), "above 0.5"),
        (Interval(high=3), "at most 3"),
        (Interval(high=3, below=True), "below 3"),
        (SHARE, "between 0 and 1"),
        (OPEN, "above 0 and below 1"),
        (Interval(0, 1, above=True), "above 0 and at most 1"),
        (COUNT, "a positive integer"),
        (Interval(2, whole=True), "an integer of at least 2"),
        (Interval(1, 1_000_000, whole=True), "an integer between 1 and 1000000"),
        (Interval(whole=True), "an integer"),
    ],
)
def test_what_an_interval_is_called(interval, words):
    assert str(interval) == words
