"""Submodular environments: they go where they should, and pay what F says."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.submodular import tasks
from jaxrl_reward.types import UserError

# What runs for microseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
NAMES = [n for n in envs.names() if n.partition(":")[0] in ("grid", "graph", "arena")]
KINDS = ("grid:two_rooms", "grid:item_collection", "grid:experiment_design")  # of memories


def play(env, key, actions):
    """The trace of `actions[T]`, with the first observation in front."""
    obs, state = env.reset(key)

    def step(state, xs):
        next_obs, state, *rest = env.step(*xs[:1], state, xs[1])
        return state, (next_obs, *rest)

    _, trace = jax.lax.scan(step, state, (jax.random.split(key, len(actions)), actions))
    return obs, trace


@pytest.mark.parametrize(
    "name", [n if n in KINDS else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_the_return_is_the_value_of_the_walk(name):
    """By random actions: the sum of rewards, `info`, and F of the cells from its definition."""
    env = envs.make(f"{name},max_steps_in_episode=6")
    key = jax.random.key(1)
    actions = jax.vmap(env.action_space.sample)(jax.random.split(key, 6))
    obs, (next_obs, reward, terminated, truncated, info) = quick(partial(play, env, key))(actions)
    chex.assert_type([obs, next_obs, reward, terminated], [float, float, float, bool])
    chex.assert_shape(next_obs, (6, *env.observation_space.shape))
    assert terminated.tolist() == [False] * 5 + [True] and not truncated[:5].any()
    objective = rw.marginal_gain(name).of
    cells = quick(jax.vmap(objective.at))(jnp.concatenate([obs[None], next_obs])).tolist()
    assert info["cell"].tolist() == cells[1:]
    if not name.startswith("grid:experiment"):  # whose memory is as long as the walk
        value = objective.function.evaluate(cells)
        np.testing.assert_allclose(info["value"][-1], value, rtol=1e-5)
    np.testing.assert_allclose(reward.sum(), info["value"][-1], rtol=1e-5)
    assert (reward >= 0).all()
    if not name.startswith("arena"):
        low, high = env.observation_space.low, env.observation_space.high
        assert (next_obs >= low).all() and (next_obs <= high).all()


def test_moves_and_walls():
    env = envs.make("grid:two_rooms,start=59")  # row 4, column 3, the corner of a room
    actions = jnp.array([1, 2, 2, 2, 3, 3, 3, 3, 4, 0])
    *_, info = quick(partial(play, env, jax.random.key(0)))(actions)[1]
    cells = [divmod(cell, 14) for cell in info["cell"].tolist()]
    down = [(4, 3), (5, 3), (6, 3), (6, 3)]
    assert cells == [*down, (6, 2), (6, 1), (6, 0), (6, 0), (5, 0), (5, 0)]
    np.testing.assert_array_equal(info["executed"], actions)


@pytest.mark.parametrize("view", ["scaled", "raw", "one_hot"])
def test_every_view_can_be_read_back(view):
    env = envs.make(f"grid:coverage,rows=3,cols=4,start=5,observe={view}")
    walk = env.environment
    cells = jnp.arange(12)
    obs = quick(jax.vmap(lambda cell: walk.at.write(view, cell, jnp.int32(2), 4)))(cells)
    np.testing.assert_array_equal(quick(jax.vmap(walk.at))(obs), cells)
    assert obs.shape[1:] == env.observation_space.shape
    np.testing.assert_allclose(obs[:, -1], 2.0 if view == "raw" else 0.0)


def test_actions_slip_as_often_as_they_should():
    env = envs.make("grid:coverage,rows=3,cols=3,start=4,slip=0.5")
    keys = jax.random.split(jax.random.key(0), 2000)
    step = quick(jax.vmap(lambda key: env.step(key, env.reset(key)[1], jnp.int32(2))))
    *_, info = step(keys)
    # Half of the time any of the five.
    law = tasks.make("grid:coverage", rows=3, cols=3, start=4).law(0.5)[4, 2]
    frequency = np.bincount(info["cell"], minlength=9) / 2000
    np.testing.assert_allclose(frequency, law, atol=0.04)
    executed = np.bincount(info["executed"], minlength=5) / 2000
    np.testing.assert_allclose(executed, [0.1, 0.1, 0.6, 0.1, 0.1], atol=0.04)


def test_chance_is_the_graph_s():
    env = envs.make("graph:line")
    keys = jax.random.split(jax.random.key(0), 2000)
    *_, info = quick(jax.vmap(lambda k: env.step(k, env.reset(k)[1], jnp.int32(1))))(keys)
    np.testing.assert_allclose(np.bincount(info["cell"]) / 2000, [0.2, 0.8], atol=0.03)


def test_the_arena_stops_at_its_walls():
    env = envs.make("arena:disc,half_width=2,cells=10,max_steps_in_episode=60")
    actions = jnp.tile(jnp.array([1.0, -1.0]), (60, 1))
    _, (obs, reward, *_, info) = quick(partial(play, env, jax.random.key(0)))(actions)
    np.testing.assert_allclose(obs[-1], [2, -2, 0, 0, 1], atol=1e-6)
    assert info["cell"][-1] == 9  # the last column of the first row
    speed = np.abs(np.diff(np.asarray(obs)[:20, 0])).max()
    assert 0.15 < speed <= 0.2 + 1e-6  # at most a tenth of the half-width
    function = rw.marginal_gain("arena:disc,cells=10").of.function
    assert reward.sum() == info["value"][-1] == function.evaluate([55, *info["cell"].tolist()])


def test_a_policy_learns_of_the_memory_by_placement():
    """The environment's reward, and the expression's, which adds what it holds to the inputs."""
    from jaxrl_reward import agents

    reward = "marginal_gain('grid:item_collection')"
    settings = {"num_envs": 2, "num_steps": 6, "hidden": (4,), "placement": "step"}
    agent = agents.make("ppo", "grid:item_collection,observe=raw", reward, **settings)
    shapes = jax.eval_shape(lambda key: agent.iterate(agent.init(key)), jax.random.key(0))
    widths = {x.shape[0] for x in jax.tree.leaves(shapes[0].params) if x.ndim == 2}
    assert 2 + 105 + 6 in widths


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("grid:two_room", "did you mean 'grid:two_rooms'?"),
        ("grid:two_rooms,slip=2", "slip must be between 0 and 1, not 2.0"),
        ("grid:two_rooms,observe=one", "cannot be observed as 'one', did you mean 'one_hot'?"),
        ("grid:two_rooms,rows=3", "has no option 'rows'"),
        ("grid:coverage,cols=0", "a grid of 30 by 0 cells has no cells"),
        ("graph:line,start=1", "has no option 'start'"),
        ("arena:disc,noise=-1", "speed and noise must not be negative"),
        ("arena:disc,cells=0", "cells >= 1"),
    ],
)
def test_bad_options_are_refused_in_one_line(name, message):
    with pytest.raises(UserError) as error:
        envs.make(name)
    assert message in str(error.value) and "\n" not in str(error.value)
