"""Actions between bounds, beyond one of them, and without any; values worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import environment, spaces

import jaxrl_reward as jr
from jaxrl_reward.agents.common import actions
from jaxrl_reward.collecting import record
from jaxrl_reward.envs.bounds import limits, random_action, scale_action, unit_action
from jaxrl_reward.types import UserError

INF, LARGEST = np.inf, float(np.finfo(np.float32).max)
# Two bounds, one below, one above, none; the last four as formats write "none".
LOW = np.array([-2.0, 3.0, -INF, -INF, -1e10, -LARGEST, 0.0, -LARGEST], np.float32)
HIGH = np.array([4.0, INF, 5.0, INF, 1e10, LARGEST, LARGEST, 7.0], np.float32)
MIXED = spaces.Box(LOW, HIGH, (8,))


def test_units_are_what_the_bounds_make_of_them():
    unit = jnp.array([[-1.0] * 8, [0.0] * 8, [1.0] * 8, [2.5] * 8, [-9.0] * 8])
    expected = [
        [-2.0, 3.0, 3.0, -1.0, -1.0, -1.0, 0.0, 5.0],
        [1.0, 4.0, 4.0, 0.0, 0.0, 0.0, 1.0, 6.0],
        [4.0, 5.0, 5.0, 1.0, 1.0, 1.0, 2.0, 7.0],
        [4.0, 6.5, 5.0, 2.5, 2.5, 2.5, 3.5, 7.0],
        [-2.0, 3.0, -5.0, -9.0, -9.0, -9.0, 0.0, -3.0],
    ]
    np.testing.assert_allclose(scale_action(MIXED, unit), expected, rtol=1e-6)


def test_data_is_read_by_the_inverse():
    rng = np.random.default_rng(0)
    action = rng.uniform(np.maximum(LOW, -30), np.minimum(HIGH, 30), (200, 8)).astype(np.float32)
    unit = unit_action(MIXED, action)
    np.testing.assert_allclose(scale_action(MIXED, unit), action, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(unit_action(MIXED, LOW[None])[0, :2], [-1.0, -1.0])
    # Corrupted actions may lie beyond: half a width beyond a bound is 1 beyond it.
    np.testing.assert_allclose(unit_action(MIXED, np.full((1, 8), 7.0, np.float32))[0, 0], 2.0)


def test_a_number_that_cannot_change_is_no_division_by_zero():
    fixed = spaces.Box(2.0, 2.0, (1,))
    assert np.isfinite(unit_action(fixed, np.full((1, 1), 2.0, np.float32))).all()
    np.testing.assert_array_equal(scale_action(fixed, jnp.array([[-1.0], [0.5]])), 2.0)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
def test_actions_have_the_shape_of_their_space(shape):
    unit = jnp.zeros((4, 5, int(np.prod(shape))))
    action = scale_action(spaces.Box(-1.0, 3.0, shape), unit)
    assert action.shape == (4, 5, *shape)
    np.testing.assert_array_equal(action, 1.0)


def test_no_rounding_beyond_the_bounds():
    low, high = np.float32(-0.4), np.float32(0.3)
    action = scale_action(spaces.Box(low, high, (1,)), jnp.linspace(-1.0, 1.0, 1001)[:, None])
    assert action.min() >= low and action.max() <= high


def test_whole_numbers_are_the_nearest():
    """Cut off instead, the last would never be chosen."""
    space = spaces.Box(0, 4, (1,), jnp.int32)
    unit = jnp.array([[-1.0], [-0.55], [-0.45], [0.74], [0.76], [1.0]])
    action = scale_action(space, unit)
    np.testing.assert_array_equal(action[:, 0], [0, 1, 1, 3, 4, 4])
    assert action.dtype == jnp.int32


@pytest.mark.parametrize("low,high", [(1.0, 0.0), (np.nan, 1.0), (np.array([0.0, 2.0]), 1.0)])
def test_bounds_that_make_no_sense_are_refused(low, high):
    with pytest.raises(UserError, match="low <= high"):
        limits(spaces.Box(low, high, (2,)))


def test_random_actions_lie_within():
    """gymnax's own draws of an open space are infinite or not a number."""
    keys = jax.random.split(jax.random.key(0), 500)
    draw = np.asarray(jax.vmap(lambda key: random_action(MIXED, key))(keys))
    ends = np.array([LOW, HIGH])
    ends[:, 1:] = [[3, 3, -1, -1, -1, 0, 5], [5, 5, 1, 1, 1, 2, 7]]
    np.testing.assert_allclose([draw.min(0), draw.max(0)], ends, atol=0.05)
    assert (draw >= ends[0]).all() and (draw <= ends[1]).all()


