r"""An environment of your own: a token on a ring that is to be brought to 0.

    jaxrl-reward train ppo ring:plain,cells=6 --import examples/environment.py \
        --reward "env - 0.01" --num-envs 4 --num-steps 16 \
        --total-steps 256 --evals 2 --eval-episodes 2 --out runs/environment
    jaxrl-reward evaluate runs/environment --episodes 2
    jaxrl-reward render runs/environment --max-steps 5 --out runs/environment/episode.gif

It follows gymnax: pure functions of a state, and a clock apart from what ends the task.
"""

import jax
import jax.numpy as jnp
from flax import struct
from gymnax.environments import environment, spaces

from jaxrl_reward import envs


class State(struct.PyTreeNode):
    cell: jax.Array
    time: jax.Array


class Params(struct.PyTreeNode):
    max_steps_in_episode: int = 20


class Ring(environment.Environment):
    """Actions: stay, one cell on, one cell back. The reward is 1 at cell 0, which ends it."""

    name, num_actions, default_params = "ring", 3, Params()

    def __init__(self, cells):
        self.cells = cells

    def reset_env(self, key, params):
        state = State(jax.random.randint(key, (), 1, self.cells), jnp.int32(0))
        return jax.nn.one_hot(state.cell, self.cells), state

    def step_env(self, key, state, action, params):
        cell = (state.cell + jnp.array([0, 1, -1])[action]) % self.cells
        home = cell == 0
        obs = jax.nn.one_hot(cell, self.cells)
        return obs, State(cell, state.time + 1), home.astype(jnp.float32), home, {}

    def is_truncated(self, state, params):
        return state.time >= params.max_steps_in_episode

    def observation_space(self, params):
        return spaces.Box(0.0, 1.0, (self.cells,))

    def action_space(self, params=None):
        return spaces.Discrete(3)


def make(name, options):
    """From `cells=6,max_steps_in_episode=10` behind the name to the environment."""
    given = envs.check_options("ring", options, {"cells": 8, "max_steps_in_episode": 20})
    return Ring(given.pop("cells", 8)), Params(**given)


envs.register("ring", make, ["plain"])
