"""Sparse worlds: what can be worked out by hand, and that they are played."""

import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward.tabular import mazes, planning
from jaxrl_reward.types import UserError


def test_a_chain_pays_at_its_right_end_for_ever():
    world = mazes.chain(right=3, left=2, slip=0.0, distractor=0.5)
    assert world.states == 6 and int(world.start.argmax()) == 2
    values = planning.value_iteration(world, 0.5).values
    np.testing.assert_allclose(values, chain_by_hand(), rtol=1e-4)


def chain_by_hand():
    """State 1 pays 0.5 for a step left, again and again; state 5 pays 1 for a step right."""
    values = [0.0] * 6
    for _ in range(60):
        left = [0.0] + [(0.5 if s == 1 else 0.0) + 0.5 * values[s - 1] for s in range(1, 6)]
        right = [0.5 * values[s + 1] for s in range(5)] + [1.0 + 0.5 * values[5]]
        values = list(map(max, left, right))
    return values


def test_rooms_have_doors_and_an_end():
    world = mazes.rooms(size=7, slip=0.0)
    assert world.states == 7 * 7 - 13 + 4 - 1
    values = planning.value_iteration(world, 0.9).values
    np.testing.assert_allclose(values @ world.start, 0.9**11, rtol=1e-4)  # 12 moves, the last paid
    assert np.asarray(world.ends).sum() == 2  # from the two neighbours of the corner


def test_the_key_must_be_fetched_first():
    world = mazes.line_key(length=6, slip=0.0)
    values = planning.value_iteration(world, 0.9).values
    # From cell 3: one left, pick up, four right, of which the last pays.
    np.testing.assert_allclose(values[3], 0.9**5, rtol=1e-4)
    np.testing.assert_allclose(values[5], 0.9**7, rtol=1e-4)  # not out of the door
    assert float(world.reward[5, 1, 0]) == 0.0 and bool(world.ends[5, 1, 0])
    np.testing.assert_allclose(np.asarray(world.probability).sum(-1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mazes.chain(left=0), "left must be at least 1"),
        (lambda: mazes.rooms(size=6), "odd size"),
        (lambda: mazes.line_key(length=3), "at least 6 cells"),
    ],
)
def test_what_cannot_be_built_is_refused(build, message):
    with pytest.raises(UserError, match=message):
        build()


def test_they_are_environments():
    assert envs.make("tabular:rooms,size=5").environment.mdp.states == 5 * 5 - 9 + 4 - 1
    assert {"tabular:chain", "tabular:line_key", "tabular:rooms"} <= set(envs.names())
