"""Exact values of small tasks, and searches in large ones (card of the paper, section c)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl_reward import submodular as sm
from jaxrl_reward.submodular import oracles, tasks
from jaxrl_reward.types import UserError


def tiny(horizon):
    steps = horizon - 1
    return tasks.make("grid:coverage", rows=3, cols=3, start=0, max_steps_in_episode=steps)


def uniform_value(task, slip=0.0):
    return float(oracles.value(oracles.trajectories(task, slip), oracles.uniform(task)))


@pytest.mark.parametrize(
    ("horizon", "most", "ways", "average"),
    [(3, 8, 2, 5.44), (4, 9, 2, 5.952), (5, 9, 26, 6.3648)],
)
def test_a_small_grid(horizon, most, ways, average):
    task = tiny(horizon)
    best, count, walks = oracles.enumerate_walks(task)
    assert (best.value, count, walks) == (most, ways, 5 ** (horizon - 1))
    assert task.function.evaluate(best.cells.tolist()) == most
    assert oracles.optimum(task) == most
    np.testing.assert_allclose(uniform_value(task), average, rtol=1e-12)
    # A sum of single cells is as well served by staying, for ever.
    modular = oracles.modular(task)
    assert modular.value == 4 * horizon
    assert oracles.walk(task, modular.policy).value == 4


def test_greedy_on_the_small_grid():
    found = oracles.greedy(tiny(5))
    assert [tasks.maps.ACTIONS[a] for a in found.actions] == ["right", "down", "left", "stay"]
    assert found.value == 9


def test_history_is_worth_something_where_chance_is():
    task = tasks.make("graph:history")
    assert oracles.best_markov(task) == oracles.best_open_loop(task) == 1.5
    assert oracles.optimum(task) == 2.0


def test_the_best_alone_is_not_among_the_best_two():
    task = tasks.make("graph:three_sets")
    values = [task.function.evaluate(s) for s in ([0], [1], [2], [0, 1], [0, 2], [1, 2])]
    np.testing.assert_allclose(values, [2.01, 2, 2, 3.01, 3.01, 4], rtol=1e-7)
    np.testing.assert_allclose(uniform_value(task), 2.89444, atol=1e-5)
    assert oracles.optimum(task) == 4
    np.testing.assert_allclose(oracles.greedy(task).value, 3.01, rtol=1e-6)
    np.testing.assert_allclose(oracles.walk(task, oracles.modular(task).policy).value, 2.01)


def test_exact_gradients_on_the_line():
    task = tasks.make("graph:line")
    played, uniform = oracles.trajectories(task), oracles.uniform(task)
    np.testing.assert_allclose(oracles.value(played, uniform), 3.976, rtol=1e-6)

    def value(logits):
        return oracles.value(played, jax.nn.softmax(logits, -1))

    gradient = jax.jit(jax.grad(value))(jnp.zeros(uniform.shape))
    right = [[0.528, 0, 0], [0.336, 0.192, 0], [0.144, 0.384, 0]]
    np.testing.assert_allclose(gradient[..., 1], right, atol=1e-6)
    np.testing.assert_allclose(gradient[..., 0], -np.array(right), atol=1e-6)


@pytest.mark.parametrize(
    ("steps", "most", "average", "slipping"), [(2, 8, 5.9375, 6.89), (3, 10, 7.265625, 8.337)]
)
def test_a_bandit(steps, most, average, slipping):
    task = tasks.make("graph:bandit", max_steps_in_episode=steps)
    assert [task.function.evaluate([cell]) for cell in range(5)] == [5, 4, 3, 3, 0]
    assert oracles.optimum(task) == oracles.greedy(task).value == most
    # One in four uniform draws is the action itself, so this misses it by 0.3.
    slip = 0.4
    np.testing.assert_allclose([uniform_value(task), uniform_value(task, slip)], average)
    np.testing.assert_allclose(oracles.best_open_loop(task, slip), slipping, rtol=1e-9)
    assert slipping < oracles.optimum(task, slip) < most


@settings(max_examples=15)
@given(seed=st.integers(0, 2**31 - 1))
def test_greedy_guarantee(seed):
    """Where every cell can be chosen, greedy earns 1 - 1/e of the best (Nemhauser et al. 1978)."""
    rng = np.random.default_rng(seed)
    covers = [rng.choice(8, 3, replace=False).tolist() for _ in range(5)]
    task = tasks.choices(covers, rng.exponential(size=8), steps=3)
    best, found = oracles.optimum(task), oracles.greedy(task).value
    assert (1 - 1 / np.e) * best <= found * (1 + 1e-6) and found <= best * (1 + 1e-6)
    assert oracles.enumerate_walks(task)[0].value == pytest.approx(best)


def test_two_rooms_can_be_seen_whole():
    """All 68 cells, in 39 moves."""
    task = tasks.make("grid:two_rooms")
    found = oracles.beam(task, 100)
    assert found.value == 68 == (~task.walls).sum()
    assert task.function.evaluate(found.cells.tolist()) == 68
    # Cut by walls, but not by corners that can be seen round (ids as the paper's code has them).
    seen = {divmod(cell, 14): len(task.function.covers(cell)) for cell in range(98)}
    assert [seen[place] for place in ((3, 3), (3, 4), (3, 8), (2, 6), (6, 3))] == [3, 2, 2, 4, 1]


@pytest.mark.slow
def test_the_constant_map_can_be_covered_without_a_loss():
    """Two new cells at every step: 2 (H + 1) = 162."""
    assert oracles.beam(tasks.make("grid:coverage"), 300).value == 162


@pytest.mark.parametrize(
    ("look", "message"),
    [
        (lambda: oracles.trajectories(tasks.make("grid:two_rooms")), "more than 300 traj"),
        (lambda: oracles.optimum(tasks.make("grid:two_rooms")), "more than 300 hist"),
        (lambda: oracles.best_markov(tiny(4)), "more than 300 pol"),
        (lambda: oracles.greedy(tasks.make("graph:line")), "one outcome each"),
    ],
)
def test_what_is_too_large_is_refused(look, message, monkeypatch):
    monkeypatch.setattr(oracles, "MOST", 300)
    with pytest.raises(UserError, match=message):
        look()


def test_the_set_function_of_a_task_is_any():
    """A cut is not monotone: the best walk does not go everywhere."""
    task = tasks.choices([[0]] * 4, [1.0], steps=4)
    star = np.zeros((5, 5), np.float32)
    star[0, 1:4] = star[1:4, 0] = 1
    task = task._replace(function=sm.GraphCut(star))
    assert oracles.optimum(task) == 3.0
    assert task.function.evaluate(range(5)) == 0.0
