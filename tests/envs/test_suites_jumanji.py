"""Jumanji's environments: as Jumanji steps them, with the clock and the task's end apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs, spaces
from jaxrl_reward.envs.suites import clocks, known
from jaxrl_reward.types import UserError

jumanji = pytest.importorskip("jumanji")
pytestmark = pytest.mark.loose_shapes

QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)


def allowed(mask, key):
    """One of the actions that a mask allows, of each row."""
    drawn = jax.random.uniform(key, mask.shape)
    return jnp.where(mask, drawn, -1.0).argmax(-1)


def both(name, steps, choose, split, **options):
    """Our environment and Jumanji's, from one key and with the same actions.

    Returns:
      parts: of our observations, `[T, ...]` each, by name.
      theirs: their observations.
      ours: reward, terminated, truncated and info, `[T]` each.
      timestep: theirs, `[T]`.
    """
    env = envs.make(f"jumanji:{name}", **options)
    bare = jumanji.make(name, **options)

    def run(key):
        _, state = env.reset(key)
        their_state, first = bare.reset(key)

        def step(carry, key):
            state, their_state, seen = carry
            action = choose(seen, key)
            obs, state, reward, terminated, truncated, info = env.step(key, state, action)
            their_state, timestep = bare.step(their_state, split(action))
            row = (obs, reward, terminated, truncated, info, timestep)
            return (state, their_state, timestep.observation), row

        start = (state, their_state, first.observation)
        return jax.lax.scan(step, start, jax.random.split(key, steps))[1]

    obs, *ours, timestep = jax.jit(run, compiler_options=QUICK)(KEY)
    space = env.environment.observation_space(env.params)
    parts = {part.name: np.asarray(spaces.take(part, obs)) for part in spaces.parts(space)}
    return parts, timestep.observation, ours, timestep


def assert_ends(ours, timestep, limit):
    """Up to Jumanji's first end: the same rewards, and its end is the clock or the task."""
    reward, terminated, truncated, _ = ours
    last = np.asarray(timestep.step_type) == 2
    first = int(np.argmax(last)) if last.any() else len(last) - 1
    paid = np.asarray(timestep.reward)
    paid = paid.sum(-1) if paid.ndim > 1 else paid
    np.testing.assert_allclose(reward[: first + 1], paid[: first + 1], rtol=1e-6)
    np.testing.assert_array_equal((terminated | truncated)[: first + 1], last[: first + 1])
    if limit is not None:
        np.testing.assert_array_equal(truncated, np.arange(1, len(last) + 1) >= limit)
    return first


def test_jumanji_names_are_those_of_jumanji():
    assert {*known.JUMANJI, "Sokoban-v0"} == jumanji.registered_environments()


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_termination_follows_the_clock(limit):
    choose = lambda seen, key: allowed(seen.action_mask, key)  # noqa: E731
    parts, theirs, ours, timestep = both("Snake-v1", 4, choose, lambda a: a, time_limit=limit)
    assert assert_ends(ours, timestep, limit) == limit - 1
    assert not ours[1].any()
    assert timestep.discount[limit - 1] == 0.0  # which looks like an end of the task
    np.testing.assert_array_equal(parts["grid"], theirs.grid)
    np.testing.assert_array_equal(parts["action_mask"] > 0, theirs.action_mask)
    np.testing.assert_array_equal(parts["step_count"], theirs.step_count)


def test_a_snake_that_bites_terminates():
    _, _, ours, timestep = both("Snake-v1", 12, lambda seen, key: jnp.int32(0), lambda a: a)
    first = assert_ends(ours, timestep, 4000)
    assert ours[1][first] and not ours[2].any()