def test_random_actions_between_bounds_are_those_of_the_space():
    space, key = spaces.Box(-2.0, 5.0, (3,)), jax.random.key(0)
    np.testing.assert_array_equal(random_action(space, key), space.sample(key))
    assert 0 <= random_action(spaces.Discrete(3), key) < 3


# ---- agents -----------------------------------------------------------------------------


@struct.dataclass
class Params:
    max_steps_in_episode: int = 20


@struct.dataclass
class Clock:
    time: jax.Array


class Open(environment.Environment):
    """Pays for being close to 2 above or below a bound; its bounds are made by jax.numpy."""

    @property
    def default_params(self):
        return Params()

    def reset_env(self, key, params):
        return jnp.zeros(1), Clock(jnp.int32(0))

    def step_env(self, key, state, action, params):
        reward = -jnp.square(action - jnp.array([2.0, -2.0])).sum()
        return jnp.zeros(1), Clock(state.time + 1), reward, jnp.array(False), {"sent": action}

    def observation_space(self, params):
        return spaces.Box(-1.0, 1.0, (1,))

    def action_space(self, params=None):
        return spaces.Box(jnp.array([0.0, -INF]), jnp.array([INF, 0.0]), (2,))


OPEN = jr.envs.Env("open", Open(), Params())
CASES = [
    ("ppo", {}),
    ("ppo", {"distribution": "tanh_normal"}),
    ("ppo", {"network": "gru"}),
    ("subpo", {"num_steps": 4}),
    ("sac", {}),
    ("td3", {}),
]


@pytest.mark.parametrize("name,settings", CASES)
def test_no_agent_leaves_a_single_bound(name, settings):
    size = {"num_envs": 8, "hidden": (4,), **settings}
    if name == "ppo":
        size["minibatches"] = 1
    if name in ("sac", "td3"):
        size |= {"learning_starts": 64, "batch_size": 8, "buffer_size": 128}
    agent = jr.agents.make(name, OPEN, "env", **size)
    state = agent.init(jax.random.key(0))
    action = agent.act(state, jnp.zeros((500, 1)), jax.random.key(1))
    assert (action[:, 0] >= 0.0).all() and (action[:, 1] <= 0.0).all()
    if name in ("sac", "td3"):
        played = agent.init.__self__.play(state, jax.random.key(2), jax.random.key(3))[2]
        action = played.block.action.reshape(-1, 2)
        assert (action[:, 0] >= 0.0).all() and (action[:, 1] <= 0.0).all()
    else:
        assert action[:, 0].max() > 2.0 and action[:, 1].min() < -2.0
    np.testing.assert_allclose(agent.act(state, jnp.zeros((1, 1))), [[1.0, -1.0]], atol=0.05)


def test_random_play_for_data_keeps_a_single_bound():
    action = record.anything(jax.random.key(0), OPEN, jnp.zeros((100, 1)))
    assert (action[:, 0] >= 0.0).all() and (action[:, 1] <= 0.0).all()


def test_what_lies_open_for_sac_and_for_data():
    space = spaces.Box(np.array([-1.0, 0.0, -INF, -INF]), np.array([1.0, INF, 0.0, INF]), (4,))
    assert actions.support(space).low == (-1.0, -1.0, -INF, -INF)
    assert actions.support(space).high == (1.0, INF, 1.0, INF)
    assert actions.support(space, confined=True).low == (-1.0, -1.0, -INF, -1.0)
    assert actions.support(space, confined=True).high == (1.0, INF, 1.0, 1.0)
