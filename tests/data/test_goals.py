"""Goals in hindsight: where they are from, what is paid, and optima that are known."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import agents
from jaxrl_reward import data as datasets
from jaxrl_reward import rewards as rw
from jaxrl_reward.data import goals
from jaxrl_reward.types import Transition, UserError

quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def walks(states, count, length, seed=0):
    """Random walks on a chain with walls, one-hot states: 0 is left and 1 is right."""
    rng = np.random.default_rng(seed)
    at = np.zeros((count, length + 1), int)
    at[:, 0] = rng.integers(0, states, count)
    move = rng.integers(0, 2, (count, length))
    for t in range(length):
        at[:, t + 1] = np.clip(at[:, t] + 2 * move[:, t] - 1, 0, states - 1)
    return at, move


def dataset(at, move):
    states = at.max() + 1
    rows = move.size
    return datasets.make(
        {
            "obs": np.eye(states)[at[:, :-1].ravel()],
            "next_obs": np.eye(states)[at[:, 1:].ravel()],
            "action": move.ravel(),
            "reward": np.zeros(rows),
            "terminated": np.zeros(rows),
            "truncated": np.arange(rows) % move.shape[1] == move.shape[1] - 1,
        }
    )


def test_goals_are_of_the_mixture():
    """By frequencies, and by the law of OGBench's code: steps ahead, cut at the last row."""
    first = np.arange(40_000) % 10 == 0
    row, final = np.arange(40_000), np.arange(40_000) // 10 * 10 + 9
    rows = np.asarray(goals.goal_rows(jnp.asarray(first), jax.random.key(0), goals.Mixture()))
    within = rows // 10 == row // 10
    # Of 0.7 all are within the trajectory; of 0.3 one in 4,000 by chance.
    np.testing.assert_allclose(within.mean(), 0.7, atol=0.01)
    assert np.all(rows[within & (rows >= row)] <= final[within & (rows >= row)])
    np.testing.assert_allclose((rows == row).mean(), 0.2 + 0.5 / 10, atol=0.01)
    ahead = goals.goal_rows(
        jnp.asarray(first), jax.random.key(1), goals.Mixture(0.0, 1.0, True, 0.5)
    )
    ahead = (np.asarray(ahead) - row)[row % 10 == 0]
    for steps in (1, 2, 3):
        np.testing.assert_allclose((ahead == steps).mean(), 0.5**steps, atol=0.03)
    even = np.asarray(goals.goal_rows(jnp.asarray(first), jax.random.key(2), goals.POLICY)) - row
    assert np.all(even[row % 10 == 9] == 0)
    counts = np.bincount(even[row % 10 == 5], minlength=5)
    np.testing.assert_allclose(counts[1:5] / 4000, 0.25, atol=0.03)


def test_steps_are_rewarded_by_their_goals_and_their_ends_stay():
    data = dataset(*walks(5, 6, 7))
    found = datasets.relabel_goals(data, jax.random.key(0), copies=3)
    assert len(found) == 3 * 42 and found.steps.obs.shape == (126, 10)
    obs, after = np.asarray(found.steps.obs), np.asarray(found.steps.next_obs)
    np.testing.assert_array_equal(obs[:, :5], np.tile(np.asarray(data.steps.obs), (3, 1)))
    np.testing.assert_array_equal(obs[:, 5:], after[:, 5:])
    reached = (obs[:, :5] == obs[:, 5:]).all(1)
    np.testing.assert_array_equal(found.steps.terminated, reached)
    np.testing.assert_array_equal(found.steps.env_reward, reached - 1.0)
    np.testing.assert_array_equal(found.steps.first, np.tile(np.asarray(data.steps.first), 3))
    assert found.lengths().tolist() == [7] * 18
    # The expression pays the same, from observations alone.
    term = rw.parse("goal_reached(5) - 1")
    one = Transition(**{**vars(found.steps), "info": {}, "policy": {}})
    start = term.init(jax.random.key(0), jax.tree.map(lambda x: x[:1, None], one))
    paid = term.relabel(start.shared, one, ((), ()))
    np.testing.assert_array_equal(paid, found.steps.env_reward)
    part = datasets.relabel_goals(data, jax.random.key(0), goal=[0, 2], tolerance=0.1)
    assert part.steps.obs.shape == (42, 7)