def test_a_joint_choice_is_one_number():
    """Tetris turns and places a block: forty choices, with the mask of all of them."""
    rows = lambda a: jnp.stack([a // 10, a % 10]).astype(jnp.int32)  # noqa: E731
    choose = lambda seen, key: allowed(seen.action_mask.reshape(-1), key)  # noqa: E731
    parts, theirs, ours, timestep = both("Tetris-v0", 30, choose, rows)
    env = envs.make("jumanji:Tetris-v0")
    assert env.action_space.n == 40 and env.max_steps == 400
    first = assert_ends(ours, timestep, 400)
    assert 5 < first < 29 and ours[1][first]  # the board is full
    mask = parts["action_mask"].reshape(30, -1) > 0
    np.testing.assert_array_equal(mask, np.asarray(theirs.action_mask).reshape(30, -1))
    np.testing.assert_array_equal(parts["grid"], theirs.grid)


def test_whole_numbers_are_one_hot_and_nested_parts_have_dots():
    choose = lambda seen, key: allowed(seen.action_mask, key)  # noqa: E731
    parts, theirs, ours, timestep = both("Maze-v0", 20, choose, lambda a: a, time_limit=15)
    assert assert_ends(ours, timestep, 15) == 14
    assert set(parts) == {
        *("action_mask", "agent_position.col", "agent_position.row", "step_count"),
        *("target_position.col", "target_position.row", "walls"),
    }
    assert parts["agent_position.row"].shape == (20, 10)
    np.testing.assert_array_equal(parts["agent_position.row"].argmax(-1), theirs.agent_position.row)
    np.testing.assert_array_equal(parts["agent_position.col"].argmax(-1), theirs.agent_position.col)
    np.testing.assert_array_equal(parts["walls"], theirs.walls)


def test_a_team_has_an_action_and_a_mask_each_and_one_reward():
    choose = lambda seen, key: allowed(seen.action_mask, key)  # noqa: E731
    name = "LevelBasedForaging-v0"
    parts, theirs, ours, timestep = both(name, 60, choose, lambda a: a, time_limit=50)
    env = envs.make(f"jumanji:{name}")
    assert env.action_space.nvec == (6, 6)
    first = assert_ends(ours, timestep, 50)
    assert first == 49 and not ours[1].any()
    np.testing.assert_array_equal(parts["action_mask"] > 0, theirs.action_mask)
    np.testing.assert_array_equal(parts["agents_view"].argmax(-1) - 1, theirs.agents_view)
    for agent in range(2):
        np.testing.assert_array_equal(ours[3][f"reward/{agent}"], timestep.reward[:, agent])
    np.testing.assert_array_equal(ours[3]["percent_eaten"], timestep.extras["percent_eaten"])


@pytest.mark.slow
def test_a_late_find_pays_by_the_limit_and_not_by_the_clock_that_is_off():
    choose = lambda seen, key: jax.random.uniform(key, (2, 2), minval=-1.0)  # noqa: E731
    _, _, ours, timestep = both("SearchAndRescue-v0", 40, choose, lambda a: a, time_limit=40)
    assert_ends(ours, timestep, 40)
    assert np.asarray(ours[0]).sum() > 0 and not ours[1].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Connector-v3", "MultiCVRP-v0", "JobShop-v0", "MMST-v0"])
def test_teams_step_as_jumanji_does(name):
    choose = lambda seen, key: allowed(seen.action_mask, key)  # noqa: E731
    dtype = jumanji.make(name).action_spec.dtype
    _, _, ours, timestep = both(name, 45, choose, lambda a: a.astype(dtype))
    assert_ends(ours, timestep, envs.make(f"jumanji:{name}").max_steps)


def test_the_limit_is_a_number_of_its_own():
    """Episodes of different lengths in one program."""
    env, state = envs.make("jumanji:Snake-v1"), clocks.State(None, jnp.int32(3))
    params = jax.vmap(lambda n: env.params.replace(max_steps_in_episode=n))(jnp.array([2, 3, 4]))
    cut = jax.vmap(env.environment.is_truncated, (None, 0))(state, params)
    np.testing.assert_array_equal(cut, [True, True, False])


def test_an_environment_made_elsewhere_keeps_its_limit():
    made = jumanji.make("Snake-v1", num_rows=5, time_limit=9)
    env = envs.given(made)
    assert env.max_steps == 9 and env.action_space.n == 4 and made.time_limit == 9


def test_options_of_the_environment_and_of_its_problems():
    maze = envs.make("jumanji:Maze-v0,num_rows=5,num_cols=6")
    assert maze.environment.observation_space(maze.params).spaces["walls"].shape == (5, 6)
    assert maze.max_steps == 30  # as many as places, as Jumanji has it
    cube = functools.partial(envs.make, "jumanji:RubiksCube-partly-scrambled-v0")
    assert cube().max_steps == 20 and cube(num_scrambles_on_reset=2).max_steps == 20
    assert cube().action_space.n == 18  # without a mask, a joint choice
    assert envs.make("jumanji:MMST-v0,time_limit=7").max_steps == 7
    assert envs.make("jumanji:Game2048-v1").max_steps is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Snake-v1,time_limit=0", "time_limit must be at least 1, not '0'"),
        ("Snake-v1,reward=mean", "has no option 'reward'"),
        ("Connector-v3,reward=max", "reward must be sum or mean, not 'max'"),
        ("Sokoban-v0", "downloads its levels"),
        ("FlatPack-v0,num_row_blocks=9,num_col_blocks=9", "joint actions, and at most 16,384"),
        ("Maze-v0,num_rows=-3", "cannot be made with"),
        ("Snake-v2", "did you mean 'jumanji:Snake-v1'"),
    ],
)
def test_what_cannot_be_made_is_one_line(name, words):
    with pytest.raises(UserError, match=words) as told:
        envs.make(f"jumanji:{name}")
    assert "\n" not in str(told.value)
