"""Classes written for gymnax 0.x, whose time limit is in what ends the task."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward import agents
from jaxrl_reward.envs import Env
from jaxrl_reward.types import UserError

LIMIT, EDGE = 4, 3


@struct.dataclass
class State:
    at: jax.Array
    time: int


@struct.dataclass
class Params:
    edge: int = EDGE
    max_steps_in_episode: int = LIMIT


class Old(environment.Environment):
    """Walks right by the action; ends at the edge. Its clock is where gymnax 0.x had it."""

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        state = State(at=jnp.int32(0), time=0)
        return self.get_obs(state, params), state

    def step_env(self, key, state, action, params):
        state = State(at=state.at + action, time=state.time + 1)
        done = self.is_terminal(state, params)
        return self.get_obs(state, params), state, jnp.float32(1.0), done, {}

    def get_obs(self, state, params=None, key=None):
        return jnp.array([state.at, state.time / params.max_steps_in_episode])

    def is_terminal(self, state, params):
        return jnp.logical_or(state.at >= params.edge, self.clock(state, params))

    def clock(self, state, params):
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params):
        return spaces.Box(0.0, 10.0, (2,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


class OldDiscount(Old):
    """As gymnax 0.0.x's own classes: the base class gives the discount."""

    def step_env(self, key, state, action, params):
        *rest, info = super().step_env(key, state, action, params)
        return *rest, {**info, "discount": self.discount(state, params)}


class Later(Old):
    """A step later than gymnax has it."""

    def clock(self, state, params):
        return state.time > params.max_steps_in_episode


class New(Old):
    """Of 1.x: the clock is `is_truncated`'s, which gymnax has."""

    def is_terminal(self, state, params):
        return state.at >= params.edge


class Horizon(Old):
    """Its time is the task's, and it says so."""

    def is_truncated(self, state, params):
        return jnp.array(False)


class Constant(Old):
    def clock(self, state, params):
        return state.time >= 2


def flags(made, actions, params=None):
    """`terminated` and `truncated` at each step."""
    env = Env("walk", made, params or Params())
    _, state = env.reset(jax.random.key(0))
    found = []
    for action in actions:
        _, state, _, terminated, truncated, _ = env.step(jax.random.key(0), state, action)
        found.append((bool(terminated), bool(truncated)))
    return found


NO, ENDED, CUT = (False, False), (True, False), (False, True)


def test_the_clock_of_an_old_class_truncates():
    assert flags(Old(), [0] * LIMIT) == [NO, NO, NO, CUT]
    assert flags(Later(), [0] * 4) == [NO, NO, NO, CUT]  # by gymnax's own limit
    assert flags(Old(), [1] * EDGE) == [NO, NO, ENDED]
    assert flags(Old(), [0, 1, 1, 1])[-1] == (True, True)  # as of a class of today


def test_an_old_class_sees_its_limit():
    """Only what ends the task is asked without one."""
    env = Env("walk", Old(), Params())
    _, state = env.reset(jax.random.key(0))
    obs = env.step(jax.random.key(0), state, 1)[0]
    np.testing.assert_allclose(obs, [1.0, 1 / LIMIT])


def test_a_new_class_and_one_that_means_it_are_as_they_are():
    assert flags(New(), [0] * LIMIT) == [NO, NO, NO, CUT]
    assert flags(New(), [0, 1, 1, 1])[-1] == (True, True)
    assert flags(Horizon(), [0] * LIMIT) == [NO, NO, NO, ENDED]


def test_a_class_of_its_own_base():
    """A copy of gymnax 0.x's base class has no `is_truncated`."""
    own = type("Own", (), {k: v for k, v in vars(Old).items() if not k.startswith("__")})
    assert flags(own(), [0] * LIMIT) == [NO, NO, NO, CUT]
    own.is_terminal = lambda self, state, params: state.at >= params.edge
    with pytest.raises(UserError, match=r"walk does not tell .* write is_truncated\(state, params"):
        flags(own(), [0])


def test_what_calls_the_old_discount_has_it():
    """gymnax 1.x's own asks `is_terminated`, which in 0.x was `is_terminal`."""
    made = OldDiscount()
    assert flags(made, [0] * LIMIT) == [NO, NO, NO, CUT]
    assert flags(made, [1] * EDGE) == [NO, NO, ENDED]
    with pytest.raises(NotImplementedError):
        made.is_terminated(None, None)  # a class is left as it is
    agents.make("ppo", made)


def test_parameters_without_a_limit_are_refused_in_a_line():
    @struct.dataclass
    class NoLimit:
        edge: int = EDGE

    with pytest.raises(UserError, match="does not tell when its time is up"):
        flags(type("Open", (New,), {"get_obs": lambda *_, **__: jnp.zeros(2)})(), [0], NoLimit())


def test_a_clock_that_no_parameter_sets_is_refused():
    match = r"walk ends by state.time, and not by params.max_steps_in_episode: .* is_truncated"
    with pytest.raises(UserError, match=match):
        flags(Constant(), [0])


def test_a_step_that_resets_by_itself_is_refused():
    """Five values from gymnax 0.x's `step`: of an end, only the next beginning."""
    known = {k: v for k, v in vars(Old).items() if not k.startswith("__") and k != "step_env"}
    own = type("Own", (), {**known, "step": lambda self, key, state, action, params: None})
    with pytest.raises(UserError, match=r"Own has step and no step_env: .* where an episode ended"):
        agents.make("ppo", own())


def test_it_is_so_under_vmap_and_jit():
    env = Env("walk", Old(), Params())
    keys = jax.random.split(jax.random.key(0), 3)
    _, state = jax.vmap(env.reset)(keys)
    step = jax.jit(jax.vmap(env.step))
    for _ in range(LIMIT):
        _, state, _, terminated, truncated, _ = step(keys, state, jnp.array([0, 1, 0]))
    assert terminated.tolist() == [False, True, False]
    assert truncated.tolist() == [True, True, True]
