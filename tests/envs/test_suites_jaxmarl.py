"""JaxMARL's cooperative tasks: a team as one, as JaxMARL steps it, with a clock of our own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl_reward import envs, spaces
from jaxrl_reward.envs.suites import clocks, jaxmarl_tasks
from jaxrl_reward.envs.suites.loading import quiet
from jaxrl_reward.types import UserError

with quiet():
    jaxmarl = pytest.importorskip("jaxmarl")
pytestmark = pytest.mark.loose_shapes

QUICK = {"xla_backend_optimization_level": 0}
KEY = jax.random.key(0)


def both(name, steps, options, bare=None):
    """Our team and JaxMARL's, from one key and with the same actions.

    Returns:
      env: ours.
      ours: parts of the observation by name, reward, terminated, truncated, info, `[T]` each.
      theirs: observations, rewards, dones and infos by agent, `[T]` each.
    """
    env = envs.make(f"jaxmarl:{name}{options}")
    with quiet():
        bare = bare or jaxmarl.make(name)
    agents = env.environment.agents
    space = env.action_space

    def run(key):
        _, state = env.reset(key)
        _, their_state = bare.reset(key)

        def step(carry, key):
            state, their_state = carry
            action = space.sample(key)
            obs, state, *rest = env.step(key, state, action)
            given = {a: bare.action_space(a).sample(key) for a in bare.agents}
            given |= {agent: action[i] for i, agent in enumerate(agents)}
            their_obs, their_state, *told = bare.step_env(key, their_state, given)
            return (state, their_state), ((obs, *rest), (their_obs, *told))

        return jax.lax.scan(step, (state, their_state), jax.random.split(key, steps))[1]

    ours, theirs = jax.jit(run, compiler_options=QUICK)(KEY)
    own = env.environment.observation_space(env.params)
    parts = {part.name: np.asarray(spaces.take(part, ours[0])) for part in spaces.parts(own)}
    return env, (parts, *ours[1:]), theirs


def assert_same(env, ours, theirs):
    """Observations, and the rewards of each agent and of the team, as a sum or the one of all."""
    parts, reward, *_, info = ours
    obs, rewards = theirs[:2]
    for agent in env.environment.agents:
        np.testing.assert_allclose(parts[agent], obs[agent], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(info[f"reward/{agent}"], rewards[agent], rtol=1e-6)
    each = np.stack([rewards[agent] for agent in env.environment.agents])
    if jaxmarl_tasks.NAMES[env.environment.name] == "sum":
        np.testing.assert_allclose(reward, each.sum(0), rtol=1e-5)
    else:  # all are paid the same, once
        np.testing.assert_allclose(each, np.broadcast_to(reward, each.shape), rtol=1e-5)


def test_the_names_are_cooperative_tasks_of_jaxmarl():
    assert set(jaxmarl_tasks.NAMES) <= set(jaxmarl.registered_envs)


def test_a_team_is_truncated_by_its_limit_and_never_terminated_by_it():
    env, ours, theirs = both("MPE_simple_spread_v3", 27, "")
    assert_same(env, ours, theirs)
    assert env.max_steps == 25 and env.action_space.nvec == (5, 5, 5)
    assert not ours[2].any()
    np.testing.assert_array_equal(ours[3], np.arange(1, 28) >= 25)
    # JaxMARL's limit of 25 is an episode of 26.
    np.testing.assert_array_equal(theirs[2]["__all__"], np.arange(1, 28) >= 26)
    assert set(ours[0]) == {"agent_0", "agent_1", "agent_2"}
    for limit in (1, 2, 3):
        short = envs.make(f"jaxmarl:MPE_simple_spread_v3,max_steps={limit}")
        ends = [
            short.environment.is_truncated(clocks.State(None, time), short.params)
            for time in range(1, 5)
        ]
        assert ends == [time >= limit for time in range(1, 5)]


def test_what_ends_the_task_terminates():
    """Whoever says that all have been in the room ends the riddle."""
    env, ours, theirs = both("switch_riddle", 12, "")
    assert_same(env, ours, theirs)
    told = np.asarray(theirs[1]["agent_0"]) != 0.0
    assert told.any() and not told.all()
    np.testing.assert_array_equal(ours[2], told)
    assert env.max_steps == 6
    np.testing.assert_array_equal(np.asarray(theirs[2]["__all__"]), told | ours[3])


def test_an_observation_that_shows_the_limit_shows_ours():
    """Overcooked's is urgent in its last steps; it ends by its limit alone."""
    with quiet():
        bare = jaxmarl.make("overcooked", max_steps=45)
    env, ours, theirs = both("overcooked", 47, ",max_steps=45", bare)
    parts = {agent: x[:45] for agent, x in ours[0].items()}
    for agent, seen in parts.items():
        np.testing.assert_array_equal(seen, theirs[0][agent][:45])
    urgent = (parts["agent_0"].min((1, 2)) == 1.0).any(-1)  # a layer of ones
    assert urgent.any() and not urgent.all()
    assert not ours[2].any() and np.asarray(theirs[2]["__all__"])[44]
    assert "shaped_reward/agent_1" in ours[4]
    assert env.environment.observation_space(env.params).spaces["agent_0"].shape == (4, 5, 26)


