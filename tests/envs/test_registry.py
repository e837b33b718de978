"""Environments by name: every gymnax one keeps the contract, bad names are refused."""

import sys

import chex
import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxrl_reward import envs, partition
from jaxrl_reward.envs import registry
from jaxrl_reward.testing.environments import played
from jaxrl_reward.testing.same import LawError
from jaxrl_reward.types import UserError

GYMNAX = [name for name in envs.names() if name.startswith("gymnax:")]


def signature(tree):
    return [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(tree)]


# ---- every gymnax environment ------------------------------------------------------------


@pytest.mark.parametrize("name", GYMNAX)
def test_an_environment_keeps_the_contract(name):
    if name == "gymnax:GaussianBandit-misc":
        # It starts with -1 where its space says 0 or more.
        with pytest.raises(LawError, match="obs lies in observation_space: it is -1"):
            played(envs.make(name), 0, beside=False)
        return
    found = played(envs.make(name), 0, beside=False)
    assert found[1000][1][2].all() == (name == "gymnax:SimpleBandit-bsuite")


@pytest.mark.parametrize("name", ["CartPole-v1", "Catch-bsuite"])
def test_a_step_is_that_of_gymnax(name):
    env = envs.make(f"gymnax:{name}")
    theirs, params = gymnax.make(name)
    key = jax.random.key(3)
    obs, state = jax.jit(env.reset)(key)
    their_obs, their_state = theirs.reset(key, params)
    chex.assert_trees_all_equal(obs, their_obs.astype(jnp.float32))
    step = jax.jit(env.step)
    for t in range(12):
        key_step = jax.random.fold_in(key, t)
        out = theirs.step(key_step, their_state, 1, params)
        # gymnax keeps the second half of the key for its reset.
        obs, state, reward, terminated, truncated, _ = step(jax.random.split(key_step)[0], state, 1)
        np.testing.assert_allclose(obs, out[5]["final_observation"], rtol=1e-5)
        assert (reward, terminated, truncated) == (out[2], out[3], out[4])
        if terminated:
            break
        their_state = out[1]
    assert terminated


def test_the_end_of_the_task_and_of_the_clock_may_coincide():
    env = envs.make("gymnax:Catch-bsuite,max_steps_in_episode=9")
    _, state = env.reset(jax.random.key(0))
    step = jax.jit(env.step)
    flags = []
    for t in range(9):
        _, state, _, terminated, truncated, _ = step(jax.random.key(t), state, jnp.int32(1))
        flags.append((bool(terminated), bool(truncated)))
    assert flags == [(False, False)] * 8 + [(True, True)]


def test_discrete_observations_are_one_hot():
    env = envs.make("gymnax:FrozenLake-misc")
    assert isinstance(env.observation_space, spaces.Box) and env.observation_space.shape == (16,)
    obs, state = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(obs, np.eye(16)[0])
    next_obs, state, *_ = env.step(jax.random.key(1), state, jnp.int32(1))
    np.testing.assert_array_equal(next_obs, np.eye(16)[state.position])


# ---- names and options -------------------------------------------------------------------


def test_names_are_sorted_and_each_is_known_once():
    names = envs.names()
    assert names == sorted(set(names)) and "gymnax:MNISTBandit-bsuite" not in names
    assert {name.partition(":")[0] for name in names} >= {"gymnax", "brax", "probe"}


def test_options_by_text_and_by_keyword_are_the_same():
    text = envs.make("gymnax:FourRooms-misc, resample_goal_pos = true ,max_steps_in_episode=7")
    keyword = envs.make("gymnax:FourRooms-misc", max_steps_in_episode=7, resample_goal_pos=True)
    assert text.params == keyword.params == envs.make(text.name).params
    assert text.params.resample_goal_pos is True and text.max_steps == 7
    assert text.name == "gymnax:FourRooms-misc,max_steps_in_episode=7,resample_goal_pos=true"


def test_an_option_has_the_type_of_its_default():
    params = envs.make("gymnax:MountainCar-v0,gravity=1,max_steps_in_episode=5e1").params
    assert (type(params.gravity), params.gravity) == (float, 1.0)
    assert (type(params.max_steps_in_episode), params.max_steps_in_episode) == (int, 50)
    bandit = envs.make("gymnax:BernoulliBandit-misc,max_steps_in_episode=7")  # a float there
    assert type(bandit.params.max_steps_in_episode) is float and bandit.max_steps == 7


