"""Structured observations as one vector, against values written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import spaces


def _nested():
    place = spaces.Tuple((spaces.Box(0.0, 9.0, (2,)), spaces.Discrete(3)))
    return spaces.Dict({"place": place, "grid": spaces.Box(0, 1, (2, 2))})


def test_parts_lie_in_order_of_their_names():
    found = spaces.parts(_nested())
    told = [(each.name, each.shape, each.start, each.size, each.values) for each in found]
    assert told == [
        ("grid", (2, 2), 0, 4, ()),
        ("place.0", (2,), 4, 2, ()),
        ("place.1", (), 6, 3, (3,)),
    ]


def test_a_structured_value_is_flattened_and_taken_apart():
    value = {"place": (jnp.array([7.0, 8.0]), 2), "grid": jnp.arange(4).reshape(2, 2)}
    flat = spaces.flatten(_nested(), value)
    np.testing.assert_array_equal(flat, [0, 1, 2, 3, 7, 8, 0, 0, 1])
    grid, place, kind = (spaces.take(part, flat[None]) for part in spaces.parts(_nested()))
    np.testing.assert_array_equal(grid, [[[0, 1], [2, 3]]])
    np.testing.assert_array_equal(place, [[7, 8]])
    np.testing.assert_array_equal(kind, [[0, 0, 1]])


def test_multi_discrete_is_one_hot_number_by_number_and_samples_all_values():
    space = spaces.MultiDiscrete([2, 3])
    np.testing.assert_array_equal(spaces.flatten(space, jnp.array([1, 0])), [0, 1, 1, 0, 0])
    draws = jax.vmap(space.sample)(jax.random.split(jax.random.key(0), 200))
    assert {tuple(each) for each in draws.tolist()} == {(i, j) for i in (0, 1) for j in (0, 1, 2)}
    assert jax.vmap(space.contains)(draws).all() and not space.contains(jnp.array([2, 0]))


def test_what_is_no_array_is_named():
    with pytest.raises(TypeError, match=r"words is Space, no array"):
        spaces.parts(spaces.Dict({"words": spaces.Space()}))