@pytest.mark.slow
def test_a_team_of_soldiers_has_masks_and_ends_when_one_side_is_dead():
    env, ours, theirs = both("HeuristicEnemySMAX", 40, "")
    assert_same(env, ours, theirs)
    assert env.max_steps == 100 and ours[0]["action_mask"].shape == (40, 5, 10)
    np.testing.assert_array_equal(ours[2], theirs[2]["__all__"])
    assert ours[2].any() and not ours[3].any()
    small = envs.make("jaxmarl:HeuristicEnemySMAX,scenario=3m,max_steps=2")
    assert len(small.environment.agents) == 3 and small.max_steps == 2


@pytest.mark.slow
def test_hanabi_shows_which_moves_are_legal():
    env, ours, theirs = both("hanabi", 20, "")
    assert_same(env, ours, theirs)
    assert env.max_steps is None and ours[0]["action_mask"].shape == (20, 2, 21)
    np.testing.assert_array_equal(ours[2], theirs[2]["__all__"])
    idle = ours[0]["action_mask"].sum(-1) == 1  # one of the two waits, and has one choice
    assert (idle.sum(-1) >= 1).all()


@pytest.mark.slow
def test_numbers_of_a_team_lie_side_by_side():
    env = envs.make("jaxmarl:walker2d_2x3,episode_length=2")
    assert env.action_space.shape == (6,) and env.max_steps == 2
    with quiet():
        bare = jaxmarl.make("walker2d_2x3", auto_reset=False)

    def run(key):
        _, state = env.reset(key)
        _, their_state = bare.reset(key)
        action = jax.random.uniform(key, (6,), minval=-1.0)
        given = dict(zip(env.environment.agents, jnp.split(action, 2), strict=True))
        rows = []
        for _ in range(3):
            _, state, reward, terminated, truncated, info = env.step(key, state, action)
            _, their_state, rewards, dones, _ = bare.step_env(key, their_state, given)
            rows.append((reward, terminated, truncated, info, rewards, dones))
        return rows

    rows = jax.jit(run, compiler_options=QUICK)(KEY)
    assert [bool(row[2]) for row in rows] == [False, True, True]
    for reward, terminated, _, info, rewards, dones in rows:
        np.testing.assert_allclose(reward, rewards["agent_0"], rtol=1e-5)
        assert bool(terminated) == bool(dones["__all__"])
        assert {"reward_ctrl", "reward/agent_1", "x_velocity"} <= set(info)


def test_options_and_what_cannot_be_made():
    team = envs.make("jaxmarl:MPE_simple_spread_v3,num_agents=4,local_ratio=0.2,reward=mean")
    assert team.action_space.nvec == (5, 5, 5, 5)
    for name, words in (
        ("MPE_simple_spread_v3,local_ratio=7", "cannot be made with .*between 0.0 and 1.0"),
        ("MPE_simple_spread_v3,max_steps=0", "max_steps must be at least 1, not '0'"),
        ("MPE_simple_spread_v3,reward=max", "reward must be sum or mean, not 'max'"),
        ("overcooked,layout=kitchen", "has no layout 'kitchen'"),
        ("MPE_simple_tag_v3", "unknown environment"),
    ):
        with pytest.raises(UserError, match=words) as told:
            envs.make(f"jaxmarl:{name}")
        assert "\n" not in str(told.value)