CAR = "gymnax:MountainCar-v0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gymnax:CartPole", "'gymnax:CartPole', did you mean 'gymnax:CartPole-v1'?"),
        ("gymnax:cartpole-V1", "did you mean 'gymnax:CartPole-v1'?"),
        ("brax:antt", "unknown environment 'brax:antt', did you mean 'brax:ant'?"),
        ("probe:constnat", "did you mean 'probe:constant'?"),
        ("gym:CartPole-v1", "did you mean 'gymnax:CartPole-v1'?"),
        ("CartPole-v1", "unknown environment 'CartPole-v1', did you mean 'gymnax:CartPole-v1'?"),
        ("ant", "did you mean 'brax:ant'?"),
        ("pgx:CartPole-v1", "did you mean 'gymnax:CartPole-v1'?"),  # of another suite
        ("jumanji:minatar-breakot", "did you mean 'pgx:minatar-breakout'?"),
        ("octax:Navix-Empty-5x5", "did you mean 'navix:Navix-Empty-5x5-v0'?"),
        ("brax:CheetahRun", "did you mean 'playground:CheetahRun'?"),
        ("gymnax:Snake-v1", "did you mean 'jumanji:Snake-v1'?"),
        ("atari:zzzzzzzz", "known: gymnax:, brax:, probe:"),
        ("", "known: gymnax:, brax:, probe:"),
        ("gymnax:", "known: gymnax:, brax:, probe:"),
        ("gymnax:MNISTBandit-bsuite", "is left out: it downloads its images"),
        (f"{CAR},foo", "environment option 'foo' must be NAME=VALUE"),
        (f"{CAR},", "environment option '' must be NAME=VALUE"),
        (f"{CAR},gravity=1,gravity=1", "'gravity' is set twice"),
        (f"{CAR},gravty=1", f"{CAR} has no option 'gravty', did you mean 'gravity'?"),
        (f"{CAR},gravity=nan", "gravity must be a number, not 'nan'"),
        (f"{CAR},gravity=", "gravity must be a number, not ''"),
        (f"{CAR},max_steps_in_episode=abc", "max_steps_in_episode must be a number, not 'abc'"),
        (f"{CAR},max_steps_in_episode=0", "must be at least 1, not '0'"),
        (f"{CAR},max_steps_in_episode=-5", "must be at least 1, not '-5'"),
        (f"{CAR},max_steps_in_episode=2.5", "must be an integer, not '2.5'"),
        (f"{CAR},max_steps_in_episode=1e12", "must be an integer, not '1e12'"),
        ("gymnax:FourRooms-misc,resample_goal_pos=2", "must be true or false, not '2'"),
        ("gymnax:DiscountingChain-bsuite,reward_timestep=1", "has no option 'reward_timestep'"),
        ("probe:constant,gamma=1", "probe:constant has no option 'gamma', it has none"),
        ("brax:ant,backend=sprin", "has no backend 'sprin', did you mean 'spring'?"),
        ("brax:swimmer,backend=spring", "has no backend 'spring', known: generalized"),
        ("brax:ant,episode_length=0", "brax:ant: episode_length must be at least 1, not '0'"),
        ("brax:ant,back=spring", "did you mean 'backend'?"),
    ],
)
def test_bad_names_and_options_are_refused_in_one_line(name, message):
    with pytest.raises(UserError) as error:
        envs.make(name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, True, "x", 2.5, 0, [3]])
def test_bad_keywords_are_refused(value):
    with pytest.raises(UserError, match="max_steps_in_episode must be"):
        envs.make(CAR, max_steps_in_episode=value)


def test_an_option_by_text_and_by_keyword_is_refused():
    with pytest.raises(UserError, match="'gravity' is set twice"):
        envs.make(f"{CAR},gravity=1", gravity=1)


def test_without_brax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "brax", None)
    with pytest.raises(UserError) as error:
        envs.make("brax:ant")
    assert 'pip install "jaxrl-reward[brax]"' in str(error.value)
    assert "\n" not in str(error.value)


# ---- environments of one's own -----------------------------------------------------------


@struct.dataclass
class CounterState:
    time: jax.Array | int
    value: jax.Array | int


