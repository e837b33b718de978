"""`check_env` passes what keeps the contract, and names what does not and where."""

import jax
import jax.numpy as jnp
import pytest
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward import envs
from jaxrl_reward.testing import LawError, check_env
from jaxrl_reward.types import UserError


@struct.dataclass
class Params:
    max_steps_in_episode: int = 4


@struct.dataclass
class State:
    at: jax.Array
    time: jax.Array


class Walk(environment.Environment):
    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        at = jax.random.uniform(key)
        return at[None], State(at, jnp.int32(0))

    def step_env(self, key, state, action, params):
        after = State(state.at + self.drift(key, action), state.time + 1)
        return after.at[None], after, after.at, self.ends(after, params), {}

    def drift(self, key, action):
        return action + 0.1 * jax.random.normal(key)

    def ends(self, state, params):
        return state.at > 9.0

    def observation_space(self, params):
        return spaces.Box(-10.0, 10.0, (1,))

    def action_space(self, params=None):
        return spaces.Discrete(2)


class Infinite(Walk):
    def drift(self, key, action):
        return jnp.inf


class Hidden(Walk):
    """Says that it knows when its time is up, and ends its task by the clock all the same."""

    def ends(self, state, params):
        return state.time >= params.max_steps_in_episode

    def is_truncated(self, state, params):
        return jnp.bool_(False)


class Horizon(Hidden):
    """Its time is the task's, whatever the limit."""

    def ends(self, state, params):
        return state.time >= 3


def test_one_that_keeps_the_contract():
    for env in (Walk(), (Walk(), Params(7)), envs.from_gymnax(Walk()), "probe:delayed", Horizon()):
        check_env(env)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (Infinite(), r"Infinite: next_obs is finite: it is inf"),
        (
            Hidden(),
            r"Hidden: no termination follows the clock: with max_steps_in_episode=1, step 1 ends "
            r"the task, and with 1000 it does not; leave that to is_truncated",
        ),
    ],
)
def test_what_is_broken_is_named(env, message):
    with pytest.raises(LawError, match=message):
        check_env(env)


def test_what_keeps_no_contract_is_told_before_anything_runs():
    with pytest.raises(UserError, match=r"gives a tuple of 2, and five values"):
        check_env(type("Two", (Walk,), {"step_env": lambda self, k, s, a, p: (s.at[None], s)})())
