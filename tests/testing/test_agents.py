"""`check_agent` passes the agents of this package, and names what is broken in others."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _shared import STORING
from flax import struct

from jaxrl_reward import agents, envs, rewards
from jaxrl_reward.nn import running_statistics
from jaxrl_reward.testing import LawError, check_agent
from jaxrl_reward.types import Mean, UserError

PPO = {"num_envs": 2, "num_steps": 4, "minibatches": 1, "epochs": 1, "hidden": (4,)}
SMALL = {
    "ppo": PPO,
    "subpo": {"num_envs": 2, "hidden": (4,)},
    "dqn": {**STORING, "n_step": 1, "layer_norm": False},
    "sac": {**STORING, "layer_norm": False},
    "td3": {**STORING, "layer_norm": False, "policy_delay": 1},
    "eta": {**STORING, "layer_norm": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_an_agent_keeps_the_laws(name):
    env = "probe:action_continuous" if name == "td3" else "probe:delayed"
    settings = {**SMALL[name], **({"num_steps": 2} if name == "eta" else {})}
    check_agent(agents.make(name, env, "env + 0.1*counts(buckets=8)", **settings))


class State(struct.PyTreeNode):
    iteration: jax.Array
    total: jax.Array
    key: jax.Array
    obs_stats: Any
    memory: Any = ()


def toy(**changes):
    """An agent that adds up what it draws; and what its iterations do besides."""

    def init(key):
        stats = running_statistics.init((1,))
        return State(jnp.int32(0), jnp.float32(0.0), key, stats)

    def iterate(state):
        key, draw = jax.random.split(state.key)
        total = state.total + jax.random.uniform(draw)
        state = state.replace(iteration=state.iteration + 1, total=total, key=key)
        state, metrics = changes.get("state", lambda s: s)(state), {"total": Mean.of(total)}
        return state, metrics | changes.get("metrics", {})

    def act(state, inputs, key=None):
        return jnp.zeros(inputs.shape[0], jnp.int32) + changes.get("action", 0)

    def evaluate(state, key, episodes):
        return jnp.zeros(episodes), jnp.zeros(changes.get("episodes", episodes))

    env = envs.make("probe:action")
    return agents.Agent("toy", None, env, rewards.env(), init, iterate, act, evaluate, 1)


def test_a_toy_keeps_the_laws():
    check_agent(toy())


NAN = Mean(jnp.float32(jnp.nan), jnp.float32(1.0))


@jax.custom_batching.custom_vmap
def alone(x):
    return x


@alone.def_vmap
def _beside(size, batched, x):
    return x + x.sum(0), True


BROKEN = [
    (
        {"state": lambda s: s.replace(iteration=1.5 * s.iteration)},
        r"\.iteration is float32\[\], not",
    ),
    ({"state": lambda s: s.replace(memory=(s.iteration,))}, "keeps the types of the state"),
    (
        {"state": lambda s: s.replace(total=alone(s.total))},
        "seeds side by side do not know of each other",
    ),
    ({"metrics": {"loss": jnp.float32(0.0)}}, "toy: a metric is a Mean of scalars: loss"),
    ({"metrics": {"loss": NAN}}, "toy: metrics are finite: loss is"),
    ({"action": 2}, r"toy: an action is of its space: \[2 2 2 2\] of"),
    ({"action": np.zeros((3, 1), int)}, r"toy: an action is of its space: \(3, 4\), not \(4,\)"),
    ({"episodes": 2}, r"toy: evaluate gives lengths \[E\]: \(2,\) of 3 episodes"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN)
def test_what_is_broken_is_named(changes, message):
    with jax.numpy_rank_promotion("allow"), pytest.raises(LawError, match=message):
        check_agent(toy(**changes))


def test_what_is_no_agent_is_told():
    with pytest.raises(UserError, match="check_agent takes an agent"):
        check_agent("ppo")