class Counter(environment.Environment):
    """Counts up by `add`; its state starts as Python integers."""

    def __init__(self, add, observation=None, action=None):
        self.add = add
        self.observation = observation or spaces.Box(0.0, jnp.inf, (1,))
        self.action = action or spaces.Discrete(2)

    @property
    def default_params(self):
        return environment.EnvParams(max_steps_in_episode=4)

    def reset_env(self, key, params):
        return jnp.zeros(1, jnp.int32), CounterState(0, 0)

    def step_env(self, key, state, action, params):
        state = CounterState(state.time + 1, state.value + self.add)
        return jnp.full((1,), state.value), state, 1, False, {"twice": 2 * state.value}

    def observation_space(self, params):
        return self.observation

    def action_space(self, params=None):
        return self.action


@pytest.fixture
def counter(monkeypatch):
    """Registers `counter:one` with the arguments that a test gives."""
    monkeypatch.setattr(registry, "_FAMILIES", dict(registry._FAMILIES))

    def register(**arguments):
        def factory(name, options):
            env = Counter(**arguments)
            chosen = envs.check_options(f"counter:{name}", options, {"max_steps_in_episode": 4})
            return env, env.default_params.replace(**chosen)

        envs.register("counter", factory, ["one"])

    return register


def test_registered_environments_are_made_by_name(counter):
    counter(add=1)
    assert "counter:one" in envs.names()
    env = envs.make("counter:one,max_steps_in_episode=2")
    obs, state = env.reset(jax.random.key(0))
    assert obs.dtype == jnp.float32
    obs, after, reward, terminated, truncated, info = env.step(jax.random.key(0), state, 0)
    chex.assert_type([obs, reward, terminated, truncated], [float, float, bool, bool])
    chex.assert_shape([reward, terminated, truncated], ())
    assert signature(state) == signature(after)
    assert (obs.item(), after.value, info["twice"]) == (1, 1, 2)
    assert env.step(jax.random.key(0), after, 0)[4]
    with pytest.raises(UserError, match="did you mean 'counter:one'"):
        envs.make("counter:on")
    counter(add=2)  # the same definition may come again, and is the newer one
    assert envs.make("counter:one").environment.add == 2
    with pytest.raises(
        UserError, match=r"prefix 'counter' of env.* is taken by .*test_registry.py"
    ):
        envs.register("counter", lambda name, options: (None, None), [])
    with pytest.raises(UserError, match=r"prefix 'brax' .* by jaxrl_reward\.envs\.brax"):
        envs.register("brax", lambda name, options: (None, None), [])


def test_a_prefix_is_a_word():
    with pytest.raises(UserError, match="must be a plain word, not 'a:b'"):
        envs.register("a:b", lambda name, options: (None, None), [])


def test_a_state_that_would_lose_its_fraction_is_refused(counter):
    counter(add=0.5)
    env = envs.make("counter:one")
    _, state = env.reset(jax.random.key(0))
    with pytest.raises(TypeError, match="counter:one: step turns int32 of the state into float32"):
        env.step(jax.random.key(0), state, 0)


@pytest.mark.parametrize("where", ["observation", "action"])
def test_spaces_that_are_no_arrays_are_refused(counter, where):
    counter(add=1, **{where: spaces.Dict({"x": spaces.Space()})})
    said = {"observation": ": x is Space, no array", "action": ", but Dict"}[where]
    with pytest.raises(UserError, match=f"counter:one has no array {where}s{said}"):
        envs.make("counter:one")


def test_spaces_that_are_told_by_playing_are_told_in_a_program_on_several_devices():
    """pgx counts its actions by playing a game, with a key of its own."""

    class Played(Counter):
        def action_space(self, params=None):
            return spaces.Discrete(2 + len(jax.random.permutation(jax.random.PRNGKey(0), 3)))

    env = envs.given(Played(1))
    told = partition.shard_map(lambda x: x + env.action_space.n, (P("rows"),), P("rows"))
    with jax.set_mesh(jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))):
        assert jax.jit(told)(jnp.arange(2)).tolist() == [5, 6]


def test_an_environment_is_hashed_by_identity():
    one, two = envs.make("probe:constant"), envs.make("probe:constant")
    assert one != two and len({one, two, one}) == 2
    step = jax.jit(lambda env, key: env.reset(key)[0], static_argnums=0)
    assert step(one, jax.random.key(0)).shape == (1,)