def test_it_is_a_pure_function_of_the_key():
    data = dataset(*walks(5, 6, 7))
    relabel = jax.jit(datasets.relabel_goals)
    one, same = (relabel(data, jax.random.key(3)).steps.obs for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, relabel(data, jax.random.key(4)).steps.obs)


def test_what_cannot_be_is_one_line():
    data = dataset(*walks(5, 6, 7))
    for settings, line in (
        (
            {"mixture": goals.Mixture(current=1.5)},
            "relabel_goals's current must be between 0 and 1",
        ),
        ({"goal": [9]}, r"goal=\[9\] must name some of the numbers 0 to 4"),
        ({"copies": 0}, "copies"),
    ):
        with pytest.raises(UserError, match=line):
            datasets.relabel_goals(data, jax.random.key(0), **settings)
    with pytest.raises(UserError, match=r"goal_reached\(size=4\) needs 8 numbers"):
        one = jax.tree.map(lambda x: jnp.asarray(x)[:1], data.steps)
        rw.goal_reached(4).relabel((), one, ())


def trained(data, **settings):
    settings = {"updates": 800, "batch_size": 64, "hidden": (32,), **settings}
    settings |= {"gamma": 0.9, "expectile": 0.95, "learning_rate": 5e-3, "beta": 10.0}
    made = agents.make("iql", None, data=data, policy_decay=0.0, target_rate=0.02, **settings)
    return made, quick(made.iterate)(quick(made.init)(jax.random.key(0)), made.data)[0]


def steps_to(distance):
    """The value of so many steps that each pay -1, discounted by 0.9."""
    return -(1.0 - 0.9**distance) / 0.1


def test_iql_reaches_every_goal_of_a_chain():
    """The shortest way to each goal from each state, and its value."""
    data = dataset(*walks(6, 300, 20))
    made, state = trained(datasets.relabel_goals(data, jax.random.key(0), copies=2))
    at, goal = np.indices((6, 6)).reshape(2, -1)
    obs = np.concatenate([np.eye(6)[at], np.eye(6)[goal]], 1).astype(np.float32)
    chosen, apart = np.asarray(made.act(state, obs)), at != goal
    np.testing.assert_array_equal(chosen[apart], (goal > at)[apart])
    value = made.init.__self__.learner.value.apply(state.params["value"], obs)[:, 0]
    np.testing.assert_allclose(value, steps_to(np.abs(at - goal)), atol=0.5)


def test_iql_on_a_single_task_set_in_ogbenchs_layout(tmp_path):
    """Rewards of the state that a step starts from, masks for values, terminals for paths."""
    at, move = walks(6, 300, 20, seed=1)
    solved = at.ravel() == 5
    arrays = {
        "observations": np.eye(6)[at.ravel()],
        "actions": np.concatenate([move, np.zeros((300, 1), int)], 1).ravel(),
        "terminals": np.arange(at.size) % 21 == 20,
        "rewards": solved - 1.0,
        "masks": 1.0 - solved,
    }
    np.savez(tmp_path / "chain-singletask-v0.npz", **arrays)
    data = datasets.read(tmp_path / "chain-singletask-v0.npz")
    assert data.lengths().tolist() == [20] * 300  # whole paths, also beyond the goal
    np.testing.assert_allclose(data.returns(), (solved.reshape(300, 21)[:, :-1] - 1.0).sum(1))
    made, state = trained(data)
    obs = np.eye(6, dtype=np.float32)
    assert made.act(state, obs)[:5].tolist() == [1] * 5
    value = made.init.__self__.learner.value.apply(state.params["value"], obs)[:, 0]
    np.testing.assert_allclose(value, steps_to(5 - np.arange(6)), atol=0.4)
    assert abs(float(value[5])) < 0.1  # the goal's own reward is 0, and nothing follows
