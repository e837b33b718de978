"""An agent that compiles in no time: its action climbs from -1 to 0.5, whatever it is paid."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from jaxrl_reward import envs
from jaxrl_reward import rewards as rw
from jaxrl_reward.agents.common import base, policies, replay
from jaxrl_reward.settings import Settings, setting

ROOM = 64  # steps that its replay holds
ITERATIONS = 40  # until it is at its best


class Config(Settings):
    """Its settings."""

    num_envs: int = setting(4, "environments")
    num_steps: int = setting(2, "of each in an iteration")
    noise: float = setting(0.1, "of actions that are drawn")


class State(struct.PyTreeNode):
    """What it carries."""

    iteration: Any
    env_state: Any
    replay: Any
    key: Any


def theta(iteration):
    """Its likeliest action."""
    return -1.0 + 1.5 * jnp.minimum(iteration, ITERATIONS) / ITERATIONS


def worth(iteration) -> float:
    """What that is paid by the probe `action_continuous`."""
    return 1.0 - (float(theta(iteration)) - 0.5) ** 2


def make(config: Config, env: envs.Env, reward: Any = None) -> base.Agent:
    """The agent; it learns nothing from the reward."""
    vector = envs.vectorize(env, config.num_envs)

    def act(state, inputs, key=None):
        noise = 0.0 if key is None else config.noise * jax.random.normal(key, inputs.shape[:1])
        action = theta(state.iteration) + noise
        return jnp.broadcast_to(jnp.expand_dims(action, -1), (*inputs.shape[:1], 1))

    def play(state):
        def one(env_state, key):
            keys = jax.random.split(key, config.num_envs)
            env_state, step, _ = vector.step(env_state, keys, act(state, env_state.obs, key))
            return env_state, {"step": step.replace(reward=(), info={}, policy={})}

        return jax.lax.scan(one, state.env_state, jax.random.split(state.key, config.num_steps))

    def init(key):
        state = State(jnp.int32(0), vector.init(key), (), key)
        items = jax.eval_shape(lambda: play(state)[1])
        return state.replace(replay=replay.init(ROOM // config.num_envs, items))

    def iterate(state):
        env_state, items = play(state)
        key = jax.random.fold_in(state.key, 0)
        stored = replay.add(state.replay, items)
        return State(state.iteration + 1, env_state, stored, key), {}

    def evaluate(state, key, num_episodes):
        returns = 1.0 - jnp.square(theta(state.iteration) - 0.5)
        return jnp.full(num_episodes, returns), jnp.ones(num_episodes, jnp.int32)

    steps = config.num_envs * config.num_steps
    return base.Agent(
        *("ramp", config, env, reward or rw.env(), init, iterate, act, evaluate, steps),
        policy=partial(policies.of_act, act),
        newest=lambda state: replay.newest(state.replay, config.num_steps)["step"],
        frozen=lambda state: state.replace(replay=()),
    )
