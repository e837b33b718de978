"""Of the tests of SAC: small agents, and those that several tests share."""

from functools import cache, partial

import jax
import jax.numpy as jnp
from _shared import STORING

from jaxrl_reward import agents
from jaxrl_reward.agents.common.base import as_leaves
from jaxrl_reward.agents.off_policy import sac_losses

GAMMA = 0.9
DISCRETE, CONTINUOUS = "gymnax:CartPole-v1", "gymnax:Pendulum-v1"
METRICS = {"episode_return", "episode_length", "episode_reward", "reward", *sac_losses.LOSSES}
SLOPES = {"q_slope", "reward_slope"}  # where they are asked for
# All kinds of stages: remembers, learned, moving statistics, bounded.
MIXED = "(env + 0.5*counts(buckets=8) + rnd(width=4, features=2)) | normalize() | clip(-5, 5)"

# The two agents that most tests share, whose programs are compiled once.
RICH = {
    CONTINUOUS: {"normalize_obs": True, "n_step": 3, "layer_norm": True, "slopes": True},
    DISCRETE: {"placement": "step", "critics": 3, "policy_delay": 2, "slopes": True},
}

# What runs for milliseconds need not be compiled for seconds.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def small(env=CONTINUOUS, reward=None, name="sac", **overrides):
    return agents.make(name, env, reward, **{**STORING, **overrides})


def inside(agent):
    """The functions behind an agent."""
    return agent.init.__self__


@cache
def rich(env):
    """An agent, and its `init` and `iterate`, compiled."""
    agent = small(env, MIXED, **RICH[env])
    return agent, quick(agent.init), quick(agent.iterate)


@cache
def after(env, iterations):
    """A rich agent, its state after some iterations, and the metrics of the last."""
    agent, init, iterate = rich(env)
    if iterations == 0:
        return agent, init(jax.random.key(0), as_leaves(agent.config), as_leaves(agent.reward)), {}
    return agent, *iterate(after(env, iterations - 1)[1])


def repeat(iterate, times):
    """Also the metrics of the last time."""

    def run(state):
        shapes = jax.eval_shape(iterate, state)[1]
        metrics = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.fori_loop(0, times, lambda _, carry: iterate(carry[0]), (state, metrics))

    return run
